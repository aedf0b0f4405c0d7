"""The sets of clips that a network is trained on, if they are not those of the run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from jr2net.settings import Effect, Section


class ClipSetConfig(Section):
    """A set of clip shards and its share of the samples."""

    uri: str = Field(..., description="folder or URI of clip shards")
    weight: float = Field(1.0, gt=0, description="share of the samples, in proportion to the other sets' weights")


STAGES_WITH_SETS = ("recnet", "dcnet")
"""The sections that may name sets."""

ClipSets = Annotated[tuple[ClipSetConfig, ...] | None, Effect.CONTENT]
"""Of each set, its files and its weight decide."""
