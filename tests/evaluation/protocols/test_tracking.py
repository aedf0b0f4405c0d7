"""The protocol ``tracking``: tables of a set of rigs, of other systems' files, and of real frames."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from jr2net.cli import main
from jr2net.evaluation.protocols import Systems, measure
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.images.arrays import encode_jpeg

COUNT = 24
TRUTH = np.random.default_rng(0).uniform(0, 1, (COUNT, len(ARKIT_NAMES)))


@pytest.fixture
def rigs(tmp_path: Path) -> str:
    images = [encode_jpeg(np.full((64, 64, 3), 10 * number, np.uint8)) for number in range(COUNT)]
    columns = {
        "identity": [f"avatar-{number % 4}" for number in range(COUNT)],
        "kind": ["take"] * (COUNT - 4) + ["only"] * 4,
        "name": [str(number) for number in range(COUNT)],
        "image": images,
        "expression": list(TRUTH),
        "other": list(np.clip(TRUTH + 0.1, 0, 1)),
    }
    pq.write_table(pa.table(columns), tmp_path / "rigs.parquet")
    return str(tmp_path / "rigs.parquet")


def test_the_command_measures_networks_files_and_the_sets_own_answers(
    rigs: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    columns = {name: TRUTH[:, index] for index, name in enumerate(ARKIT_NAMES)}
    pa_csv.write_csv(pa.table({"name": [str(number) for number in range(COUNT)], **columns}), tmp_path / "theirs.csv")
    arguments = ["--weights", "shipped", "--predictions", f"perfect={tmp_path}/theirs.csv", "--set", "draws=100"]
    assert main(["evaluate", "tracking", rigs, *arguments, "-o", str(tmp_path / "out")]) == 0
    said, found = capsys.readouterr().out, json.loads((tmp_path / "out/tracking.json").read_text())
    assert set(found["tables"]["take"]["methods"]) == {"Zero", "Mean", "other", "perfect", "RecAugNet"}
    perfect = found["tables"]["take"]["methods"]["perfect"]
    assert perfect["correlation"] == {"value": pytest.approx(1), "low": 1, "high": pytest.approx(1), "people": 4}
    assert perfect["mae"]["value"] == 0 and perfect["side_accuracy"]["value"] == 1
    assert found["tables"]["take"]["methods"]["other"]["mae"]["low"] > 0.05
    assert found["tables"]["take shapes"]["methods"]["jawOpen"]["correlation perfect"]["value"] == pytest.approx(1)
    pairs = {(entry["method"], entry["reference"]) for entry in found["tables"]["take"]["comparisons"]}
    assert ("RecAugNet", "other") in pairs and ("perfect", "Zero") in pairs and ("Zero", "Mean") not in pairs
    compared = {(each["figure"], each["method"], each["reference"]) for each in found["tables"]["take"]["comparisons"]}
    assert ("correlation", "perfect", "other") in compared and ("correlation", "perfect", "Zero") not in compared
    assert found["tables"]["video"]["methods"]["RecAugNet"]["seconds"]["value"] > 0
    assert [missing["what"] for missing in found["missing"]] == ["delay in video"]
    assert "### All blendshapes, take: 20 images" in said and "| eyeBlinkLeft |" in said


def test_bad_data_is_one_line(rigs: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "cut.parquet").write_bytes(Path(rigs).read_bytes()[:500])
    assert main(["evaluate", "tracking", str(tmp_path / "cut.parquet")]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}/cut.parquet: not a readable Parquet file")


def test_rigs_of_another_maker_give_the_figures_that_are_known_of_them(real_ground: Path) -> None:
    """MediaPipe's answers, whose error and correlation were measured independently; no network is run."""
    path = real_ground / "data/tracking/rigs.parquet"
    if not path.is_file():
        pytest.skip(f"{path} does not exist")
    result = measure("tracking", str(path), Systems(), ["draws=100"])
    takes = next(table for table in result.tables if table.key == "take").methods
    assert takes["mediapipe"]["mae"].value == pytest.approx(0.086, abs=5e-4)
    assert takes["Zero"]["mae"].value == pytest.approx(0.081, abs=5e-4)
    assert takes["mediapipe"]["correlation"].value == pytest.approx(0.37, abs=5e-3)
