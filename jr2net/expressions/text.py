"""Captures as text: how it is encoded, and what a file is that is none."""

from __future__ import annotations

from jr2net.expressions.columns import NotACaptureError
from jr2net.images.photo import photo_format

_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}  # fmt: skip
_PADDING = 16  # zero bytes; fewer may be the last characters of UTF-16 and UTF-32
_EXPORT = "export the capture as CSV or JSON"
_KINDS = {
    b"PK\x03\x04": ("a ZIP archive", "unpack it and give the capture inside"),
    b"\x1f\x8b": ("compressed (gzip)", "unpack it"),
    b"BZh": ("compressed (bzip2)", "unpack it"),
    b"\xfd7zXZ": ("compressed (xz)", "unpack it"),
    b"(\xb5/\xfd": ("compressed (Zstandard)", "unpack it"),
    b"7z\xbc\xaf": ("a 7z archive", "unpack it and give the capture inside"),
    b"Rar!": ("a RAR archive", "unpack it and give the capture inside"),
    b"\xd0\xcf\x11\xe0": ("an Excel workbook", "save the sheet as CSV"),
    b"PAR1": ("a Parquet file", _EXPORT),
    b"%PDF": ("a PDF", _EXPORT),
    b"{\\rtf": ("a formatted text (RTF)", "save it as plain text"),
    b"glTF": ("a glTF scene", _EXPORT),
    b"Kaydara FBX": ("an FBX scene", _EXPORT),
    b"ID3": ("a sound", _EXPORT),
    b"RIFF": ("a sound or video", _EXPORT),
    b"\x1a\x45\xdf\xa3": ("a video", _EXPORT),
    b"version https://git-lfs": ("a pointer of Git LFS", "fetch the file itself with `git lfs pull`"),
    b"%YAML": ("a YAML file, perhaps an animation of Unity", _EXPORT),
    b"<": ("a web page or XML", "download the file itself"),
}
"""What files of other kinds begin with, what they are, and the remedy."""


def without_padding(content: bytes) -> bytes:
    """A text without the zero bytes of a file that was given its length before it was written."""
    end = len(content.rstrip(b"\0"))
    if len(content) - end < _PADDING:
        return content
    width = 4 if content.startswith(b"\xff\xfe\0\0") else 2 if b"\0" in content[: min(end, 64)] else 1  # of a character
    return content[: end + -end % width]


def find_encoding(content: bytes, source: str) -> str:
    """How a text is encoded, by its mark or its bytes. Raises NotACaptureError, which names what the file is."""
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return encoding
    if kind := photo_format(content):
        raise NotACaptureError(f"{source}: is a photo ({kind}), not a capture; {_EXPORT}")
    if content[4:8] == b"ftyp":
        raise NotACaptureError(f"{source}: is a video, not a capture; {_EXPORT}")
    for start, (kind, remedy) in _KINDS.items():
        if content.lstrip().startswith(start):
            if b"xl/" in content[:4096]:
                kind, remedy = _KINDS[b"\xd0\xcf\x11\xe0"]
            raise NotACaptureError(f"{source}: is {kind}, not a capture; {remedy}")
    if b"\0" in content:  # in text only of UTF-16, without its mark
        zeros = [not content[first:64:2].strip(b"\0") for first in (0, 1)]
        if zeros[0] == zeros[1]:
            raise NotACaptureError(f"{source}: not a CSV or JSON text (it holds zero bytes); {_EXPORT}")
        return "utf-16-le" if zeros[1] else "utf-16-be"
    for encoding in ("utf-8", "cp1252"):
        try:
            content.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    return "latin-1"  # of other languages: names of blendshapes are the same in all
