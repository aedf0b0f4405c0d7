"""Pictures to synthesise from: frames of clip shards or a folder of photos, numbered, read one at a time.

Which pictures there are is fixed by a ``SourceList``, so that a number means the same picture however often a job is
started again; whether a picture can be used shows when it is read (``SourceError``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Protocol

import cv2
import numpy as np

from jr2net import storage
from jr2net.data.clips import ClipSource
from jr2net.data.shards import index_shard
from jr2net.errors import UserError
from jr2net.images import arrays as pictures
from jr2net.images.face_detector import FaceDetector
from jr2net.storage.parquet import ShardError

PHOTO_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


class SourceError(UserError, ValueError):
    """A picture that cannot be used; the message is the reason, in a few words that name no place."""


@dataclass(frozen=True)
class Picture:
    """A face crop to synthesise from. image: (S, S, 3) uint8 RGB."""

    source_id: str
    image: np.ndarray
    license: str = ""


class Sources(Protocol):
    """Numbered pictures. ``read`` raises SourceError where one cannot be used, StorageError where storage fails."""

    def __len__(self) -> int: ...

    def name(self, number: int) -> str: ...

    def read(self, number: int) -> Picture: ...


@dataclass(frozen=True)
class SourceList:
    """What a dataset is made from.

    kind       "clips" or "photos"
    files      bytes of every usable file, by its name below the folder
    damaged    file -> why it could not even be listed
    """

    kind: str
    files: Mapping[str, int]
    damaged: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> bytes:
        return (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode()


def list_sources(uri: str) -> SourceList:
    """The clip shards of a folder, or its photos where it holds none. Raises ShardError where it holds neither.

    A shard whose index cannot be read is set aside as damaged; the rest is used.
    """
    sizes = storage.file_sizes(uri)
    shards = sorted(name for name in sizes if name.endswith(".parquet"))
    if not shards:
        photos = {name: sizes[name] for name in sorted(sizes) if name.lower().endswith(PHOTO_ENDINGS)}
        if not photos:
            endings = ", ".join(PHOTO_ENDINGS)
            raise ShardError(f"{uri}: holds neither clip shards (.parquet) nor photos ({endings}); give such a folder")
        return SourceList("photos", photos)
    damaged = {}
    for name in shards:
        try:
            index_shard(_place(uri, name, sizes))
        except ShardError as error:
            damaged[name] = _reason(error, _place(uri, name, sizes))
    usable = {name: sizes[name] for name in shards if name not in damaged}
    if not usable:
        raise ShardError(f"{uri}: none of {len(shards)} shards can be read, e.g. {shards[0]}: {damaged[shards[0]]}")
    return SourceList("clips", usable, damaged)


def open_sources(
    uri: str, listed: SourceList, size: int, detector: FaceDetector | None = None, only: ClipSource | None = None
) -> Sources:
    """The pictures of a list made of the same folder, ``size`` pixels wide.

    detector: finds the faces of photos; without one a photo counts as a face crop and must be square.
    only: rows to use where not all of the shards' are wanted (the identities of a training set).
    """
    if listed.kind == "photos":
        return Photos(uri, list(listed.files), size, detector)
    clips = only if only is not None else ClipSource([_place(uri, name, listed.files) for name in listed.files])
    return ClipFrames(clips, size)


class ClipFrames:
    """Every frame of some clips, in the order of the shards."""

    def __init__(self, clips: ClipSource, size: int) -> None:
        self.clips, self.size = clips, size
        self._starts = np.cumsum([0] + [len(entry.frames) for entry in clips.rows])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def name(self, number: int) -> str:
        row, frame = self._place(number)
        entry = self.clips.rows[row]
        return f"{entry.clip_id}/{entry.frames[frame]}"

    def read(self, number: int) -> Picture:
        shard = self.clips.rows[self._place(number)[0]].shard
        try:
            return self._read(number)
        except ShardError:
            storage.read_bytes(shard)  # a storage that does not answer is no fault of the picture's
        try:
            return self._read(number)
        except ShardError as error:
            raise SourceError(_reason(error, shard)) from None

    def _read(self, number: int) -> Picture:
        row, frame = self._place(number)
        image, _ = self.clips.picture(row, frame, self.size)
        return Picture(self.name(number), pictures.resize(image, self.size), self.clips.read(row).license)

    def _place(self, number: int) -> tuple[int, int]:
        row = int(np.searchsorted(self._starts, number, side="right")) - 1
        return row, number - int(self._starts[row])


class Photos:
    """The largest face of every photo of a folder, cut out as the networks' training pictures were."""

    def __init__(self, uri: str, names: Sequence[str], size: int, detector: FaceDetector | None) -> None:
        self.uri, self.names, self.size, self.detector = uri, names, size, detector

    def __len__(self) -> int:
        return len(self.names)

    def name(self, number: int) -> str:
        return self.names[number]

    def read(self, number: int) -> Picture:
        content = storage.read_bytes(storage.join(self.uri, self.names[number]))
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
        if decoded is None:
            raise SourceError("not a picture that can be decoded")
        photo = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
        return Picture(self.names[number], self._crop(photo))

    def _crop(self, photo: np.ndarray) -> np.ndarray:
        if self.detector is not None:
            faces = self.detector(photo)
            if not faces:
                raise SourceError("no face was found")
            return faces[0].crop().apply(photo, self.size)
        height, width = photo.shape[:2]
        if height != width:
            raise SourceError(f"{width} x {height} pixels, and without a face detector a photo must be a square crop")
        return pictures.resize(photo, self.size)


def _place(uri: str, name: str, sizes: Mapping[str, int]) -> str:
    """Where a listed file lies; ``uri`` may be the file itself."""
    return uri if len(sizes) == 1 and PurePosixPath(uri).name == name else storage.join(uri, name)


def _reason(error: Exception, place: str) -> str:
    """An error's message without the place, so that a dataset's bytes do not depend on where its sources lie."""
    return str(error).replace(place, PurePosixPath(place).name)
