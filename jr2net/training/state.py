"""Checkpoints of a training: the complete state, saved in ``state/`` of a stage's folder or URI.

A file is a SHA-256 digest followed by the output of ``torch.save``, and its name is the step. Writes are atomic, even
if the process is killed; a damaged checkpoint is skipped in favour of the previous one. A state is written only after
the next step has succeeded with finite losses, or, where there is no next step, if all its numbers are finite: so the
newest checkpoint can always be resumed from.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from jr2net import storage

FOLDER = "state"
_SUFFIX = ".pt"
_DIGEST_BYTES = hashlib.sha256().digest_size

log = logging.getLogger(__name__)


class StateWriter:
    """Writes checkpoints on a background thread.

    folder: the folder or URI of the stage. keep: number of checkpoints to keep. A failed write raises in the next call.
    """

    def __init__(self, folder: str, keep: int) -> None:
        self.folder, self.keep = storage.join(folder, FOLDER), keep
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="state")
        self._pending: tuple[int, bytes] | None = None
        self._write: Future[None] | None = None

    def take(self, step: int, state: dict[str, Any]) -> None:
        """Copies the state of ``step``; it is written when ``confirm`` is called."""
        self._pending = step, pack(state)

    def confirm(self) -> None:
        """Starts to write the last state taken, after the previous write has finished."""
        if self._pending is None:
            return
        (step, content), self._pending = self._pending, None
        self.finish()
        self._write = self._pool.submit(self._store, step, content)

    def store(self, step: int, state: dict[str, Any]) -> None:
        """Writes the state of ``step``, after which there will be no step, and waits for it.

        A state with an infinite number or a NaN is not written.
        """
        if all(bool(torch.isfinite(tensor).all()) for tensor in _tensors(state)):
            self.take(step, state)
            self.confirm()
        self.finish()

    def finish(self) -> None:
        """Waits until confirmed states are written."""
        if self._write is not None:
            write, self._write = self._write, None
            write.result()

    def _store(self, step: int, content: bytes) -> None:
        storage.write_bytes(storage.join(self.folder, f"{step:08d}{_SUFFIX}"), content)
        for old in saved_steps(self.folder)[: -self.keep]:
            storage.remove(storage.join(self.folder, f"{old:08d}{_SUFFIX}"))


def newest_step(folder: str) -> int | None:
    """The step of the newest checkpoint of a stage, by its name, or None. No checkpoint is read."""
    return max(saved_steps(storage.join(folder, FOLDER)), default=None)


def read_newest(folder: str) -> bytes | None:
    """The content of the newest undamaged checkpoint of a stage, or None; ``unpack`` makes a state of it."""
    uri = storage.join(folder, FOLDER)
    for step in reversed(saved_steps(uri)):
        content = storage.read_bytes(storage.join(uri, f"{step:08d}{_SUFFIX}"))
        if _payload(content) is not None:
            return content
        log.warning("%s: the checkpoint of step %d is damaged; trying the previous one", uri, step)
    return None


def read_state(folder: str, step: int, device: torch.device | str) -> dict[str, Any]:
    """Loads the checkpoint of ``step``. Raises StorageError if it is missing or damaged."""
    uri = storage.join(folder, FOLDER, f"{step:08d}{_SUFFIX}")
    content = storage.read_bytes(uri)
    if _payload(content) is None:
        raise storage.StorageError(f"{uri}: checkpoint is damaged; remove it to resume from the previous one")
    return unpack(content, device)


def saved_steps(uri: str) -> list[int]:
    """Steps of the checkpoints in the folder or URI of ``state/``, ascending; other files are ignored."""
    names = (name.removesuffix(_SUFFIX) for name in storage.list_files(uri, _SUFFIX))
    return [int(name) for name in names if name.isdigit()]


def pack(state: dict[str, Any]) -> bytes:
    """The content of a checkpoint file: SHA-256 digest and serialised state."""
    stream = io.BytesIO(bytes(_DIGEST_BYTES))
    stream.seek(_DIGEST_BYTES)
    torch.save(state, stream)
    content = stream.getbuffer()
    content[:_DIGEST_BYTES] = hashlib.sha256(content[_DIGEST_BYTES:]).digest()
    return bytes(content)


def unpack(content: bytes | memoryview, device: torch.device | str) -> dict[str, Any]:
    """The state in the content of an undamaged checkpoint file."""
    return torch.load(io.BytesIO(memoryview(content)[_DIGEST_BYTES:]), map_location=device, weights_only=True)


def _payload(content: bytes) -> memoryview | None:
    """The serialised state, or None if the digest does not match."""
    digest, payload = content[:_DIGEST_BYTES], memoryview(content)[_DIGEST_BYTES:]
    return payload if hashlib.sha256(payload).digest() == digest else None


def _tensors(state: Any) -> Iterator[torch.Tensor]:
    """All tensors in nested dictionaries."""
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, Mapping):
        for value in state.values():
            yield from _tensors(value)
