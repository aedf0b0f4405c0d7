"""What an import may be told."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from jr2net.settings import Section


class Gates(Section):
    """Which frames are good enough. Frames that are not are left out and counted by reason."""

    size: float = Field(48, ge=0, description="least side of the landmarks' box, in pixels of the picture")
    sharpness: float = Field(
        0.15,
        ge=0,
        description="least sharpness: deviation of the face's Laplacian over that of the face, at a crop of 128 pixels",
    )
    yaw: float = Field(65, gt=0, le=180, description="greatest turn of the head to either side, in degrees")
    frames: int = Field(3, ge=1, description="fewest frames of a clip that is cut from a video")


class ImportSettings(Section):
    """How a dataset becomes clip shards. Everything here decides what is written."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")] = Field(
        ..., description="name of the set, which all of its identities are prefixed with"
    )
    layout: str = Field(..., description="name of the layout (jr2net/data/readers/layouts.py)")
    size: int = Field(224, ge=16, le=2048, description="side of the stored crops in pixels")
    fps: float | None = Field(None, gt=0, description="most frames per second that are taken from a video; none: all")
    licence: str = Field("", description="licence that every clip is labelled with")
    detector: bool = Field(True, description="whether faces are detected where the set has no 68 landmarks")
    mattes: bool = Field(False, description="whether every frame gets a matte by segmentation")
    gates: Gates = Gates()
