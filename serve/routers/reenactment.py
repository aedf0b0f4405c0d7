"""``POST /v1/reenact`` and ``/v1/reenact/video``: a photo with another expression, as an image or as a video.

``POST /v1/capture``: the frames of a capture, for callers that drive a photo frame by frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from fastapi import APIRouter, Request
from fastapi.params import Depends
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.datastructures import FormData

from jr2net.face.arkit import ARKIT_NAMES
from jr2net.images.mark import encode_image
from jr2net.inference.control import drive, with_expression
from jr2net.inference.driving import is_video
from jr2net.inference.face import FittedFace, rounded
from serve.acting import act, fixed_driving
from serve.bodies import (
    get_face,
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
from serve.control import FILM_CONTROLS, PHOTO_CONTROLS, of_expression, read_controls
from serve.documents import BODIES, RESPONSES
from serve.problems import Problem, network_errors_as_503
from serve.reenact import first_chunk, generate_video, open_capture, open_driving, reenact
from serve.service import Service

_PHOTO_FIELDS = (
    "source", "box", "face", "expression", "driving", "driving_box", "driving_face", "format", *PHOTO_CONTROLS,
)  # fmt: skip
_VIDEO_FIELDS = ("source", "box", "face", "driving", "expression", *FILM_CONTROLS)


def reenactment_router(service: Service, guards: Sequence[Depends]) -> APIRouter:
    router = APIRouter(dependencies=guards)
    limits = service.settings.limits

    @router.post("/v1/reenact", responses=RESPONSES["reenact"], openapi_extra=BODIES["reenact"])
    async def reenact_photo(request: Request) -> Response:
        """Gives a photo another expression: named coefficients, or the expression of a driving photo."""
        form = await read_multipart(request)
        reject_unknown_fields(form, _PHOTO_FIELDS)
        text, driving = await get_text(form, "expression"), await get_file(form, "driving")
        options = await read_controls(form, PHOTO_CONTROLS)
        if text is not None and driving is not None:
            raise Problem(422, "send either expression (JSON) or driving (a photo)")
        if text is None and driving is None and not options.changes_source:
            raise Problem(422, "send either expression (JSON) or driving (a photo), or turn the head, e.g. yaw=20")
        if driving is not None and options.relative:
            raise Problem(422, "relative applies to expression only, not to a driving photo")
        expression = None
        if driving is None:
            if text is None:
                options = replace(options, relative=True)  # a change of nothing
            options = of_expression(options, "named coefficients drive")
            expression = parse_expression(parse_json(text or "{}", "expression"), options.relative)
        image_format = parse_image_format(await get_text(form, "format"))
        driving_box = parse_box(await get_text(form, "driving_box"), "driving_box")
        driving_face = await get_face(form, "driving_face")
        with network_errors_as_503():
            source = await open_source(form, await get_file(form, "source"))
            if expression is not None:
                face = drive(source.fit.face, with_expression(source.fit.face, expression), options)
            else:
                assert driving is not None
                driving_photo = await service.open_photo(driving, driving_box, driving_face, name="driving")
                driving_fit = (await service.fit(driving_photo)).fit
                face = drive(source.fit.face, driving_fit.face, options)
            image, network = await reenact(service, source, face, options.affects_whole_crop)
        with service.stage("encode"):
            content = await asyncio.to_thread(encode_image, image, service.mark(network), image_format)
        return Response(content, media_type=f"image/{image_format}", headers={"X-Model-Digest": network.digest})

    @router.post("/v1/reenact/video", responses=RESPONSES["video"], openapi_extra=BODIES["video"])
    async def reenact_video(request: Request) -> Response:
        """Animates a photo or a video with a driving video, an ARKit capture or coefficients.

        The MP4 can be played while it is generated.
        """
        form = await read_multipart(request)
        reject_unknown_fields(form, _VIDEO_FIELDS)
        content = await get_file(form, "driving")
        text, options = await get_text(form, "expression"), await read_controls(form, FILM_CONTROLS)
        sent = await get_file(form, "source")
        video = sent if sent and is_video(sent) else None
        if video and (form.getlist("box") or form.getlist("face")):
            raise Problem(422, "box and face choose a photo's face; of a video the largest one acts")
        if content is not None and text is not None:
            raise Problem(422, "send either expression (JSON) or driving (a video or a capture)")
        if content is None and text is not None and not video:
            raise Problem(422, "expression: drives a video; for a photo send it to /v1/reenact")
        if content == b"" or (content is None and not video):
            raise Problem(422, "driving: send a video (MP4, MOV, WebM) or an ARKit capture (CSV, JSON) as a file")
        with network_errors_as_503():
            if video is None:
                source = await open_source(form, sent, limits.video_side)
            if content is not None:
                driving = await open_driving(service, content, options)
            else:
                driving = fixed_driving(text, options)
            chunks = act(service, video, driving) if video else generate_video(service, source, driving)
            first = await first_chunk(chunks, request.is_disconnected)
        notes = "; ".join(driving.notes).encode("ascii", "replace").decode()
        headers = {"X-Capture-Notes": " ".join(notes.split())[:1000]} if notes else {}
        return StreamingResponse(_chain(first, chunks), media_type="video/mp4", headers=headers)

    @router.post("/v1/capture", responses=RESPONSES["capture"], openapi_extra=BODIES["capture"])
    async def read_capture(request: Request) -> Response:
        """The frames of a capture in CSV or JSON: on one scale, at a fixed rate, gaps bridged or held."""
        track = await open_capture(await read_body(request, limits), "capture")
        document = {"fps": track.fps, "names": list(ARKIT_NAMES), "notes": list(track.notes)}
        return await asyncio.to_thread(
            lambda: JSONResponse({**document, "frames": rounded(track.expression, 4)})
        )  # of long captures it takes seconds

    async def read_multipart(request: Request) -> FormData:
        if media_type(request) != "multipart/form-data":
            raise Problem(415, "send the fields as multipart/form-data")
        return await read_form(request, await read_body(request, limits), limits)

    async def open_source(form: FormData, content: bytes | None, max_side: int = 0) -> FittedFace:
        if content is None:
            raise Problem(422, "source: missing; send the photo as a file")
        box, face = parse_box(await get_text(form, "box")), await get_face(form)
        return await service.fit(await service.open_photo(content, box, face, name="source", max_side=max_side))

    return router


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
