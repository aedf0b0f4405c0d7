"""Training and test clips of a run, by its configuration.

``prepare`` is the folder or URI of that stage. It holds the studio's clip shards ``train``, ``natural``, ``large``,
``turned`` and ``captured``, and the index of every set; real clips (``data.clips``) are read from where they are.
``mattes`` is the folder or URI of that stage: runs with the reenactor flow3d have it.
"""

from __future__ import annotations

import json

from jr2net.config import Config
from jr2net.data.clips import ClipSource
from jr2net.storage import exists, join, read_bytes
from jr2net.storage.parquet import ShardError
from jr2net.studio.film import KINDS, Kind

LEFT_OUT = "left_out.json"
"""File of the stage ``prepare`` for real clips with given test clips: the identities that both show, not trained on."""

PAIR_CLIPS = "pairs"
"""Folder, in the stage ``pair_clips``, of its clip shards, and the name of their index."""


def index_name(name: str) -> str:
    """Path of the index of a set in the stage's folder."""
    return f"index/{name}.arrow"


def studio_kinds(config: Config) -> list[Kind]:
    """The sets of people that the studio films in the stage ``prepare``."""
    studio = config.data.studio
    asked = {"turned": config.evaluation.turned, "captured": studio.captures is not None, "labelled": False}
    return [kind for kind in KINDS if asked.get(kind, True)]


def training_clips(config: Config, prepare: str, mattes: str | None = None) -> ClipSource:
    """The training set of every network: the studio's people, or the identities of the real clips that are not tested.

    Those that ``data.validation`` holds back are not in it. mattes: folder or URI of that stage, for clips with mattes.
    """
    people = _not_tested(config, prepare, mattes)
    return people if config.data.validation is None else people.split(config.data.validation)[0]


def stage_clips(config: Config, prepare: str, stage: str) -> ClipSource:
    """The training set of a network (``recnet``, which is also that of its relatives, or ``dcnet``): the sets that its
    section names, without anybody who is tested or validated on, or else ``training_clips``."""
    sets = getattr(config, stage).clips
    if sets is None:
        return training_clips(config, prepare)
    weights = {part.uri: part.weight for part in sets}
    source = ClipSource(list(weights), index=join(prepare, index_name(stage)), weights=weights)
    return source.without(held_out(config, prepare))


def held_out(config: Config, prepare: str) -> set[str]:
    """The identities that are tested or validated on."""
    names = {name for clips in test_clips(config, prepare).values() for name in clips.identities}
    return names if config.data.validation is None else names.union(validation_clips(config, prepare).identities)


def stage_sets(config: Config, stage: str) -> dict[str, str]:
    """The sets that a network's section names: name of their index -> folder or URI."""
    return {f"{stage}/{number}": part.uri for number, part in enumerate(getattr(config, stage).clips or ())}


def validation_clips(config: Config, prepare: str, mattes: str | None = None) -> ClipSource:
    """The identities that ``data.validation``, which has to be set, holds back from all trainings."""
    assert config.data.validation is not None, "data.validation is not set"
    return _not_tested(config, prepare, mattes).split(config.data.validation)[1]


def shared_identities(config: Config, prepare: str) -> list[str]:
    """Sorted identities of the real clips that the given test clips show too: they are left out of training."""
    if config.data.clips is None or config.data.test_clips is None:
        return []
    clips = _clips(prepare, config.data.clips, None, "clips")
    tests = _clips(prepare, config.data.test_clips, None, "test_clips")
    return sorted(set(clips.identities) & set(tests.identities))


def test_clips(config: Config, prepare: str, mattes: str | None = None) -> dict[str, ClipSource]:
    """The test sets by name; their identities are not in the training set.

    ``natural``, ``large`` and, if filmed, ``turned`` and ``captured``: the studio's, with ground truth. ``held_out``:
    real people, if the run trains on real clips. ``photographs``: real people from ``data.test_clips``, if the run
    trains on the studio's.
    """
    if config.data.clips is not None:
        if config.data.test_clips is not None:
            return {"held_out": _clips(prepare, config.data.test_clips, mattes, "test_clips")}
        return {"held_out": _clips(prepare, config.data.clips, mattes, "clips").split(config.data.hold_out)[1]}
    sets: dict[str, ClipSource] = {
        kind: _clips(prepare, join(prepare, kind), mattes, kind) for kind in studio_kinds(config) if kind != "train"
    }
    if config.data.test_clips is not None:
        sets["photographs"] = _clips(prepare, config.data.test_clips, None, "test_clips")
    return sets


def pair_clips(folder: str) -> ClipSource:
    """The synthesised images as clips; folder: folder or URI of the stage ``pair_clips``."""
    return ClipSource(join(folder, PAIR_CLIPS), index=join(folder, index_name(PAIR_CLIPS)))


def sets_with_mattes(config: Config, prepare: str) -> dict[str, str]:
    """The sets for which the stage ``mattes`` makes mattes: name -> folder or URI of the clip shards."""
    if config.data.clips is None:
        return {kind: join(prepare, kind) for kind in studio_kinds(config) if kind != "turned"}  # it has its own
    given = {"clips": config.data.clips, "test_clips": config.data.test_clips}
    return {name: uri for name, uri in given.items() if uri is not None}


def _not_tested(config: Config, prepare: str, mattes: str | None) -> ClipSource:
    """The people that no test set shows."""
    if config.data.clips is None:
        return _clips(prepare, join(prepare, "train"), mattes, "train")
    clips = _clips(prepare, config.data.clips, mattes, "clips")
    if config.data.test_clips is None:
        return clips.split(config.data.hold_out)[0]
    return clips.without(_left_out(config, prepare))


def _left_out(config: Config, prepare: str) -> list[str]:
    """The identities that the stage ``prepare`` found to be tested on."""
    uri = join(prepare, LEFT_OUT)
    if exists(uri):
        return json.loads(read_bytes(uri))
    if shared := shared_identities(config, prepare):
        raise ShardError(
            f"{uri} is missing, and {len(shared)} identities of data.clips are in data.test_clips too, e.g. "
            f"{shared[0]!r}: networks of this run may have been trained on them; use another storage, or give --redo "
            "prepare"
        )
    return []


def _clips(prepare: str, uri: str, mattes: str | None, name: str) -> ClipSource:
    index = join(prepare, index_name(name))
    return ClipSource(
        uri,
        mattes=join(mattes, name) if mattes is not None else None,
        index=index if exists(index) else None,  # a folder that version 0.1 prepared has none
    )
