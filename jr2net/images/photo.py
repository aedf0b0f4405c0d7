"""Decodes untrusted photos of common formats.

The header is read first: photos that are too large are rejected before any pixel is decoded.
"""

from __future__ import annotations

import io
import warnings
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from jr2net.errors import UserError

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF")
"""Formats accepted, if Pillow was built with them. Formats that can run or fetch something (EPS, PDF, …) are not."""

MAX_PIXELS = 40_000_000

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"GIF8": "GIF", b"BM": "BMP",
}  # fmt: skip
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"
)


class PhotoError(UserError, ValueError):
    """A photo that cannot be used. ``kind``: 'format' is not supported, 'large' has too many pixels, 'broken' is
    damaged or truncated."""

    def __init__(self, kind: Literal["format", "large", "broken"], message: str) -> None:
        super().__init__(message)
        self.kind = kind


def decode_photo(content: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes a photo to (H, W, 3) uint8 RGB, upright by its EXIF orientation. Raises PhotoError.

    Transparency becomes white; grey, palette and CMYK become RGB; 16 bits per channel become 8. Grey of more than 8
    bits is scaled by as many bits as its brightest pixel needs. Only the first image of a file is decoded.
    """
    if not content:
        raise PhotoError("broken", "the file is empty; send its content")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's warnings about metadata and about its own size limit
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise PhotoError("large", _too_large(f"{width} × {height} pixels are", max_pixels))
                image.load()
                return _rgb(_upright(image))
    except PhotoError:
        raise
    except Image.DecompressionBombError:
        raise PhotoError("large", _too_large("its header declares", max_pixels)) from None
    except UnidentifiedImageError:
        raise _unidentified(photo_format(content)) from None
    except Exception as error:  # on damaged files decoders raise struct.error, SyntaxError, …
        raise PhotoError(
            "broken", f"the photo is damaged or truncated ({_reason(error)}); send the whole file"
        ) from None


def photo_format(content: bytes) -> str:
    """The format that a file's first bytes announce, whether or not it is read; empty for anything but an image."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    if content[4:8] == b"ftyp":
        # A file may name the format of its family first and its own among the compatible ones.
        kinds = [_BRANDS[brand] for brand in (content[8:12], *_compatible_brands(content)) if brand in _BRANDS]
        return "AVIF" if "AVIF" in kinds else next(iter(kinds), "")
    return next((kind for start, kind in _SIGNATURES.items() if content.startswith(start)), "")


def _compatible_brands(content: bytes) -> list[bytes]:
    end = min(int.from_bytes(content[:4], "big"), 256)
    return [content[start : start + 4] for start in range(16, end, 4)]


def _unidentified(kind: str) -> PhotoError:
    """Why Pillow does not know a file."""
    if kind == "HEIC":
        return PhotoError(
            "format",
            "HEIC, the format of iPhones, is not read; save the photo as JPEG (on the phone: Settings, Camera, Formats,"
            " Most Compatible), or convert it with `heif-convert photo.heic photo.jpg`",
        )
    if kind == "AVIF" and not features.check("avif"):
        return PhotoError("format", "AVIF is not read by this installation of Pillow; save the photo as JPEG or PNG")
    if kind in FORMATS:
        return PhotoError("broken", "the photo is damaged or truncated; send the whole file")
    known = ", ".join(FORMATS)
    return PhotoError("format", f"{f'{kind} is ' if kind else ''}not a supported image format; send one of {known}")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged metadata in an otherwise intact photo
        return image


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I") or image.mode == "F":
        return _to_8_bits(np.asarray(image, np.float32))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))


def _to_8_bits(grey: np.ndarray) -> np.ndarray:
    """Grey of 16 or 32 bits or floating point to RGB of 8 bits.

    1 is white if nothing is brighter, else the largest number of 8, 10, 12, 14 or 16 bits: cameras and microscopes
    write 12 bits into files of 16.
    """
    grey = np.nan_to_num(grey)
    top = float(grey.max(initial=0))
    scale = next((float(white) for white in (1, *(2**bits - 1 for bits in (8, 10, 12, 14, 16))) if top <= white), top)
    return np.repeat((grey / scale * 255).clip(0, 255).round().astype(np.uint8)[..., None], 3, -1)


def _too_large(what: str, limit: int) -> str:
    return f"{what} more than the {limit / 1e6:g} million pixels allowed; shrink the photo"


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__
