"""``POST /v1/picture``: a photo, or a video's first frame that shows a face, as a JPEG for browsers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import numpy as np
from fastapi import APIRouter, Request
from fastapi.params import Depends
from fastapi.responses import Response

from jr2net.images.arrays import encode_jpeg
from jr2net.images.photo import PhotoError, read_photo
from jr2net.images.video_file import VideoFile, is_video
from jr2net.inference.face import rounded
from jr2net.inference.following import FollowedFrame
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
        headers: dict[str, str] = {}
        if is_video(file):
            image, headers = await _frame(request, file)
        else:
            image, notes = await asyncio.to_thread(_photo, file.read())
            headers = notes_header(notes)
        with service.stage("encode"):
            content = await asyncio.to_thread(encode_jpeg, image)
        return Response(content, media_type="image/jpeg", headers=headers)

    def _photo(content: bytes) -> tuple[np.ndarray, tuple[str, ...]]:
        try:
            decoded = read_photo(content, limits.pixels)
        except PhotoError as error:
            raise Problem.from_error(error, "picture") from None
        return decoded.pixels, decoded.notes

    async def _frame(request: Request, video: VideoFile) -> tuple[np.ndarray, dict[str, str]]:
        """The frame and the header that tells its faces; without a face detector the first frame, and none."""
        clip = await open_clip(service, video, "picture")
        frames = clip.frames()
        if service.detector is None:
            image = await asyncio.to_thread(next, frames, None)
            if image is None:
                raise Problem(422, "picture: the video has no frames; send another one")
            return image, {}
        follow = open_follower(service, clip.fps, name="picture")

        def next_frame() -> FollowedFrame | None:
            image = next(frames, None)
            return None if image is None else follow(image)

        while (found := await asyncio.to_thread(next_frame)) is not None:
            if found.photo is not None:
                boxes = [rounded(np.array(face.box), 1) for face in found.photo.faces]
                return found.photo.image, {"X-Face-Boxes": json.dumps(boxes)}
            if await request.is_disconnected():
                raise Problem(400, "the client has gone")
        try:
            follow.check_found()
        except NoFaceError as error:
            raise Problem(422, str(error)) from None
        raise Problem(422, "picture: the video has no frames; send another one")

    return router
