"""Files that are sent: spooled to the disk where they are large, and read there."""

from __future__ import annotations

import io
import os
from tempfile import SpooledTemporaryFile

from jr2net.images.video_file import VideoFile

SPOOLED_BYTES = 2**20
"""Files up to this size stay in memory."""


def new_spool() -> SpooledTemporaryFile:
    """A file without a name, gone with the last that refers to it."""
    return SpooledTemporaryFile(max_size=SPOOLED_BYTES)


def as_video(spool: SpooledTemporaryFile) -> VideoFile:
    """The video in a spool, which nobody writes to any more."""
    spool.seek(0)
    head = spool.read(SPOOLED_BYTES + 1)
    if len(head) <= SPOOLED_BYTES:
        return VideoFile.of(head)
    spool.flush()
    return VideoFile(lambda: io.BufferedReader(_Reader(spool)))


class _Reader(io.RawIOBase):
    """Reads a spool from a place of its own, beside other readers."""

    def __init__(self, spool: SpooledTemporaryFile) -> None:
        self._spool, self._place = spool, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        content = os.pread(self._spool.fileno(), len(buffer), self._place)
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._place}.get(whence, os.fstat(self._spool.fileno()).st_size)
        self._place = origin + offset
        return self._place

    def tell(self) -> int:
        return self._place
