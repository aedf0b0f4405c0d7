"""``/v1/model``, ``/healthz`` and ``/readyz``: a description of what is served, liveness and readiness."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from jr2net.face.arkit import ARKIT_NAMES
from serve.documents import RESPONSES
from serve.problems import network_errors_as_503, service_unavailable
from serve.service import Service

_READY_TIMEOUT_S = 5.0


def status_router(service: Service) -> APIRouter:
    router = APIRouter()
    settings = service.settings

    @router.get("/v1/model", responses=RESPONSES["model"])
    async def describe() -> JSONResponse:
        """Digests and sizes of the networks, the face model, the names of the coefficients, and the limits."""
        with network_errors_as_503():
            networks = await service.describe()
        infos = {name: {"kind": n.kind, "digest": n.digest, "image_size": n.size} for name, n in networks.items()}
        return JSONResponse(
            {
                "model": networks["reconstruction"].digest,
                **infos,
                "face_model": {
                    "name": service.model.name,
                    "digest": service.model.digest,
                    "license": service.model.license,
                    "vertices": len(service.model.mean),
                    **service.model.sizes,
                },
                "expression_names": list(ARKIT_NAMES),
                "detector": service.detector is not None,
                "authentication": settings.authentication,
                "limits": settings.limits.model_dump(),
            }
        )

    @router.get("/healthz", responses=RESPONSES["health"])
    async def alive() -> dict[str, str]:
        """Whether the process is alive."""
        return {"status": "ok"}

    @router.get("/readyz", responses=RESPONSES["health"])
    async def ready() -> dict[str, str]:
        """Whether both networks are ready; 503 until they are."""
        with network_errors_as_503():
            async with asyncio.timeout(_READY_TIMEOUT_S):
                networks = await service.describe(refresh=True)
        if len({network.focal_ratio for network in networks.values()}) > 1:
            raise service_unavailable(
                "the two networks were trained for different cameras; serve weights of one run", 60
            )
        return {"status": "ok"}

    return router
