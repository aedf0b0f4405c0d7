"""Photographs as people have them, to pixels: whatever the bytes are, and however large they claim to be.

The header is read first, and what is too large is refused before a pixel of it is decoded.
"""

from __future__ import annotations

import io
import warnings
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from jr2net.errors import UserError

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF")
"""What is read, where Pillow was built with it. Formats that can run or fetch something (EPS, PDF, …) are not."""

MAX_PIXELS = 40_000_000


class PhotoError(UserError, ValueError):
    """A photo that cannot be used. ``kind``: 'format' is none of ours, 'large' has too many pixels, 'broken' is
    damaged or cut off."""

    def __init__(self, kind: Literal["format", "large", "broken"], message: str) -> None:
        super().__init__(message)
        self.kind = kind


def decode_photo(content: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Any photo to (H, W, 3) uint8 RGB, upright as its EXIF orientation says. Raises PhotoError.

    What is transparent becomes white; grey, palette and CMYK pictures become RGB, 16 bits a channel become 8. Of
    several pictures in one file the first is taken.
    """
    if not content:
        raise PhotoError("broken", "there are no bytes; send the file's content")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's hints about odd metadata, and its own limit beside ours
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise PhotoError("large", _too_large(f"{width} × {height} pixels are", max_pixels))
                image.load()
                return _rgb(_upright(image))
    except PhotoError:
        raise
    except Image.DecompressionBombError:
        raise PhotoError("large", _too_large("its header tells of", max_pixels)) from None
    except UnidentifiedImageError:
        if _begins_as_ours(content):
            raise PhotoError("broken", "the picture is damaged or cut off; send the whole file") from None
        known = ", ".join(FORMATS)
        raise PhotoError("format", f"not a picture that can be read here; send one of {known}") from None
    except Exception as error:  # decoders raise what they like on damaged files: struct.error, SyntaxError, …
        raise PhotoError(
            "broken", f"the picture is damaged or cut off ({_reason(error)}); send the whole file"
        ) from None


def _begins_as_ours(content: bytes) -> bool:
    return content.startswith((b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*")) or content[8:12] in (b"WEBP", b"avif")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged metadata beside a whole picture
        return image


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I") or image.mode == "F":
        return _from_numbers(np.asarray(image, np.float32))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image)
    return np.array(image.convert("RGB"))


def _from_numbers(grey: np.ndarray) -> np.ndarray:
    """Grey of 16 or 32 bits, or of floating point, to 8 bits: by the range that the values fill."""
    grey = np.nan_to_num(grey)
    top = float(grey.max(initial=0))
    full = 1.0 if top <= 1 else 255.0 if top <= 255 else 65535.0
    return np.repeat((grey / full * 255).clip(0, 255).round().astype(np.uint8)[..., None], 3, -1)


def _too_large(what: str, limit: int) -> str:
    return f"{what} more than the {limit / 1e6:g} million pixels that are taken; shrink the picture"


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__
