"""Notes on how a film was made, in its MP4: a box of its own, which players skip.

It stands near the file's end, because some notes, as on frames without a face, are known only then. Like every box it
is its size (4 bytes, big-endian) and its type, here ``uuid``; then come ``NOTES_ID`` (16 bytes) and JSON:
``{"notes": ["3 of 90 frames show no face; the face before is held"]}``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence

NOTES_ID = bytes.fromhex("7b7ab3f5a6a04d1c9d7c4a1f2f0e6b5d")


def with_notes(last_bytes: bytes, notes: Sequence[str]) -> bytes:
    """The last bytes of an MP4, with notes before the index that ends it (``mfra``), or behind all; unchanged without
    any."""
    if not notes:
        return last_bytes
    content = NOTES_ID + json.dumps({"notes": list(notes)}).encode()
    box = struct.pack(">I4s", 8 + len(content), b"uuid") + content
    size = int.from_bytes(last_bytes[-4:], "big")
    end = len(last_bytes) - size if last_bytes[-size + 4 : -size + 8] == b"mfra" else len(last_bytes)
    return last_bytes[:end] + box + last_bytes[end:]


def read_notes(content: bytes) -> list[str]:
    """The notes in the bytes of an MP4; [] without any."""
    start = 0
    while 8 <= (size := int.from_bytes(content[start : start + 4], "big")) <= len(content) - start:
        box = content[start : start + size]
        if box[4:24] == b"uuid" + NOTES_ID:
            return json.loads(box[24:])["notes"]
        start += size
    return []
