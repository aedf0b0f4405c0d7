"""Training and test clips of a run, by its configuration.

``prepare`` is the folder or URI of that stage. It holds the studio's clip shards ``train``, ``natural``, ``large`` and
``turned``, and the index of every set; real clips (``data.clips``) are read from where they are. ``mattes`` is the
folder or URI of that stage: runs with the reenactor flow3d have it.
"""

from __future__ import annotations

from jr2net.config import Config
from jr2net.data.clips import ClipSource
from jr2net.storage import exists, join
from jr2net.studio.film import KINDS, Kind


def index_name(name: str) -> str:
    """Path of the index of a set in the stage's folder."""
    return f"index/{name}.arrow"


def studio_kinds(config: Config) -> list[Kind]:
    """The sets of people that the studio films."""
    return [kind for kind in KINDS if kind != "turned" or config.evaluation.turned]


def training_clips(config: Config, prepare: str, mattes: str | None = None) -> ClipSource:
    """The training set of every network: the studio's people, or the real clips without the held-out identities.

    mattes: folder or URI of that stage, for clips with mattes.
    """
    if config.data.clips is None:
        return _clips(prepare, f"{prepare}/train", mattes, "train")
    clips = _clips(prepare, config.data.clips, mattes, "clips")
    return clips if config.data.test_clips is not None else clips.split(config.data.hold_out)[0]


def test_clips(config: Config, prepare: str, mattes: str | None = None) -> dict[str, ClipSource]:
    """The test sets by name; their identities are not in the training set.

    ``natural``, ``large`` and, if filmed, ``turned``: the studio's, with ground truth. ``held_out``: real people, if
    the run trains on real clips. ``photographs``: real people from ``data.test_clips``, if the run trains on the
    studio's.
    """
    if config.data.clips is not None:
        if config.data.test_clips is not None:
            return {"held_out": _clips(prepare, config.data.test_clips, mattes, "test_clips")}
        return {"held_out": _clips(prepare, config.data.clips, mattes, "clips").split(config.data.hold_out)[1]}
    sets: dict[str, ClipSource] = {
        kind: _clips(prepare, f"{prepare}/{kind}", mattes, kind) for kind in studio_kinds(config) if kind != "train"
    }
    if config.data.test_clips is not None:
        sets["photographs"] = _clips(prepare, config.data.test_clips, None, "test_clips")
    return sets


def sets_with_mattes(config: Config, prepare: str) -> dict[str, str]:
    """The sets for which the stage ``mattes`` makes mattes: name -> folder or URI of the clip shards."""
    if config.data.clips is None:
        return {kind: f"{prepare}/{kind}" for kind in studio_kinds(config) if kind != "turned"}  # it has its own
    given = {"clips": config.data.clips, "test_clips": config.data.test_clips}
    return {name: uri for name, uri in given.items() if uri is not None}


def _clips(prepare: str, uri: str, mattes: str | None, name: str) -> ClipSource:
    index = join(prepare, index_name(name))
    return ClipSource(
        uri,
        mattes=f"{mattes}/{name}" if mattes is not None else None,
        index=index if exists(index) else None,  # a folder that no stage prepared may have none
    )
