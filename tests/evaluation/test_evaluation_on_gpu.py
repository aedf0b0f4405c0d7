"""Evaluation on a GPU that only pretends: it mixes no devices, finds what a CPU finds, and reads results at the end."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from untrained_run import configuration

from jr2net.data.clips import ClipSource
from jr2net.data.evaluation_frames import same_identity_pairs
from jr2net.evaluation import Bench, evaluate, reconstruction, reenactment, reenactors
from jr2net.evaluation.bench import Cascade
from jr2net.evaluation.reenactors import reenactment_table
from jr2net.face.model import FaceModel
from tests.pretended_gpu import pretended_gpu

REENACTORS = ("dcnet", "flow3d")
MEASURES_TIME = {"seconds"}


def approximately(tree: Any) -> Any:
    """A tree of numbers to compare another one with, but for rounding and for what measures time."""
    if isinstance(tree, dict):
        return {key: approximately(value) for key, value in tree.items() if key not in MEASURES_TIME}
    if isinstance(tree, list):
        return [approximately(value) for value in tree]
    return pytest.approx(tree, rel=1e-3, abs=1e-4, nan_ok=True) if isinstance(tree, float) else tree


def without_times(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: without_times(value) for key, value in tree.items() if key not in MEASURES_TIME}
    return tree


@pytest.mark.parametrize("reenactor", REENACTORS)
def test_evaluation_finds_what_it_finds_on_a_cpu(
    reenactor: str, folders: dict[str, str], procedural_model: FaceModel
) -> None:
    config = configuration(reenactor, folders["prepare"])
    expected = evaluate(config, procedural_model, folders, "cpu")
    with pretended_gpu() as gpu:
        result = evaluate(config, procedural_model, folders, gpu.device)
    assert result.metrics == approximately(expected.metrics)
    titles = [[(grid.title, len(grid.rows)) for grid in each.grids] for each in (result, expected)]
    assert titles[0] == titles[1]


def test_a_comparison_finds_what_it_finds_on_a_cpu(folders: dict[str, str], procedural_model: FaceModel) -> None:
    clips = ClipSource(folders["turned"])
    pairs = same_identity_pairs(clips, 3, seed=0)

    def table(device: torch.device | str) -> dict[str, Any]:
        cascades = {name: Cascade.load(folders, name, procedural_model, device) for name in REENACTORS}
        compared = {name: cascade.reenactor for name, cascade in cascades.items()}
        return reenactment_table(compared, clips, pairs, cascades["dcnet"].recaugnet, cascades["dcnet"].recnet)

    expected = table("cpu")
    with pretended_gpu() as gpu:
        assert without_times(table(gpu.device)) == approximately(expected)


@pytest.mark.parametrize("measured", ["metrics", "table", "fits"])
def test_reads_do_not_grow_with_the_number_of_batches(
    measured: str, folders: dict[str, str], procedural_model: FaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What batches find stays on the device until a part is done; batches are uploaded from pinned memory."""
    clips = ClipSource(folders["turned"])

    def measure(batch_size: int) -> tuple[Counter[str], Counter[str]]:
        for module in (reconstruction, reenactment, reenactors):
            monkeypatch.setattr(module, "BATCH", batch_size)
        cascade = Cascade.load(folders, "dcnet", procedural_model, gpu.device)
        gpu.traffic.clear()
        with torch.inference_mode():
            if measured == "metrics":
                bench = Bench(cascade, {"turned": clips}, clips, crop_mm=85.0)
                parts = reenactment.pair_parts(clips, "turned", 4, seed=0)
                for part in parts["same_identity"] + parts["cross_identity"]:
                    part(bench)
            elif measured == "table":
                pairs = same_identity_pairs(clips, 4, seed=0)
                reenactment_table({"DCNet": cascade.reenactor}, clips, pairs, cascade.recaugnet)
            else:
                images = torch.rand(4, 3, cascade.camera.size, cascade.camera.size)
                reconstruction._fit(cascade.recnet, images)
        return gpu.places("read"), gpu.places("upload")

    with pretended_gpu() as gpu:
        measure(4)  # constants are uploaded once
        reads, uploads = measure(4)
        assert measure(1) == (reads, uploads)
