"""The format of a file by its first bytes, and what to do with one that is not read as a photo."""

from __future__ import annotations

import re

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF8": "GIF", b"BM": "BMP",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000", b"\xff\x4f\xff\x51": "JPEG2000",
    b"#?RADIANCE": "HDR", b"#?RGBE": "HDR", b"v/1\x01": "EXR",
    b"\xff\x0a": "JPEG XL", b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"IIRO": "ORF", b"IIRS": "ORF", b"MMOR": "ORF", b"IIU\0": "RW2", b"FUJIFILMCCD-RAW": "RAF", b"FOVb": "X3F",
    b"II\xbc": "JPEG XR", b"8BPS": "PSD", b"%PDF": "PDF", b"%!PS": "EPS", b"gimp xcf": "XCF", b"DDS ": "DDS",
    b"qoif": "QOI", b"\0\0\x01\0": "ICO", b"SIMPLE  =": "FITS", b"\x93NUMPY": "NumPy array", b"PK\x03\x04": "ZIP",
    b"\x89PNG\n\x1a\n": "bytes as text", b"\xef\xbf\xbd": "bytes as text", b"\xef\xbb\xbf\xff\xd8": "bytes as text",
    b"/9j/": "base64", b"iVBORw0KGgo": "base64", b"UklGR": "base64", b"R0lGOD": "base64", b"data:image/": "base64",
    b"\x1f\x8b": "GZIP", b"\x1a\x45\xdf\xa3": "video", b"\x06\x0e\x2b\x34\x02\x05\x01\x01": "MXF",
    b"ID3": "sound", b"\xff\xfb": "sound", b"\xff\xf1": "sound", b"fLaC": "sound", b"OggS": "sound or video of Ogg",
    b"icns": "ICNS", b"\x01\xda\0": "SGI", b"\x01\xda\x01": "SGI", b"\x0a\x05\x01": "PCX",
    b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF",
}  # fmt: skip
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"crx ": "CR3"} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"
)
_PNM = re.compile(rb"P[1-7fF]\s")
_TEXT = re.compile(rb"[\t\r\n\x20-\x7e]{8,}")
_MARKUP = ((rb"<svg[\s>]", "SVG"), (rb"<(!doctype html|html)[\s>]", "web page"))

RAW_FORMATS = ("CR2", "CR3", "DNG", "NEF", "ARW", "ORF", "RW2", "RAF", "PEF", "SRW", "X3F")
"""What cameras write before a picture is developed."""

PHOTO_FORMATS = (
    "JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "JPEG2000", "HDR", "EXR", "HEIC", "JPEG XL", "JPEG XR", "PSD",
    *RAW_FORMATS,
)  # fmt: skip
"""Formats of photos, whether or not they are read; other names of ``file_format`` are no photos."""

_REMEDIES = {
    "HEIC": "HEIC, the format of iPhones, is not read without its reader; save the photo as JPEG (on the phone: "
    "Settings, Camera, Formats, Most Compatible), convert it with `heif-convert photo.heic photo.jpg`, or install the "
    "reader: pip install pillow-heif",
    "AVIF": "AVIF is not read by this installation of Pillow; save the photo as JPEG or PNG",
    "JPEG XL": "JPEG XL is not read; convert it with `djxl photo.jxl photo.png`",
    "PSD": "a PSD of Photoshop is not read; export it as PNG or JPEG",
    "XCF": "an XCF of GIMP is not read; export it as PNG or JPEG",
    "SVG": "SVG is a drawing, not a photo; export it as PNG",
    "web page": "a web page, not a photo; save the picture itself (in the browser: Save image as)",
    "video": "a video, not a photo; send one of its frames as JPEG or PNG",
    "MXF": "MXF is not read; convert it to MP4 or MOV",
    "sound": "a sound, not a picture; send a photo or a video",
    "PNM": "PBM, PGM, PPM and PFM are not read; save the picture as PNG or TIFF",
    "ZIP": "a ZIP archive, not a photo; unpack it and send the pictures",
    "GZIP": "compressed by gzip; unpack it and send the picture",
    "bytes as text": "was sent as text, which changes its bytes; send the file itself, in binary",
    "base64": "base64, a text that stands for the bytes of a file; decode it and send those",
    "text": "a text, not a photo; send the picture itself",
    "NumPy array": "a NumPy array, not a photo; save it as PNG",
}


def file_format(content: bytes) -> str:
    """The format that a file's first bytes announce, whether or not it is read; empty if it is not known."""
    if content[:4] == b"RIFF":
        return {b"WEBP": "WEBP", b"AVI ": "video", b"WAVE": "sound"}.get(content[8:12], "")
    if content[4:8] == b"ftyp":
        # A file may name the format of its family first and its own among the compatible ones.
        kinds = [_BRANDS[brand] for brand in (content[8:12], *_compatible_brands(content)) if brand in _BRANDS]
        return "AVIF" if "AVIF" in kinds else next(iter(kinds), "video")
    if content[:4] in (b"II*\0", b"MM\0*") and content[8:10] == b"CR":
        return "CR2"
    if content[128:132] == b"DICM":
        return "DICOM"
    if _PNM.match(content):
        return "PNM"
    if known := next((kind for start, kind in _SIGNATURES.items() if content.startswith(start)), ""):
        return known
    head = content[:1024].lower()
    markup = next((kind for pattern, kind in _MARKUP if re.search(pattern, head)), "")
    return markup or ("text" if _TEXT.fullmatch(head) else "")


def refusal(kind: str, readable: tuple[str, ...]) -> str:
    """Why a file of a format is no photo that can be read, and what to do. readable: the formats that are."""
    if kind in _REMEDIES:
        return _REMEDIES[kind]
    if kind in RAW_FORMATS:
        return f"{kind} is a camera's raw recording, not a picture yet; develop it to JPEG, PNG or TIFF"
    return f"{f'{kind} is ' if kind else ''}not a supported image format; send one of {', '.join(readable)}"


def _compatible_brands(content: bytes) -> list[bytes]:
    end = min(int.from_bytes(content[:4], "big"), 256)
    return [content[start : start + 4] for start in range(16, end, 4)]
