"""The Ray Serve deployments: one for each network, and the ingress, which handles HTTP."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import ray
import torch
from grpc.aio import AioRpcError
from ray import serve
from ray.exceptions import RayError, RayTaskError, TaskCancelledError
from ray.serve.context import _get_global_client
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from ray.serve.metrics import Histogram

from jr2net.face.load import load_face_model
from jr2net.images.face_detector import DETECTORS, FaceDetector, load_face_detector
from jr2net.inference.messages import Fit, ModelInfo, ReenactRequest, ReenactResult
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor
from jr2net.process import tune_malloc, use_threads
from serve.access import AccessControl
from serve.api import create_api
from serve.health import Health
from serve.logs import write_json_lines
from serve.problems import NetworkUnavailable
from serve.quotas import keep_exchanging
from serve.service import Service
from serve.settings import Settings, check_host

_LATENCY_BUCKETS_MS = [1.0, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]
_RETRY_DELAYS_S = (0.05, 0.2, 0.5, 1.0)  # before a request is sent to another replica; the last one repeats
_INGRESS_FREE_BYTES = 2**28  # freed memory that an ingress keeps for the next photo; larger blocks are returned
_Result = TypeVar("_Result")


class _NetworkReplica(ABC):
    """A replica of one network, whose weights can be replaced while it serves.

    ``user_config`` names the weights. New weights are loaded and warmed up while the old network continues to serve.
    Every batch is computed by exactly one of the two.
    """

    def __init__(self, settings: dict[str, Any], section: str) -> None:
        write_json_lines()
        self.settings = Settings.model_validate(settings)
        self.section = getattr(self.settings, section)
        use_threads(max(1, round(self.section.num_cpus)))
        tune_malloc()
        self.device = torch.device("cuda" if torch.cuda.is_available() and self.section.num_gpus > 0 else "cpu")
        self.model = load_face_model(self.settings.face)
        self.network: Any = None
        self.health = Health(lambda: self.network.probe())
        self.batch_sizes = Histogram(
            "jr2net_batch_size", "Requests in one forward pass.", [1, 2, 4, 8, 16, 32, 64], ("network",)
        )
        self.batch_sizes.set_default_tags({"network": section})

    def configure_batching(self, method: Any) -> None:
        """Applies the batch settings to a method that is decorated with ``serve.batch``."""
        method.set_max_batch_size(self.section.max_batch_size)
        method.set_batch_wait_timeout_s(self.section.batch_wait_s)

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Loads ``{"weights": folder}``. Raises CheckpointError or StorageError; the old weights then stay in use."""
        self.network = await asyncio.to_thread(self._load_and_warm_up, user_config["weights"])

    def _load_and_warm_up(self, weights: str) -> Any:
        network = self.load(weights)
        network.warm_up(self.section.max_batch_size)
        return network

    @abstractmethod
    def load(self, weights: str) -> Any:
        """Loads the network from a folder, local or s3://."""

    @abstractmethod
    def predict(self, items: list) -> list:
        """The results of a batch, by one forward pass."""

    async def describe(self) -> ModelInfo:
        return self.network.info

    async def check_health(self) -> None:
        """Called by Ray Serve every few seconds."""
        await self.health.check()

    async def predict_groups(self, groups: list[list]) -> list[list]:
        """The results of several calls, a list of items each, by one forward pass."""
        items = [item for group in groups for item in group]
        self.batch_sizes.observe(len(items))
        try:
            with self.health.forward_pass():
                results = iter(await asyncio.to_thread(self.predict, items))
        except Exception:
            await self.health.try_network()  # if the network computes no more, its calls go to other replicas
            raise
        return [list(islice(results, len(group))) for group in groups]


def _count_items(groups: list[list]) -> int:
    return sum(map(len, groups))


@serve.deployment
class Reconstruction(_NetworkReplica):
    """RecAugNet on one device. Crops that arrive together are fitted by one forward pass."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings, "reconstruction")
        self.configure_batching(self.fit)

    def load(self, weights: str) -> Reconstructor:
        section = self.section
        return Reconstructor.load(
            weights, face_model=self.model, device=self.device, precision=section.precision, runtime=section.runtime
        )

    def predict(self, crops: list[np.ndarray]) -> list[Fit]:
        return self.network.fit(crops)

    @serve.batch(batch_size_fn=_count_items)
    async def fit(self, groups: list[list[np.ndarray]]) -> list[list[Fit]]:
        return await self.predict_groups(groups)


@serve.deployment
class Reenactment(_NetworkReplica):
    """The reenactor on one device. Requests that arrive together are computed by one forward pass."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings, "reenactment")
        self.configure_batching(self.reenact)

    def load(self, weights: str) -> Reenactor:
        return Reenactor.load_network(weights, self.model, self.device, self.section.precision)

    def predict(self, requests: list[ReenactRequest]) -> list[ReenactResult]:
        return self.network.reenact(requests)

    @serve.batch(batch_size_fn=_count_items)
    async def reenact(self, groups: list[list[ReenactRequest]]) -> list[list[ReenactResult]]:
        return await self.predict_groups(groups)


