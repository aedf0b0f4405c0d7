"""Errors as RFC 9457 problem documents: one status per cause and a sentence with the remedy; no internals are exposed.

400 damaged, cut off, or not JSON                  415 unsupported format
401 missing or wrong key                           422 readable but impossible (no face, unknown name, out of range)
405 another method than the path's                 429 too many requests of one key
408 the body took too long to arrive               503 overloaded, or not ready
413 too many bytes, pixels, images or seconds
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
INTERNAL_ERROR = "internal error of the server; it has been logged"
STATUS = {"format": 415, "large": 413, "broken": 400}


class Problem(Exception):
    """An error response. ``detail`` is written for the caller: what is wrong and what to do."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})

    @property
    def document(self) -> dict[str, Any]:
        title = HTTPStatus(self.status).phrase
        return {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}

    @property
    def response(self) -> JSONResponse:
        return JSONResponse(self.document, self.status, self.headers, media_type=MEDIA_TYPE)

    @staticmethod
    def from_error(error: PhotoError | VideoError, name: str) -> Problem:
        """``name``: of the file in the request."""
        return Problem(STATUS[error.kind], f"{name}: {error}")


def service_unavailable(detail: str, retry_after_s: float = 1) -> Problem:
    """503: the same request may succeed later."""
    return Problem(503, detail, {"Retry-After": str(max(1, round(retry_after_s)))})


class NetworkUnavailable(Exception):
    """A network cannot process a request now: overloaded, starting, or lost in every attempt."""


@contextmanager
def network_errors_as_503() -> Iterator[None]:
    """Turns timeouts and unavailable networks into Problem 503."""
    try:
        yield
    except TimeoutError:
        raise service_unavailable("the networks did not respond in time; try again") from None
    except NetworkUnavailable as error:
        raise service_unavailable(str(error)) from None


def register_handlers(api: FastAPI) -> None:
    """Makes every error of an application a problem document."""

    @api.exception_handler(Problem)
    async def handle_problem(request: Request, error: Problem) -> JSONResponse:
        return error.response

    @api.exception_handler(RequestValidationError)
    async def handle_invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
        faults = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:5])
        return Problem(422, faults[:1000]).response

    @api.exception_handler(HTTPException)
    async def handle_http_exception(request: Request, error: HTTPException) -> JSONResponse:
        return Problem(error.status_code, str(error.detail), error.headers).response

    @api.exception_handler(Exception)
    async def handle_unexpected(request: Request, error: Exception) -> JSONResponse:
        LOGGER.error("unexpected error on %s %s", request.method, request.url.path, exc_info=error)
        return Problem(500, INTERNAL_ERROR).response
