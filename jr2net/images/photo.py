"""Decodes untrusted photos of common formats.

The header is read first: photos that are too large are rejected before any pixel is decoded.
"""

from __future__ import annotations

import importlib.util
import io
import re
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import av
import cv2
import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError, features

from jr2net.errors import UserError
from jr2net.images.colour_profile import coded_colours, to_srgb
from jr2net.images.depth import to_8_bits, tone_map
from jr2net.images.signatures import PHOTO_FORMATS, file_format, refusal
from jr2net.images.tone_mapping import HDR_TRANSFERS, to_sdr

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "JPEG2000")
"""Formats accepted, if Pillow was built with them. Formats that can run or fetch something (EPS, PDF, …) are not."""

_LIGHT_FORMATS = ("HDR", "EXR")
READABLE = (*FORMATS, *_LIGHT_FORMATS, "HEIC")
"""All formats that are read, HEIC if its reader is installed."""

MAX_PIXELS = 120_000_000
"""Photos of telephones have up to 50 million pixels, in their finest setting up to 108 or 200."""

_COLOUR_NOTES = ("icc_profile", "gamma", "srgb")  # what Pillow's ``info`` says about colours
_BITS, _PHOTOMETRIC, _SUBFILE, _MAKE, _SUB_IFDS, _DNG_VERSION = 258, 262, 254, 271, 330, 50706  # tags of TIFF
_RAW_MAKERS = {"NIKON": "NEF", "SONY": "ARW", "PENTAX": "PEF", "SAMSUNG": "SRW", "CANON": "CR2"}


