"""Settings of the application. Every field is documented here; unknown and ill-typed fields are rejected by name.

They are the ``args`` of an application in a ``serve deploy`` file, and the content of the file in ``configs/`` that
``make serve`` reads.
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, model_validator

from jr2net.config import FaceConfig
from jr2net.errors import UserError
from jr2net.images.video import VideoLimits
from jr2net.settings import ConfigError, Section, apply_override, validate


class SettingsError(UserError, ValueError):
    """Invalid settings. The message names the field and the remedy."""


class Deployment(Section):
    """Number of replicas, their resources, and autoscaling."""

    min_replicas: int = Field(
        1,
        ge=0,
        description="replicas that always run; 0: scale to zero, the first request then waits for a replica",
    )
    max_replicas: int = Field(1, ge=1, description="upper limit of autoscaling")
    target_ongoing_requests: float = Field(
        8, gt=0, description="requests in flight per replica that autoscaling aims at"
    )
    upscale_delay_s: float = Field(5, ge=0, description="seconds of higher load before replicas are added")
    downscale_delay_s: float = Field(120, ge=0, description="seconds of lower load before replicas are removed")
    num_cpus: float = Field(1, ge=0, description="CPU cores reserved per replica; also its number of torch threads")
    num_gpus: float = Field(0, ge=0, description="GPUs reserved per replica; 0.25: four replicas share one")
    resources: dict[str, float] = Field(
        {}, description="custom Ray resources reserved per replica; they restrict the nodes on which it is placed"
    )
    max_ongoing_requests: int = Field(64, ge=1, description="requests that a replica processes concurrently")
    max_queued_requests: int = Field(256, ge=1, description="requests that wait for a replica; beyond that, 503")
    graceful_shutdown_timeout_s: float = Field(
        30, ge=0, description="seconds that a stopping replica has to finish its requests"
    )

    @model_validator(mode="after")
    def _check_replicas(self) -> Deployment:
        if self.min_replicas > self.max_replicas:
            raise ValueError("min_replicas is larger than max_replicas; lower it")
        return self


class Network(Deployment):
    """A deployment that batches requests: those that arrive together share one forward pass.

    The ingress sends the images that are ready in one call, up to ``max_batch_size`` of them; autoscaling counts calls.
    An ingress replica has at most two calls in flight that are not full, and any number of full ones.
    """

    target_ongoing_requests: float = Field(2, gt=0, description="calls in flight per replica that autoscaling aims at")
    max_ongoing_requests: int = Field(64, ge=1, description="calls that a replica processes concurrently")
    max_queued_requests: int = Field(256, ge=1, description="calls that wait for a replica; beyond that, 503")
    weights: str = Field(..., description="checkpoint folder, local or s3://; can be changed while it serves")
    max_batch_size: int = Field(16, ge=1, description="largest number of requests in one forward pass")
    batch_wait_s: float = Field(0.004, ge=0, description="seconds that the first request of a batch waits for others")

    @model_validator(mode="after")
    def _check_batch_size(self) -> Network:
        if self.max_ongoing_requests < self.max_batch_size:
            raise ValueError(
                f"max_ongoing_requests ({self.max_ongoing_requests}) is smaller than max_batch_size "
                f"({self.max_batch_size}): batches could never be full; raise it"
            )
        return self


class Reconstruction(Network):
    """RecAugNet (or RecNet): face crops to face parameters."""

    runtime: Literal["torch", "openvino"] = Field(
        "torch", description="inference runtime; openvino is an optional extra, for CPUs"
    )
    precision: Literal["fp32", "bf16", "int8"] = Field(
        "fp32",
        description="precision of the convolutions; bf16: a third less time at 224 pixels; int8 needs openvino",
    )

    @model_validator(mode="after")
    def _check_precision(self) -> Reconstruction:
        if self.runtime == "torch" and self.precision == "int8":
            raise ValueError("precision 'int8' needs runtime: openvino")
        return self


class Reenactment(Network):
    """The reenactor: a source crop and a driving face to the generated crop."""

    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="precision of the convolutions; bf16: a quarter less time at 224 pixels"
    )


class Limits(Section):
    """Limits that are checked before any work is done, and limits for each key."""

    body_bytes: int = Field(32 * 2**20, ge=1024, description="largest request body in bytes; beyond that, 413")
    body_seconds: float = Field(30, gt=0, description="seconds for a body to arrive; beyond that, 408")
    pixels: int = Field(40_000_000, ge=4096, description="largest photo in pixels, by its header; beyond that, 413")
    images: int = Field(16, ge=1, description="images in one request")
    video_seconds: float = Field(60, gt=0, description="longest driving video or capture in seconds; beyond that, 413")
    video_pixels: int = Field(
        1920 * 1088, ge=4096, description="largest frame of a driving video in pixels; beyond that, 413"
    )
    video_side: int = Field(1280, ge=64, description="longest side of generated videos in pixels")
    frame_bytes: int = Field(
        4 * 2**20, ge=1024, description="largest frame of a camera in a WebSocket message in bytes; beyond that, 413"
    )
    stream_seconds: float = Field(1800, gt=0, description="a WebSocket is closed after so many seconds")
    stream_idle_seconds: float = Field(120, gt=0, description="or after so many seconds without a message")
    requests_per_second: float = Field(
        50,
        gt=0,
        description="average rate per key; beyond that, 429. Limits per key hold over all ingress replicas, which tell "
        "each other once a second what they have let through (serve/quotas.py)",
    )
    burst: int = Field(
        100,
        ge=1,
        description="requests that may exceed the rate in a burst; of one that reaches several ingress replicas within "
        "a second, each admits as many, and what was too much is taken from the rate of the seconds that follow",
    )
    concurrent: int = Field(
        64, ge=1, description="requests in flight per key, of other ingress replicas as of a second ago; beyond, 429"
    )


def video_limits(limits: Limits) -> VideoLimits:
    return VideoLimits(limits.video_seconds, limits.video_pixels, round(limits.video_seconds * 120))


class Http(Section):
    """Where ``python -m serve`` listens; ``serve run`` and ``serve deploy`` use Ray's ``http_options``."""

    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="address to listen on; 0.0.0.0: all interfaces, allowed with keys only. On a cluster of several "
        "machines it must be an address at which they reach each other",
    )
    port: int = Field(8000, ge=1, le=65535, description="TCP port")


