"""Pictures with a colour profile to sRGB, by Little CMS."""

from __future__ import annotations

import io

from PIL import Image, ImageCms

_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab "}
_PNG_GAMMA = 1 / 2.2


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
