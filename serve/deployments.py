"""The Ray Serve deployments: one for each network, and the ingress that speaks HTTP. All they do is place and batch."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import ray
import torch
from ray import serve
from ray.exceptions import RayError, RayTaskError, TaskCancelledError
from ray.serve.context import _get_global_client
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from ray.serve.metrics import Histogram

from jr2net.face.load import load_face_model
from jr2net.images.face_detector import DetectorError, FaceDetector, load_face_detector
from jr2net.inference.messages import Fit, ModelInfo, ReenactRequest, ReenactResult
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor
from jr2net.process import tune_malloc, use_threads
from serve.access import AccessControl
from serve.api import create_api
from serve.problems import Unavailable
from serve.service import Service
from serve.settings import Settings, check_host

_MILLISECONDS = [1.0, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]
_PAUSES = (0.05, 0.2, 0.5, 1.0)  # before work is given to another replica
_KEPT = 2**28  # bytes that an ingress keeps for the next photo; the largest photos take more, and give it back
_Result = TypeVar("_Result")


class _NetworkReplica(ABC):
    """What both network deployments share: weights that can be exchanged while requests are answered.

    ``user_config`` names the weights. New ones are loaded and warmed up beside the old ones, which go on answering; a
    batch is answered by one or the other.
    """

    def __init__(self, settings: dict[str, Any], section: str) -> None:
        self.settings = Settings.model_validate(settings)
        self.own = getattr(self.settings, section)
        use_threads(max(1, round(self.own.num_cpus)))
        tune_malloc()
        self.device = torch.device("cuda" if torch.cuda.is_available() and self.own.num_gpus > 0 else "cpu")
        self.model = load_face_model(self.settings.face)
        self.network: Any = None
        self.batch_sizes = Histogram(
            "jr2net_batch_size", "Requests answered by one forward pass.", [1, 2, 4, 8, 16, 32, 64], ("network",)
        )
        self.batch_sizes.set_default_tags({"network": section})

    def batch_as_set(self, batched: Any) -> None:
        """``batched`` is the method that ``serve.batch`` decorates."""
        batched.set_max_batch_size(self.own.max_batch_size)
        batched.set_batch_wait_timeout_s(self.own.batch_wait_s)

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """``{"weights": folder}``. Raises CheckpointError or StorageError; the old weights then stay."""
        self.network = await asyncio.to_thread(self._prepare, user_config["weights"])

    def _prepare(self, weights: str) -> Any:
        network = self.load(weights)
        network.warm_up(self.own.max_batch_size)
        return network

    @abstractmethod
    def load(self, weights: str) -> Any:
        """The network of a folder, local or s3://."""

    @abstractmethod
    def predict(self, items: list) -> list:
        """Items to their results, by one forward pass."""

    async def describe(self) -> ModelInfo:
        return self.network.info

    async def answer(self, groups: list[list]) -> list[list]:
        """Groups of several ingress replicas to their answers, by one forward pass."""
        items = [item for group in groups for item in group]
        self.batch_sizes.observe(len(items))
        answers = iter(await asyncio.to_thread(self.predict, items))
        return [list(islice(answers, len(group))) for group in groups]


def _items(groups: list[list]) -> int:
    return sum(map(len, groups))


@serve.deployment
class Reconstruction(_NetworkReplica):
    """RecAugNet on one device; crops that arrive together are fitted by one forward pass."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings, "reconstruction")
        self.batch_as_set(self.fit)

    def load(self, weights: str) -> Reconstructor:
        own = self.own
        return Reconstructor.load(
            weights, face_model=self.model, device=self.device, precision=own.precision, runtime=own.runtime
        )

    def predict(self, crops: list[np.ndarray]) -> list[Fit]:
        return self.network.fit(crops)

    @serve.batch(batch_size_fn=_items)
    async def fit(self, groups: list[list[np.ndarray]]) -> list[list[Fit]]:
        return await self.answer(groups)


@serve.deployment
class Reenactment(_NetworkReplica):
    """DCNet on one device; parts that arrive together are played by one forward pass."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings, "reenactment")
        self.batch_as_set(self.reenact)

    def load(self, weights: str) -> Reenactor:
        return Reenactor.load_network(weights, self.model, self.device, self.own.precision)

    def predict(self, requests: list[ReenactRequest]) -> list[ReenactResult]:
        return self.network.reenact(requests)

    @serve.batch(batch_size_fn=_items)
    async def reenact(self, groups: list[list[ReenactRequest]]) -> list[list[ReenactResult]]:
        return await self.answer(groups)


class Handles:
    """``Networks`` behind deployment handles. Work that is lost with a replica is given to another: it may be done
    twice, since nothing but the answer comes of it."""

    def __init__(self, reconstruction: DeploymentHandle, reenactment: DeploymentHandle, attempts: int) -> None:
        self.reconstruction, self.reenactment, self.attempts = reconstruction, reenactment, attempts

    async def fit(self, crops: list[np.ndarray]) -> list[Fit]:
        return await self._surely(lambda: self.reconstruction.fit.remote(crops))

    async def reenact(self, requests: list[ReenactRequest]) -> list[ReenactResult]:
        return await self._surely(lambda: self.reenactment.reenact.remote(requests))

    async def describe(self) -> dict[str, ModelInfo]:
        return {
            "reconstruction": await self._surely(lambda: self.reconstruction.describe.remote()),
            "reenactment": await self._surely(lambda: self.reenactment.describe.remote()),
        }

    async def _surely(self, ask: Callable[[], Awaitable[_Result]]) -> _Result:
        """Raises Unavailable."""
        for attempt in range(self.attempts):
            try:
                return await ask()
            except BackPressureError:
                raise Unavailable("more requests wait than the server takes; try again in a moment") from None
            except (RayTaskError, TaskCancelledError):
                raise  # an error of the network's own, or a client that has gone: no other replica would do better
            except (RayError, DeploymentUnavailableError):
                await asyncio.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
        raise Unavailable(f"the networks were lost {self.attempts} times while they worked on this; try again")


@serve.deployment
@serve.ingress()
class Ingress:
    """HTTP, pictures and faces; the networks are elsewhere."""

    def __init__(
        self, settings: dict[str, Any], reconstruction: DeploymentHandle, reenactment: DeploymentHandle
    ) -> None:
        use_threads(1)
        tune_malloc(_KEPT)
        self.settings = Settings.model_validate(settings)
        check_host(self.settings.authentication, "http_options.host", host_of_serve())
        self.access = AccessControl.from_environment(self.settings.limits, self.settings.authentication)
        stages = Histogram("jr2net_stage_ms", "Milliseconds of a request's stages.", _MILLISECONDS, ("stage",))
        self.service = Service(
            settings=self.settings,
            networks=Handles(reconstruction, reenactment, self.settings.attempts),
            model=load_face_model(self.settings.face),
            detector=find_detector(self.settings.detector),
            observe=lambda stage, seconds: stages.observe(1000 * seconds, {"stage": stage}),
        )

    def __serve_build_asgi_app__(self) -> Any:
        return create_api(self.service, self.access)


def host_of_serve() -> str | None:
    """Where the Ray Serve of this cluster listens, whoever started it; None where none runs, or it speaks no HTTP."""
    client = _get_global_client(raise_if_no_controller_running=False) if ray.is_initialized() else None
    return client.http_config.host if client else None


def find_detector(wanted: str) -> FaceDetector | None:
    """By ``Settings.detector``. Raises DetectorError where one is required and not installed."""
    if wanted == "off":
        return None
    try:
        return load_face_detector()
    except DetectorError:
        if wanted == "required":
            raise
        return None
