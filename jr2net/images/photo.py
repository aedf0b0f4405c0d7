"""Decodes untrusted photos of common formats.

The header is read first: photos that are too large are rejected before any pixel is decoded.
"""

from __future__ import annotations

import io
import warnings
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from jr2net.errors import UserError

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF")
"""Formats accepted, if Pillow was built with them. Formats that can run or fetch something (EPS, PDF, …) are not."""

MAX_PIXELS = 40_000_000


class PhotoError(UserError, ValueError):
    """A photo that cannot be used. ``kind``: 'format' is not supported, 'large' has too many pixels, 'broken' is
    damaged or truncated."""

    def __init__(self, kind: Literal["format", "large", "broken"], message: str) -> None:
        super().__init__(message)
        self.kind = kind


def decode_photo(content: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes a photo to (H, W, 3) uint8 RGB, upright by its EXIF orientation. Raises PhotoError.

    Transparency becomes white; grey, palette and CMYK become RGB; 16 bits per channel become 8. Only the first image of
    a file is decoded.
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
        if _has_known_signature(content):
            raise PhotoError("broken", "the photo is damaged or truncated; send the whole file") from None
        known = ", ".join(FORMATS)
        raise PhotoError("format", f"not a supported image format; send one of {known}") from None
    except Exception as error:  # on damaged files decoders raise struct.error, SyntaxError, …
        raise PhotoError(
            "broken", f"the photo is damaged or truncated ({_reason(error)}); send the whole file"
        ) from None


def _has_known_signature(content: bytes) -> bool:
    return content.startswith((b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*")) or content[8:12] in (b"WEBP", b"avif")


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
    """Grey of 16 or 32 bits or floating point to RGB of 8 bits, scaled by 1, 255 or 65,535 depending on its maximum."""
    grey = np.nan_to_num(grey)
    top = float(grey.max(initial=0))
    scale = 1.0 if top <= 1 else 255.0 if top <= 255 else 65535.0
    return np.repeat((grey / scale * 255).clip(0, 255).round().astype(np.uint8)[..., None], 3, -1)


def _too_large(what: str, limit: int) -> str:
    return f"{what} more than the {limit / 1e6:g} million pixels allowed; shrink the photo"


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__
