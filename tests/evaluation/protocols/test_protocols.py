"""The registry, the command, and how results are written down, with a protocol that measures nothing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pydantic import Field

from jr2net.cli import main
from jr2net.evaluation import protocols
from jr2net.evaluation.paper import TABLE_3
from jr2net.evaluation.protocols.markdown import to_markdown
from jr2net.evaluation.protocols.protocol import Protocol, ProtocolSettings, Systems
from jr2net.evaluation.protocols.result import Figure, Measured, Missing, Result, Table
from jr2net.evaluation.statistics import Comparison, Estimate, PairedEstimate
from jr2net.face.model import FaceModel
from jr2net.inference.reconstruction import Reconstructor


class ToySettings(ProtocolSettings):
    size: int = Field(3, description="of nothing")


def toy_result(data: str = "data", methods: tuple[str, ...] = ("RecNet",), size: int = 3) -> Result:
    figures = (Figure("mae", "MAE", "mm"), Figure("fid", "FID", digits=1))
    rows = {method: {"mae": Estimate(1.854, 1.7, 2.0, 40)} for method in methods}
    paired = PairedEstimate(Estimate(0.9, 0.8, 0.96, 40), Estimate(-0.2, -0.3, -0.1, 40), 0.004)
    comparisons = (Comparison("mae", "RecAugNet", "RecNet", paired),) if "RecAugNet" in methods else ()
    return Result(
        protocol="toy",
        title="A toy",
        data=data,
        tables=(Table("all", "Everything", figures, rows, comparisons, TABLE_3),),
        measured=Measured("scans", 38, 40, 40),
        quarantined=(Missing("a.obj", "is empty"), Missing("b.obj", "no landmarks")),
        missing=(Missing("FID", "no weights"),),
        notes=("A note.",),
        settings={"size": size, "ratio": float("nan")},
    )


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(data: str, systems: Systems, settings: ToySettings) -> Result:
        return toy_result(data, (*systems.weights, *systems.predictions), settings.size)

    monkeypatch.setitem(protocols.PROTOCOLS, "toy", Protocol("toy", "A toy", measure, ToySettings))


def test_a_protocol_is_chosen_by_name_and_told_its_settings(
    toy: None, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["evaluate", "toy", "scans/", "--predictions", "MICA=out/mica", "--predictions", "out/deca/"]
    assert main([*arguments, "--set", "size=5", "-o", str(tmp_path / "results")]) == 0
    said = capsys.readouterr().out
    found = json.loads((tmp_path / "results" / "toy.json").read_text())
    assert said == (tmp_path / "results" / "toy.md").read_text()
    assert set(found["tables"]["all"]["methods"]) == {"MICA", "deca"} and found["data"] == "scans/"
    assert found["settings"] == {"size": 5, "ratio": None}


def test_folders_in_a_bucket_are_named_without_its_options(
    toy: None, toy_model: FaceModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    bucket = "s3://bucket/{}?endpoint_override=host:9"
    assert main(["evaluate", "toy", "scans/", "--predictions", bucket.format("deca")]) == 0
    assert "| deca |" in capsys.readouterr().out
    network = SimpleNamespace(info=SimpleNamespace(kind="recnet"))
    monkeypatch.setattr("jr2net.evaluation.protocols.protocol._networks", lambda weights: {"": weights})
    monkeypatch.setattr(Reconstructor, "load", lambda folder, **options: network)
    systems = Systems((bucket.format("a"), "runs/b/"), face_model=toy_model)
    assert list(systems.reconstructors()) == ["RecNet (a)", "RecNet (b)"]


def test_the_shipped_weights_are_measured_unless_other_answers_are_given(
    toy: None, capsys: pytest.CaptureFixture
) -> None:
    assert main(["evaluate", "toy", "scans/"]) == 0
    assert "| shipped |" in capsys.readouterr().out
    assert main(["evaluate", "toy", "scans/", "--weights", "runs/a", "--weights", "shipped"]) == 0
    said = capsys.readouterr().out
    assert "| runs/a |" in said and "| shipped |" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["toi", "x"], "did you mean 'toy'"),
        (["toy"], "give the folder of the dataset"),
        (["toy", "x", "--set", "sise=4"], "unknown key 'sise'; did you mean 'size'?"),
        (["toy", "x", "--set", "size=big"], "size = 'big'"),
        (["toy", "x", "--predictions", "a=x", "--predictions", "b/a"], "name them apart"),
        (["toy", "x", "--predictions", "a="], "write NAME=FOLDER"),
        (["toy", "x", "--predictions", "."], "write NAME=FOLDER"),
        (["toy", "x", "--device", "tpu"], "give cpu, cuda or cuda:NUMBER"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    arguments: list[str], message: str, toy: None, capsys: pytest.CaptureFixture
) -> None:
    assert main(["evaluate", *arguments]) == 1
    said = capsys.readouterr().err
    assert message in said and len(said.splitlines()) == 1


def test_without_a_name_the_protocols_are_listed(toy: None, capsys: pytest.CaptureFixture) -> None:
    assert main(["evaluate"]) == 0
    said = capsys.readouterr().out
    assert all(f"{name} " in said for name in protocols.PROTOCOLS)


def test_markdown_shows_intervals_comparisons_gaps_and_the_papers_rows() -> None:
    text = to_markdown(toy_result(methods=("RecNet", "RecAugNet")))
    assert "38 of 40 scans, 40 people" in text
    assert "|  | MAE (mm) ↓ | FID ↓ |" in text and "| RecNet | 1.85 [1.70, 2.00] | – |" in text
    assert "MAE: RecAugNet / RecNet = 0.900 [0.800, 0.960]; difference -0.20 [-0.30, -0.10] mm, p = 0.004" in text
    assert "- a.obj: is empty" in text and "- FID: no weights" in text
    assert "Table 3: FRGC v2.0" in text and "| MICA | 2.12 | 0.61 |" in text


def test_few_methods_with_many_figures_are_shown_upright() -> None:
    figures = tuple(Figure(f"f{number}", f"Shape {number}") for number in range(3))
    table = Table("t", "By shape", figures, {"ours": {"f1": Estimate(0.5)}}, upright=True)
    text = to_markdown(Result("toy", "A toy", "d", (table,), Measured("frames", 1, 1, 1)))
    assert "|  | ours |\n| --- | --- |\n| Shape 0 ↓ | – |\n| Shape 1 ↓ | 0.50 |" in text


def test_json_says_what_the_figures_are() -> None:
    tree = json.loads(toy_result(methods=("RecNet", "RecAugNet")).to_json())
    table = tree["tables"]["all"]
    assert table["figures"]["mae"] == {"title": "MAE", "unit": "mm", "digits": 2, "better": -1}
    assert table["methods"]["RecNet"]["mae"] == {"value": 1.854, "low": 1.7, "high": 2.0, "people": 40}
    assert table["comparisons"][0]["paired"]["p"] == 0.004
    assert table["published"]["rows"][-1] == ["Ours", "1.85", "0.56"]
    assert tree["measured"] == {"samples": "scans", "count": 38, "total": 40, "people": 40}
    assert tree["quarantined"][0] == {"what": "a.obj", "why": "is empty"}


def test_reconstruction_may_see_larger_images_than_the_reenactor(procedural_model: FaceModel) -> None:
    """As the networks of the package do."""
    reconstructor = Reconstructor.load(face_model=procedural_model)
    small = torch.rand(2, 3, 32, 32).repeat_interleave(reconstructor.camera.size // 32, 2)
    large = small.repeat_interleave(reconstructor.camera.size // 32, 3)
    assert torch.equal(reconstructor.predict_resized(large).expression, reconstructor.predict(large).expression)
    assert reconstructor.predict_resized(torch.rand(2, 3, 48, 48)).expression.shape == (2, 51)
