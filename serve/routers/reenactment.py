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
from jr2net.images.video_file import is_video
from jr2net.inference.control import drive, with_expression
from jr2net.inference.face import FittedFace, rounded
from jr2net.inference.following import FaceChoice
from serve.acting import act, fixed_driving, open_acting
from serve.bodies import (
    confidence_header,
    get_face,
    get_file,
    get_text,
    get_video,
    media_type,
    notes_header,
    parse_box,
    parse_expression,
    parse_image_format,
    parse_json,
    photo_notes,
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
_VIDEO_FIELDS = (
    "source", "box", "face", "driving", "driving_box", "driving_face", "expression", *FILM_CONTROLS,
)  # fmt: skip


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
            sent = {"source": source}
            if expression is not None:
                face = drive(source.fit.face, with_expression(source.fit.face, expression), options)
            else:
                assert driving is not None
                driving_photo = await service.open_photo(driving, driving_box, driving_face, name="driving")
                sent["driving"] = driver = await service.fit(driving_photo)
                face = drive(source.fit.face, driver.fit.face, options)
            (image, network), said = await asyncio.gather(
                reenact(service, source, face, options.affects_whole_crop), asyncio.to_thread(_found_in, sent)
            )
        with service.stage("encode"):
            content = await asyncio.to_thread(encode_image, image, service.mark(network), image_format)
        headers = {"X-Model-Digest": network.digest, **said}
        return Response(content, media_type=f"image/{image_format}", headers=headers)

    @router.post("/v1/reenact/video", responses=RESPONSES["video"], openapi_extra=BODIES["video"])
    async def reenact_video(request: Request) -> Response:
        """Animates a photo or a video with a driving video, an ARKit capture or coefficients.

        The MP4 can be played while it is generated.
        """
        form = await read_multipart(request)
        reject_unknown_fields(form, _VIDEO_FIELDS)
        driving_file, video = await get_video(form, "driving"), await get_video(form, "source")
        text, options = await get_text(form, "expression"), await read_controls(form, FILM_CONTROLS)
        of_video = video is not None and is_video(video)
        if driving_file is not None and text is not None:
            raise Problem(422, "send either expression (JSON) or driving (a video or a capture)")
        if driving_file is None and text is not None and not of_video:
            raise Problem(422, "expression: drives a video; for a photo send it to /v1/reenact")
        if (driving_file is None and not of_video) or (driving_file is not None and not driving_file.head):
            raise Problem(422, "driving: send a video (MP4, MOV, WebM) or an ARKit capture (CSV, JSON) as a file")
        with network_errors_as_503():
            if driving_file is not None:
                driving = await open_driving(service, driving_file, options, await read_choice(form, "driving_"))
            else:
                driving = fixed_driving(text, options)
            if video is not None and of_video:
                acting = await open_acting(service, video, driving, await read_choice(form))
                chunks, found, said, count = act(service, acting), acting.found, {}, acting.clip.count
            else:
                source = await open_source(form, None if video is None else video.read(), limits.video_side)
                notes = await asyncio.to_thread(photo_notes, source, "source")
                found, said, count = (
                    lambda: (*notes, *driving.found()),
                    confidence_header(source, "source"),
                    driving.count,
                )
                chunks = generate_video(service, source, driving, found)
            first = await first_chunk(chunks, request.is_disconnected)
        headers = {"X-Film-Frames": str(count), **said, **notes_header(found())}
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
        return await read_form(request, limits)

    async def read_choice(form: FormData, prefix: str = "") -> FaceChoice:
        """Which face of a video is meant. Raises Problem 422."""
        box = parse_box(await get_text(form, f"{prefix}box"), f"{prefix}box")
        return FaceChoice.of(await get_face(form, f"{prefix}face"), box)

    async def open_source(form: FormData, content: bytes | None, max_side: int = 0) -> FittedFace:
        if content is None:
            raise Problem(422, "source: missing; send the photo as a file")
        box, face = parse_box(await get_text(form, "box")), await get_face(form)
        return await service.fit(await service.open_photo(content, box, face, name="source", max_side=max_side))

    return router


def _found_in(sent: dict[str, FittedFace]) -> dict[str, str]:
    """The headers on the photos that were sent, by their names: their confidence, and notes."""
    notes = [note for name, face in sent.items() for note in photo_notes(face, name)]
    confidences = [confidence_header(face, name) for name, face in sent.items()]
    return {name: value for header in confidences for name, value in header.items()} | notes_header(notes)


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
