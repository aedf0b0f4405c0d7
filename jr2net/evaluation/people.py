"""Who is trained and tested on: a test set must not show anybody whom a network was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jr2net.config import Config
from jr2net.config.clip_sets import STAGES_WITH_SETS
from jr2net.data.clips import ClipSource
from jr2net.data.sets import shared_identities, stage_clips, validation_clips
from jr2net.errors import UserError
from jr2net.storage import join
from jr2net.storage.elsewhere import folder_of
from jr2net.synthesis.people import shown_people

DATASETS = ("synthesis", "synthesis_2")
"""The stages whose pairs networks are trained on."""

_OTHER_TESTS = "test on other people"
_OTHER_PAIRS = "pairs show them: give --redo synthesis, which makes the pairs again without them"


class LeakError(UserError, ValueError):
    """A test set that shows people of the training set; the message names them."""


def count_people(config: Config, prepare: str, training: ClipSource, tests: Mapping[str, ClipSource]) -> dict[str, Any]:
    """``identities``: numbers of identities by set, and of those left out of training as they are tested on; ``leaks``:
    number of those that are trained, or validated, and tested on, which is 0. Raises LeakError where it is not.

    A network that is trained on pairs is trained on the people whom these show.
    """
    trained = set(training.identities)
    for stage in STAGES_WITH_SETS:
        if getattr(config, stage).clips is not None:
            trained |= set(stage_clips(config, prepare, stage).identities)
    shown = {name for stage in DATASETS for name in shown_people(config, folder_of(join(config.storage, stage)))}
    trained |= shown
    counts = {"training": len(trained), "left_out": len(shared_identities(config, prepare))}
    if config.data.validation is not None:
        held_back = set(validation_clips(config, prepare).identities)
        _check("validation set", held_back, shown, _OTHER_PAIRS)
        counts["validation"] = len(held_back)
        trained |= held_back
    for name, clips in tests.items():
        identities = set(clips.identities)
        _check(f"test set {name}", identities, shown, _OTHER_PAIRS)
        _check(f"test set {name}", identities, trained, _OTHER_TESTS)
        counts[name] = len(identities)
    return {"identities": counts, "leaks": 0}


def _check(name: str, identities: set[str], trained: set[str], remedy: str) -> None:
    """Raises LeakError where identities of a set are among those that are trained on."""
    if leaks := sorted(identities & trained):
        raise LeakError(
            f"{name}: {len(leaks)} of {len(identities)} identities are in the training set too, e.g. {leaks[0]!r}: its "
            f"figures would be meaningless; {remedy}"
        )