class NetworkHandles:
    """``Networks`` through deployment handles.

    A call that fails with its replica is retried on another one. It may then be computed twice, which is safe because
    the networks have no side effects.
    """

    def __init__(self, reconstruction: DeploymentHandle, reenactment: DeploymentHandle, attempts: int) -> None:
        self.reconstruction, self.reenactment, self.attempts = reconstruction, reenactment, attempts

    async def fit(self, crops: list[np.ndarray]) -> list[Fit]:
        return await self._with_retries(lambda: self.reconstruction.fit.remote(crops))

    async def reenact(self, requests: list[ReenactRequest]) -> list[ReenactResult]:
        return await self._with_retries(lambda: self.reenactment.reenact.remote(requests))

    async def describe(self) -> dict[str, ModelInfo]:
        return {
            "reconstruction": await self._with_retries(lambda: self.reconstruction.describe.remote()),
            "reenactment": await self._with_retries(lambda: self.reenactment.describe.remote()),
        }

    async def _with_retries(self, call: Callable[[], Awaitable[_Result]]) -> _Result:
        """Raises NetworkUnavailable if the queue is full or every attempt failed."""
        for attempt in range(self.attempts):
            try:
                return await call()
            except BackPressureError:
                raise NetworkUnavailable("the server's queue is full; try again in a moment") from None
            except (RayTaskError, TaskCancelledError):
                raise  # an error in the network's code, or a client that disconnected: a retry would not help
            except (RayError, DeploymentUnavailableError, AioRpcError):
                # Ray passes errors of the connection to a replica on as they are, unless it was refused.
                await asyncio.sleep(_RETRY_DELAYS_S[min(attempt, len(_RETRY_DELAYS_S) - 1)])
        raise NetworkUnavailable(f"the replica of this request died {self.attempts} times; try again")


@serve.deployment
@serve.ingress()
class Ingress:
    """HTTP, image decoding, face detection and compositing; the networks run in their own deployments."""

    def __init__(
        self,
        settings: dict[str, Any],
        reconstruction: DeploymentHandle,
        reenactment: DeploymentHandle,
        several: bool = False,
    ) -> None:
        """several: whether there may be other replicas of the ingress."""
        write_json_lines()
        use_threads(1)
        tune_malloc(_INGRESS_FREE_BYTES)
        self.settings, self.several = Settings.model_validate(settings), several
        check_host(self.settings.authentication, "http_options.host", get_serve_host())
        self.access = AccessControl.from_environment(self.settings.limits, self.settings.authentication)
        stages = Histogram("jr2net_stage_ms", "Milliseconds of a request's stages.", _LATENCY_BUCKETS_MS, ("stage",))
        self.service = Service(
            settings=self.settings,
            networks=NetworkHandles(reconstruction, reenactment, self.settings.attempts),
            model=load_face_model(self.settings.face),
            detector=load_detector(self.settings.detector),
            observe=lambda stage, seconds: stages.observe(1000 * seconds, {"stage": stage}),
        )

    def __serve_build_asgi_app__(self) -> Any:
        return create_api(self.service, self.access, self._share_quotas if self.several else None)

    async def _share_quotas(self) -> None:
        await keep_exchanging(self.access, serve.get_replica_context().replica_id.unique_id)


def get_serve_host() -> str | None:
    """The host on which this cluster's Ray Serve listens; None if it does not run or has no HTTP proxy."""
    client = _get_global_client(raise_if_no_controller_running=False) if ray.is_initialized() else None
    return client.http_config.host if client else None


def load_detector(mode: str) -> FaceDetector | None:
    """The face detector, according to ``Settings.detector``. Raises DetectorError if it is not installed."""
    if mode == "off":
        return None
    return load_face_detector(next((name for name in DETECTORS if name == mode), None))
