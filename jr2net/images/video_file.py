"""A video as a file: where its bytes are, and which container they are in."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from jr2net.images.animated import animation_format, gif_ends_early, gif_moves, png_ends_early
from jr2net.images.photo import photo_format
from jr2net.storage import cached_copy

CONTAINERS = "MP4, MOV, WebM, Matroska, AVI, MPEG, MPEG-TS, FLV or WMV"
"""The containers that are read, for errors. Pictures that move are read too (``jr2net.images.animated``)."""

_HEAD_BYTES = 65536  # a colour profile may stand before the chunk that says that a picture moves
_ELEMENT_HEAD = 12  # bytes of the longest id and size of Matroska
_STARTS = {
    b"\x1a\x45\xdf\xa3": "matroska", b"FLV\x01": "flv", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "asf",
    b"\0\0\x01\xba": "mpeg",
}  # fmt: skip
_ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"skip", b"free", b"pnot")  # early QuickTime has no ftyp


@dataclass(frozen=True)
class VideoFile:
    """A video whose bytes stay where they are, and are read by any number of readers at once.

    open  a new reader of the whole file, which can seek
    """

    open: Callable[[], BinaryIO]

    @staticmethod
    def of(video: bytes | str | Path | VideoFile) -> VideoFile:
        """The video of its bytes or of a path; of an ``s3://`` URI a copy on this machine. Raises StorageError."""
        if isinstance(video, VideoFile):
            return video
        if isinstance(video, bytes):
            return VideoFile(lambda: io.BytesIO(video))
        path = cached_copy(str(video))
        return VideoFile(lambda: path.open("rb"))

    @cached_property
    def head(self) -> bytes:
        """The first bytes, which tell the format."""
        with self.open() as file:
            return file.read(_HEAD_BYTES)

    def read(self) -> bytes:
        """All bytes, e.g. of what is no video."""
        with self.open() as file:
            return file.read()


def container_format(head: bytes) -> str | None:
    """The library's name of the container that a file's first bytes announce, e.g. ``mp4`` (MOV too) or ``matroska``
    (WebM too), or ``webp``, which the library does not decode; None for anything else."""
    if head[4:8] in _ATOMS:
        return "mp4"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if any(head[start : start + 2 * size + 1 : size] == b"GGG" for start, size in ((0, 188), (4, 192))):
        return "mpegts"
    known = next((name for start, name in _STARTS.items() if head.startswith(start)), None)
    return known or animation_format(head)


def is_video(video: VideoFile) -> bool:
    """Whether a file is a video, or a picture that moves: a GIF, APNG, WebP or AVIF of several frames."""
    kind = container_format(video.head)
    if kind == "gif":
        with video.open() as file:
            return gif_moves(file)
    return kind is not None and (not photo_format(video.head) or animation_format(video.head) is not None)


def is_cut_off(video: VideoFile) -> bool:
    """Whether the end of an MP4, MOV, WebM, Matroska, AVI, or a picture that moves, is missing, by the sizes of its
    parts; False for others."""
    ends_early = {
        "mp4": _mp4_ends_early, "matroska": _matroska_ends_early, "avi": _riff_ends_early, "webp": _riff_ends_early,
        "apng": png_ends_early, "gif": gif_ends_early,
    }  # fmt: skip
    kind = container_format(video.head) or ""
    if kind not in ends_early:
        return False
    with video.open() as file:
        end = file.seek(0, io.SEEK_END)
        return ends_early[kind](file, end)


def _mp4_ends_early(file: BinaryIO, end: int) -> bool:
    start = 0
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        size = int.from_bytes(head[:4], "big")
        size = int.from_bytes(head[8:], "big") if size == 1 else size
        if size < 8:  # 0: up to the file's end
            return False
        start += size
    return start > end


def _riff_ends_early(file: BinaryIO, end: int) -> bool:
    """AVI and WebP; long AVIs have several parts, RIFF each."""
    start = 0
    while start + 8 <= end:
        file.seek(start)
        head = file.read(8)
        if head[:4] != b"RIFF":
            return False
        start += 8 + int.from_bytes(head[4:], "little")
    return start > end


def _matroska_ends_early(file: BinaryIO, end: int) -> bool:
    """Elements are their id, their size and their content; the content of one whose size is unknown, as what is
    recorded live has them, is elements too (RFC 8794)."""
    start = 0
    while start < end:
        file.seek(start)
        head = file.read(_ELEMENT_HEAD)
        id_length = _vint_length(head)
        size_length = _vint_length(head[id_length:])
        if not id_length or not size_length or len(head) < id_length + size_length:
            return False
        start += id_length + size_length
        unknown = (1 << 7 * size_length) - 1
        size = int.from_bytes(head[id_length : id_length + size_length], "big") & unknown
        if size != unknown:
            start += size
    return start > end


def _vint_length(content: bytes) -> int:
    """Bytes of a number of variable length, by its first one; 0: it is none."""
    return 9 - content[0].bit_length() if content and content[0] else 0
