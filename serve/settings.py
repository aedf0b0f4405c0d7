"""What the application is built with: strict, and documented field by field.

These are the ``args`` of an application in a ``serve deploy`` file, and what ``make serve`` reads from a file of
``configs/``. An unknown or ill-typed field is refused by its name.
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, model_validator

from jr2net.config import FaceConfig
from jr2net.errors import UserError
from jr2net.settings import ConfigError, Section, apply_override, validate


class SettingsError(UserError, ValueError):
    """Settings that cannot be used; the message names the field and the remedy."""


class Deployment(Section):
    """How many replicas run, where, and when there are more of them."""

    min_replicas: int = Field(1, ge=0, description="0 lets it scale to zero; the first request then waits for a start")
    max_replicas: int = Field(1, ge=1, description="never more than this many")
    target_ongoing_requests: float = Field(8, gt=0, description="requests under way per replica that scaling aims at")
    upscale_delay_s: float = Field(5, ge=0, description="how long load must last before replicas are added")
    downscale_delay_s: float = Field(120, ge=0, description="how long it must be gone before they are removed")
    num_cpus: float = Field(1, ge=0, description="cores that Ray reserves for a replica; also its torch threads")
    num_gpus: float = Field(0, ge=0, description="GPUs that Ray reserves for a replica; 0.25: four of them share one")
    resources: dict[str, float] = Field(
        {}, description="custom Ray resources that a replica takes: says on which nodes it may live"
    )
    max_ongoing_requests: int = Field(64, ge=1, description="requests that a replica takes at once")
    max_queued_requests: int = Field(256, ge=1, description="requests that wait for a replica; more are answered 503")
    graceful_shutdown_timeout_s: float = Field(30, ge=0, description="how long a leaving replica may finish its work")

    @model_validator(mode="after")
    def _bounds(self) -> Deployment:
        if self.min_replicas > self.max_replicas:
            raise ValueError("min_replicas is larger than max_replicas; lower it")
        return self


class Network(Deployment):
    """A deployment that answers requests which come together with one forward pass.

    The ingress sends what is ready in one call, up to ``max_batch_size`` pictures; replicas are scaled by calls. An
    ingress replica has two calls under way that are not full, and any number of full ones.
    """

    target_ongoing_requests: float = Field(2, gt=0, description="calls under way per replica that scaling aims at")
    max_ongoing_requests: int = Field(64, ge=1, description="calls that a replica takes at once")
    max_queued_requests: int = Field(256, ge=1, description="calls that wait for a replica; more are answered 503")
    weights: str = Field(..., description="the network's folder, local or s3://; can be changed while it serves")
    max_batch_size: int = Field(16, ge=1, description="most requests of one forward pass")
    batch_wait_s: float = Field(0.004, ge=0, description="how long the first request waits for others")

    @model_validator(mode="after")
    def _batches_fill(self) -> Network:
        if self.max_ongoing_requests < self.max_batch_size:
            raise ValueError(
                f"max_ongoing_requests ({self.max_ongoing_requests}) is smaller than max_batch_size "
                f"({self.max_batch_size}): batches could never fill; raise it"
            )
        return self


class Reconstruction(Network):
    """RecAugNet (or RecNet): a face crop to its parameters."""

    runtime: Literal["torch", "openvino"] = Field(
        "torch", description="what computes the network; openvino is an extra"
    )
    precision: Literal["fp32", "bf16", "int8"] = Field(
        "fp32",
        description="what convolutions compute in; bf16: a third less time at 224 pixels; int8: of openvino",
    )

    @model_validator(mode="after")
    def _runtime_can(self) -> Reconstruction:
        if self.runtime == "torch" and self.precision == "int8":
            raise ValueError("precision 'int8' needs runtime: openvino")
        return self


class Reenactment(Network):
    """DCNet: a face crop and the face that it shall show to a picture of it."""

    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="what convolutions compute in; bf16: a quarter less time at 224 pixels"
    )


class Limits(Section):
    """What is refused before any work is done, and what one key may have at once."""

    body_bytes: int = Field(32 * 2**20, ge=1024, description="larger bodies are answered 413")
    body_seconds: float = Field(30, gt=0, description="a body that takes longer to arrive is answered 408")
    pixels: int = Field(40_000_000, ge=4096, description="photos whose header says more are answered 413")
    images: int = Field(16, ge=1, description="pictures in one call")
    video_seconds: float = Field(60, gt=0, description="driving videos and captures that last longer are answered 413")
    video_pixels: int = Field(1920 * 1088, ge=4096, description="pixels of a driving video's frame; more is 413")
    video_side: int = Field(1280, ge=64, description="longest side of the videos that are made")
    stream_seconds: float = Field(1800, gt=0, description="a socket is closed after this long")
    stream_idle_seconds: float = Field(120, gt=0, description="and after a pause of this long")
    requests_per_second: float = Field(50, gt=0, description="of one key and ingress replica, on average; more are 429")
    burst: int = Field(100, ge=1, description="requests that may come at once before the rate counts")
    concurrent: int = Field(64, ge=1, description="requests of one key under way at once; more are answered 429")


class Http(Section):
    """Where ``python -m serve`` listens; for ``serve run`` and ``serve deploy`` Ray Serve's ``http_options`` say it."""

    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="address to listen on; 0.0.0.0: all of this machine's, with keys only. On a cluster of several "
        "machines it must be one by which these reach each other",
    )
    port: int = Field(8000, ge=1, le=65535, description="port to listen on")