class PhotoError(UserError, ValueError):
    """A photo that cannot be used. ``kind``: 'format' is not supported, 'large' has too many pixels, 'broken' is
    damaged or truncated."""

    def __init__(self, kind: Literal["format", "large", "broken"], message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class DecodedPhoto:
    """pixels: (H, W, 3) uint8 RGB in sRGB, upright. notes: what of the file was left out or had to be assumed."""

    pixels: np.ndarray
    notes: tuple[str, ...] = ()


def decode_photo(content: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The pixels of ``read_photo``. Raises PhotoError."""
    return read_photo(content, max_pixels).pixels


def read_photo(content: bytes, max_pixels: int = MAX_PIXELS) -> DecodedPhoto:
    """Decodes a photo to RGB of 8 bits, upright by its EXIF orientation, in sRGB by its colour profile.

    Transparency becomes white; grey, palette and CMYK become RGB; more than 8 bits and floating point become 8
    (``to_8_bits``), and the light of Radiance's HDR and OpenEXR is tone-mapped. Of several images in a file the first
    is decoded. Raises PhotoError.
    """
    if not content:
        raise PhotoError("broken", "the file is empty; send its content")
    kind = file_format(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's warnings about metadata and about its own size limit
            if kind in _LIGHT_FORMATS:
                return DecodedPhoto(tone_map(_light(content, kind, max_pixels)), ("its light was tone-mapped",))
            with _open(content, kind) as image:
                _check_size(*image.size, max_pixels)
                if image.format == "TIFF":
                    _reject_raw(image)
                return _decode(content, image)
    except PhotoError:
        raise
    except Image.DecompressionBombError:
        raise PhotoError("large", _too_large("its header declares", max_pixels)) from None
    except UnidentifiedImageError:
        if kind == "TIFF" and (floating := _floating_tiff(content, max_pixels)):
            return floating
        raise _unidentified(kind, content) from None
    except Exception as error:  # on damaged files decoders raise struct.error, SyntaxError, …
        raise PhotoError(
            "broken", f"the photo is damaged or truncated ({_reason(error)}); send the whole file"
        ) from None


def photo_format(content: bytes) -> str:
    """The format that a file's first bytes announce, whether or not it is read; empty for anything but a photo."""
    kind = file_format(content)
    return kind if kind in PHOTO_FORMATS else ""


def _open(content: bytes, kind: str) -> Image.Image:
    """The image with its header read. Raises UnidentifiedImageError, or an error of the decoder."""
    if kind == "HEIC" and importlib.util.find_spec("pillow_heif"):
        from pillow_heif import HeifImageFile  # an optional extra

        return HeifImageFile(io.BytesIO(content))
    return Image.open(io.BytesIO(content), formats=FORMATS)


def _decode(content: bytes, image: Image.Image) -> DecodedPhoto:
    notes = []
    if image.format != "MPO" and (count := getattr(image, "n_frames", 1)) > 1:  # an MPO's others are not pictures
        which = "first" if not image.tell() else "main one"  # HEIC says which is
        notes.append(f"the {which} of its {count} images was taken")
    if (deep := _deep_pixels(content, image)) is not None:
        image, note = _eight_bits(deep, image)
    else:
        image.load()
        is_deep = image.mode.startswith("I") or image.mode == "F"
        image, note = _eight_bits(np.asarray(image), image) if is_deep else (image, "")
    notes.append(note)
    if (coded := coded_colours(content, image.format or "")) and (toned := _toned(image, *coded)):
        image = toned
        notes.append("its light was tone-mapped" if coded[1] in HDR_TRANSFERS else "")
    image = _upright(image)
    pixels, more = _rgb(image)
    return DecodedPhoto(pixels, tuple(filter(None, (*notes, *more))))


def _deep_pixels(content: bytes, image: Image.Image) -> np.ndarray | None:
    """Colours of 16 bits or floating point, blue first, by OpenCV; None for those that Pillow reads in full."""
    if image.format == "PNG":
        deep = content[24] == 16 and content[25] != 0  # depth and colour type of the IHDR chunk; 0 is grey
    elif image.format == "TIFF":
        bits = _tags(image).get(_BITS, (8,))
        deep = len(bits) in (3, 4) and max(bits) > 8 and image.mode in ("RGB", "RGBA", "RGBX")
    else:
        return None
    if not deep:
        return None
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("its pixels cannot be decoded")
    return pixels


def _eight_bits(deep: np.ndarray, header: Image.Image) -> tuple[Image.Image, str]:
    """Pixels (H, W) or (H, W, 3 or 4), blue first, as an image of 8 bits with what the header says, and a note."""
    colours, note = to_8_bits(deep[..., 2::-1] if deep.ndim == 3 else deep)
    if deep.ndim == 2 and header.format == "TIFF" and _tags(header).get(_PHOTOMETRIC) == 0:
        colours = 255 - colours  # 0 is white
    image = Image.fromarray(np.ascontiguousarray(colours))
    if deep.ndim == 3 and deep.shape[-1] == 4:
        alpha = deep[..., 3] / np.float32(np.iinfo(deep.dtype).max)
        image.putalpha(Image.fromarray((alpha * 255).round().astype(np.uint8)))
    image.format = header.format
    image.info.update({name: header.info[name] for name in _COLOUR_NOTES if name in header.info})
    if not (deep.ndim == 3 and header.format == "TIFF"):  # OpenCV has turned that one upright
        image.info["exif"] = header.getexif().tobytes()
    return image, note


def _toned(image: Image.Image, primaries: int, transfer: int) -> Image.Image | None:
    """An image whose colours are coded as H.273 has it, in sRGB; None where they are that already, or a profile says
    more."""
    if transfer not in HDR_TRANSFERS and "icc_profile" in image.info:
        return None
    colours = to_sdr(lambda: np.asarray(image.convert("RGB")).astype(np.uint16) * 257, transfer, primaries)
    if colours is None:
        return None
    toned = Image.fromarray(colours)
    if image.has_transparency_data:
        toned.putalpha(image.convert("RGBA").getchannel("A"))
    toned.format = image.format
    toned.info["exif"] = image.getexif().tobytes()
    return toned


def _rgb(image: Image.Image) -> tuple[np.ndarray, list[str]]:
    """(H, W, 3) uint8 in sRGB, and notes on what was lost."""
    notes, alpha = [], None
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        info, kind, rgba = image.info, image.format, image.convert("RGBA")
        alpha = rgba.getchannel("A")
        image = rgba.convert("L" if image.mode in ("LA", "La", "L") else "RGB")
        image.info.update({name: info[name] for name in _COLOUR_NOTES if name in info})
        image.format = kind
    elif image.mode not in ("RGB", "L", "CMYK", "LAB"):
        image = image.convert("RGB")
    rgb, note = to_srgb(image)
    if note:
        notes.append(note)
    if alpha is not None and alpha.getextrema() != (255, 255):
        notes.append("its transparent parts became white")
        rgb = Image.composite(rgb, Image.new("RGB", rgb.size, "white"), alpha)
    return np.array(rgb), notes


def _light(content: bytes, kind: str, max_pixels: int) -> np.ndarray:
    """Linear light (H, W, 3) or (H, W) float32 of Radiance's HDR or OpenEXR. Raises PhotoError, or ValueError."""
    if kind == "HDR":
        size = re.search(rb"\n[-+][XY] (\d{1,9}) [-+][XY] (\d{1,9})\n", content[:65536])
        if size is None:
            raise ValueError("its header states no size")
        _check_size(int(size[1]), int(size[2]), max_pixels)
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            raise ValueError("its pixels cannot be decoded")
        return pixels[..., ::-1]
    window = re.search(rb"dataWindow\0box2i\0\x10\0\0\0(.{16})", content[:65536], re.DOTALL)
    if window is None:
        raise ValueError("its header states no size")
    left, top, right, bottom = struct.unpack("<4i", window[1])
    _check_size(right - left + 1, bottom - top + 1, max_pixels)
    decoder = av.CodecContext.create("exr", "r")
    decoder.options, decoder.thread_count = {"max_pixels": str(max_pixels)}, 1  # the display window may be larger
    try:
        frame = next(iter([*decoder.decode(av.Packet(content)), *decoder.decode(None)]))
    except (av.error.FFmpegError, StopIteration):
        raise ValueError("its pixels cannot be decoded, or have a compression that is not read") from None
    return frame.to_ndarray()[..., :3] if frame.format.name.startswith("gbr") else frame.to_ndarray()


def _floating_tiff(content: bytes, max_pixels: int) -> DecodedPhoto | None:
    """A TIFF that Pillow does not know, mostly one of floating colours; None if OpenCV does not know it either."""
    try:
        file = io.BytesIO(content)
        directory = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
        file.seek(directory.next)
        directory.load(file)
        width, height = int(directory[256]), int(directory[257])
    except Exception:  # damaged in one of many ways
        return None
    _check_size(width, height, max_pixels)
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if pixels is None or pixels.ndim not in (2, 3):
        return None
    colours, note = to_8_bits(pixels[..., 2::-1] if pixels.ndim == 3 else pixels)
    rgb = colours if colours.ndim == 3 else np.repeat(colours[..., None], 3, -1)
    lost = "its transparency was left out" if pixels.ndim == 3 and pixels.shape[-1] == 4 else ""
    return DecodedPhoto(np.ascontiguousarray(rgb), tuple(filter(None, (note, lost))))


def _reject_raw(image: Image.Image) -> None:
    """Raises PhotoError for raw recordings in a TIFF's clothes: what can be read of them is a small preview."""
    tags = _tags(image)
    maker = str(tags.get(_MAKE, "")).upper()
    kind = next((kind for name, kind in _RAW_MAKERS.items() if name in maker), "")
    preview = tags.get(_SUBFILE, 0) == 1 and _SUB_IFDS in tags
    if _DNG_VERSION in tags or (preview and kind):
        raise PhotoError("format", refusal("DNG" if _DNG_VERSION in tags else kind, READABLE))


def _tags(image: Image.Image) -> Mapping[int, Any]:
    return getattr(image, "tag_v2", {})


def _unidentified(kind: str, content: bytes) -> PhotoError:
    """Why Pillow does not know a file."""
    if kind == "JPEG" and re.search(rb"\xff[\xc0-\xc3\xc9-\xcb]..[\x0c\x10]", content[:65536], re.DOTALL):
        return PhotoError("format", "a JPEG of more than 8 bits is not read; save it as PNG or TIFF")
    if kind == "HEIC" or (kind == "AVIF" and not features.check("avif")):
        return PhotoError("format", refusal(kind, READABLE))
    if kind in FORMATS:
        return PhotoError("broken", "the photo is damaged or truncated; send the whole file")
    return PhotoError("format", refusal(kind, READABLE))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged metadata in an otherwise intact photo
        return image


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise PhotoError("large", _too_large(f"{width} × {height} pixels are", max_pixels))


def _too_large(what: str, limit: int) -> str:
    return f"{what} more than the {limit / 1e6:g} million pixels allowed; shrink the photo"


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__
