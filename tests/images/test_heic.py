"""HEIC, where its reader is installed (the extra ``heic``), and colours that HEIC, AVIF and PNG state by codes."""

from __future__ import annotations

import io
import struct
import zlib
from types import ModuleType

import av
import numpy as np
import pytest
from PIL import Image

from jr2net.images.photo import PhotoError, decode_photo, read_photo

RAMP = np.repeat(np.linspace(40, 215, 96)[None, :, None], 64, 0).repeat(3, 2).astype(np.uint8)
PQ_OF_203, PQ_OF_1000 = 0.58, 0.752  # codes of reference white and of bright light, ITU-R BT.2100


@pytest.fixture
def heif() -> ModuleType:
    return pytest.importorskip("pillow_heif", reason="the optional reader of HEIC is not installed")


def heic(heif: ModuleType, pixels: np.ndarray, bits: int = 8, **options) -> bytes:
    """Pixels (H, W, 3 or 4) uint8, or uint16 of more bits."""
    out, mode = io.BytesIO(), "RGBA" if pixels.shape[-1] == 4 else "RGB"
    heif.options.SAVE_HDR_TO_12_BIT = bits == 12
    size = pixels.shape[1::-1]
    heif.from_bytes(f"{mode};16" if bits > 8 else mode, size, pixels.tobytes()).save(out, quality=95, **options)
    return out.getvalue()


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_every_depth_is_as_bright(heif: ModuleType, bits: int) -> None:
    pixels = RAMP if bits == 8 else RAMP.astype(np.uint16) * 257
    decoded = read_photo(heic(heif, pixels, bits))
    assert np.abs(decoded.pixels.astype(int) - RAMP).mean() < 2 and decoded.notes == ()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_once(heif: ModuleType, orientation: int) -> None:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(RAMP).save(buffer, "PNG", exif=exif)
    upright = decode_photo(buffer.getvalue())
    turned = decode_photo(heic(heif, RAMP, exif=exif.tobytes()))
    assert turned.shape == upright.shape and np.abs(turned.astype(int) - upright).mean() < 2


def test_transparency_and_further_images_are_said(heif: ModuleType) -> None:
    alpha = np.dstack([RAMP, np.full(RAMP.shape[:2], 255, np.uint8)])
    alpha[:20, :, 3] = 0
    for pixels, bits in ((alpha, 8), (alpha.astype(np.uint16) * 257, 10)):
        decoded = read_photo(heic(heif, pixels, bits))
        assert decoded.notes == ("its transparent parts became white",) and decoded.pixels[4, 4].min() > 250
    several = heif.from_pillow(Image.fromarray(RAMP))
    several.add_from_pillow(Image.fromarray(255 - RAMP))
    for main, (which, first) in enumerate((("first", 40), ("main one", 215))):
        out = io.BytesIO()
        several.save(out, quality=95, primary_index=main)
        decoded = read_photo(out.getvalue())
        assert decoded.notes == (f"the {which} of its 2 images was taken",)
        assert int(decoded.pixels[30, 1, 0]) == pytest.approx(first, abs=6)


@pytest.mark.parametrize("part", [0.97, 0.5, 0.1])
def test_one_that_is_cut_off_is_broken(heif: ModuleType, part: float) -> None:
    content = heic(heif, np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8))
    with pytest.raises(PhotoError, match="damaged or truncated") as error:
        decode_photo(content[: round(len(content) * part)])
    assert error.value.kind == "broken"
    with pytest.raises(PhotoError) as error:
        decode_photo(content, max_pixels=1000)
    assert error.value.kind == "large"


def test_random_damage_decodes_or_raises_photo_error(heif: ModuleType) -> None:
    rng, whole = np.random.default_rng(0), heic(heif, RAMP)
    for _ in range(60):
        content = bytearray(whole)
        for position in rng.integers(12, len(content), 4):
            content[position] = rng.integers(256)
        try:
            assert decode_photo(bytes(content)).ndim == 3
        except PhotoError:
            continue


def pq_ramp() -> np.ndarray:
    """(64, 96, 3) uint16: on the left reference white, on the right 1,000 cd/m²."""
    codes = np.where(np.arange(96) < 48, PQ_OF_203, PQ_OF_1000)
    return np.repeat((codes * 65535).round().astype(np.uint16)[None, :, None], 64, 0).repeat(3, 2)


def check_tone_mapped(content: bytes) -> None:
    decoded = read_photo(content)
    white, bright = (int(decoded.pixels[32, column, 1]) for column in (10, 85))
    assert decoded.notes == ("its light was tone-mapped",) and 225 < white < 250 < bright


def test_hdr_of_heic_is_tone_mapped(heif: ModuleType) -> None:
    codes = {"color_primaries": 9, "transfer_characteristics": 16, "matrix_coefficients": 9, "full_range_flag": 1}
    check_tone_mapped(heic(heif, pq_ramp(), 10, **codes))


def test_hdr_of_avif_is_tone_mapped() -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="avif") as container:
        stream = container.add_stream("libsvtav1", rate=1)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace, context.color_range = 16, 9, 9, 2
        frame = av.VideoFrame.from_ndarray(pq_ramp(), format="rgb48le")
        frame = frame.reformat(format="yuv420p10le", dst_colorspace=9, dst_color_range=2)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    check_tone_mapped(out.getvalue())


def test_hdr_of_png_is_tone_mapped() -> None:
    out = io.BytesIO()
    Image.fromarray((pq_ramp() >> 8).astype(np.uint8)).save(out, "PNG")
    content, codes = out.getvalue(), b"cICP" + bytes([9, 16, 0, 1])
    chunk = struct.pack(">I", 4) + codes + struct.pack(">I", zlib.crc32(codes))
    check_tone_mapped(content[:33] + chunk + content[33:])
