"""Training and test clips of a run, by its configuration.

``prepare`` is the folder or URI of that stage. It holds the studio's clip shards ``train``, ``natural`` and ``large``;
real clips (``data.clips``) are read from where they are.
"""

from __future__ import annotations

from jr2net.config import Config
from jr2net.data.clips import ClipSource


def training_clips(config: Config, prepare: str) -> ClipSource:
    """The training set of every network: the studio's people, or the real clips without the held-out identities."""
    if config.data.clips is None:
        return ClipSource(f"{prepare}/train")
    clips = ClipSource(config.data.clips)
    return clips if config.data.test_clips is not None else clips.split(config.data.hold_out)[0]


def test_clips(config: Config, prepare: str) -> dict[str, ClipSource]:
    """The test sets by name; their identities are not in the training set.

    ``natural`` and ``large``: the studio's, with ground truth. ``held_out``: real people, if the run trains on real
    clips. ``photographs``: real people from ``data.test_clips``, if the run trains on the studio's.
    """
    if config.data.clips is not None:
        if config.data.test_clips is not None:
            return {"held_out": ClipSource(config.data.test_clips)}
        return {"held_out": ClipSource(config.data.clips).split(config.data.hold_out)[1]}
    sets = {kind: ClipSource(f"{prepare}/{kind}") for kind in ("natural", "large")}
    if config.data.test_clips is not None:
        sets["photographs"] = ClipSource(config.data.test_clips)
    return sets