class Settings(Section):
    """The whole application."""

    face: FaceConfig = Field(FaceConfig(), description="the face model that the networks were trained with")
    reconstruction: Reconstruction
    reenactment: Reenactment
    ingress: Deployment = Field(Deployment(max_ongoing_requests=100), description="HTTP, pictures and faces")
    detector: Literal["auto", "required", "off"] = Field(
        "auto", description="auto: where it is installed, else callers give boxes; required: do not start without"
    )
    authentication: Literal["bearer", "off"] = Field(
        "bearer",
        description="bearer: keys from JR2NET_API_KEYS of the ingress' environment; off: everybody on this machine may "
        "call, and those behind one proxy share the limits of one key; the host must be loopback",
    )
    http: Http = Http()
    limits: Limits = Limits()
    mark: bool = Field(True, description="generated pictures say in their metadata that they are synthetic")
    page: bool = Field(True, description="the page for people at /")
    gather_s: float = Field(
        0.05,
        ge=0,
        description="how long a picture that is ready waits for others that are being decoded, to go with them",
    )
    attempts: int = Field(4, ge=1, description="how often work is given to another replica when one dies on the way")

    @model_validator(mode="after")
    def _strangers_need_keys(self) -> Settings:
        check_host(self.authentication, "http.host", self.http.host)
        return self


def check_host(authentication: str, field: str, host: str | None) -> None:
    """Raises SettingsError where other machines reach a server that asks for no keys; None: it does not listen."""
    if authentication == "off" and host is not None and not _is_loopback(host):
        raise SettingsError(
            f"authentication: 'off' lets everybody in, and {field}: {host} lets other machines reach it; say "
            f"authentication: bearer and set keys in JR2NET_API_KEYS, or {field}: 127.0.0.1"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"  # other names may become another machine's view of this one


def load_settings(path: str | Path, overrides: list[str] | None = None) -> Settings:
    """Reads a YAML file and applies ``key.sub=value`` overrides (values are YAML). Raises SettingsError."""
    try:
        tree = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: cannot be read as YAML: {error}; give a file of configs/") from None
    if not isinstance(tree, dict):
        raise SettingsError(f"{path}: expected a mapping of sections at the top, got {type(tree).__name__}")
    for override in overrides or []:
        try:
            apply_override(tree, override, "authentication=off")
        except ConfigError as error:
            raise SettingsError(str(error)) from None
        key = override.partition("=")[0]
        if key in ("authentication", "detector") and tree[key] is False:
            tree[key] = "off"  # YAML reads ``off`` as false
    return check_settings(tree, str(path))


def check_settings(tree: Any, source: str = "args") -> Settings:
    """A tree of settings, validated. Raises SettingsError with one line for each field that is wrong."""
    try:
        return validate(Settings, tree, source)
    except ConfigError as error:
        raise SettingsError(str(error)) from None