class Settings(Section):
    """The whole application."""

    face: FaceConfig = Field(FaceConfig(), description="the face model that the networks were trained with")
    reconstruction: Reconstruction
    reenactment: Reenactment
    ingress: Deployment = Field(
        Deployment(max_ongoing_requests=100), description="HTTP, decoding, face detection, compositing"
    )
    detector: Literal["auto", "own", "mediapipe", "required", "off"] = Field(
        "auto",
        description="own: the package's; mediapipe: MediaPipe's, which has to be installed; auto and required: the "
        "library's default; off: callers send boxes",
    )
    authentication: Literal["bearer", "off"] = Field(
        "bearer",
        description="bearer: keys from JR2NET_API_KEYS in the ingress' environment; off: everybody on this machine may "
        "call (the host must be loopback), and callers behind one proxy share the limits of one key",
    )
    http: Http = Http()
    limits: Limits = Limits()
    mark: bool = Field(True, description="label generated images and videos as synthetic, in their metadata")
    page: bool = Field(True, description="serve the web page at /")
    gather_s: float = Field(
        0.05,
        ge=0,
        description="seconds that an image waits in the ingress for others that are being decoded, to share a batch",
    )
    attempts: int = Field(4, ge=1, description="how often a call is tried if its replica dies")

    @model_validator(mode="after")
    def _check_host(self) -> Settings:
        check_host(self.authentication, "http.host", self.http.host)
        return self


def check_host(authentication: str, field: str, host: str | None) -> None:
    """Raises SettingsError if other machines can reach a server without keys. ``host`` None: it does not listen."""
    if authentication == "off" and host is not None and not _is_loopback(host):
        raise SettingsError(
            f"authentication: 'off' accepts everybody, and {field}: {host} lets other machines connect; use "
            f"authentication: bearer with keys in JR2NET_API_KEYS, or {field}: 127.0.0.1"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"  # other names may resolve to an address that other machines can reach


def load_settings(path: str | Path, overrides: list[str] | None = None) -> Settings:
    """Reads a YAML file and applies ``key.sub=value`` overrides (values are YAML). Raises SettingsError."""
    try:
        tree = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: cannot be read as YAML: {error}; use a file from configs/") from None
    if not isinstance(tree, dict):
        raise SettingsError(f"{path}: expected a mapping of sections at the top, got {type(tree).__name__}")
    for override in overrides or []:
        try:
            apply_override(tree, override, "authentication=off")
        except ConfigError as error:
            raise SettingsError(str(error)) from None
        key = override.partition("=")[0]
        if key in ("authentication", "detector") and tree[key] is False:
            tree[key] = "off"  # YAML 1.1 parses ``off`` as false
    return check_settings(tree, str(path))


def check_settings(tree: Any, source: str = "args") -> Settings:
    """Validates a tree of settings. Raises SettingsError with one line for each invalid field."""
    try:
        return validate(Settings, tree, source)
    except ConfigError as error:
        raise SettingsError(str(error)) from None
