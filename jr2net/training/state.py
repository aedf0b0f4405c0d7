"""The saved state of a training: everything that restores it exactly, kept in ``state/`` of a stage's folder or URI.

A file is a SHA-256 digest and what ``torch.save`` makes. It appears whole or not at all, whoever is killed meanwhile,
and a damaged one is passed over for the one before it. A state is stored when the step after it has shown that its
numbers are good, so that the newest one is always worth going on from.
"""

from __future__ import annotations

import hashlib
import io
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from jr2net import storage

FOLDER = "state"
_SUFFIX = ".pt"
_DIGEST_BYTES = hashlib.sha256().digest_size

log = logging.getLogger(__name__)


class StateWriter:
    """Stores states beside the training, on a thread of its own.

    folder: the stage's. keep: how many states stay. A failure to store is raised by the next call.
    """

    def __init__(self, folder: str, keep: int) -> None:
        self.folder, self.keep = storage.join(folder, FOLDER), keep
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="state")
        self._waiting: tuple[int, bytes] | None = None
        self._writing: Future[None] | None = None

    def take(self, step: int, state: dict[str, Any]) -> None:
        """A copy of the state of ``step``, to be stored when ``confirm`` is called."""
        self._waiting = step, pack(state)

    def confirm(self) -> None:
        """The state taken last has proven good: stores it, after the one before it is done."""
        if self._waiting is None:
            return
        (step, content), self._waiting = self._waiting, None
        self.finish()
        self._writing = self._pool.submit(self._store, step, content)

    def finish(self) -> None:
        """Waits until what was confirmed is stored."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def _store(self, step: int, content: bytes) -> None:
        storage.write_bytes(storage.join(self.folder, f"{step:08d}{_SUFFIX}"), content)
        for old in saved_steps(self.folder)[: -self.keep]:
            storage.remove(storage.join(self.folder, f"{old:08d}{_SUFFIX}"))


def newest_step(folder: str) -> int | None:
    """The last step of a stage whose state is there and whole."""
    place = storage.join(folder, FOLDER)
    for step in reversed(saved_steps(place)):
        if _payload(storage.read_bytes(storage.join(place, f"{step:08d}{_SUFFIX}"))) is not None:
            return step
        log.warning("%s: the state of step %d is damaged; going back to the one before", place, step)
    return None


def read_state(folder: str, step: int, device: torch.device | str) -> dict[str, Any]:
    uri = storage.join(folder, FOLDER, f"{step:08d}{_SUFFIX}")
    payload = _payload(storage.read_bytes(uri))
    if payload is None:
        raise storage.StorageError(f"{uri}: is damaged; remove it and start again from the state before")
    return torch.load(io.BytesIO(payload), map_location=device, weights_only=True)


def saved_steps(place: str) -> list[int]:
    """Steps of the states in ``state/``, ascending; whatever else lies there is none."""
    names = (name.removesuffix(_SUFFIX) for name in storage.list_files(place, _SUFFIX))
    return [int(name) for name in names if name.isdigit()]


def pack(state: dict[str, Any]) -> bytes:
    stream = io.BytesIO(bytes(_DIGEST_BYTES))
    stream.seek(_DIGEST_BYTES)
    torch.save(state, stream)
    content = stream.getbuffer()
    content[:_DIGEST_BYTES] = hashlib.sha256(content[_DIGEST_BYTES:]).digest()
    return bytes(content)


def _payload(content: bytes) -> memoryview | None:
    digest, payload = content[:_DIGEST_BYTES], memoryview(content)[_DIGEST_BYTES:]
    return payload if hashlib.sha256(payload).digest() == digest else None
