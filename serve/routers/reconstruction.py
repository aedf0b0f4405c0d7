"""``POST /v1/reconstruct``: photos to faces, as JSON, a mesh or an overlay."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, params
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import FormData

from jr2net.images.mark import encode_image
from jr2net.inference.face import FittedFace
from serve.bodies import (
    check_face,
    confidence_header,
    media_type,
    notes_header,
    parse_box,
    photo_notes,
    read_body,
    read_form,
    reject_unknown_fields,
    reject_unknown_query,
)
from serve.documents import BODIES, RESPONSES
from serve.problems import Problem, network_errors_as_503
from serve.service import Service
from serve.settings import Limits

_RAW = ("application/octet-stream", "application/x-www-form-urlencoded", "")  # the second is from curl --data-binary
_MEDIA_TYPES = {"obj": "model/obj", "glb": "model/gltf-binary", "overlay": "image/jpeg"}

Format = Annotated[Literal["json", "obj", "glb", "overlay"], Query(description="format of the response")]
Box = Annotated[str | None, Query(description="left,top,right,bottom of the face, in pixels")]
FaceIndex = Annotated[int, Query(ge=0, le=99, description="index of the face, starting at 0; the largest is first")]


def reconstruction_router(service: Service, guards: Sequence[params.Depends]) -> APIRouter:
    router = APIRouter(dependencies=[*guards, Depends(reject_unknown_query)])
    limits = service.settings.limits

    @router.post("/v1/reconstruct", responses=RESPONSES["reconstruct"], openapi_extra=BODIES["reconstruct"])
    async def reconstruct(request: Request, format: Format = "json", box: Box = None, face: FaceIndex = 0) -> Response:
        """Fits the morphable face to every image."""
        images, boxes, indices = await _images(request, box, face, limits)
        if format != "json" and len(images) > 1:
            raise Problem(422, f"format={format} works with one image; send {len(images)} requests, or use format=json")

        async def fit(index: int) -> FittedFace:
            name = f"image {index}" if len(images) > 1 else "image"
            return await service.fit(await service.open_photo(images[index], boxes[index], indices[index], name))

        with network_errors_as_503():
            faces = await _gather([fit(index) for index in range(len(images))])
        digest = faces[0].fit.network.digest
        with service.stage("encode"):
            if format == "json":
                answers = await asyncio.to_thread(lambda: [face.to_json() for face in faces])
                return JSONResponse({"model": digest, "faces": answers})
            content, said = await asyncio.to_thread(lambda: (_encode(faces[0], format), photo_notes(faces[0], "image")))
        headers = {"X-Model-Digest": digest, **confidence_header(faces[0]), **notes_header(said)}
        return Response(content, media_type=_MEDIA_TYPES[format], headers=headers)

    return router


def _encode(face: FittedFace, format: str) -> bytes:
    if format == "overlay":
        return encode_image(face.overlay(), None)
    return face.to_glb() if format == "glb" else face.to_obj()


async def _images(
    request: Request, box: str | None, face: int, limits: Limits
) -> tuple[list[bytes], list[tuple[float, ...] | None], list[int]]:
    """The images of a raw or multipart body, and the box and the index of the face of each. Raises Problem."""
    content_type = media_type(request)
    if content_type != "multipart/form-data":
        if content_type not in _RAW and not content_type.startswith("image/"):
            raise Problem(
                415,
                f"Content-Type {content_type[:60]!r}: send image/…, application/octet-stream or multipart/form-data",
            )
        return [await read_body(request, limits)], [parse_box(box)], [face]
    form = await read_form(request, limits)
    reject_unknown_fields(form, ("image", "box", "face"))
    images = [item for item in form.getlist("image") if not isinstance(item, str)]
    if not images or len(images) != len(form.getlist("image")):
        raise Problem(422, "image: send one or more files (with filenames)")
    if len(images) > limits.images:
        raise Problem(413, f"{len(images)} images in one request, more than {limits.images}; send several requests")
    boxes = _one_per_image(form, "box", box or "", len(images))
    faces = _one_per_image(form, "face", str(face), len(images))
    return (
        [await image.read() for image in images],
        [parse_box(text) for text in boxes],
        [check_face(text) for text in faces],
    )


def _one_per_image(form: FormData, name: str, default: str, images: int) -> list[str]:
    """The values of a field that is sent once per image, or not at all. Raises Problem 422."""
    texts = [item for item in form.getlist(name) if isinstance(item, str)] or [default] * images
    if len(texts) != images:
        raise Problem(422, f"{name}: {len(texts)} for {images} images; send one per image, in order, or none")
    return texts


async def _gather(coroutines: list) -> list:
    """Runs coroutines concurrently; the first error cancels the rest."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
