"""Reconstruction as a Ray Serve deployment: a face crop in, named ARKit coefficients out.

    make serve ARGS="network=runs/laptop/recaugnet"
    curl --data-binary @face.jpg http://127.0.0.1:8000/reconstruct

The body is a JPEG or PNG of a square face crop; another size is resampled, another shape is cropped to its middle.
The answer is JSON: ``expression`` (51 names, each in [0, 1]), ``rotation`` (pitch, yaw, roll in radians) and
``translation`` (millimetres in camera space).
"""

from __future__ import annotations

import sys

import cv2
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from jobs.command_line import connect
from jr2net.config import FaceConfig
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.load import load_face_model
from jr2net.reconstruction import load_reconstructor

MAX_BODY_BYTES = 16 * 2**20


class Settings(BaseModel):
    """What the application is built with."""

    model_config = ConfigDict(extra="forbid")

    network: str = Field(..., description="RecNet's or RecAugNet's folder, local or s3://")
    face_model: str = Field("procedural", description="the face model it was trained with, as in `face.model`")
    vertices: int | None = Field(None, description="as in `face.vertices`")
    expression_file: str | None = Field(None, description="as in `face.expression_file`")


class PictureError(ValueError):
    """A body that is no picture; the message says what to send."""


@serve.deployment(max_ongoing_requests=64)
class Reconstruction:
    """One network on one device; requests that arrive together are answered by one forward pass."""

    def __init__(self, settings: dict) -> None:
        chosen = Settings.model_validate(settings)
        face = FaceConfig(model=chosen.face_model, vertices=chosen.vertices, expression_file=chosen.expression_file)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.reconstruct = load_reconstructor(chosen.network, load_face_model(face), self.device)

    async def __call__(self, request: Request) -> Response:
        if request.method != "POST":
            return JSONResponse({"error": "send a picture with POST"}, 405, {"Allow": "POST"})
        body = await request.body()
        if len(body) > MAX_BODY_BYTES:
            return JSONResponse({"error": f"the picture is larger than {MAX_BODY_BYTES} bytes; send a crop"}, 413)
        try:
            picture = decode(body, self.reconstruct.camera.size)
        except PictureError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(await self.answer(picture))

    @serve.batch(max_batch_size=16, batch_wait_timeout_s=0.005)
    async def answer(self, pictures: list[torch.Tensor]) -> list[dict]:
        return self.fit(pictures)

    def fit(self, pictures: list[torch.Tensor]) -> list[dict]:
        """Face crops (3, S, S) in [0, 1] to what the HTTP answer holds."""
        faces = self.reconstruct(torch.stack(pictures).to(self.device)).to("cpu")
        return [
            {
                "expression": dict(zip(ARKIT_NAMES, faces.expression[i].tolist(), strict=True)),
                "rotation": faces.rotation[i].tolist(),
                "translation": faces.translation[i].tolist(),
            }
            for i in range(len(faces))
        ]


def decode(body: bytes, size: int) -> torch.Tensor:
    """JPEG or PNG bytes to RGB (3, size, size) in [0, 1]. Raises PictureError."""
    pixels = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR) if body else None
    if pixels is None:
        raise PictureError("the body is neither a JPEG nor a PNG; send the file's bytes as they are")
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side]
    resized = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(cv2.cvtColor(resized, cv2.COLOR_BGR2RGB)).permute(2, 0, 1).float() / 255


def build(settings: Settings) -> serve.Application:
    """What ``import_path: serve.app:build`` names; ``args`` are the fields of ``Settings``."""
    return Reconstruction.bind(settings.model_dump())


def main(arguments: list[str]) -> int:
    """Serves on this machine, or on the cluster that ``RAY_ADDRESS`` names, until it is interrupted."""
    try:
        settings = Settings.model_validate(dict(argument.split("=", 1) for argument in arguments))
    except ValueError as error:
        print(f"error: {error}\nusage: python serve/app.py network=FOLDER [face_model=FILE …]", file=sys.stderr)
        return 1
    connect()
    serve.run(build(settings), route_prefix="/reconstruct", blocking=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
