"""Manifests of stages: ``manifest.json`` records what a finished stage was made from, so that it can be skipped.

A stage's folder holds the outputs of ONE set of inputs. ``inputs.json`` is written when the stage starts,
``manifest.json`` as its last file. An interrupted stage resumes from the files in its folder, a stage with changed
inputs starts with an empty folder, and a stage with a matching manifest is skipped.
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

    inputs    what determined it: settings, digests of upstream stages and the face model, version of the code
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
        return _digest(self.outputs)


def read_manifest(folder: str) -> Manifest | None:
    """The manifest of a finished stage, or None. Raises StorageError if it is damaged."""
    uri = storage.join(folder, "manifest.json")
    if not storage.exists(uri):
        return None
    try:
        return Manifest(**json.loads(storage.read_bytes(uri)))
    except (ValueError, TypeError) as error:
        raise StorageError(f"{uri}: not a manifest ({error}); remove the file to run the stage again") from None


def is_done(folder: str, inputs: Inputs) -> bool:
    """Whether the stage in ``folder`` has finished with exactly these inputs."""
    manifest = read_manifest(folder)
    return manifest is not None and _digest(manifest.inputs) == _digest(inputs)


def begin(folder: str, inputs: Inputs) -> None:
    """Prepares ``folder``: keeps the files of an interrupted attempt, removes those of other inputs.

    Raises StorageError if it holds files that no stage wrote.
    """
    uri = storage.join(folder, "inputs.json")
    if storage.exists(uri):
        if storage.read_bytes(uri) == _json(inputs):
            return
        storage.empty_folder(folder, keep="inputs.json")
    elif foreign_files := storage.list_files(folder):
        raise StorageError(f"{folder}: holds files that no stage wrote ({foreign_files[0]} …); choose another storage")
    storage.write_bytes(uri, _json(inputs))


def finish(folder: str, inputs: Inputs, outputs: Iterable[str], seconds: float) -> Manifest:
    """Writes the manifest of a stage whose ``outputs`` (paths in ``folder``) are complete."""
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
