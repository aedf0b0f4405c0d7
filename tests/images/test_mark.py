import io

import numpy as np
import pytest
from PIL import Image

from jr2net.images.mark import Mark, encode_picture, is_marked

PICTURE = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_pictures_say_that_they_are_synthetic_and_by_which_model(kind):
    content = encode_picture(PICTURE, Mark("0123abcd"), kind)
    assert is_marked(content)
    assert b"model 0123abcd" in content
    assert np.asarray(Image.open(io.BytesIO(content))).shape == PICTURE.shape


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_without_a_mark_there_is_none(kind):
    assert not is_marked(encode_picture(PICTURE, None, kind))


def test_png_keeps_every_pixel():
    content = encode_picture(PICTURE, Mark("m"), "png")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), PICTURE)
