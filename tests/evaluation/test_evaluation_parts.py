"""The parts of an evaluation: whoever measures them, in whatever order, the report is the same."""

from __future__ import annotations

import json
import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch
from untrained_run import configuration

from jr2net.evaluation import Bench, Evaluation, evaluate, reconstruction, reenactment
from jr2net.evaluation.figures import Grid, GridRow
from jr2net.face.model import FaceModel
from jr2net.report.result import to_json


def test_the_report_depends_neither_on_the_workers_nor_on_the_order(
    folders: dict[str, str], procedural_model: FaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three workers that are sent their parts, with a part for each batch, find what one process finds."""
    monkeypatch.setattr(reconstruction, "BATCH", 2)
    monkeypatch.setattr(reenactment, "BATCH", 2)
    monkeypatch.setattr(reenactment, "GRID_ROWS", 2)
    config = configuration("dcnet", folders["prepare"])
    expected = evaluate(config, procedural_model, folders)
    for module in (reconstruction, reenactment):
        monkeypatch.setattr(module, "PART", 2)
    evaluation = Evaluation(config, folders["prepare"])
    workers = [Bench.load(config, procedural_model, folders) for _ in range(3)]
    numbers, found = list(range(len(evaluation.parts))), {}
    random.Random(0).shuffle(numbers)
    with torch.inference_mode():
        for turn, number in enumerate(numbers):
            part = pickle.loads(pickle.dumps(evaluation.parts[number]))
            found[number] = pickle.loads(pickle.dumps(part(workers[turn % 3])))
    assert len(numbers) > 12
    result = evaluation.report([found[number] for number in range(len(numbers))])
    assert json.loads(to_json(result.metrics)) == approximately(json.loads(to_json(expected.metrics)))
    assert [grid.title for grid in result.grids] == [grid.title for grid in expected.grids]
    for grid, other in zip(result.grids, expected.grids):
        assert grid.columns == other.columns and [row.caption for row in grid.rows] == [r.caption for r in other.rows]
        for row, other_row in zip(grid.rows, other.rows):
            for image, other_image in zip(row.images, other_row.images):
                assert image is not None and other_image is not None
                assert np.abs(image.astype(int) - other_image.astype(int)).max() <= 1


def approximately(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: approximately(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [approximately(value) for value in tree]
    return pytest.approx(tree, rel=1e-5, abs=1e-6, nan_ok=True) if isinstance(tree, float) else tree


def test_the_parts_of_a_large_set_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every frame is in one part, and every mesh and overlay."""
    monkeypatch.setattr(reconstruction, "spaced_frames", lambda clips, limit: list(range(limit)))
    nothing: Any = None
    parts: list[Any] = reconstruction.frame_parts(nothing, "natural")
    sizes = [len(part.keywords["refs"]) for part in parts]
    assert max(sizes) == reconstruction.PART and sum(sizes) == reconstruction.MAX_FRAMES
    for name, count in (("meshes", reconstruction.MAX_MESHES), ("shown", reconstruction.OVERLAYS)):
        assert sum(len(part.keywords[name]) for part in parts) == count
        assert all(0 <= n < len(part.keywords["refs"]) for part in parts for n in part.keywords[name])


def test_grids_of_parts_are_joined() -> None:
    image = np.zeros((1, 1, 3), np.uint8)
    first = Grid("reconstruction", "t", "x", ("a", "b"), (GridRow("one", (image, image)),))
    second = Grid("reconstruction", "t", "x", ("a",), (GridRow("two", (image,)), GridRow("three", (image,))))
    joined = Grid.join([first, second])
    assert joined.columns == ("a", "b") and [row.caption for row in joined.rows] == ["one", "two", "three"]
    assert joined.rows[1].images == (image, None)
