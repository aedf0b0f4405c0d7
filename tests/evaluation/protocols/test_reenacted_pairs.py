"""The protocols ``same_identity`` and ``cross_identity``: reenactors, other systems' images, judges and their lack."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from jr2net.data.clips import ClipSource
from jr2net.data.evaluation_frames import cross_identity_pairs, load_frames, same_identity_pairs
from jr2net.evaluation import judges
from jr2net.evaluation.judges import Judges
from jr2net.evaluation.protocols import ProtocolError, Result, Systems, measure
from jr2net.images.arrays import to_arrays
from jr2net.images.face_detector import Face

PAIRS = 5


class Features(nn.Module):
    """In the place of Inception: mean colours of the image's quarters."""

    def __init__(self, weight_file: str) -> None:
        super().__init__()

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)


class Embedder(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)) - 0.3


def brightest(image: np.ndarray) -> list[Face]:
    """A detector whose landmarks lie on a circle around the image's centre of brightness; none in dark images."""
    weights = image.astype(np.float64).sum(2)
    if weights.mean() < 30:
        return []
    y, x = ((weights.sum(axis) * (np.arange(len(image)) + 0.5)).sum() / weights.sum() for axis in (1, 0))
    angle = np.linspace(0, 2 * np.pi, 68)
    points = np.stack([x + 20 * np.cos(angle), y + 20 * np.sin(angle)], 1).astype(np.float32)
    return [Face((x - 20, y - 20, x + 20, y + 20), 0.9, points)]


