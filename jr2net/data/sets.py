"""Training and test clips of a run, by its configuration.

``prepare`` is the folder or URI of that stage. It holds the studio's clip shards ``train``, ``natural``, ``large`` and
``turned``; real clips (``data.clips``) are read from where they are, their mattes from ``prepare``.
"""

from __future__ import annotations

from jr2net.config import Config
from jr2net.data.clips import ClipSource
from jr2net.studio.film import KINDS, Kind


def prepares_mattes(config: Config) -> bool:
    """Whether the stage ``prepare`` makes mattes for all clips."""
    if config.data.mattes == "auto":
        return getattr(config, "reenactor", "dcnet") == "flow3d"
    return config.data.mattes == "always"


def studio_kinds(config: Config) -> list[Kind]:
    """The sets of people that the studio films."""
    return [kind for kind in KINDS if kind != "turned" or config.evaluation.turned]


def mattes_folder(prepare: str, name: str) -> str:
    """Folder of the matte shards of ``clips`` or ``test_clips``."""
    return f"{prepare}/mattes/{name}"


def training_clips(config: Config, prepare: str) -> ClipSource:
    """The training set of every network: the studio's people, or the real clips without the held-out identities."""
    if config.data.clips is None:
        return ClipSource(f"{prepare}/train")
    clips = _given_clips(config, prepare, "clips")
    return clips if config.data.test_clips is not None else clips.split(config.data.hold_out)[0]


def test_clips(config: Config, prepare: str) -> dict[str, ClipSource]:
    """The test sets by name; their identities are not in the training set.

    ``natural``, ``large`` and, if filmed, ``turned``: the studio's, with ground truth. ``held_out``: real people, if
    the run trains on real clips. ``photographs``: real people from ``data.test_clips``, if the run trains on the
    studio's.
    """
    if config.data.clips is not None:
        if config.data.test_clips is not None:
            return {"held_out": _given_clips(config, prepare, "test_clips")}
        return {"held_out": _given_clips(config, prepare, "clips").split(config.data.hold_out)[1]}
    sets: dict[str, ClipSource] = {
        kind: ClipSource(f"{prepare}/{kind}") for kind in studio_kinds(config) if kind != "train"
    }
    if config.data.test_clips is not None:
        sets["photographs"] = _given_clips(config, prepare, "test_clips")
    return sets


def _given_clips(config: Config, prepare: str, name: str) -> ClipSource:
    """The clips of the setting ``data.<name>``."""
    uri = getattr(config.data, name)
    return ClipSource(uri, mattes=mattes_folder(prepare, name) if prepares_mattes(config) else None)
