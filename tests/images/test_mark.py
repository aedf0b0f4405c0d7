import io

import numpy as np
import pytest
from PIL import Image

from jr2net.images.mark import Mark, encode_image, is_marked

IMAGE = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_marked_images_declare_themselves_synthetic_and_name_the_model(kind):
    content = encode_image(IMAGE, Mark("0123abcd"), kind)
    assert is_marked(content)
    assert b"model 0123abcd" in content
    assert np.asarray(Image.open(io.BytesIO(content))).shape == IMAGE.shape


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_unmarked_images_are_not_marked(kind):
    assert not is_marked(encode_image(IMAGE, None, kind))


def test_png_is_lossless():
    content = encode_image(IMAGE, Mark("m"), "png")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), IMAGE)
