"""Settings of the synthetic studio. Part of ``jr2net.config``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from jr2net.settings import Effect, Section

Manner = Literal["natural", "large", "spontaneous"]
"""How people act: they talk, they show strong expressions, or they do what captures of people record."""


class StudioConfig(Section):
    """The synthetic studio, which renders labelled video frames of random people."""

    people: int = Field(3000, ge=2, description="number of training identities")
    frames: int = Field(3, ge=1, description="frames per training identity")
    test_people: int = Field(100, ge=1, description="held-out identities per test set (natural, large)")
    test_frames: int = Field(3, ge=2, description="frames per test identity")
    variety: float = Field(
        1.0,
        ge=0,
        le=1,
        description="variation of pose, lens and recording; 0: plain portraits, 1: as varied as photographs",
    )
    people_per_shard: int = Field(250, ge=1, description="identities per Parquet shard")
    detector_shrink: float = Field(
        0.5, ge=0, le=1, description="how much the simulated landmark detector shrinks large expressions"
    )
    detector_noise: float = Field(0.01, ge=0, description="the detector's noise, as a fraction of the face box")
    captures: Annotated[str | None, Effect.CONTENT] = Field(
        None,
        description="captured expressions, as `synthesis.captures`, whose largest `test_people` show in a test set of "
        "their own, `captured`; none: there is no such set",
    )


class FilmsConfig(Section):
    """The stage ``films``, of runs with ``etnet.films``: images of synthetic people with their coefficients."""

    people: int = Field(6500, ge=1, description="number of people, who are in no other set")
    frames: int = Field(3, ge=1, description="frames per person")
    manners: dict[Manner, Annotated[float, Field(ge=0)]] = Field(
        {"large": 0.4, "spontaneous": 0.4, "natural": 0.2},
        description="how people act, with weights; large: strong expressions, spontaneous: as captures record them, "
        "natural: talking",
    )
    variety: float = Field(1.0, ge=0, le=1, description="as `data.studio.variety`")
    people_per_shard: int = Field(100, ge=1, description="people per Parquet shard")


class PortraitsConfig(Section):
    """The stage ``portraits``, of runs with ``detector.train``: people with exact landmarks and mattes, who are pasted
    into the pictures that the detector is trained on."""

    people: int = Field(2200, ge=2, description="number of people, who are those of `films`")
    frames: int = Field(2, ge=2, description="frames per person")
    side: int = Field(144, ge=32, description="side of their images, in pixels")
    widest: float = Field(1.6, ge=1, description="crops are up to this many times as wide as those of faces")
    large: float = Field(0.5, ge=0, le=1, description="fraction of people with large expressions; the others talk")
    people_per_shard: int = Field(100, ge=1, description="people per Parquet shard")
