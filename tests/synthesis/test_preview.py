from __future__ import annotations

import numpy as np
import pytest
from darkening_maker import SIZE, MakeMaker

from jr2net.data.sources import SourceError, SourceImage
from jr2net.images.arrays import decode_image
from jr2net.synthesis.preview import contact_sheet, encode_sheet, usable_sources


class Faceless:
    """Sources without any face."""

    def __len__(self) -> int:
        return 3

    def groups(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array([0, 3]), np.array([0])

    def name(self, number: int) -> str:
        return f"{number}.jpg"

    def read(self, number: int) -> SourceImage:
        raise SourceError("no face was found")


def test_every_shape_is_shown_at_three_strengths(make_maker: MakeMaker) -> None:
    sheet = contact_sheet(make_maker(), count=2, batch_size=4)
    assert sheet.shape[0] == 52 * SIZE and sheet.dtype == np.uint8
    tiles = sheet[SIZE:, -6 * SIZE :].reshape(51, SIZE, 6, SIZE, 3).mean((1, 3, 4))
    assert (tiles[:, 0] > tiles[:, 1]).all() and (tiles[:, 1] > tiles[:, 2]).all()  # the stub darkens
    assert decode_image(encode_sheet(sheet[:SIZE, :SIZE])) is not None


def test_sources_without_a_face_are_skipped(make_maker: MakeMaker) -> None:
    with pytest.raises(SourceError, match=r"none of 3 sources can be used, e\.g\. \d\.jpg: no face"):
        list(usable_sources(Faceless(), 0, 6))
