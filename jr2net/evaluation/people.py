"""Who is trained and tested on: a test set must not show anybody whom a network was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jr2net.config import Config
from jr2net.config.clip_sets import STAGES_WITH_SETS
from jr2net.data.clips import ClipSource
from jr2net.data.sets import shared_identities, stage_clips, validation_clips
from jr2net.storage import join
from jr2net.storage.elsewhere import folder_of
from jr2net.synthesis.people import LeakError, check_people

DATASETS = ("synthesis", "synthesis_2")
"""The stages whose pairs networks are trained on."""


def count_people(config: Config, prepare: str, training: ClipSource, tests: Mapping[str, ClipSource]) -> dict[str, Any]:
    """``identities``: numbers of identities by set, and of those left out of training as they are tested on; ``leaks``:
    number of those that are trained, or validated, and tested on, which is 0. Raises LeakError where it is not.

    A network that is trained on pairs is trained on the people whom these show.
    """
    trained = set(training.identities)
    for stage in STAGES_WITH_SETS:
        if getattr(config, stage).clips is not None:
            trained |= set(stage_clips(config, prepare, stage).identities)
    for stage in DATASETS:
        trained |= set(check_people(config, prepare, folder_of(join(config.storage, stage))))
    counts = {"training": len(trained), "left_out": len(shared_identities(config, prepare))}
    if config.data.validation is not None:
        held_back = set(validation_clips(config, prepare).identities)
        counts["validation"] = len(held_back)
        trained |= held_back
    for name, clips in tests.items():
        if leaks := sorted(trained.intersection(clips.identities)):
            raise LeakError(
                f"test set {name}: {len(leaks)} of {len(clips.identities)} identities are in the training set too, "
                f"e.g. {leaks[0]!r}: its figures would be meaningless; test on other people"
            )
        counts[name] = len(clips.identities)
    return {"identities": counts, "leaks": 0}
