"""The HTTP API as a FastAPI application. It knows nothing of Ray: the networks are behind ``Service``.

Documented for callers at ``/docs``; errors are problem documents (``serve.problems``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Header, Query, Request, WebSocket
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.staticfiles import StaticFiles

from jr2net.face.arkit import ARKIT_NAMES
from jr2net.images.mark import encode_image
from serve import problems
from serve.access import AccessControl
from serve.bodies import (
    file_of,
    media_type,
    parse_box,
    parse_expression,
    parse_json,
    picture_kind,
    read_body,
    read_form,
    refuse_others,
    switch_of,
    text_of,
)
from serve.documents import BODIES, DESCRIPTION, RESPONSES
from serve.problems import Problem, answering, busy
from serve.reconstruct import MEDIA_TYPES, as_json, as_mesh, as_overlay
from serve.reenact import Source, Switches, driven, expressed, film, play
from serve.service import Service
from serve.stream import converse

PAGE = Path(__file__).with_name("page")
_READY_SECONDS = 5.0
_RAW = ("application/octet-stream", "application/x-www-form-urlencoded", "")  # what curl --data-binary says


def create_api(service: Service, access: AccessControl) -> FastAPI:
    settings, limits = service.settings, service.settings.limits
    api = FastAPI(
        title="JR2Net", version="1", description=DESCRIPTION, redirect_slashes=False, docs_url=None, redoc_url=None
    )
    problems.install(api)

    async def caller(request: Request, authorization: Annotated[str | None, Header()] = None) -> AsyncIterator[None]:
        name = access.name(authorization, request.client.host if request.client else "")
        with access.admit(name):
            yield

    guarded = [Depends(caller)]

    @api.post(
        "/v1/reconstruct", dependencies=guarded, responses=RESPONSES["reconstruct"], openapi_extra=BODIES["reconstruct"]
    )
    async def reconstruct(
        request: Request,
        format: Annotated[Literal["json", "obj", "glb", "overlay"], Query(description="what to answer with")] = "json",
        box: Annotated[str | None, Query(description="left,top,right,bottom of the face, in pixels")] = None,
        face: Annotated[int, Query(ge=0, le=99, description="which face, counted from 0; the largest is first")] = 0,
    ) -> Response:
        """Fits the morphable face to every picture."""
        body = await read_body(request, limits)
        images, boxes = await _images(request, body, box)
        if format != "json" and len(images) > 1:
            raise Problem(422, f"format={format} is of one picture; send {len(images)} calls, or take format=json")

        async def fit(number: int) -> tuple[Any, Any]:
            what = f"image {number}" if len(images) > 1 else "image"
            portrait = await service.portrait(images[number], boxes[number], face, what)
            return portrait, await service.fit(portrait)

        with answering():
            fitted = await _all(fit(number) for number in range(len(images)))
        digest = fitted[0][1].network.digest
        with service.stage("encode"):
            if format == "json":
                return JSONResponse({"model": digest, "faces": [as_json(*pair) for pair in fitted]})
            if format == "overlay":
                content = await asyncio.to_thread(as_overlay, service.model, *fitted[0])
            else:
                content = await asyncio.to_thread(as_mesh, service.model, fitted[0][1], format)
        return Response(content, media_type=MEDIA_TYPES[format], headers={"X-Model-Digest": digest})

    @api.post("/v1/reenact", dependencies=guarded, responses=RESPONSES["reenact"], openapi_extra=BODIES["reenact"])
    async def reenact(request: Request) -> Response:
        """Makes a photo act: by named coefficients, or as another picture does."""
        form = await multipart(request)
        refuse_others(
            form, ("source", "box", "expression", "driving", "driving_box", "relative", "pose", "light", "format")
        )
        text, driving = await text_of(form, "expression"), await file_of(form, "driving")
        switches = await _switches(form)
        if (text is None) == (driving is None):
            raise Problem(422, "send either expression (JSON) or driving (a picture), one of the two")
        if text is not None and switches.whole:
            raise Problem(422, "pose and light are taken from a driving picture; an expression has none")
        if driving is not None and switches.relative:
            raise Problem(422, "relative goes with expression; a driving picture's is taken as it is")
        wanted = None if text is None else parse_expression(parse_json(text, "expression"), switches.relative)
        kind = picture_kind(await text_of(form, "format"))
        driving_box = parse_box(await text_of(form, "driving_box"), "driving_box")
        with answering():
            source = await source_of(form)
            if wanted is not None:
                face = expressed(source.fit.face, wanted, switches.relative)
            else:
                assert driving is not None
                other = await service.portrait(driving, driving_box, what="driving")
                face = driven(source.fit.face, (await service.fit(other)).face, switches)
            picture, network = await play(service, source, face, switches.whole)
        with service.stage("encode"):
            content = await asyncio.to_thread(encode_image, picture, service.mark(network), kind)
        return Response(content, media_type=f"image/{kind}", headers={"X-Model-Digest": network.digest})

    @api.post("/v1/reenact/video", dependencies=guarded, responses=RESPONSES["video"], openapi_extra=BODIES["video"])
    async def reenact_video(request: Request) -> Response:
        """Makes a photo act as a video or an ARKit capture does; the MP4 plays while it is being made."""
        form = await multipart(request)
        refuse_others(form, ("source", "box", "driving", "relative", "pose", "light", "smooth"))
        driving = await file_of(form, "driving")
        if not driving:
            raise Problem(422, "driving: send a video (MP4, MOV, WebM) or a Live Link Face CSV as a file")
        switches = await _switches(form)
        with answering():
            source = await source_of(form, limits.video_side)
            pieces = film(service, source, driving, switches)
            first = await anext(pieces, b"")
        return StreamingResponse(_chain(first, pieces), media_type="video/mp4")

    @api.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        await converse(socket, service, access)

    @api.get("/v1/model", responses=RESPONSES["model"])
    async def describe() -> JSONResponse:
        """What is served: digests and sizes of the networks, the face model, names, limits."""
        with answering():
            networks = await service.describe()
        described = {name: {"kind": n.kind, "digest": n.digest, "image_size": n.size} for name, n in networks.items()}
        return JSONResponse(
            {
                "model": networks["reconstruction"].digest,
                **described,
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
                "limits": limits.model_dump(),
            }
        )

    @api.get("/healthz", responses=RESPONSES["health"])
    async def alive() -> dict[str, str]:
        """Whether the process answers at all."""
        return {"status": "ok"}

    @api.get("/readyz", responses=RESPONSES["health"])
    async def ready() -> dict[str, str]:
        """Whether both networks answer; 503 until they do."""
        with answering():
            async with asyncio.timeout(_READY_SECONDS):
                networks = await service.describe(fresh=True)
        if len({network.focal_ratio for network in networks.values()}) > 1:
            raise busy("the two networks were trained for different cameras; serve weights of one run", 60)
        return {"status": "ok"}

    async def multipart(request: Request):
        if media_type(request) != "multipart/form-data":
            raise Problem(415, "send the parts as multipart/form-data")
        return await read_form(request, await read_body(request, limits), limits)

    async def source_of(form, side: int = 0) -> Source:
        content = await file_of(form, "source")
        if content is None:
            raise Problem(422, "source: missing; send the photo that shall act as a file")
        box = parse_box(await text_of(form, "box"))
        portrait = await service.portrait(content, box, what="source", side=side)
        return Source(portrait, await service.fit(portrait))

    async def _images(request: Request, body: bytes, box: str | None):
        """Pictures of a raw or multipart body, and the box of each."""
        kind = media_type(request)
        if kind != "multipart/form-data":
            if kind not in _RAW and not kind.startswith("image/"):
                raise Problem(
                    415, f"Content-Type {kind[:60]!r}: send image/…, application/octet-stream or multipart/form-data"
                )
            return [body], [parse_box(box)]
        form = await read_form(request, body, limits)
        refuse_others(form, ("image", "box"))
        images = [item for item in form.getlist("image") if not isinstance(item, str)]
        if not images or len(images) != len(form.getlist("image")):
            raise Problem(422, "image: send one or more files (with filenames)")
        if len(images) > limits.images:
            raise Problem(413, f"{len(images)} pictures in one call, more than {limits.images}; send several calls")
        texts = [item for item in form.getlist("box") if isinstance(item, str)] or [box or ""] * len(images)
        if len(texts) != len(images):
            raise Problem(422, f"box: {len(texts)} for {len(images)} pictures; send one for each, in order, or none")
        return [await image.read() for image in images], [parse_box(text) for text in texts]

    @api.get("/docs", include_in_schema=False)
    async def documentation() -> HTMLResponse:
        """Swagger UI, from here where it was built with the page; no other host is asked."""
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title="JR2Net",
            swagger_js_url="vendor/swagger-ui-bundle.js",
            swagger_css_url="vendor/swagger-ui.css",
            swagger_favicon_url="icon.svg",
        )

    if settings.page and PAGE.is_dir():
        api.mount("/", StaticFiles(directory=PAGE, html=True), name="page")
    return api


async def _switches(form) -> Switches:
    names = ("pose", "light", "relative")
    chosen = {name: await switch_of(form, name, False) for name in names}
    return Switches(**chosen, smooth=await switch_of(form, "smooth", True))


async def _all(work) -> list:
    """Everything at once; the first error ends the rest."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
