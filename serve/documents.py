"""What OpenAPI says of bodies and answers that are no plain JSON models."""

from __future__ import annotations

from typing import Any

from jr2net.face.arkit import ARKIT_NAMES

DESCRIPTION = """
From a photo to a 3D face with named ARKit coefficients, and from a photo and an expression to the photo acting.

Lengths are millimetres, angles radians, pixels those of the upright photo with edges at integers. Where a photo shows
several faces the largest is taken; `face` or `box` chooses another. A box reaches from the brows to the chin.
Generated pictures and videos say in their metadata that they are synthetic. `WS /v1/stream` takes
`{"source": base64}` first, then `{"expression": {…}}`, each answered by one JPEG.
"""

_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}
_MEANINGS = {
    400: "not what it says it is: damaged, cut off, no JSON",
    401: "no key, or a wrong one",
    408: "the body took too long",
    413: "too many bytes, pixels, pictures or seconds",
    415: "a format that is not read",
    422: "understood, and cannot be done: no face, an unknown name, a number out of range",
    429: "too many requests of this key; see Retry-After",
    503: "overloaded or not ready; see Retry-After",
}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {"application/problem+json": {"schema": _PROBLEM}}
    return {status: {"description": _MEANINGS[status], "content": content} for status in statuses or _MEANINGS}


def _binary(*kinds: str) -> dict[str, Any]:
    return {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}


_NUMBERS = {"type": "array", "items": {"type": "number"}}
_COEFFICIENT = {"type": "number", "minimum": 0, "maximum": 1}
_FACE = {
    "type": "object",
    "properties": {
        "model": {"type": "string", "description": "digest of the network that fitted this one"},
        "expression": {"type": "object", "properties": dict.fromkeys(ARKIT_NAMES, _COEFFICIENT)},
        "identity": {**_NUMBERS, "description": "standard deviations of the face model"},
        "albedo": {**_NUMBERS, "description": "standard deviations of the face model"},
        "rotation": {**_NUMBERS, "description": "pitch, yaw, roll"},
        "translation": {**_NUMBERS, "description": "x right, y down, z forward, in the crop's camera"},
        "light": {"type": "array", "items": _NUMBERS, "description": "9 spherical harmonics × red, green, blue"},
        "landmarks": {"type": "array", "items": _NUMBERS, "description": "68 points (x, y) of the photo"},
        "box": {**_NUMBERS, "description": "left, top, right, bottom in the photo"},
        "score": {"type": "number", "description": "of the detector; 1 where a box was given"},
        "faces_found": {"type": "integer"},
        "picture": {"type": "object", "description": "width and height of the upright photo"},
        "camera": {
            "type": "object",
            "description": "size, focal, centre of the crop; crop: photo point → crop pixel, 2 × 3",
        },
    },
}
_ANSWER = {
    "type": "object",
    "required": ["model", "faces"],
    "properties": {"model": {"type": "string"}, "faces": {"type": "array", "items": _FACE}},
}

RESPONSES: dict[str, dict[int | str, dict[str, Any]]] = {
    "reconstruct": {
        200: {
            "description": "one face for each picture, in order",
            "content": {"application/json": {"schema": _ANSWER}}
            | _binary("model/obj", "model/gltf-binary", "image/jpeg"),
        },
        **_problems(),
    },
    "reenact": {
        200: {"description": "the photo, acting", "content": _binary("image/jpeg", "image/png")},
        **_problems(),
    },
    "video": {200: {"description": "the photo, acting", "content": _binary("video/mp4")}, **_problems()},
    "model": {**_problems(503)},
    "health": {**_problems(503)},
}

_FILE = {"type": "string", "format": "binary"}
_SWITCH = {"type": "string", "enum": ["true", "false"], "default": "false"}
_BOX = {"type": "string", "description": "left,top,right,bottom in pixels", "example": "120,80,320,300"}


def _multipart(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": required, "properties": properties, "additionalProperties": False}
    return {"multipart/form-data": {"schema": schema}}


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}


BODIES = {
    "reconstruct": _body(
        _binary("image/jpeg", "image/png", "image/webp", "image/avif", "image/tiff", "application/octet-stream")
        | _multipart(["image"], {"image": {"type": "array", "items": _FILE}, "box": {"type": "array", "items": _BOX}})
    ),
    "reenact": _body(
        _multipart(
            ["source"],
            {
                "source": _FILE,
                "box": _BOX,
                "expression": {
                    "type": "string",
                    "description": "JSON: names and numbers",
                    "example": '{"jawOpen": 0.6}',
                },
                "relative": {**_SWITCH, "description": "the expression is added to the source's own"},
                "driving": {**_FILE, "description": "a picture, instead of expression"},
                "driving_box": _BOX,
                "pose": {**_SWITCH, "description": "take the driving picture's head pose"},
                "light": {**_SWITCH, "description": "take its light"},
                "format": {"type": "string", "enum": ["jpeg", "png"], "default": "jpeg"},
            },
        )
    ),
    "video": _body(
        _multipart(
            ["source", "driving"],
            {
                "source": _FILE,
                "box": _BOX,
                "driving": {**_FILE, "description": "MP4, MOV, WebM, or a Live Link Face CSV"},
                "relative": {**_SWITCH, "description": "add the change since the first frame to the source"},
                "pose": _SWITCH,
                "light": _SWITCH,
                "smooth": {**_SWITCH, "default": "true", "description": "1 € filter over time"},
            },
        )
    ),
}
