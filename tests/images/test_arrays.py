from __future__ import annotations

import cv2
import numpy as np
import torch

from jr2net.images.arrays import decode_image, encode_jpeg, resize, to_arrays, to_tensor


def gradient(side: int) -> np.ndarray:
    y, x = np.mgrid[0:side, 0:side]
    return np.stack([x, y, np.full_like(x, 200)], -1).astype(np.uint8)


def test_jpeg_preserves_colours_and_channel_order() -> None:
    content = encode_jpeg(gradient(64), 95)
    back = decode_image(content)
    assert back is not None and np.abs(back.astype(int) - gradient(64)).max() <= 3
    assert content == encode_jpeg(gradient(64), 95)


def test_other_content_decodes_to_none() -> None:
    oblong = cv2.imencode(".png", np.zeros((4, 6, 3), np.uint8))[1].tobytes()
    assert [decode_image(content) for content in (b"", b"text", oblong, encode_jpeg(gradient(64))[:20])] == [None] * 4


def test_arrays_round_trip_through_tensors() -> None:
    images = [gradient(16), 255 - gradient(16)]
    tensor = to_tensor(images)
    assert tensor.shape == (2, 3, 16, 16) and tensor[0, 2].eq(200 / 255).all()
    assert all(np.array_equal(one, other) for one, other in zip(images, to_arrays(tensor)))
    gained = to_tensor(images, [np.array([1, 2, 0.5], np.float32)] * 2)
    assert torch.allclose(gained[0, 2], torch.tensor(100 / 255)) and gained.max() <= 1


def test_resize_shrinks_and_enlarges() -> None:
    assert resize(gradient(64), 32).shape == (32, 32, 3) and resize(gradient(64), 100).shape == (100, 100, 3)
    assert resize(gradient(64), 64) is not None and np.array_equal(resize(gradient(64), 64), gradient(64))
