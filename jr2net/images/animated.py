"""Pictures that move: GIF, APNG, animated WebP and AVIF sequences. They count as videos where a video is asked for.

PyAV's library decodes all of them but WebP, whose frames are decoded here, by libwebp through Pillow.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image

from jr2net.images.signatures import file_format

_NAMES = {"GIF": "gif", "PNG": "apng", "WEBP": "webp", "AVIF": "mp4"}
_PNG_START = b"\x89PNG\r\n\x1a\n"
_ANIMATION = 0x02  # a flag of WebP
_RIFF_HEAD, _CHUNK_HEAD = 12, 8
_SHORTEST_MS, _INSTEAD_MS = 10, 100  # browsers show what is to be shown for less as long as this


def animation_format(head: bytes) -> str | None:
    """The name of the format as ``container_format`` has it, of a picture whose first bytes say that it may move: of a
    GIF they do not tell. None for anything else."""
    kind = file_format(head)
    moves = {"GIF": lambda: True, "PNG": lambda: _png_moves(head), "WEBP": lambda: _webp_moves(head),
             "AVIF": lambda: b"avis" in head[8 : int.from_bytes(head[:4], "big")]}  # fmt: skip
    return _NAMES[kind] if kind in moves and moves[kind]() else None


def gif_moves(file: BinaryIO) -> bool:
    damage = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # the last by sizes that are damaged
    with suppress(*damage), Image.open(file, formats=["GIF"]) as image:
        return getattr(image, "is_animated", False)
    return False


def _png_moves(head: bytes) -> bool:
    """Whether a chunk before the pixels announces more than one frame (APNG)."""
    for name, start, end in _png_chunks(io.BytesIO(head)):
        if name == b"acTL":
            return int.from_bytes(head[start : start + 4], "big") > 1
        if name in (b"IDAT", b"IEND") or end > len(head):
            return False
    return False


def _webp_moves(head: bytes) -> bool:
    return head[12:16] == b"VP8X" and len(head) > 20 and bool(head[20] & _ANIMATION)


def png_ends_early(file: BinaryIO, end: int) -> bool:
    """Whether a PNG lacks its last chunk."""
    return not any(name == b"IEND" and last <= end for name, _, last in _png_chunks(file))


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Name, start of the content and end of every chunk; the last one's end may lie beyond the file's."""
    start = len(_PNG_START)
    while True:
        file.seek(start)
        head = file.read(_CHUNK_HEAD)
        if len(head) < _CHUNK_HEAD:
            return
        content = start + _CHUNK_HEAD
        start = content + int.from_bytes(head[:4], "big") + 4  # a checksum follows
        yield head[4:], content, start


def gif_ends_early(file: BinaryIO, end: int) -> bool:
    """Whether a GIF lacks its trailer. Blocks follow the header and the colour table: images and extensions, whose
    content is in parts of up to 255 bytes (GIF89a)."""
    file.seek(0)
    header = file.read(13)
    if len(header) < 13:
        return True
    file.seek(_colours(header[10]), io.SEEK_CUR)
    while kind := file.read(1):
        if kind == b";":
            return False
        if kind == b",":
            head = file.read(9)
            file.seek(_colours(head[8] if len(head) == 9 else 0) + 1, io.SEEK_CUR)  # and the size of codes
        elif kind == b"!":
            file.seek(1, io.SEEK_CUR)
        else:
            return False  # not as it should be, but not known to be cut off
        while size := file.read(1):
            if size == b"\0":
                break
            file.seek(size[0], io.SEEK_CUR)
    return True


def _colours(flags: int) -> int:
    """Bytes of a table of colours."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


@dataclass(frozen=True)
class WebPAnimation:
    """What an animated WebP says of itself.

    width, height  of all frames
    instants       seconds at which each frame is shown, those that are complete
    seconds        duration
    end            of the last complete frame, in bytes
    """

    width: int
    height: int
    instants: tuple[float, ...]
    seconds: float
    end: int

    @staticmethod
    def of(file: BinaryIO) -> WebPAnimation:
        """Reads the heads of its chunks; no pixels are decoded. Raises ValueError if it has no complete frame."""
        length = file.seek(0, io.SEEK_END)
        file.seek(0)
        head = file.read(30)
        start, end, instants, milliseconds = _RIFF_HEAD, 0, list[float](), 0
        while start + _CHUNK_HEAD <= length:
            file.seek(start)
            chunk = file.read(_CHUNK_HEAD + 16)
            size = int.from_bytes(chunk[4:8], "little")
            start += _CHUNK_HEAD + size + size % 2
            if chunk[:4] == b"ANMF" and start <= length:
                instants.append(milliseconds / 1000)
                shown = int.from_bytes(chunk[20:23], "little")
                milliseconds += shown if shown > _SHORTEST_MS else _INSTEAD_MS
                end = start
        if not instants or len(head) < 30:
            raise ValueError("no frame is complete")
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
        return WebPAnimation(width, height, tuple(instants), milliseconds / 1000, end)

    def frames(self, file: BinaryIO) -> Iterator[np.ndarray]:
        """(H, W, 3) uint8 RGB each. The file's bytes are kept in memory, its pictures one at a time. Raises OSError or
        ValueError where a frame is damaged."""
        with Image.open(self._complete(file), formats=["WEBP"]) as image:
            for number in range(len(self.instants)):
                try:
                    image.seek(number)
                    yield np.asarray(image.convert("RGB"))
                except EOFError:
                    raise ValueError("a frame is damaged") from None

    def _complete(self, file: BinaryIO) -> io.BytesIO:
        """The file up to its last complete frame: of one that is cut off libwebp takes nothing else."""
        file.seek(0)
        content = bytearray(file.read(self.end))
        content[4:8] = (len(content) - 8).to_bytes(4, "little")
        return io.BytesIO(content)


def is_transparent(file: BinaryIO) -> bool:
    """Whether a pixel of the first frame of an APNG or a WebP is not opaque; False where it cannot be told."""
    with suppress(OSError, SyntaxError, ValueError), Image.open(file, formats=["PNG", "WEBP"]) as image:
        return image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255)
    return False
