"""``POST /v1/picture``: a photo, or a video's first frame that shows a face, as a JPEG for browsers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from fastapi import APIRouter, Request
from fastapi.params import Depends
from fastapi.responses import Response

from jr2net.images.arrays import encode_jpeg
from jr2net.images.photo import PhotoError, read_photo
from jr2net.images.video_file import VideoFile, is_video
from jr2net.inference.photo import NoFaceError
from serve.bodies import notes_header, read_spooled
from serve.documents import BODIES, RESPONSES
from serve.problems import Problem
from serve.reenact import open_clip, open_follower
from serve.service import Service
from serve.uploads import as_video


def picture_router(service: Service, guards: Sequence[Depends]) -> APIRouter:
    router = APIRouter(dependencies=guards)
    limits = service.settings.limits

    @router.post("/v1/picture", responses=RESPONSES["picture"], openapi_extra=BODIES["picture"])
    async def picture(request: Request) -> Response:
        """A photo, or a video's first frame that shows a face, as the other routes see it: upright, 8 bits, sRGB."""
        file = as_video(await read_spooled(request, limits))
        if is_video(file):
            image, notes = await _frame(request, file), tuple[str, ...]()
        else:
            image, notes = await asyncio.to_thread(_photo, file.read())
        with service.stage("encode"):
            content = await asyncio.to_thread(encode_jpeg, image)
        return Response(content, media_type="image/jpeg", headers=notes_header(notes))

    def _photo(content: bytes) -> tuple[np.ndarray, tuple[str, ...]]:
        try:
            decoded = read_photo(content, limits.pixels)
        except PhotoError as error:
            raise Problem.from_error(error, "picture") from None
        return decoded.pixels, decoded.notes

    async def _frame(request: Request, video: VideoFile) -> np.ndarray:
        """Without a face detector the first one."""
        clip = await open_clip(service, video, "picture")
        frames = clip.frames()
        if service.detector is None:
            image = await asyncio.to_thread(next, frames, None)
            if image is None:
                raise Problem(422, "picture: the video has no frames; send another one")
            return image
        follow = open_follower(service, clip.fps, name="picture")

        def next_frame() -> tuple[np.ndarray, bool] | None:
            image = next(frames, None)
            return None if image is None else (image, follow(image).photo is not None)

        while (found := await asyncio.to_thread(next_frame)) is not None:
            if found[1]:
                return found[0]
            if await request.is_disconnected():
                raise Problem(400, "the client has gone")
        try:
            follow.check_found()
        except NoFaceError as error:
            raise Problem(422, str(error)) from None
        raise Problem(422, "picture: the video has no frames; send another one")

    return router
