"""The colours of pictures: by their profile to sRGB, by Little CMS; and which codes they state instead of one."""

from __future__ import annotations

import io
import re
import struct

from PIL import Image, ImageCms

_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab "}
_PNG_GAMMA = 1 / 2.2
_HEAD_BYTES = 65536


def to_srgb(image: Image.Image) -> tuple[Image.Image, str]:
    """An image of mode RGB, L, CMYK or LAB as RGB in sRGB by its profile, and a note where the profile is not used.

    Without a profile colours are taken for sRGB, and those of a PNG have the gamma that it states.
    """
    content = image.info.get("icc_profile")
    if not content:
        return _by_gamma(image), ""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        if profile.profile.xcolor_space != _SPACES.get(image.mode):
            return image.convert("RGB"), "its colour profile belongs to another kind of picture and was ignored"
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image.convert("RGB"), "its colour profile is damaged and was ignored"
    assert converted is not None  # it is None for conversions in place alone
    return converted, ""


def _by_gamma(image: Image.Image) -> Image.Image:
    gamma = image.info.get("gamma")
    rgb = image.convert("RGB")
    if image.format != "PNG" or "srgb" in image.info or not gamma or abs(gamma / _PNG_GAMMA - 1) < 0.1:
        return rgb
    exponent = gamma / _PNG_GAMMA
    return rgb.point([round(255 * (value / 255) ** exponent) for value in range(256)] * 3)


def coded_colours(content: bytes, kind: str) -> tuple[int, int] | None:
    """Primaries and transfer by their codes in ITU-T H.273, as HEIC and AVIF (box ``colr``) and PNG (``cICP``) have
    them; None where the file has none."""
    head = content[:_HEAD_BYTES]
    if kind in ("HEIF", "AVIF") and (found := re.search(rb"colrnclx(.{4})", head, re.DOTALL)):
        primaries, transfer = struct.unpack(">2H", found[1])
        return primaries, transfer
    if kind == "PNG" and (found := re.search(rb"\0\0\0\x04cICP(.{2})", head, re.DOTALL)):
        return found[1][0], found[1][1]
    return None
