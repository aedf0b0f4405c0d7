"""The records in a stage's folder: ``inputs.json`` says what it is made from, ``manifest.json`` that it has finished.

A stage's folder holds the outputs of ONE record (``run/inputs.py``). ``inputs.json`` is written when the stage starts,
``manifest.json`` as its last file. An interrupted stage resumes from the files in its folder. ``remove``, which only
``run/redo.py`` calls, is all that deletes outputs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from jr2net import storage
from jr2net.run.environment import versions
from jr2net.run.inputs import Record, differences
from jr2net.storage import StorageError

INPUTS, MANIFEST = "inputs.json", "manifest.json"
EARLIER = "earlier"
"""Folder, within a stage's, of the outputs that it had finished with before it was continued."""

_REMOVED = "removed"
_FIELDS = {"stage", "code", "face_model", "settings", "upstream"}


@dataclass(frozen=True)
class Manifest:
    """A finished stage.

    inputs    what determined it: see ``run/inputs.py``
    outputs   relative path -> SHA-256 of the content
    seconds   wall time of the attempt that finished it
    finished  UTC time, ISO 8601
    versions  of the packages used; for information only
    """

    inputs: dict[str, Any]
    outputs: dict[str, str]
    seconds: float
    finished: str
    versions: dict[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 of the outputs alone: equal outputs have equal digests, whenever and wherever they were made."""
        return hashlib.sha256(_json(self.outputs)).hexdigest()


def read_manifest(folder: str) -> Manifest | None:
    """The manifest of a finished stage, or None. Raises StorageError if it is damaged."""
    uri = storage.join(folder, MANIFEST)
    if not storage.exists(uri):
        return None
    try:
        manifest = Manifest(**json.loads(storage.read_bytes(uri)))
        return _check(manifest, manifest.inputs)
    except (ValueError, TypeError) as error:
        raise StorageError(f"{uri}: not a manifest ({error}); remove the file to run the stage again") from None


def read_inputs(folder: str) -> dict[str, Any] | None:
    """The record of the stage that was begun in ``folder``, or None. Raises StorageError if it is damaged."""
    uri = storage.join(folder, INPUTS)
    if not storage.exists(uri):
        finished = read_manifest(folder)
        return finished.inputs if finished is not None else None
    try:
        record = json.loads(storage.read_bytes(uri))
        return _check(record, record)
    except (ValueError, TypeError) as error:
        raise StorageError(
            f"{uri}: not a record of inputs ({error}); restore the file or choose another storage"
        ) from None


def is_done(folder: str, inputs: Record) -> bool:
    """Whether the stage in ``folder`` has finished with these inputs."""
    manifest = read_manifest(folder)
    return manifest is not None and not differences(manifest.inputs, inputs, finished=True)


def begin(folder: str, inputs: Record) -> None:
    """Records what the stage in ``folder`` is made from. Its files, if it has any, must have been made from the same.

    Raises StorageError if it holds files that no stage wrote.
    """
    if read_inputs(folder) is None and (foreign_files := storage.list_files(folder)):
        raise StorageError(f"{folder}: holds files that no stage wrote ({foreign_files[0]} …); choose another storage")
    storage.write_bytes(storage.join(folder, INPUTS), _json(inputs))


def finish(folder: str, inputs: Record, outputs: Iterable[str], seconds: float) -> Manifest:
    """Writes the manifest of a stage whose ``outputs`` (paths in ``folder``) are complete."""
    manifest = Manifest(
        inputs=json.loads(_json(inputs)),
        outputs={name: storage.sha256(storage.join(folder, name)) for name in sorted(outputs)},
        seconds=round(seconds, 2),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions(),
    )
    storage.write_bytes(storage.join(folder, MANIFEST), _json(asdict(manifest)))
    return manifest


def continue_from(folder: str, finished: Manifest, inputs: Record, extent: int) -> None:
    """Makes a finished stage unfinished, with the record ``inputs``; copies its outputs to ``earlier/<extent>`` first.

    Interrupted anywhere, it can be called again.
    """
    earlier = storage.join(folder, EARLIER, str(extent))
    for name in [*finished.outputs, MANIFEST]:
        if not storage.exists(storage.join(earlier, name)):
            storage.write_bytes(storage.join(earlier, name), storage.read_bytes(storage.join(folder, name)))
    storage.write_bytes(storage.join(folder, INPUTS), _json(inputs))
    storage.remove(storage.join(folder, MANIFEST))


def remove(folder: str) -> None:
    """Deletes a stage's folder. Interrupted anywhere, it can be called again, and no stage begins there until it was.

    Raises StorageError if the folder holds files that no stage wrote.
    """
    record = read_inputs(folder)
    if record is None:
        if foreign_files := storage.list_files(folder):
            raise StorageError(
                f"{folder}: holds files that no stage wrote ({foreign_files[0]} …); delete them yourself"
            )
        return
    storage.write_bytes(storage.join(folder, INPUTS), _json({**record, _REMOVED: True}))
    storage.remove(storage.join(folder, MANIFEST))
    storage.empty_folder(folder, keep=INPUTS)
    storage.remove(storage.join(folder, INPUTS))


def is_being_removed(record: Record) -> bool:
    """Whether the removal of the stage with this record has begun."""
    return bool(record.get(_REMOVED))


def _check(value: Any, record: Record) -> Any:
    """``value``, if the record in it has all fields. Raises ValueError."""
    if missing := _FIELDS - record.keys():
        raise ValueError(f"{min(missing)!r} is missing")
    return value


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()
