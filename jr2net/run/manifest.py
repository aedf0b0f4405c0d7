"""What a stage of a run has done: ``manifest.json`` in its folder, and whether that is still what is asked for.

A stage's folder holds what ONE set of inputs made. ``inputs.json`` is written when the stage begins, ``manifest.json``
when it is finished, last of all: a stage killed anywhere goes on from what its folder holds, a stage whose inputs
changed begins with an empty folder, and a stage whose manifest matches is not run again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from jr2net import storage
from jr2net.run.environment import versions
from jr2net.storage import StorageError

CODE_VERSIONS = {"synthesis": "2"}
"""Version of a stage's code, "1" if not listed. Raise it when a stage's output changes its meaning or format, so that
stages finished by older code run again."""

Inputs = Mapping[str, Any]


@dataclass(frozen=True)
class Manifest:
    """A finished stage.

    inputs    what determined it: settings, digests of the stages before it, of the face model, and of the code
    outputs   relative path -> SHA-256 of its content
    seconds   wall time of the attempt that finished it
    finished  UTC time, ISO 8601
    versions  of the packages that made it; they tell, they do not decide
    """

    inputs: dict[str, Any]
    outputs: dict[str, str]
    seconds: float
    finished: str
    versions: dict[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 of what the stage made: equal outputs have equal digests, whenever and wherever they were made."""
        return _digest(self.outputs)


def read_manifest(folder: str) -> Manifest | None:
    """The manifest of a finished stage, or None. Raises StorageError where it is damaged."""
    place = storage.join(folder, "manifest.json")
    if not storage.exists(place):
        return None
    try:
        return Manifest(**json.loads(storage.read_bytes(place)))
    except (ValueError, TypeError) as error:
        raise StorageError(f"{place}: not a manifest ({error}); remove the file to run the stage again") from None


def is_done(folder: str, inputs: Inputs) -> bool:
    """Whether the stage in ``folder`` finished with exactly these inputs."""
    manifest = read_manifest(folder)
    return manifest is not None and _digest(manifest.inputs) == _digest(inputs)


def begin(folder: str, inputs: Inputs) -> None:
    """Makes ``folder`` ready: kept as it is after an interruption, emptied where other inputs made what is in it.

    Raises StorageError where it holds files that no stage wrote.
    """
    place = storage.join(folder, "inputs.json")
    if storage.exists(place):
        if storage.read_bytes(place) == _json(inputs):
            return
        storage.empty_folder(folder, keep="inputs.json")
    elif stray := storage.list_files(folder):
        raise StorageError(f"{folder}: holds files that are no stage's ({stray[0]} …); choose another storage")
    storage.write_bytes(place, _json(inputs))


def finish(folder: str, inputs: Inputs, outputs: Iterable[str], seconds: float) -> Manifest:
    """Writes the manifest of a stage whose ``outputs`` (paths in ``folder``) are all there."""
    manifest = Manifest(
        inputs=json.loads(_json(inputs)),
        outputs={name: storage.sha256(storage.join(folder, name)) for name in sorted(outputs)},
        seconds=round(seconds, 2),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions(),
    )
    storage.write_bytes(storage.join(folder, "manifest.json"), _json(asdict(manifest)))
    return manifest


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def _digest(content: Any) -> str:
    return hashlib.sha256(_json(content)).hexdigest()
