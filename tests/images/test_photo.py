"""Photos of every format decode to upright 8-bit RGB; damaged and oversized ones raise PhotoError."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from icc_profiles import icc_profile, in_space
from PIL import Image, UnidentifiedImageError, features

from jr2net.images import photo as photo_module
from jr2net.images.photo import PhotoError, decode_photo, photo_format, read_photo

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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "JPEG2000"])
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
            "HEIC, the format of iPhones, is not read without its reader; save .* as JPEG.*pip install pillow-heif",
        ),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "format", "HEIC"),
        (b"qoif", "format", "QOI is not a supported image format; send one of JPEG"),
    ],
)
def test_formats_that_are_not_read_are_named(monkeypatch, header, kind, words):
    monkeypatch.setattr(photo_module.importlib.util, "find_spec", lambda name: None)
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
        (b"GIF89a" + bytes(50), "broken"),
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


def _opencv(extension: str, pixels: np.ndarray) -> bytes:
    return cv2.imencode(extension, pixels[..., ::-1] if pixels.ndim == 3 else pixels)[1].tobytes()


def _ramp() -> np.ndarray:
    """(8, 64, 3) float64 in [0, 0.95], of different colours from left to right."""
    ramp = np.linspace(0, 0.95, 64)
    return np.stack([ramp, ramp / 2, ramp[::-1]], -1)[None].repeat(8, 0)


@pytest.mark.parametrize("white", [2**10 - 1, 2**12 - 1, 2**14 - 1, 2**16 - 1])
@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_colours_are_scaled_by_their_significant_bits(white, extension):
    photo = read_photo(_opencv(extension, (_ramp() * white).astype(np.uint16)))
    assert np.abs(photo.pixels - _ramp() * 255).max() <= 1.5
    assert bool(photo.notes) == (white < 65535)


@pytest.mark.parametrize("white", [0.01, 1, 1.04, 255, 1020, 65535])
@pytest.mark.parametrize("number", [np.float32, np.float64])
def test_floating_colours_are_visible_on_any_scale(white, number):
    decoded = decode_photo(_opencv(".tif", (_ramp() / 0.95 * white).astype(number)))
    assert np.abs(decoded - _ramp() / 0.95 * 255).max() <= 12
    assert abs(decoded.mean() - (_ramp() / 0.95 * 255).mean()) < 6


def test_floating_oddities():
    signed = decode_photo(_opencv(".tif", (_ramp() * 2 - 1).astype(np.float32)))
    assert np.abs(signed - _ramp() * 255).max() < 12
    holed = _ramp().astype(np.float32)
    holed[0, 0], holed[0, 1] = np.nan, np.inf
    assert np.abs(decode_photo(_opencv(".tif", holed))[1:] - _ramp()[1:] * 255).max() < 2
    assert decode_photo(_opencv(".tif", np.zeros((4, 4, 3), np.float32))).max() == 0


def _exr(light: np.ndarray) -> bytes:
    coder = av.CodecContext.create("exr", "w")
    coder.height, coder.width, coder.pix_fmt, coder.time_base = *light.shape[:2], "gbrpf32le", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(light, np.float32), format="gbrpf32le")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*coder.encode(frame), *coder.encode(None)])


@pytest.mark.parametrize("encode", [lambda light: _opencv(".hdr", light.astype(np.float32)), _exr])
def test_light_is_tone_mapped_whatever_its_unit(encode):
    light = np.concatenate([_ramp() ** 2.2, 5 * _ramp() ** 2.2])  # a window five times as bright as the room
    pictures = [read_photo(encode(light * unit)) for unit in (0.01, 1, 100)]
    for picture in pictures:
        assert picture.notes == ("its light was tone-mapped",)
        assert 60 < picture.pixels.mean() < 200 and picture.pixels[0, -1, 0] > picture.pixels[0, -1, 1]
        assert np.abs(picture.pixels.astype(int) - pictures[1].pixels).mean() < 3  # HDR has 8 bits of mantissa
    with pytest.raises(PhotoError, match="million pixels"):
        read_photo(encode(np.zeros((300, 300, 3))), max_pixels=80_000)
    with pytest.raises(PhotoError, match="damaged or truncated") as raised:
        read_photo(encode(light)[:100])
    assert raised.value.kind == "broken"


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_orientation_of_deep_pictures(orientation, kind):
    upright = _ramp()
    stored = {3: upright[::-1, ::-1], 6: np.rot90(upright), 8: np.rot90(upright, -1)}[orientation]
    pixels = np.ascontiguousarray((stored * 65535).astype(np.uint16))
    content = _tiff(pixels, orientation) if kind == "TIFF" else _turned(_opencv(".png", pixels), orientation)
    assert np.abs(decode_photo(content) - upright * 255).max() <= 1.5


def _turned(png: bytes, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return _with_chunk(png, b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0"))


def _tiff(pixels: np.ndarray, orientation: int) -> bytes:
    """An uncompressed TIFF of 16 bits: header, pixels, bits of each channel, directory."""
    (height, width), data = pixels.shape[:2], pixels.astype("<u2").tobytes()
    bits = 8 + len(data)
    tags = {
        256: (3, 1, width), 257: (3, 1, height), 258: (3, 3, bits), 259: (3, 1, 1), 262: (3, 1, 2), 273: (4, 1, 8),
        274: (3, 1, orientation), 277: (3, 1, 3), 278: (3, 1, height), 279: (4, 1, len(data)),
    }  # fmt: skip
    directory = b"".join(struct.pack("<HHII", tag, *value) for tag, value in tags.items())
    start = struct.pack("<2sHI", b"II", 42, bits + 6)
    return start + data + struct.pack("<3H", 16, 16, 16) + struct.pack("<H", len(tags)) + directory + bytes(4)


@pytest.mark.parametrize("profile", ["Display P3", "Adobe RGB", "ProPhoto"])
@pytest.mark.parametrize("bits", [8, 16])
def test_colour_profiles_are_converted_to_srgb(profile, bits):
    """A colour written in another space looks the same."""
    content = _tagged_png(in_space(np.array(RED) / 255, profile), icc_profile(profile), bits)
    photo = read_photo(content)
    assert np.abs(photo.pixels[0, 0].astype(int) - RED).max() <= 4 and not photo.notes
    plain = np.array(in_space(np.array(RED) / 255, profile)) * 255
    assert np.abs(plain - RED).max() > 8  # without the conversion it would look different


def _tagged_png(colour: np.ndarray, profile: bytes, bits: int) -> bytes:
    pixels = np.broadcast_to(np.append(colour, 1.0) if bits == 16 else colour, (8, 8, 4 if bits == 16 else 3))
    pixels = pixels.copy()
    pixels[:, 4:, :3] = 1  # white, so that 16 bits are 16 bits
    if bits == 8:
        return _encode(Image.fromarray((pixels * 255).round().astype(np.uint8)), "PNG", icc_profile=profile)
    content = cv2.imencode(".png", (pixels[..., [2, 1, 0, 3]] * 65535).round().astype(np.uint16))[1].tobytes()
    return _with_chunk(content, b"iCCPprofile\0\0" + zlib.compress(profile))


def _with_chunk(content: bytes, chunk: bytes) -> bytes:
    """A PNG with a chunk (its name and content) after the header."""
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return content[:33] + chunk + content[33:]


def test_profiles_that_cannot_be_used_are_said():
    damaged = read_photo(_encode(_photo(), "PNG", icc_profile=b"not a profile"))
    assert damaged.notes == ("its colour profile is damaged and was ignored",)
    foreign = read_photo(_encode(_photo("L"), "PNG", icc_profile=icc_profile("Display P3")))
    assert foreign.notes == ("its colour profile belongs to another kind of picture and was ignored",)


def test_lost_transparency_and_further_images_are_said():
    photo = _photo().convert("RGBA")
    assert read_photo(_encode(photo, "PNG")).notes == ()
    photo.putalpha(100)
    assert read_photo(_encode(photo, "PNG")).notes == ("its transparent parts became white",)
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        content = _encode(_photo(), kind, save_all=True, append_images=[_photo().rotate(180)])
        film = read_photo(content)
        assert film.notes == ("the first of its 2 images was taken",)
        assert film.pixels[10, 5].mean() < film.pixels[10, 35].mean()


def test_raw_recordings_are_not_taken_for_their_previews():
    nikon = {254: 1, 271: "NIKON CORPORATION", 330: 8}
    for tags, name in ((nikon, "NEF"), ({50706: b"\1\4\0\0"}, "DNG")):
        with pytest.raises(PhotoError, match=f"{name} is a camera's raw recording.*develop it to JPEG"):
            decode_photo(_encode(_photo(), "TIFF", tiffinfo=tags))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\x0a" + bytes(50), "JPEG XL is not read; convert it"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "CR3 is a camera's raw recording"),
        (b"FUJIFILMCCD-RAW 0201", "RAF is a camera's raw recording"),
        (b"II*\0\x10\0\0\0CR\2\0", "CR2 is a camera's raw recording"),
        (b"8BPS\0\1", "PSD of Photoshop is not read; export it"),
        (b"<?xml version='1.0'?>\n<svg xmlns='x'>", "SVG is a drawing"),
        (b"\n<!DOCTYPE html><html>", "a web page, not a photo"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", "a video, not a photo"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"data:image/png;base64,iVBORw0KGgo", "base64, a text that stands for the bytes of a file; decode it"),
        (b"/9j/4AAQSkZJRg", "base64"),
        (b"\x89PNG\n\x1a\n", "was sent as text, which changes its bytes; send the file itself, in binary"),
        (b"\xef\xbf\xbdPNG\r\n", "was sent as text"),
        (bytes(128) + b"DICM", "DICOM is not a supported image format"),
        (b"ID3\4", "a sound, not a picture"),
        (b"RIFF\0\0\0\0WAVEfmt ", "a sound, not a picture"),
        (b"P6\n640 480\n255\n", "PBM, PGM, PPM and PFM are not read; save the picture as PNG"),
        (b"Pf\n640 480\n-1\n", "PBM, PGM, PPM and PFM are not read"),
        (b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01", "MXF is not read; convert it to MP4"),
    ],
)
def test_other_files_are_named_by_their_content(content, words):
    assert not photo_format(b'{"error": "not found"}')
    with pytest.raises(PhotoError, match="a text, not a photo; send the picture itself"):
        decode_photo(b'{"error": "not found"}')
    with pytest.raises(PhotoError, match=words) as raised:
        decode_photo(content + bytes(100))
    assert raised.value.kind == "format"


def test_a_jpeg_of_12_bits_is_named():
    content = bytearray(_encode(_photo(), "JPEG"))
    content[content.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(PhotoError, match="JPEG of more than 8 bits"):
        decode_photo(bytes(content))


def test_heic_is_read_where_its_reader_is_installed(real_ground):
    pytest.importorskip("pillow_heif", reason="the optional reader of HEIC is not installed")
    path = real_ground / "cases" / "img" / "heic_named.jpg"
    if not path.is_file():
        pytest.skip(f"no public cases: {path} does not exist")
    assert 100 < decode_photo(path.read_bytes()).mean() < 135
