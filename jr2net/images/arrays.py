"""Conversions between encoded images, arrays (S, S, 3) uint8 RGB and tensors (B, 3, S, S) float32 in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor


def decode_image(content: bytes) -> np.ndarray | None:
    """Decodes a square JPEG or PNG to (S, S, 3) uint8 RGB; None for anything else."""
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    if pixels is None or pixels.shape[0] != pixels.shape[1]:
        return None
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def encode_jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    """Encodes (H, W, 3) uint8 RGB as JPEG without chroma subsampling; deterministic."""
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def decode_matte(content: bytes) -> np.ndarray | None:
    """Decodes a square grey PNG to (S, S) uint8; None for anything else."""
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE) if content else None
    return None if pixels is None or pixels.shape[0] != pixels.shape[1] else np.asarray(pixels)


def encode_matte(matte: np.ndarray) -> bytes:
    """Encodes a matte (S, S) uint8 as a grey PNG; lossless and deterministic."""
    return cv2.imencode(".png", matte)[1].tobytes()


def working_width(size: int) -> int:
    """Side at which decoded images are cached: a little above the batch's, so that augmentation does not blur."""
    return round(1.25 * size)


def shrink(image: np.ndarray, width: int) -> np.ndarray:
    """Shrinks a square image to ``width`` by area averaging; one that is not larger is returned unchanged."""
    if image.shape[0] <= width:
        return image
    return cv2.resize(image, (width, width), interpolation=cv2.INTER_AREA)


def resize(image: np.ndarray, width: int) -> np.ndarray:
    """Resizes a square image to ``width``: shrinks by area averaging, enlarges bilinearly."""
    image = shrink(image, width)
    return image if image.shape[0] == width else cv2.resize(image, (width, width), interpolation=cv2.INTER_LINEAR)


def to_tensor(images: Sequence[np.ndarray], gains: Sequence[np.ndarray] | None = None) -> Tensor:
    """Stacks B images of one size into a tensor; ``gains``: a factor (3,) on the channels of each image."""
    # Contiguous NCHW like the networks' weights: otherwise every convolution would reorder its input.
    planes = np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))
    tensor = torch.from_numpy(planes.astype(np.float32)).div_(255)
    if gains is not None:
        tensor.mul_(torch.from_numpy(np.stack(gains))[:, :, None, None]).clamp_(0, 1)
    return tensor


def to_arrays(images: Tensor) -> list[np.ndarray]:
    """Converts a tensor to B images, clamped to [0, 1] and rounded."""
    pixels = images.detach().clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return list(pixels.cpu().contiguous().numpy())
