"""Which container a video is in, by its first bytes."""

from __future__ import annotations


def container_format(content: bytes) -> str | None:
    """The library's name of the format: ``mp4`` (MOV too) or ``matroska`` (WebM too); None for anything else."""
    return "mp4" if content[4:8] == b"ftyp" else "matroska" if content[:4] == b"\x1a\x45\xdf\xa3" else None
