"""Request bodies: reading them within the limits, form fields, and the validation of boxes and expressions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from tempfile import SpooledTemporaryFile
from typing import Any, Literal

import numpy as np
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from jr2net.expressions.named import ExpressionError, expression_from_names
from jr2net.images.video_file import VideoFile
from jr2net.inference.face import FittedFace
from serve.problems import Problem
from serve.settings import Limits
from serve.uploads import as_video, new_spool

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


async def read_body(request: Request, limits: Limits) -> bytes:
    """The whole body. Raises Problem: 413 by its announced or actual length, 408 if it takes too long, 400 if empty."""
    body = bytearray()
    async with _arriving(request, limits) as limited:
        async for chunk in limited.stream():
            body += chunk
    return bytes(body)


async def read_spooled(request: Request, limits: Limits) -> SpooledTemporaryFile:
    """As ``read_body``, in a file, on the disk where it is large."""
    spool = new_spool()
    async with _arriving(request, limits) as limited:
        async for chunk in limited.stream():
            await asyncio.to_thread(spool.write, chunk)
    return spool


async def read_form(request: Request, limits: Limits) -> FormData:
    """The fields of a multipart body; files are on the disk where they are large. Raises Problem as ``read_body``, 400
    for one that cannot be read."""
    async with _arriving(request, limits) as limited:
        try:
            return await limited.form(max_files=limits.images + 1, max_fields=limits.images + 16)
        except HTTPException as error:
            raise Problem(400, f"the multipart body cannot be read: {error.detail}") from None
        except (ValueError, KeyError, LookupError, UnicodeDecodeError):
            raise Problem(400, "the multipart body cannot be read; encode it according to RFC 7578") from None


@asynccontextmanager
async def _arriving(request: Request, limits: Limits) -> AsyncIterator[Request]:
    """The request while its body arrives, within the limits. Raises Problem."""
    content_length, size = request.headers.get("content-length", ""), 0
    if content_length.isdecimal() and int(content_length) > limits.body_bytes:
        raise _too_large(limits)

    async def receive() -> Message:
        nonlocal size
        message = await request.receive()
        size += len(message.get("body", b""))
        if size > limits.body_bytes:
            raise _too_large(limits)
        return message

    try:
        async with asyncio.timeout(limits.body_seconds):
            yield Request(request.scope, receive)
    except TimeoutError:
        raise Problem(408, f"the body did not arrive within {limits.body_seconds:g} s; send it again") from None
    except ClientDisconnect:
        raise Problem(400, "the body ended early") from None
    if not size:
        raise Problem(400, "the body is empty; send a file")


def notes_header(notes: Sequence[str]) -> dict[str, str]:
    """``X-Capture-Notes``: what was found in what was sent, and done about it; none without notes."""
    text = " ".join("; ".join(notes).encode("ascii", "replace").decode().split())
    return {"X-Capture-Notes": text[:1000]} if text else {}


def photo_notes(face: FittedFace, name: str = "") -> list[str]:
    """Which of several faces of a photo was taken, what of its file was left out or assumed, and whether the confidence
    is low. name: of the photo, where a request has several."""
    photo, several = face.photo, face.photo.faces_found > 1
    which = [f"face {photo.index} of {photo.faces_found} was taken, 0 is the largest"] if several else []
    return [f"{name}: {note}" if name else note for note in (*which, *face.notes)]


def confidence_header(face: FittedFace, name: str = "") -> dict[str, str]:
    """``X-Confidence``, or ``X-Source-Confidence`` and the like: how probably the fit of a photo describes a face."""
    return {f"X-{name.capitalize()}-Confidence" if name else "X-Confidence": f"{face.confidence:.4f}"}


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def reject_unknown_fields(form: FormData, known: tuple[str, ...]) -> None:
    """Raises Problem 422 for a field that is not used, most often a misspelt one."""
    unknown = sorted(set(form) - set(known))
    if unknown:
        raise Problem(422, f"unknown field {unknown[0][:60]!r}; known: {', '.join(known)}")


async def reject_unknown_query(request: Request) -> None:
    """Raises Problem 422 for a parameter of the query that the route does not know, or that is given twice."""
    known = [parameter.alias for parameter in request.scope["route"].dependant.query_params]
    for name in request.query_params:
        if name not in known:
            raise Problem(422, f"unknown parameter {name[:60]!r}; known: {', '.join(known)}")
        if len(request.query_params.getlist(name)) > 1:
            raise Problem(422, f"{name}: given twice; give it once")


async def get_file(form: FormData, name: str) -> bytes | None:
    """The content of a file field; None if it is missing. Raises Problem 422 if it is text, or sent more than once."""
    upload = _get_upload(form, name)
    return None if upload is None else await upload.read()


def _get_upload(form: FormData, name: str) -> UploadFile | None:
    values = form.getlist(name)
    if not values:
        return None
    if len(values) > 1:
        raise Problem(422, f"{name}: sent {len(values)} times; send it once")
    if not isinstance(values[0], UploadFile):
        raise Problem(422, f"{name}: sent as text; send it as a file (with a filename)")
    return values[0]


async def get_video(form: FormData, name: str) -> VideoFile | None:
    """As ``get_file``, where the file may be a large video and stays on the disk."""
    upload = _get_upload(form, name)
    return None if upload is None else as_video(upload.file)  # type: ignore[arg-type]


async def get_text(form: FormData, name: str) -> str | None:
    """The value of a text field; of a file, its content; None if it is missing. Raises Problem 422."""
    values = form.getlist(name)
    if len(values) > 1:
        raise Problem(422, f"{name}: sent {len(values)} times; send it once")
    if not values:
        return None
    value = values[0]
    if isinstance(value, UploadFile):
        try:
            return (await value.read()).decode()
        except UnicodeDecodeError:
            raise Problem(422, f"{name}: not UTF-8 text") from None
    return value


async def get_bool(form: FormData, name: str, default: bool) -> bool:
    """The value of a true/false field. Raises Problem 422."""
    text = await get_text(form, name)
    if text is None:
        return default
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise Problem(422, f"{name}: {text[:40]!r} is neither true nor false")


async def get_face(form: FormData, name: str = "face") -> int:
    """The value of a field that selects a face; 0 if it is missing. Raises Problem 422."""
    return check_face(await get_text(form, name) or "0", name)


def check_face(value: Any, name: str = "face") -> int:
    """Raises Problem 422 unless ``value`` is an index from 0 to 99, as a number or as text."""
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal() and len(text) <= 2):
        raise Problem(422, f"{name}: {text[:40]!r} is not an index of a face, 0 to 99; the largest is 0")
    return int(text)


def parse_image_format(text: str | None) -> Literal["jpeg", "png"]:
    """Raises Problem 422."""
    if text is None or text == "jpeg":
        return "jpeg"
    if text == "png":
        return "png"
    raise Problem(422, f"format: {text[:40]!r} is neither jpeg nor png")


def parse_box(text: str | None, name: str = "box") -> tuple[float, ...] | None:
    """``left,top,right,bottom`` in pixels; None if the text is missing or blank. Raises Problem 422."""
    if text is None or not text.strip():
        return None
    try:
        box = tuple(float(value) for value in text.split(","))
    except ValueError:
        box = ()
    return check_box(box, name)


def check_box(box: Any, name: str = "box") -> tuple[float, ...]:
    """Raises Problem 422 unless ``box`` is four finite numbers of a box that is at least one pixel wide and high."""
    is_numeric = isinstance(box, list | tuple) and len(box) == 4 and all(type(v) in (int, float) for v in box)
    if not is_numeric or not all(abs(v) < 1e6 for v in box):  # of NaN it is false; an integer may exceed any float
        raise Problem(422, f"{name}: give four numbers left,top,right,bottom in pixels")
    if box[2] - box[0] < 1 or box[3] - box[1] < 1:
        raise Problem(422, f"{name}: right must be greater than left, and bottom greater than top, by at least a pixel")
    return tuple(float(v) for v in box)


def parse_json(text: str | bytes, name: str) -> Any:
    """Raises Problem 400 if the text is not JSON, 422 if a name stands twice in it."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in pairs:
            if key in values:
                raise Problem(422, f"{name}: {key[:60]!r} is given twice")
            values[key] = value
        return values

    try:
        return json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise Problem(400, f"{name}: not JSON") from None


def parse_expression(value: Any, relative: bool) -> np.ndarray:
    """{name: coefficient} to (51,) float32. Coefficients are in [0, 1]; in [-1, 1] if they are relative to the source.

    Raises Problem 422.
    """
    try:
        return expression_from_names(value, -1.0 if relative else 0.0)
    except ExpressionError as error:
        raise Problem(422, f"expression: {error}") from None


def _too_large(limits: Limits) -> Problem:
    return Problem(413, f"the body is larger than {limits.body_bytes} bytes; send less", {"Connection": "close"})
