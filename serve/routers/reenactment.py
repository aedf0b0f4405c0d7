"""``POST /v1/reenact`` and ``/v1/reenact/video``: a photo with another expression, as an image or as a video."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from fastapi import APIRouter, Request
from fastapi.params import Depends
from fastapi.responses import Response, StreamingResponse
from starlette.datastructures import FormData

from jr2net.images.mark import encode_image
from jr2net.inference.driving import DrivingOptions, apply_driving, apply_expression
from jr2net.inference.face import FittedFace
from serve.bodies import (
    get_bool,
    get_file,
    get_text,
    media_type,
    parse_box,
    parse_expression,
    parse_image_format,
    parse_json,
    read_body,
    read_form,
    reject_unknown_fields,
)
from serve.documents import BODIES, RESPONSES
from serve.problems import Problem, network_errors_as_503
from serve.reenact import generate_video, reenact
from serve.service import Service


def reenactment_router(service: Service, guards: Sequence[Depends]) -> APIRouter:
    router = APIRouter(dependencies=guards)
    limits = service.settings.limits

    @router.post("/v1/reenact", responses=RESPONSES["reenact"], openapi_extra=BODIES["reenact"])
    async def reenact_photo(request: Request) -> Response:
        """Gives a photo another expression: named coefficients, or the expression of a driving photo."""
        form = await read_multipart(request)
        known = ("source", "box", "expression", "driving", "driving_box", "relative", "pose", "light", "format")
        reject_unknown_fields(form, known)
        text, driving = await get_text(form, "expression"), await get_file(form, "driving")
        options = await _options(form)
        if (text is None) == (driving is None):
            raise Problem(422, "send either expression (JSON) or driving (a photo)")
        if text is not None and options.affects_whole_crop:
            raise Problem(422, "pose and light need a driving photo; an expression has neither")
        if driving is not None and options.relative:
            raise Problem(422, "relative applies to expression only, not to a driving photo")
        expression = None if text is None else parse_expression(parse_json(text, "expression"), options.relative)
        image_format = parse_image_format(await get_text(form, "format"))
        driving_box = parse_box(await get_text(form, "driving_box"), "driving_box")
        with network_errors_as_503():
            source = await open_source(form)
            if expression is not None:
                face = apply_expression(source.fit.face, expression, options.relative)
            else:
                assert driving is not None
                driving_photo = await service.open_photo(driving, driving_box, name="driving")
                driving_fit = (await service.fit(driving_photo)).fit
                face = apply_driving(source.fit.face, driving_fit.face, options)
            image, network = await reenact(service, source, face, options.affects_whole_crop)
        with service.stage("encode"):
            content = await asyncio.to_thread(encode_image, image, service.mark(network), image_format)
        return Response(content, media_type=f"image/{image_format}", headers={"X-Model-Digest": network.digest})

    @router.post("/v1/reenact/video", responses=RESPONSES["video"], openapi_extra=BODIES["video"])
    async def reenact_video(request: Request) -> Response:
        """Animates a photo with a driving video or an ARKit capture. The MP4 can be played while it is generated."""
        form = await read_multipart(request)
        reject_unknown_fields(form, ("source", "box", "driving", "relative", "pose", "light", "smooth"))
        driving = await get_file(form, "driving")
        if not driving:
            raise Problem(422, "driving: send a video (MP4, MOV, WebM) or a Live Link Face CSV as a file")
        options = await _options(form)
        with network_errors_as_503():
            source = await open_source(form, limits.video_side)
            chunks = generate_video(service, source, driving, options)
            first = await anext(chunks, b"")
        return StreamingResponse(_chain(first, chunks), media_type="video/mp4")

    async def read_multipart(request: Request) -> FormData:
        if media_type(request) != "multipart/form-data":
            raise Problem(415, "send the fields as multipart/form-data")
        return await read_form(request, await read_body(request, limits), limits)

    async def open_source(form: FormData, max_side: int = 0) -> FittedFace:
        content = await get_file(form, "source")
        if content is None:
            raise Problem(422, "source: missing; send the photo as a file")
        box = parse_box(await get_text(form, "box"))
        return await service.fit(await service.open_photo(content, box, name="source", max_side=max_side))

    return router


async def _options(form: FormData) -> DrivingOptions:
    switches = {name: await get_bool(form, name, False) for name in ("pose", "light", "relative")}
    return DrivingOptions(**switches, smooth=await get_bool(form, "smooth", True))


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
