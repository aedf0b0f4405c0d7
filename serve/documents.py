"""OpenAPI descriptions of the request and response bodies that are not plain JSON models."""

from __future__ import annotations

from typing import Any

from jr2net.face.arkit import ARKIT_NAMES
from jr2net.inference.control import FACE_REGIONS, REGIONS, RETARGETS

DESCRIPTION = """
Reconstruction: a photo to a 3D face with named ARKit coefficients. Reenactment: a photo and an expression to the photo
with that expression.

Lengths are in millimetres, angles in radians. Pixel coordinates are those of the upright photo, with pixel edges at
integers. If a photo shows several faces, the largest is used; `face` or `box` selects another one. A box reaches from
the brows to the chin. The metadata of generated images and videos declares them synthetic. `WS /v1/stream` expects
`{"source": base64}` first (with `box` or `face` where they are needed, and the controls of `/v1/reenact`), then any
number of `{"expression": {…}}`, with `pitch`, `yaw` and `roll` where the head turns; each of these returns one JPEG.
With `{"camera": true}` first, and `source` where a photo is to be driven, frames of a camera follow as bytes (JPEG),
and each that is worked on returns the 51 coefficients, pose, eyes, box and landmarks as JSON, then the driven photo.
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
_DESCRIPTIONS = {
    400: "damaged, cut off, or not JSON",
    401: "missing or wrong key",
    408: "the body took too long to arrive",
    413: "too many bytes, pixels, images or seconds",
    415: "unsupported format",
    422: "readable but impossible: no face, unknown name, value out of range",
    429: "too many requests of this key; see Retry-After",
    503: "overloaded or not ready; see Retry-After",
}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {"application/problem+json": {"schema": _PROBLEM}}
    return {status: {"description": _DESCRIPTIONS[status], "content": content} for status in statuses or _DESCRIPTIONS}


def _binary(*media_types: str) -> dict[str, Any]:
    return {name: {"schema": {"type": "string", "format": "binary"}} for name in media_types}


_NUMBERS = {"type": "array", "items": {"type": "number"}}
_COEFFICIENT = {"type": "number", "minimum": 0, "maximum": 1}
_FACE = {
    "type": "object",
    "properties": {
        "model": {"type": "string", "description": "digest of the network that fitted this face"},
        "expression": {"type": "object", "properties": dict.fromkeys(ARKIT_NAMES, _COEFFICIENT)},
        "identity": {**_NUMBERS, "description": "standard deviations of the face model"},
        "albedo": {**_NUMBERS, "description": "standard deviations of the face model"},
        "rotation": {**_NUMBERS, "description": "pitch, yaw, roll"},
        "translation": {**_NUMBERS, "description": "x right, y down, z forward, in the crop's camera"},
        "light": {"type": "array", "items": _NUMBERS, "description": "9 spherical harmonics × red, green, blue"},
        "landmarks": {"type": "array", "items": _NUMBERS, "description": "68 points (x, y) in pixels of the photo"},
        "box": {**_NUMBERS, "description": "left, top, right, bottom in pixels of the photo"},
        "score": {"type": "number", "description": "of the detector; 1 if a box was given"},
        "confidence": {
            **_COEFFICIENT,
            "description": "probability that the box holds a face that the fit describes; `notes` say where it is low",
        },
        "faces_found": {"type": "integer"},
        "face": {"type": ["integer", "null"], "description": "index of the one taken; null if a box was given"},
        "notes": {
            "type": "array",
            "items": {"type": "string"},
            "description": "what of the file was left out or assumed, as transparency or further images",
        },
        "boxes": {
            "type": "array",
            "items": _NUMBERS,
            "description": "of all the faces found, the largest first; `face` is an index of this list",
        },
        "picture": {"type": "object", "description": "width and height of the upright photo"},
        "camera": {
            "type": "object",
            "description": "size, focal, centre in crop pixels; crop: 2 × 3 affine from photo pixels to crop pixels",
        },
    },
}
_RECONSTRUCTION = {
    "type": "object",
    "required": ["model", "faces"],
    "properties": {"model": {"type": "string"}, "faces": {"type": "array", "items": _FACE}},
}

_CAPTURE = {
    "type": "object",
    "required": ["fps", "names", "frames", "notes"],
    "properties": {
        "fps": {"type": "number", "description": "frames per second"},
        "names": {"type": "array", "items": {"type": "string"}, "description": "the 51 ARKit blendshapes"},
        "frames": {"type": "array", "items": _NUMBERS, "description": "coefficients of each frame, in this order"},
        "notes": {
            "type": "array",
            "items": {"type": "string"},
            "description": "what was found and done about it: frames without a face, other scales, ignored columns",
        },
    },
}

_MAYBE_NUMBERS = {"type": ["array", "null"], "items": {"type": "number"}}
_TRACK = {
    "type": "object",
    "required": ["fps", "names", "frames", "notes"],
    "properties": {
        "fps": {"type": "number", "description": "frames per second"},
        "names": {"type": "array", "items": {"type": "string"}, "description": "the 51 ARKit blendshapes"},
        "identity": {**_NUMBERS, "description": "of the person, one for the whole video"},
        "frames": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "seconds": {"type": "number"},
                    "expression": {**_MAYBE_NUMBERS, "description": "coefficients in the order of `names`"},
                    "rotation": {**_MAYBE_NUMBERS, "description": "pitch, yaw, roll of the head"},
                    "translation": {**_MAYBE_NUMBERS, "description": "x right, y down, z forward"},
                    "confidence": {
                        "type": "number",
                        "description": "probability that the fit describes a face; absent without one",
                    },
                    "doubtful": {"type": "boolean", "description": "true where the confidence is below 0.5"},
                    "cut": {"type": "boolean", "description": "true where a cut lies before the frame"},
                },
            },
        },
        "notes": {"type": "array", "items": {"type": "string"}, "description": "frames without a face, cuts"},
    },
}

_NOTES = {
    "X-Capture-Notes": {
        "description": "what was found in the files that were sent and done about it, e.g. which of several faces was "
        "taken, frames without a face: as far as it is known when the answer begins",
        "schema": {"type": "string"},
    }
}

RESPONSES: dict[str, dict[int | str, dict[str, Any]]] = {
    "reconstruct": {
        200: {
            "description": "one face for each image, in order",
            "content": {"application/json": {"schema": _RECONSTRUCTION}}
            | _binary("model/obj", "model/gltf-binary", "image/jpeg"),
        },
        **_problems(),
    },
    "reenact": {
        200: {
            "description": "the photo with the driving expression",
            "content": _binary("image/jpeg", "image/png"),
            "headers": _NOTES,
        },
        **_problems(),
    },
    "video": {
        200: {
            "description": "the photo, animated",
            "content": _binary("video/mp4"),
            "headers": {
                "X-Film-Frames": {
                    "description": "about how many frames the film will have; 0: not known",
                    "schema": {"type": "integer"},
                },
                **_NOTES,
            },
        },
        **_problems(),
    },
    "track": {
        200: {
            "description": "the face of every frame; coefficients are null where none is seen. NDJSON has its notes in "
            "the last line",
            "headers": _NOTES,
            "content": {
                "application/json": {"schema": _TRACK},
                "application/x-ndjson": {"schema": {"type": "string"}},
                "text/csv": {"schema": {"type": "string"}},
                **_binary("model/gltf-binary"),
            },
        },
        **_problems(),
    },
    "picture": {
        200: {
            "description": "the photo, or the first frame of the video that shows a face, upright, 8 bits, in sRGB",
            "content": _binary("image/jpeg"),
            "headers": {
                "X-Face-Boxes": {
                    "description": "of a video: JSON, left, top, right and bottom of each face of the frame, in its "
                    "pixels, the largest first, as `face` and `driving_face` count them",
                    "schema": {"type": "string"},
                },
                **_NOTES,
            },
        },
        **_problems(),
    },
    "capture": {
        200: {"description": "the frames", "content": {"application/json": {"schema": _CAPTURE}}},
        **_problems(),
    },
    "model": {**_problems(503)},
    "health": {**_problems(503)},
}

_FILE = {"type": "string", "format": "binary"}
_BOOLEAN = {"type": "string", "enum": ["true", "false"], "default": "false"}
_FACE_INDEX = {"type": "string", "default": "0", "description": "index of the face, the largest first"}
_DEGREES = {"type": "string", "default": "0", "description": "degrees by which the head is turned, -45 to 45"}
_CONTROLS = {
    "pose": {**_BOOLEAN, "description": "use the driving head's pose too"},
    "light": {**_BOOLEAN, "description": "use the driving face's light too"},
    "regions": {
        "type": "string",
        "default": ",".join(FACE_REGIONS),
        "description": f"what is taken of the driving, separated by commas: {', '.join(REGIONS)}; the rest stays the "
        "source's own",
    },
    "strength": {"type": "string", "default": "1", "description": "factor of the change, 0 to 2"},
    "pitch": {**_DEGREES, "description": f"{_DEGREES['description']}, down"},
    "yaw": {**_DEGREES, "description": f"{_DEGREES['description']}, to the person's left"},
    "roll": {**_DEGREES, "description": f"{_DEGREES['description']}, counter-clockwise"},
    "retarget": {
        "type": "string",
        "enum": list(RETARGETS),
        "default": "none",
        "description": "fit lids, lips or both to the source's own range",
    },
    "close_mouth": {**_BOOLEAN, "description": "close the source's lips before it is driven"},
}
_BOX = {"type": "string", "description": "left,top,right,bottom in pixels", "example": "120,80,320,300"}


def _multipart(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": required, "properties": properties, "additionalProperties": False}
    return {"multipart/form-data": {"schema": schema}}


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}


BODIES = {
    "reconstruct": _body(
        _binary("image/jpeg", "image/png", "image/webp", "image/avif", "image/tiff", "application/octet-stream")
        | _multipart(
            ["image"],
            {
                "image": {"type": "array", "items": _FILE},
                "box": {"type": "array", "items": _BOX},
                "face": {"type": "array", "items": _FACE_INDEX},
            },
        )
    ),
    "track": _body(
        _binary("video/mp4", "video/quicktime", "video/webm", "application/octet-stream")
        | _multipart(["video"], {"video": _FILE})
    ),
    "picture": _body(_binary("image/jpeg", "image/tiff", "video/mp4", "application/octet-stream")),
    "capture": _body(_binary("text/csv", "application/json", "application/octet-stream")),
    "reenact": _body(
        _multipart(
            ["source"],
            {
                "source": _FILE,
                "box": _BOX,
                "face": _FACE_INDEX,
                "expression": {
                    "type": "string",
                    "description": "JSON: ARKit coefficients by name",
                    "example": '{"jawOpen": 0.6}',
                },
                "relative": {**_BOOLEAN, "description": "add the expression to the source's own"},
                "driving": {**_FILE, "description": "a photo whose expression is used, instead of `expression`"},
                "driving_box": _BOX,
                "driving_face": _FACE_INDEX,
                **_CONTROLS,
                "format": {"type": "string", "enum": ["jpeg", "png"], "default": "jpeg"},
            },
        )
    ),
    "video": _body(
        _multipart(
            ["source"],
            {
                "source": {**_FILE, "description": "a photo, or a video, whose every frame acts"},
                "box": _BOX,
                "face": _FACE_INDEX,
                "driving": {**_FILE, "description": "MP4, MOV, WebM, or an ARKit capture (CSV, JSON)"},
                "driving_box": _BOX,
                "driving_face": _FACE_INDEX,
                "expression": {
                    "type": "string",
                    "description": "JSON: ARKit coefficients by name, for a video as source, instead of `driving`",
                },
                "relative": {
                    **_BOOLEAN,
                    "description": "add the change since the frame of reference to the source's own",
                },
                **_CONTROLS,
                "reference": {
                    "type": "string",
                    "default": "first",
                    "description": "the driving's frame of reference: first, neutral (that of least expression), or an "
                    "instant in seconds",
                },
                "smooth": {
                    **_BOOLEAN,
                    "default": "true",
                    "description": "smooth the faces of a driving video over time (1 € filter)",
                },
            },
        )
    ),
}
