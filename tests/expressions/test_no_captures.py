"""Files that are no captures, whatever they are called: each is named as what it is."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from jr2net.expressions.columns import NotACaptureError
from jr2net.expressions.tracks import parse_capture

FILES: dict[str, tuple[bytes, str]] = {
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(50), "is a photo"),
    "JPEG": (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(50), "is a photo"),
    "video": (b"\x00\x00\x00\x20ftypisom" + bytes(50), "is a video"),
    "ZIP": (b"PK\x03\x04" + bytes(50), "is a ZIP archive, not a capture; unpack it"),
    "workbook": (b"PK\x03\x04....xl/workbook.xml", "is an Excel workbook, not a capture; save the sheet as CSV"),
    "old workbook": (b"\xd0\xcf\x11\xe0" + bytes(50), "Excel workbook"),
    "gzip": (gzip.compress(b"Timecode,EyeBlinkLeft\n"), "is compressed"),
    "Parquet": (b"PAR1" + bytes(50), "is a Parquet file"),
    "web page": (b"<!DOCTYPE html><html></html>", "is a web page"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\n", "git lfs pull"),
    "noise": (np.random.default_rng(0).integers(0, 256, 4000).astype(np.uint8).tobytes(), "not a CSV or JSON text"),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_of_other_kinds_are_named(kind: str) -> None:
    content, message = FILES[kind]
    with pytest.raises(NotACaptureError, match=message):
        parse_capture(content, "a.csv")
