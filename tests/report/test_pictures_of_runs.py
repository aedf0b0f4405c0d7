"""Images of a report: read as they were written, and those of several runs side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jr2net.evaluation.figures import Grid, GridRow
from jr2net.report.images import read_grids, side_by_side, write_grids
from jr2net.storage.parquet import ShardError


def image(seed: int, side: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def grid(title: str, columns: dict[str, list], captions: tuple[str, ...] = ("a", "b")) -> Grid:
    rows = tuple(
        GridRow(caption, tuple(each[row] for each in columns.values())) for row, caption in enumerate(captions)
    )
    return Grid("reenactment", title, "a text", tuple(columns), rows)


def test_grids_are_read_as_they_were_written(tmp_path: Path) -> None:
    uri = str(tmp_path / "images.parquet")
    small = grid("Same identity", {"source": [image(0), image(1)], "DCNet": [None, image(2)]})
    large = grid("Overlays", {"input": [image(3, 224)]}, ("c",))
    write_grids(uri, [small, large])
    first, second = read_grids(uri)
    assert (first.section, first.title, first.text, first.columns) == (
        "reenactment",
        "Same identity",
        "a text",
        small.columns,
    )
    assert [row.caption for row in first.rows] == ["a", "b"] and first.rows[0].images[1] is None
    np.testing.assert_array_equal(first.rows[1].images[1], image(2))
    assert second.rows[0].images[0].shape == (224, 224, 3), "larger images are stored as JPEG"
    assert read_grids(str(tmp_path / "none")) == []
    (tmp_path / "images.parquet").write_bytes(b"damaged")
    with pytest.raises(ShardError, match=r"images\.parquet: not a readable"):
        read_grids(uri)


def test_what_runs_share_is_shown_once_and_the_rest_by_run() -> None:
    source = [image(0), image(1)]
    full = grid("Same identity", {"source": source, "DCNet": [image(2), image(3)]})
    other = grid("Same identity", {"source": source, "DCNet": [image(4), image(5)], "DCNet 2": [image(6), image(7)]})
    (joined,) = side_by_side({"full": [full], "Ours-L": [other]})
    assert joined.columns == ("source", "DCNet, full", "DCNet, Ours-L", "DCNet 2")
    np.testing.assert_array_equal(joined.rows[1].images[2], image(5))
    assert [row.caption for row in joined.rows] == ["a", "b"] and joined.title == "Same identity"


def test_rows_of_one_caption_stay_apart_and_rows_of_other_samples_are_not_joined() -> None:
    """Pairs are named after their source's person, who may be in several."""
    full = grid("Pairs", {"DCNet": [image(0), image(1), image(2)]}, ("a", "a", "b"))
    other = grid("Pairs", {"DCNet": [image(3), image(4), image(5)]}, ("a", "a", "c"))
    (joined,) = side_by_side({"full": [full], "other": [other]})
    assert [row.caption for row in joined.rows] == ["a", "a"]
    np.testing.assert_array_equal(joined.rows[1].images[0], image(1))
    np.testing.assert_array_equal(joined.rows[1].images[1], image(4))


def test_grids_that_a_run_lacks_are_those_of_the_others() -> None:
    only = grid("Errors", {"RecNet": [image(0), image(1)]})
    assert [each.columns for each in side_by_side({"old": [], "new": [only]})] == [("RecNet",)]
