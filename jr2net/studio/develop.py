"""From scene-linear light to a JPEG file, and from its matte to a PNG: lens, sensor, processing and compression."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from jr2net.images.arrays import encode_matte

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Recording:
    """Lens, sensor and processing of one clip; the same for all of its frames.

    balance     (3,) white balance, a factor per channel
    contrast, gamma, saturation, lift: of the tone curve
    blur        sigma of the lens blur, output pixels
    motion      (length in output pixels, direction in radians) of the motion blur
    scale       resolution of the footage over that of the crop
    noise       standard deviation at mid-grey
    quality     of the JPEG
    vignette    darkening towards the corners
    borders     (4,) fractions of the crop's side that lie outside the frame: left, top, right, bottom
    """

    balance: np.ndarray
    contrast: float
    gamma: float
    saturation: float
    lift: float
    blur: float
    motion: tuple[float, float]
    scale: float
    noise: float
    quality: int
    vignette: float
    borders: np.ndarray


def draw_recording(rng: np.random.Generator, variety: float = 1.0) -> Recording:
    """Random settings; ``variety`` (see StudioConfig) scales their distance from a clean recording."""
    warmth = rng.normal(0, 0.05)
    borders = rng.uniform(0, 0.09, 4) * (rng.random(4) < [0.12, 0.12, 0.12, 0.3])
    return Recording(
        balance=np.array([1 + warmth, 1 + rng.normal(0, 0.015), 1 - warmth]),
        contrast=1.03 + rng.normal(0, 0.12) * variety,
        gamma=float(np.exp(rng.normal(0.0, 0.15) * variety)),
        saturation=float(np.clip(rng.normal(0.95, 0.2), 0.2, 1.6)) if rng.random() > 0.05 else 0.0,
        lift=rng.uniform(0, 0.06) * (rng.random() < 0.4),
        blur=rng.exponential(0.22) * variety,
        motion=(rng.exponential(1.0) * (rng.random() < 0.2) * variety, rng.uniform(0, np.pi)),
        scale=1 - variety * float(rng.uniform(0, 0.55)) if rng.random() < 0.3 else 1.0,
        noise=rng.exponential(0.008) * variety,
        quality=round(97 - variety * rng.integers(0, 43)),
        vignette=rng.uniform(0, 0.5) * (rng.random() < 0.3),
        borders=borders,
    )


def draw_motion(recording: Recording, rng: np.random.Generator) -> np.ndarray | None:
    """The kernel of one frame's motion blur, of a random strength; None if it is too weak to show."""
    length = recording.motion[0] * rng.random()
    if length <= 0.7:
        return None
    reach = int(np.ceil(length))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    step = np.array([np.cos(recording.motion[1]), np.sin(recording.motion[1])]) * length
    ends = [tuple(np.round((reach + sign * step) * 16).astype(int).tolist()) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_8, 4)
    return kernel / kernel.sum()


def develop(
    light: np.ndarray, recording: Recording, motion: np.ndarray | None, rng: np.random.Generator, size: int
) -> bytes:
    """Encodes scene-linear light (S, S, 3) as a JPEG of ``size`` x ``size`` pixels. motion: from ``draw_motion``."""
    image: np.ndarray = light.astype(np.float32)
    if recording.vignette:
        ramp = np.linspace(-1, 1, len(image), dtype=np.float32)
        image = image * (1 - recording.vignette * 0.5 * (ramp**2 + ramp[:, None] ** 2))[..., None]
    image = _through_lens(image, recording, motion, size)
    image = _tone(image * recording.balance.astype(np.float32), recording)
    grain = rng.standard_normal(image.shape, np.float32) * recording.noise
    image = image + grain * np.sqrt(np.clip(image, 0.02, 1) * 2)
    pixels = _to_pixels(image, recording, size)
    encoded, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, recording.quality])
    if not encoded:
        raise RuntimeError(f"an image of {size} x {size} pixels could not be encoded as JPEG")
    return data.tobytes()


def develop_matte(matte: np.ndarray, recording: Recording, motion: np.ndarray | None, size: int) -> bytes:
    """Encodes a matte (S, S) in [0, 1] as a grey PNG, resized, blurred and framed as ``develop`` does its image."""
    return encode_matte(_to_pixels(_through_lens(matte, recording, motion, size), recording, size))


def _through_lens(image: np.ndarray, recording: Recording, motion: np.ndarray | None, size: int) -> np.ndarray:
    """An image at the resolution of the footage, with lens blur and motion blur."""
    small = max(16, round(size * recording.scale))
    image = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    if recording.blur > 0.15:
        image = cv2.GaussianBlur(image, (0, 0), recording.blur)
    if motion is not None:
        image = cv2.filter2D(image, -1, motion, borderType=cv2.BORDER_REPLICATE)
    return image


def _to_pixels(image: np.ndarray, recording: Recording, size: int) -> np.ndarray:
    """An image in [0, 1] enlarged to ``size`` and quantised, black outside of the frame."""
    if len(image) != size:
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC)
    left, top, right, bottom = np.round(recording.borders * size).astype(int)
    framed = np.zeros_like(image)
    framed[top : size - bottom, left : size - right] = image[top : size - bottom, left : size - right]
    return np.clip(framed * 255 + 0.5, 0, 255).astype(np.uint8)


def _tone(image: np.ndarray, recording: Recording) -> np.ndarray:
    """Soft shoulder towards white, contrast about mid-grey, gamma and saturation."""
    image = np.clip(image, 0, None)
    knee = 0.75
    over = np.clip(image - knee, 0, None)
    image = np.minimum(image, knee) + (1 - knee) * (1 - np.exp(-over / (1 - knee)))
    grey = (image @ _LUMA)[..., None]
    image = grey + (image - grey) * np.float32(recording.saturation)
    image = np.clip(0.45 + (image - 0.45) * np.float32(recording.contrast), 0.0, 1)
    return np.float32(recording.lift) + np.float32(1 - recording.lift) * image ** np.float32(recording.gamma)
