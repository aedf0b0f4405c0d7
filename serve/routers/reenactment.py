"""``POST /v1/reenact`` and ``/v1/reenact/video``: photos that act, as an image or as a film."""

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
from serve.documents import BODIES, RESPONSES
from serve.problems import Problem, answering
from serve.reenact import film, reenact
from serve.service import Service


def reenactment_router(service: Service, guards: Sequence[Depends]) -> APIRouter:
    router = APIRouter(dependencies=guards)
    limits = service.settings.limits

    @router.post("/v1/reenact", responses=RESPONSES["reenact"], openapi_extra=BODIES["reenact"])
    async def reenact_photo(request: Request) -> Response:
        """Makes a photo act: by named coefficients, or as another photo does."""
        form = await read_multipart(request)
        refuse_others(
            form, ("source", "box", "expression", "driving", "driving_box", "relative", "pose", "light", "format")
        )
        text, driving = await text_of(form, "expression"), await file_of(form, "driving")
        options = await _options(form)
        if (text is None) == (driving is None):
            raise Problem(422, "send either expression (JSON) or driving (an image), one of the two")
        if text is not None and options.moves_surroundings:
            raise Problem(422, "pose and light are taken from a driving image; an expression has none")
        if driving is not None and options.relative:
            raise Problem(422, "relative goes with expression; a driving image's is taken as it is")
        wanted = None if text is None else parse_expression(parse_json(text, "expression"), options.relative)
        kind = picture_kind(await text_of(form, "format"))
        driving_box = parse_box(await text_of(form, "driving_box"), "driving_box")
        with answering():
            source = await source_of(form)
            if wanted is not None:
                face = apply_expression(source.fit.face, wanted, options.relative)
            else:
                assert driving is not None
                other = await service.fit(await service.open_photo(driving, driving_box, what="driving"))
                face = apply_driving(source.fit.face, other.fit.face, options)
            image, network = await reenact(service, source, face, options.moves_surroundings)
        with service.stage("encode"):
            content = await asyncio.to_thread(encode_image, image, service.mark(network), kind)
        return Response(content, media_type=f"image/{kind}", headers={"X-Model-Digest": network.digest})

    @router.post("/v1/reenact/video", responses=RESPONSES["video"], openapi_extra=BODIES["video"])
    async def reenact_video(request: Request) -> Response:
        """Makes a photo act as a video or an ARKit capture does; the MP4 plays while it is being made."""
        form = await read_multipart(request)
        refuse_others(form, ("source", "box", "driving", "relative", "pose", "light", "smooth"))
        driving = await file_of(form, "driving")
        if not driving:
            raise Problem(422, "driving: send a video (MP4, MOV, WebM) or a Live Link Face CSV as a file")
        options = await _options(form)
        with answering():
            source = await source_of(form, limits.video_side)
            pieces = film(service, source, driving, options)
            first = await anext(pieces, b"")
        return StreamingResponse(_chain(first, pieces), media_type="video/mp4")

    async def read_multipart(request: Request) -> FormData:
        if media_type(request) != "multipart/form-data":
            raise Problem(415, "send the parts as multipart/form-data")
        return await read_form(request, await read_body(request, limits), limits)

    async def source_of(form: FormData, side: int = 0) -> FittedFace:
        content = await file_of(form, "source")
        if content is None:
            raise Problem(422, "source: missing; send the photo that shall act as a file")
        box = parse_box(await text_of(form, "box"))
        return await service.fit(await service.open_photo(content, box, what="source", side=side))

    return router


async def _options(form: FormData) -> DrivingOptions:
    chosen = {name: await switch_of(form, name, False) for name in ("pose", "light", "relative")}
    return DrivingOptions(**chosen, smooth=await switch_of(form, "smooth", True))


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
