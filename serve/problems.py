"""Errors as RFC 9457 problem documents: one status for each meaning, a sentence that says what to do, nothing internal.

400 not what it says it is (damaged, cut off, no JSON)     415 a format that is not read here
401 no key, or a wrong one                                 422 understood, and cannot be done (no face, unknown names)
408 the body took too long to arrive                       429 too many requests of this key
413 too many bytes, pixels or seconds                      503 overloaded, or not ready
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from jr2net.images.photo import PhotoError
from jr2net.images.video import VideoError

LOGGER = logging.getLogger("ray.serve")
MEDIA_TYPE = "application/problem+json"
_STATUS = {"format": 415, "large": 413, "broken": 400}


class Problem(Exception):
    """An answer that is no success. ``detail`` is for the person who called."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})

    @property
    def document(self) -> dict[str, Any]:
        title = HTTPStatus(self.status).phrase
        return {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}

    @staticmethod
    def of(error: PhotoError | VideoError, what: str) -> Problem:
        return Problem(_STATUS[error.kind], f"{what}: {error}")


def busy(detail: str, seconds: float = 1) -> Problem:
    """503: the same request will do later."""
    return Problem(503, detail, {"Retry-After": str(max(1, round(seconds)))})


class Unavailable(Exception):
    """The networks cannot take a request now: overloaded, starting, or gone more often than it was tried again."""


@contextmanager
def answering() -> Iterator[None]:
    """What the networks' side may raise, as what callers should know of it."""
    try:
        yield
    except TimeoutError:
        raise busy("the networks do not answer in time; try again") from None
    except Unavailable as error:
        raise busy(str(error)) from None


def answer(problem: Problem) -> JSONResponse:
    return JSONResponse(problem.document, problem.status, problem.headers, media_type=MEDIA_TYPE)


def install(api: FastAPI) -> None:
    """Makes every error of an application a problem document."""

    @api.exception_handler(Problem)
    async def ours(request: Request, error: Problem) -> JSONResponse:
        return answer(error)

    @api.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        faults = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:5])
        return answer(Problem(422, faults[:1000]))

    @api.exception_handler(HTTPException)
    async def of_the_framework(request: Request, error: HTTPException) -> JSONResponse:
        return answer(Problem(error.status_code, str(error.detail), error.headers))

    @api.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        LOGGER.error("unexpected error on %s %s", request.method, request.url.path, exc_info=error)
        return answer(Problem(500, "an error of the server; it has been logged"))
