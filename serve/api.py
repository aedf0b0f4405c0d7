"""The HTTP API as a FastAPI application. It does not depend on Ray: ``Service`` hides where the networks run.

``/docs`` documents the API; errors are RFC 9457 problem documents (``serve.problems``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Request, WebSocket
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.staticfiles import StaticFiles

from serve import problems
from serve.access import AccessControl
from serve.documents import DESCRIPTION
from serve.problems import Problem
from serve.routers.picture import picture_router
from serve.routers.reconstruction import reconstruction_router
from serve.routers.reenactment import reenactment_router
from serve.routers.status import status_router
from serve.routers.tracking import tracking_router
from serve.service import Service
from serve.stream import handle_stream

PAGE = Path(__file__).with_name("page")
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


def create_api(
    service: Service, access: AccessControl, background: Callable[[], Coroutine[Any, Any, None]] | None = None
) -> FastAPI:
    """background: runs beside the requests, until the application ends."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(background()) if background is not None else None
        yield
        if task is not None:
            task.cancel()

    api = FastAPI(
        title="JR2Net",
        version="1",
        description=DESCRIPTION,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    problems.register_handlers(api)

    async def admit(request: Request, authorization: Annotated[str | None, Header()] = None) -> AsyncIterator[None]:
        caller_id = access.authenticate(authorization, request.client.host if request.client else "")
        with access.admit(caller_id):
            yield

    guards = [Depends(admit)]
    guarded = (reconstruction_router, reenactment_router, tracking_router, picture_router)
    routers = (*(router(service, guards) for router in guarded), status_router(service))
    for router in routers:
        api.include_router(router)
    _refuse_other_methods(api, [route for router in routers for route in router.routes])

    @api.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        await handle_stream(socket, service, access)

    @api.get("/docs", include_in_schema=False)
    async def documentation() -> HTMLResponse:
        """Swagger UI. Its files come from this server if they were built with the page; no other host is contacted."""
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title="JR2Net",
            swagger_js_url="vendor/swagger-ui-bundle.js",
            swagger_css_url="vendor/swagger-ui.css",
            swagger_favicon_url="icon.svg",
        )

    if service.settings.page and PAGE.is_dir():
        api.mount("/", StaticFiles(directory=PAGE, html=True), name="page")
    return api


def _refuse_other_methods(api: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """405 with ``Allow`` for the other methods of every path; the page, which is mounted at /, would answer 404."""
    allowed: dict[str, set[str]] = {}
    for route in routes:
        if isinstance(route, APIRoute):
            allowed.setdefault(route.path, set()).update(route.methods or ())
    for path, methods in allowed.items():
        api.add_route(path, _refusal(", ".join(sorted(methods))), sorted(_METHODS - methods), include_in_schema=False)


def _refusal(methods: str) -> Callable[[Request], Response]:
    return lambda request: Problem(405, f"this path takes {methods} only", {"Allow": methods}).response
