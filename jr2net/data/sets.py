"""Which clips a run trains and is tested on, as the configuration says and the ``prepare`` stage left them.

``prepare`` is the stage's folder or URI: ``train``, ``natural`` and ``large`` clip shards where the studio films; where
``data.clips`` names real clips, these are read in place.
"""

from __future__ import annotations

from jr2net.config import Config
from jr2net.data.clips import ClipSource


def training_clips(config: Config, prepare: str) -> ClipSource:
    """What every network trains on: the studio's people, or the real clips less the identities held out."""
    if config.data.clips is None:
        return ClipSource(f"{prepare}/train")
    clips = ClipSource(config.data.clips)
    return clips if config.data.test_clips is not None else clips.split(config.data.hold_out)[0]


def test_clips(config: Config, prepare: str) -> dict[str, ClipSource]:
    """The test sets by name, none of whose identities was trained on.

    ``natural`` and ``large``: the studio's, with the truth. ``held_out``: real people, where the run trains on real
    clips. ``photographs``: real people, where the run trained in the studio and ``data.test_clips`` names clips.
    """
    if config.data.clips is not None:
        if config.data.test_clips is not None:
            return {"held_out": ClipSource(config.data.test_clips)}
        return {"held_out": ClipSource(config.data.clips).split(config.data.hold_out)[1]}
    sets = {kind: ClipSource(f"{prepare}/{kind}") for kind in ("natural", "large")}
    if config.data.test_clips is not None:
        sets["photographs"] = ClipSource(config.data.test_clips)
    return sets