@pytest.fixture
def run(folders: dict[str, str]) -> tuple[str, str]:
    """The folder of a run with untrained networks, and that of its clips."""
    return str(Path(folders["recnet"]).parent), folders["turned"]


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Settings with all judges, simple ones."""
    monkeypatch.setattr(judges, "independent_detector", lambda: brightest)
    monkeypatch.setattr(judges, "Inception", Features)
    torch.jit.save(torch.jit.script(Embedder()), str(tmp_path / "embedder.pt"))
    return [f"pairs={PAIRS}", "draws=100", "inception=fid.pth", f"embedder={tmp_path}/embedder.pt"]


def stored(folder: Path, data: str, choose: Callable, side: int) -> str:
    """A folder in which the driving frames of the pairs are another system's images."""
    clips = ClipSource(data)
    folder.mkdir()
    for number, (_, driving) in enumerate(choose(clips, PAIRS, 0)):
        (image,) = to_arrays(load_frames(clips, [driving], side)["image"])
        cv2.imwrite(str(folder / f"{number:06d}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return str(folder)


def values(result: Result, method: str) -> dict[str, float]:
    return {key: estimate.value for key, estimate in result.tables[0].methods[method].items()}


def test_same_identity(run: tuple[str, str], judged: list[str], tmp_path: Path) -> None:
    weights, data = run
    target = stored(tmp_path / "target", data, same_identity_pairs, 32)
    result = measure("same_identity", data, Systems((weights,), {"target": target}), judged)
    (table,) = result.tables
    assert list(table.methods) == ["CopySource", "WarpOnly", "DCNet", "3DFlowRenderer", "target"]
    assert [figure.key for figure in table.figures] == ["l1", "l1_face", "psnr", "ssim", "fid"] and not result.missing
    perfect = values(result, "target")
    assert perfect["l1"] == pytest.approx(0, abs=1e-6) and perfect["ssim"] == pytest.approx(1)
    assert perfect["psnr"] == pytest.approx(100) and perfect["fid"] == pytest.approx(0, abs=1e-6)
    assert values(result, "CopySource")["l1"] > 0.02 and values(result, "CopySource")["fid"] > 1e-5
    assert table.published is None, "people of the studio are no kind of data that the paper measures"
    compared = {(comparison.method, comparison.reference) for comparison in table.comparisons}
    assert ("3DFlowRenderer", "DCNet") in compared and ("WarpOnly", "CopySource") not in compared
    lines = result.files["pairs.csv"].decode().splitlines()
    assert len(lines) == 1 + PAIRS and lines[1].startswith("000000,")


def test_generated_crops_are_measured_in_frames_of_another_side(run: tuple[str, str], tmp_path: Path) -> None:
    weights, data = run
    target = stored(tmp_path / "target", data, same_identity_pairs, 48)
    systems = Systems((weights,), {"target": target})
    (table,) = measure("same_identity", data, systems, [f"pairs={PAIRS}", "draws=100", "side=48"]).tables
    assert [figure.key for figure in table.figures] == ["l1", "l1_face", "psnr", "ssim", "sharpness"]
    found = {name: {key: each.value for key, each in row.items()} for name, row in table.methods.items()}
    assert found["target"]["l1"] == pytest.approx(0, abs=1e-6), "other systems' images are compared as they are"
    assert found["target"]["sharpness"] == pytest.approx(1, abs=1e-3)
    assert found["CopySource"]["l1"] > 0.02 and 0.2 < found["DCNet"]["sharpness"] < 5
    small = measure("same_identity", data, systems, [f"pairs={PAIRS}", "draws=100"]).tables[0]
    assert small.methods["CopySource"]["l1"].value == pytest.approx(found["CopySource"]["l1"], rel=0.2)


def test_the_second_rounds_of_several_runs_are_told_apart(
    folders: dict[str, str], run: tuple[str, str], tmp_path: Path
) -> None:
    runs = [tmp_path / name / "seed-0" for name in ("a", "b")]
    for folder in runs:
        for stage in ("recnet", "recaugnet", "dcnet"):
            shutil.copytree(folders[stage], folder / stage)
        shutil.copytree(folders["dcnet"], folder / "dcnet_2")
    systems = Systems(tuple(str(folder) for folder in runs))
    (table,) = measure("same_identity", run[1], systems, ["pairs=2", "draws=100"]).tables
    first, second = ("DCNet (a/seed-0)", "DCNet 2 (a/seed-0)"), ("DCNet (b/seed-0)", "DCNet 2 (b/seed-0)")
    assert list(table.methods) == ["CopySource", "WarpOnly", *first, *second]


def test_cross_identity(run: tuple[str, str], judged: list[str], tmp_path: Path) -> None:
    weights, data = run
    driving = stored(tmp_path / "driving", data, cross_identity_pairs, 64)
    result = measure("cross_identity", data, Systems((weights,), {"driving": driving}), judged)
    copied, other = values(result, "CopySource"), values(result, "driving")
    assert copied["csim"] == pytest.approx(1) and copied["fid"] == pytest.approx(0, abs=1e-9)
    assert other["efl"] < 0.1 * copied["efl"] and other["csim"] < 0.9999 and other["fid"] > 0
    assert copied["detected"] == 1 and set(copied) == {"efl", "detected", "efl_px", "fid", "csim"}
    assert any("MediaPipe" in note for note in result.notes)


def test_figures_without_a_judge_are_missing_and_say_what_they_lack(
    run: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judges, "independent_detector", lambda: None)
    result = measure("cross_identity", run[1], Systems((run[0],)), ["pairs=2", "draws=100"])
    assert [figure.key for figure in result.tables[0].figures] == ["efl_px"]
    lacking = {missing.what: missing.why for missing in result.missing}
    assert set(lacking) == {"efl", "fid", "csim"} and "make detector" in lacking["efl"]


def test_without_a_detector_an_independent_network_reads_landmarks_against_the_truth(
    run: tuple[str, str], folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judges, "independent_detector", lambda: None)
    options = ["pairs=2", "draws=100", f"reader={folders['recnet']}"]
    result = measure("cross_identity", run[1], Systems((run[0],)), options)
    assert values(result, "CopySource")["efl"] > 0 and values(result, "CopySource")["detected"] == 1
    assert any(folders["recnet"] in note and "truth" in note for note in result.notes)


def test_bad_input_is_an_error(run: tuple[str, str], tmp_path: Path) -> None:
    data = run[1]
    with pytest.raises(ProtocolError, match="give the folder of a run that has recaugnet and dcnet or flow3d"):
        measure("same_identity", data, Systems((str(tmp_path),)))
    with pytest.raises(ProtocolError, match=r"holds no 000000\.png or \.jpg"):
        measure("same_identity", data, Systems(predictions={"theirs": str(tmp_path)}), ["pairs=2"])
    (tmp_path / "000000.png").write_bytes(b"no image")
    with pytest.raises(ProtocolError, match=r"000000\.png: is not a square PNG or JPEG"):
        measure("same_identity", data, Systems(predictions={"theirs": str(tmp_path)}), ["pairs=2"])


def test_faces_that_are_not_found_have_no_landmarks() -> None:
    found = Judges(detector=brightest).landmarks(torch.stack([torch.zeros(3, 64, 64), torch.full((3, 64, 64), 0.8)]))
    assert found is not None and found[0].isnan().all()
    assert found[1].mean(0).tolist() == pytest.approx([32, 32], abs=0.5)
    assert Judges().landmarks(torch.zeros(1, 3, 8, 8)) is None
