"""What clients send, read within limits: the whole body, its parts, and what JSON in it means."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any, Literal

import numpy as np
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from jr2net.expressions.named import ExpressionError, expression_from_names
from serve.problems import Problem
from serve.settings import Limits

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


async def read_body(request: Request, limits: Limits) -> bytes:
    """Raises Problem 413 by the announced length or by what arrives, 408 where it takes too long, 400 where empty."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limits.body_bytes:
        raise _too_large(limits)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for piece in request.stream():
                body += piece
                if len(body) > limits.body_bytes:
                    raise _too_large(limits)
    except TimeoutError:
        raise Problem(408, f"the body did not arrive within {limits.body_seconds:g} s; send it again") from None
    except ClientDisconnect:
        raise Problem(400, "the body ended early") from None
    if not body:
        raise Problem(400, "the body is empty; send a picture")
    return bytes(body)


async def read_form(request: Request, body: bytes, limits: Limits) -> FormData:
    """The parts of a multipart body. Raises Problem 400."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        return await Request(request.scope, receive).form(max_files=limits.images + 1, max_fields=limits.images + 16)
    except HTTPException as error:
        raise Problem(400, f"the multipart body cannot be read: {error.detail}") from None
    except (ValueError, KeyError, LookupError, UnicodeDecodeError):
        raise Problem(400, "the multipart body cannot be read; send it as RFC 7578 says") from None


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def refuse_others(form: FormData, known: tuple[str, ...]) -> None:
    """Raises Problem 422 for a part that nobody would read: most often a misspelt one."""
    unknown = sorted(set(form) - set(known))
    if unknown:
        raise Problem(422, f"unknown part {unknown[0][:60]!r}; known: {', '.join(known)}")


async def file_of(form: FormData, name: str) -> bytes | None:
    """The one file of that name. Raises Problem 422 where the part is text, or comes twice."""
    values = form.getlist(name)
    if not values:
        return None
    if len(values) > 1:
        raise Problem(422, f"{name}: sent {len(values)} times; once is enough")
    if not isinstance(values[0], UploadFile):
        raise Problem(422, f"{name}: a text; send it as a file (with a filename)")
    return await values[0].read()


async def text_of(form: FormData, name: str) -> str | None:
    """The one text of that name; a file counts as its content. Raises Problem 422."""
    values = form.getlist(name)
    if len(values) > 1:
        raise Problem(422, f"{name}: sent {len(values)} times; once is enough")
    if not values:
        return None
    value = values[0]
    if isinstance(value, UploadFile):
        try:
            return (await value.read()).decode()
        except UnicodeDecodeError:
            raise Problem(422, f"{name}: not a UTF-8 text") from None
    return value


async def switch_of(form: FormData, name: str, default: bool) -> bool:
    text = await text_of(form, name)
    if text is None:
        return default
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise Problem(422, f"{name}: {text[:40]!r} is neither true nor false")


def picture_kind(text: str | None) -> Literal["jpeg", "png"]:
    """Raises Problem 422."""
    if text is None or text == "jpeg":
        return "jpeg"
    if text == "png":
        return "png"
    raise Problem(422, f"format: {text[:40]!r} is neither jpeg nor png")


def parse_box(text: str | None, name: str = "box") -> tuple[float, ...] | None:
    """``left,top,right,bottom``; nothing gives None. Raises Problem 422."""
    if text is None or not text.strip():
        return None
    try:
        box = tuple(float(value) for value in text.split(","))
    except ValueError:
        box = ()
    return check_box(box, name)


def check_box(box: Any, name: str = "box") -> tuple[float, ...]:
    """Raises Problem 422 unless it is four finite numbers of a box that has an area."""
    numbers = isinstance(box, list | tuple) and all(isinstance(v, int | float) for v in box) and len(box) == 4
    if not numbers or not all(math.isfinite(v) and abs(v) < 1e6 for v in box):
        raise Problem(422, f"{name}: give four numbers left,top,right,bottom in pixels")
    if box[2] - box[0] < 1 or box[3] - box[1] < 1:
        raise Problem(422, f"{name}: right must lie beyond left and bottom below top, by a pixel at least")
    return tuple(float(v) for v in box)


def parse_json(text: str | bytes, what: str) -> Any:
    """Raises Problem 400 where it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Problem(400, f"{what}: not JSON") from None


def parse_expression(value: Any, relative: bool) -> np.ndarray:
    """{name: coefficient} to (51,); relative coefficients, which are added to the source's, may be negative.

    Raises Problem 422.
    """
    try:
        return expression_from_names(value, -1.0 if relative else 0.0)
    except ExpressionError as error:
        raise Problem(422, f"expression: {error}") from None


def _too_large(limits: Limits) -> Problem:
    return Problem(413, f"the body is larger than {limits.body_bytes} bytes; send less", {"Connection": "close"})
