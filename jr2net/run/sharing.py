"""Stages that runs have in common: made in the folder of one, and referred to by the others.

A run's own folder of a stage then holds a reference, ``storage/elsewhere.py``, and nothing else. What is referred to
belongs to the run that made it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from jr2net import storage
from jr2net.run import manifest
from jr2net.run.inputs import differences
from jr2net.storage.elsewhere import ELSEWHERE, folder_of

if TYPE_CHECKING:
    from jr2net.run.cascade import Run


def is_shared(run: Run, stage: str) -> bool:
    """Whether the run refers to another run's stage."""
    return storage.exists(storage.join(run.own_folder(stage), ELSEWHERE))


def share(run: Run, stage: str, storages: Iterable[str]) -> None:
    """Refers ``stage`` to the first run, of those at ``storages``, that has made it, or begun to, from the same inputs.

    The stages that it uses have to be finished. A stage that the run has begun itself stays its own.
    """
    own = run.own_folder(stage)
    if is_shared(run, stage) or manifest.read_inputs(own) is not None:
        return
    wanted = run.inputs(stage)
    for each in storages:
        folder = folder_of(storage.join(each, stage))
        record = manifest.read_inputs(folder)
        if folder == own or record is None or manifest.is_being_removed(record):
            continue
        if not differences(record, wanted, finished=manifest.read_manifest(folder) is not None):
            path = {"folder": os.path.relpath(*(storage.relative_path(place, "") for place in (folder, own)))}
            storage.write_bytes(storage.join(own, ELSEWHERE), (json.dumps(path) + "\n").encode())
            return


def forget(run: Run, stage: str) -> None:
    """Removes the reference to another run's stage, which stays."""
    storage.remove(storage.join(run.own_folder(stage), ELSEWHERE))
