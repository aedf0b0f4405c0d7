"""Photos of every format decode to upright 8-bit RGB; damaged and oversized ones raise PhotoError."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError, features

from jr2net.images.photo import PhotoError, decode_photo, photo_format

RED = (200, 40, 20)


def _encode(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def _photo(mode: str = "RGB") -> Image.Image:
    """40 wide, 20 high; red, its left half darker."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:] = RED
    pixels[:, :20] //= 2
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_formats(kind):
    if kind in ("WEBP", "AVIF") and not features.check(kind.lower()):
        pytest.skip(f"Pillow reads no {kind} here")
    decoded = decode_photo(_encode(_photo(), kind))
    assert decoded.shape == (20, 40, 3) and decoded.dtype == np.uint8
    assert np.abs(decoded[10, 35].astype(int) - RED).max() < 12
    assert np.abs(decoded[10, 5].astype(int) - np.array(RED) // 2).max() < 12


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("L", "JPEG"), ("1", "PNG"), ("P", "PNG"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("LA", "PNG"), ("YCbCr", "JPEG")],
)
def test_modes(mode, kind):
    decoded = decode_photo(_encode(_photo(mode), kind))
    assert decoded.shape == (20, 40, 3)
    if mode in ("CMYK", "YCbCr"):
        assert np.abs(decoded[10, 35].astype(int) - RED).max() < 16


def test_transparency_becomes_white():
    photo = _photo().convert("RGBA")
    photo.putalpha(Image.fromarray(np.repeat(np.uint8([[0, 255]]), 20, 0).repeat(20, 1)))
    decoded = decode_photo(_encode(photo, "PNG"))
    assert (decoded[10, 5] == 255).all() and (decoded[10, 35] == RED).all()


def test_sixteen_bits():
    grey = np.linspace(0, 65535, 64).astype(np.uint16)[None].repeat(8, 0)
    for kind in ("PNG", "TIFF"):
        decoded = decode_photo(_encode(Image.fromarray(grey), kind))
        assert np.array_equal(decoded[0, :, 0], np.round(grey[0] / 65535 * 255).astype(np.uint8))
    floats = decode_photo(_encode(Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32)[None]), "TIFF"))
    assert floats[0, 0, 0] == 0 and floats[0, -1, 0] == 255


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_grey_is_scaled_by_its_significant_bits(bits):
    ramp = np.linspace(0, 0.95, 64)
    grey = (ramp * (2**bits - 1)).astype(np.uint16)[None].repeat(8, 0)
    for encoded in (_encode(Image.fromarray(grey), "PNG"), _encode(Image.fromarray(grey.astype(np.float32)), "TIFF")):
        assert np.abs(decode_photo(encoded)[0, :, 0] - ramp * 255).max() <= 1


@pytest.mark.parametrize(
    ("header", "kind", "words"),
    [
        (
            b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf",
            "format",
            "HEIC, the format of iPhones, is not read; save the photo as JPEG",
        ),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "format", "HEIC"),
        (b"GIF89a", "format", "GIF is not a supported image format; send one of JPEG"),
        (b"BM", "format", "BMP is not a supported image format"),
    ],
)
def test_formats_that_are_not_read_are_named(header, kind, words):
    with pytest.raises(PhotoError, match=words) as raised:
        decode_photo(header + bytes(100))
    assert raised.value.kind == kind


@pytest.mark.parametrize("brand", [b"avif\0\0\0\0mif1", b"mif1\0\0\0\0avif"])
def test_without_avif_the_error_names_it(monkeypatch, brand):
    monkeypatch.setattr(features, "check", lambda name: False)
    monkeypatch.setattr(Image, "open", lambda *_, **__: (_ for _ in ()).throw(UnidentifiedImageError))
    with pytest.raises(PhotoError, match="AVIF is not read by this installation of Pillow; save the photo as JPEG"):
        decode_photo(b"\0\0\0\x14ftyp" + brand + bytes(100))


def test_photos_are_told_from_other_files_by_their_first_bytes():
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"):
        assert photo_format(_encode(_photo(), kind)) == kind
    for other in (b"", b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", b"Timecode,JawOpen"):
        assert photo_format(other) == ""


def test_public_photos_of_more_than_8_bits_are_visible(real_ground):
    folder = real_ground / "cases" / "img"
    if not folder.is_dir():
        pytest.skip(f"no public cases: {folder} does not exist")
    for name in ("grey16_12bit_range.png", "float_1020.tif"):
        assert 95 < decode_photo((folder / name).read_bytes()).mean() < 125
    with pytest.raises(PhotoError, match="HEIC"):
        decode_photo((folder / "heic_named.jpg").read_bytes())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_photo(_encode(_photo(), "JPEG", exif=exif, quality=95))
    assert decoded.shape == ((20, 40, 3) if orientation < 5 else (40, 20, 3))
    dark = {1: (10, 5), 2: (10, 35), 3: (10, 35), 4: (10, 5), 5: (5, 10), 6: (5, 10), 7: (35, 10), 8: (35, 10)}
    assert decoded[dark[orientation]][0] < 130


def _png_header(width: int, height: int) -> bytes:
    body = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + body + struct.pack(">I", zlib.crc32(b"IHDR" + body))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 10**6) + b"IDAT" + bytes(100)


@pytest.mark.parametrize("side", [30_000, 60_000])
def test_gigapixels_are_rejected_by_their_header(side):
    with pytest.raises(PhotoError, match="million pixels") as raised:
        decode_photo(_png_header(side, side))
    assert raised.value.kind == "large"


def test_the_pixel_limit_can_be_set():
    with pytest.raises(PhotoError, match=r"40 × 20 pixels are more than the 0\.0007 million"):
        decode_photo(_encode(_photo(), "PNG"), max_pixels=700)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "broken"),
        (b"GIF89a" + bytes(50), "format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "format"),
        (b"not a photo", "format"),
        (_png_header(40, 20), "broken"),
        (_encode(_photo(), "JPEG")[:300], "broken"),
        (_encode(_photo(), "PNG")[:60], "broken"),
    ],
)
def test_other_or_damaged_files_raise(content, kind):
    with pytest.raises(PhotoError) as raised:
        decode_photo(content)
    assert raised.value.kind == kind


def test_random_damage_decodes_or_raises_photo_error():
    generator = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        whole = _encode(_photo(), kind)
        for _ in range(60):
            damaged = bytearray(whole[: generator.integers(1, len(whole) + 1)])
            for offset in generator.integers(0, len(damaged), 3):
                damaged[offset] = generator.integers(256)
            with contextlib.suppress(PhotoError):
                assert decode_photo(bytes(damaged), max_pixels=10**6).dtype == np.uint8
