"""From scene light to a file: what lens, sensor, processing and compression do to a picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_WHITE = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Stock:
    """How one clip was recorded and processed; the same for all of its frames.

    balance (3,) white balance;  contrast, gamma, saturation, lift: of the tone curve
    blur: lens blur in output pixels;  motion: smear in output pixels and its direction
    scale: resolution of the footage over the crop's;  noise: standard deviation at mid-grey;  quality: JPEG's
    borders (4,): parts of the crop's side that lie outside the frame, left, top, right, bottom
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


def draw_stock(rng: np.random.Generator, variety: float = 1.0) -> Stock:
    """A recording; ``variety`` (see StudioConfig) scales how far it is from a clean one."""
    warmth = rng.normal(0, 0.05)
    borders = rng.uniform(0, 0.09, 4) * (rng.random(4) < [0.12, 0.12, 0.12, 0.3])
    return Stock(
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


def develop(light: np.ndarray, stock: Stock, rng: np.random.Generator, size: int) -> bytes:
    """Scene light (S, S, 3) to a JPEG file of ``size`` x ``size`` pixels."""
    picture: np.ndarray = light.astype(np.float32)
    if stock.vignette:
        ramp = np.linspace(-1, 1, len(picture), dtype=np.float32)
        picture = picture * (1 - stock.vignette * 0.5 * (ramp**2 + ramp[:, None] ** 2))[..., None]
    small = max(16, round(size * stock.scale))
    picture = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
    picture = _smear(picture, stock, rng)
    picture = _tone(picture * stock.balance.astype(np.float32), stock)
    grain = rng.standard_normal(picture.shape, np.float32) * stock.noise
    picture = picture + grain * np.sqrt(np.clip(picture, 0.02, 1) * 2)
    if small != size:
        picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_CUBIC)
    left, top, right, bottom = np.round(stock.borders * size).astype(int)
    framed = np.zeros_like(picture)
    framed[top : size - bottom, left : size - right] = picture[top : size - bottom, left : size - right]
    pixels = np.clip(framed * 255 + 0.5, 0, 255).astype(np.uint8)
    done, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, stock.quality])
    if not done:
        raise RuntimeError(f"a picture of {size} x {size} pixels could not be encoded as JPEG")
    return data.tobytes()


def _smear(picture: np.ndarray, stock: Stock, rng: np.random.Generator) -> np.ndarray:
    """Lens blur, and motion blur that comes and goes between frames."""
    if stock.blur > 0.15:
        picture = cv2.GaussianBlur(picture, (0, 0), stock.blur)
    length = stock.motion[0] * rng.random()
    if length > 0.7:
        reach = int(np.ceil(length))
        kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
        step = np.array([np.cos(stock.motion[1]), np.sin(stock.motion[1])]) * length
        ends = [tuple(np.round((reach + sign * step) * 16).astype(int).tolist()) for sign in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_8, 4)
        picture = cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
    return picture


def _tone(picture: np.ndarray, stock: Stock) -> np.ndarray:
    """Soft shoulder towards white, contrast about mid-grey, gamma and saturation."""
    picture = np.clip(picture, 0, None)
    knee = 0.75
    over = np.clip(picture - knee, 0, None)
    picture = np.minimum(picture, knee) + (1 - knee) * (1 - np.exp(-over / (1 - knee)))
    grey = (picture @ _WHITE)[..., None]
    picture = grey + (picture - grey) * np.float32(stock.saturation)
    picture = np.clip(0.45 + (picture - 0.45) * np.float32(stock.contrast), 0.0, 1)
    return np.float32(stock.lift) + np.float32(1 - stock.lift) * picture ** np.float32(stock.gamma)
