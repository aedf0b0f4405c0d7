"""Source images of synthesis: frames of clip shards or a folder of photos, read by number.

A ``SourceList`` fixes the numbering, so that a number means the same image after every restart. An image that cannot
be used raises ``SourceError`` when it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from jr2net import storage
from jr2net.data.cache import RecentCache
from jr2net.data.clips import ClipSource, decode_frame
from jr2net.data.shards import COLUMNS, parse_rows, read_group
from jr2net.data.source_list import SourceList, open_clips, without_folder
from jr2net.errors import UserError
from jr2net.images.arrays import resize
from jr2net.images.clip import ClipRow
from jr2net.images.face_detector import FaceDetector
from jr2net.storage.open_shards import OpenShards
from jr2net.storage.parquet import ShardError

KEPT_BYTES = 1 << 28
"""Bytes of row groups that an actor of synthesis keeps in memory."""


class SourceError(UserError, ValueError):
    """A source image that cannot be used. The message gives the reason, without paths (see ``without_folder``)."""


@dataclass(frozen=True)
class SourceImage:
    """A face crop to synthesise from. image: (S, S, 3) uint8 RGB."""

    source_id: str
    image: np.ndarray
    license: str = ""


class Sources(Protocol):
    """Numbered source images. ``read`` raises SourceError if one cannot be used, StorageError if storage fails."""

    def __len__(self) -> int: ...

    def name(self, number: int) -> str: ...

    def read(self, number: int) -> SourceImage: ...

    def groups(self) -> tuple[np.ndarray, np.ndarray]:
        """What is read at once: the first number of every group, then the number of all; and the bytes of each."""
        ...


def open_sources(
    uri: str, listed: SourceList, size: int, detector: FaceDetector | None = None, only: ClipSource | None = None
) -> Sources:
    """Opens the images of a listed folder at ``size`` x ``size`` pixels.

    detector: crops the faces of photos; without one photos must be square face crops.
    only: the rows to use, if not all rows of the shards (the identities of a training set).
    """
    if listed.kind == "photos":
        return Photos(uri, list(listed.files), size, detector)
    return ClipFrames(only if only is not None else open_clips(uri, listed), size)


class ClipFrames:
    """Every frame of some clips, in the order of the shards. The row groups that were read last stay in memory."""

    def __init__(self, clips: ClipSource, size: int) -> None:
        self.clips, self.size = clips, size
        self._shards = OpenShards(COLUMNS, lambda name: name == "license")
        self._groups: RecentCache[list[ClipRow]] = RecentCache(
            KEPT_BYTES, lambda rows: sum(row.encoded_bytes for row in rows)
        )

    def __len__(self) -> int:
        return self.clips.frame_count

    def groups(self) -> tuple[np.ndarray, np.ndarray]:
        rows = self.clips.rows
        first = np.flatnonzero((np.diff(rows.shard, prepend=-1) != 0) | (np.diff(rows.group, prepend=-1) != 0))
        return np.append(rows.starts[first], rows.starts[-1]), rows.group_bytes[first].astype(np.int64)

    def name(self, number: int) -> str:
        row, frame = self.clips.locate(number)
        entry = self.clips.rows[row]
        name = f"{entry.identity}/{entry.clip_id}"
        try:
            return f"{name}/{self._row(row, frame).frame[frame]}"
        except ShardError:
            return f"{name}/{entry.first + frame}"  # the row cannot be read: as if no number were left out

    def read(self, number: int) -> SourceImage:
        """As ``Sources.read``. Failed requests look as damage does; the shard's whole content tells them apart."""
        entry = self.clips.rows[self.clips.locate(number).row]
        try:
            return self._read(number)
        except ShardError:
            content = storage.read_bytes(entry.shard)  # raises StorageError if the storage is the cause
        try:
            self._groups.get((entry.shard, entry.group), lambda: read_group(entry.shard, entry.group, content))
            return self._read(number)
        except ShardError as error:
            raise SourceError(without_folder(error, entry.shard)) from None

    def _read(self, number: int) -> SourceImage:
        row, frame = self.clips.locate(number)
        clip = self._row(row, frame)
        image, _ = decode_frame(self.clips.rows[row].shard, clip, frame, self.size)
        return SourceImage(self.name(number), resize(image, self.size), clip.license)

    def _row(self, row: int, frame: int) -> ClipRow:
        """A row that holds a frame. Raises ShardError where the shard no longer has that row, or the row that frame."""
        entry = self.clips.rows[row]

        def load() -> list[ClipRow]:
            return parse_rows(self._shards.read(entry.shard, entry.group, entry.group + 1)[0], entry.shard)

        rows = self._groups.get((entry.shard, entry.group), load)
        if entry.position >= len(rows) or frame >= len(rows[entry.position]):
            raise ShardError(
                f"{entry.shard}: clip {entry.clip_id!r} has lost frames; the shard was changed after it was indexed: "
                "prepare the data again"
            )
        return rows[entry.position]


class Photos:
    """The largest face of every photo of a folder, cropped as in training."""

    def __init__(self, uri: str, names: Sequence[str], size: int, detector: FaceDetector | None) -> None:
        self.uri, self.names, self.size, self.detector = uri, names, size, detector

    def __len__(self) -> int:
        return len(self.names)

    def groups(self) -> tuple[np.ndarray, np.ndarray]:
        """One of no bytes: every photo is read alone, so that none is nearer to one than to another."""
        return np.array([0, len(self)]), np.array([0])

    def name(self, number: int) -> str:
        return self.names[number]

    def read(self, number: int) -> SourceImage:
        content = storage.read_bytes(storage.join(self.uri, self.names[number]))
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
        if decoded is None:
            raise SourceError("not a picture that can be decoded")
        photo = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
        return SourceImage(self.names[number], self._crop(photo))

    def _crop(self, photo: np.ndarray) -> np.ndarray:
        if self.detector is not None:
            faces = self.detector(photo)
            if not faces:
                raise SourceError("no face was found")
            return faces[0].crop().apply(photo, self.size)
        height, width = photo.shape[:2]
        if height != width:
            raise SourceError(f"{width} x {height} pixels, and without a face detector a photo must be a square crop")
        return resize(photo, self.size)
