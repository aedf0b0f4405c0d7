"""Miniatures of FaceWarehouse, FRGC and NoW through the command, with known truth, and what is wrong with scans."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scan_miniatures
from scan_miniatures import Sample, obj, rows, write

from jr2net.cli import main
from jr2net.evaluation.paper import TABLE_4, PaperTable
from jr2net.evaluation.protocols import Systems, facewarehouse, frgc, measure
from jr2net.face.model import FaceModel

Run = Callable[..., dict[str, Any]]
QUICK = ["--set", "draws=100"]


@pytest.fixture(scope="module")
def samples(procedural_model: FaceModel) -> list[Sample]:
    return list(scan_miniatures.film(procedural_model, people=2, frames=2))


@pytest.fixture(scope="module")
def faces_of(procedural_model: FaceModel, samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature of FaceWarehouse."""
    folder = tmp_path_factory.mktemp("facewarehouse")
    scan_miniatures.facewarehouse(folder, procedural_model, samples)
    return folder


@pytest.fixture(autouse=True)
def one_model(procedural_model: FaceModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The procedural model takes seconds to build."""
    monkeypatch.setattr("jr2net.evaluation.protocols.protocol.as_face_model", lambda _: procedural_model)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def evaluate(protocol: str, data: Path, *arguments: str) -> dict[str, Any]:
        assert main(["evaluate", protocol, str(data), *QUICK, *arguments, "-o", str(tmp_path / "out")]) == 0
        return json.loads((tmp_path / "out" / f"{protocol}.json").read_text())

    return evaluate


def name_of(sample: Sample) -> str:
    return f"Tester_{sample.person + 1}/TrainingPose/pose_{sample.frame}"


def answers(folder: Path, model: FaceModel, samples: list[Sample]) -> Path:
    """The truth, in other units and poses, as meshes of the face model."""
    for sample in samples:
        vertices = 0.01 * sample.vertices[:, [2, 0, 1]] + [5, 0, 0]
        write(folder / f"{name_of(sample)}.obj", obj(vertices, model.faces.numpy()))
    return folder


def value(result: dict[str, Any], method: str, figure: str, table: str = "point_to_plane") -> float:
    return result["tables"][table]["methods"][method][figure]["value"]


def test_facewarehouse_with_the_shipped_weights_and_another_systems_meshes(
    faces_of: Path, procedural_model: FaceModel, samples: list[Sample], tmp_path: Path, run: Run
) -> None:
    exact = answers(tmp_path / "exact", procedural_model, samples)
    found = run("facewarehouse", faces_of, "--weights", "shipped", "--predictions", str(exact))
    assert found["measured"] == {"samples": "scans", "count": 4, "total": 4, "people": 2}
    assert list(found["tables"]["point_to_plane"]["methods"]) == ["MeanFace", "RecAugNet", "exact"]
    assert value(found, "exact", "rmse") < 0.01
    assert 0.3 < value(found, "RecAugNet", "rmse") < 4 and 0.3 < value(found, "MeanFace", "rmse") < 4
    assert value(found, "MeanFace", "p80") >= value(found, "MeanFace", "median")
    pairs = [(c["method"], c["reference"]) for c in found["tables"]["point_to_plane"]["comparisons"]]
    assert pairs == [("RecAugNet", "MeanFace"), ("exact", "MeanFace"), ("exact", "RecAugNet")]
    assert found["tables"]["point_to_plane"]["published"] is None and not found["quarantined"]


def test_the_figures_are_those_that_numpy_gives_of_the_scans_one_by_one(
    faces_of: Path, samples: list[Sample], tmp_path: Path
) -> None:
    each = []
    for sample in samples:
        name, alone = name_of(sample), tmp_path / f"{sample.person}{sample.frame}"
        for file in (f"{name}.obj", f"{name}.txt"):
            write(alone / file, (faces_of / file).read_bytes())
        figures = measure("facewarehouse", str(alone), Systems(), ["draws=100"]).tables[0].methods["MeanFace"]
        each.append(figures["rmse"].value)
        assert figures["std"].value == 0 and figures["rmse"].low is None  # a single person
    found = measure("facewarehouse", str(faces_of), Systems(), ["draws=100"]).tables[0].methods["MeanFace"]
    expected = {"rmse": np.mean(each), "std": np.std(each), "median": np.median(each), "p80": np.percentile(each, 80)}
    assert {key: found[key].value for key in expected} == pytest.approx(expected)


def test_answers_as_coefficients_and_in_another_topology(
    faces_of: Path, procedural_model: FaceModel, samples: list[Sample], tmp_path: Path, run: Run
) -> None:
    """Coefficients of the face model; and vertices without triangles, with a mesh of their topology and 51 landmarks as
    vertex numbers."""
    _, faces, _ = scan_miniatures.scan_of(procedural_model, samples[0].vertices, 7)
    for sample in samples:
        name = name_of(sample)
        coefficients = {"identity": sample.identity.tolist(), "expression": sample.expression.tolist()}
        write(tmp_path / f"json/{name}.json", json.dumps(coefficients))
        vertices, _, marks = scan_miniatures.scan_of(procedural_model, sample.vertices, 7)
        (tmp_path / f"npy/{name}").parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / f"npy/{name}.npy", vertices)
    numbers = np.linalg.norm(vertices[None] - marks[17:, None], axis=-1).argmin(1)
    write(tmp_path / "npy/landmarks.txt", rows(numbers[:, None]))
    write(tmp_path / "npy/topology.obj", obj(vertices, faces))
    found = run(
        "facewarehouse",
        faces_of,
        *("--predictions", f"coefficients={tmp_path / 'json'}", "--predictions", f"vertices={tmp_path / 'npy'}"),
    )
    assert value(found, "coefficients", "rmse") < 0.01 and value(found, "vertices", "rmse") < 0.01


@pytest.mark.parametrize(("unit", "scale"), [("cm", 0.1), ("m", 0.001)])
def test_another_unit_is_noticed_and_told(
    unit: str,
    scale: float,
    faces_of: Path,
    procedural_model: FaceModel,
    samples: list[Sample],
    tmp_path: Path,
    run: Run,
    capsys: pytest.CaptureFixture,
) -> None:
    scan_miniatures.facewarehouse(tmp_path / "data", procedural_model, samples[:2], scale)
    exact = str(answers(tmp_path / "exact", procedural_model, samples))
    assert main(["evaluate", "facewarehouse", str(tmp_path / "data"), "--predictions", exact]) == 1
    said = capsys.readouterr().err
    assert "none of 2 scans can be measured" in said and f"its unit seems to be {unit}: --set unit={unit}" in said
    assert len(said.splitlines()) == 1 and "pose_0.obj" in said
    found = run("facewarehouse", tmp_path / "data", "--predictions", exact, "--set", f"unit={unit}")
    assert value(found, "exact", "rmse") < 0.01


def test_bad_scans_are_quarantined_by_name_and_the_others_go_on(
    faces_of: Path,
    procedural_model: FaceModel,
    samples: list[Sample],
    tmp_path: Path,
    run: Run,
    capsys: pytest.CaptureFixture,
) -> None:
    data, exact = tmp_path / "data", answers(tmp_path / "exact", procedural_model, samples)
    shutil.copytree(faces_of, data)
    good, poses = data / "Tester_1/TrainingPose/pose_0", data / "Tester_3/TrainingPose"
    poses.mkdir(parents=True)
    answer = (exact / f"{name_of(samples[0])}.obj").read_text()
    text, marks = good.with_suffix(".obj").read_text(), np.loadtxt(good.with_suffix(".txt"))
    bad: dict[str, tuple[str, str | None, str]] = {
        "pose_0": (text, None, "has no landmarks"),
        "pose_1": (text[: text.rindex(" ")], rows(marks), "not a readable .obj"),
        "pose_2": (text.replace("v ", "v nan ", 1), rows(marks), "are NaN"),
        "pose_3": (text, rows(marks + 400), "off the scan"),
        "pose_4": (text, rows(marks[:, [1, 0, 2]]), "off the scan"),
        "pose_5": (text, rows(marks)[:-20], "landmarks cannot be read"),
        "pose_6": (text, rows(marks[::-1]), "in another order"),
        "pose_7": (text, rows(0.1 * marks), "its unit seems to be cm"),
        "pose_8": ("<!doctype html>", rows(marks), "is a web page"),
        "pose_9": (text, rows(marks), "there is no such .obj"),
    }  # fmt: skip
    for name, (mesh, landmarks, _) in bad.items():
        write(poses / f"{name}.obj", mesh)
        if landmarks is not None:
            write(poses / f"{name}.txt", landmarks)
        if name != "pose_9":
            write(exact / f"Tester_3/TrainingPose/{name}.obj", answer)
    found = run("facewarehouse", data, "--predictions", str(exact))
    assert found["measured"]["count"] == 4 and found["measured"]["total"] == 14
    assert "4 of 14 scans" in capsys.readouterr().out
    reasons = {item["what"]: item["why"] for item in found["quarantined"]}
    assert set(reasons) == {f"Tester_3/TrainingPose/{name}" for name in bad}
    for name, (_, _, message) in bad.items():
        why = reasons[f"Tester_3/TrainingPose/{name}"]
        assert message in why and name in why, f"{name}: {why}"
    assert reasons["Tester_3/TrainingPose/pose_9"].startswith("exact: ")


def test_a_method_without_any_answer_is_missing_and_stops_no_other(
    faces_of: Path, procedural_model: FaceModel, samples: list[Sample], tmp_path: Path, run: Run
) -> None:
    exact = answers(tmp_path / "exact", procedural_model, samples)
    write(tmp_path / "other" / "readme.txt", "later")
    data = tmp_path / "data"
    shutil.copytree(faces_of, data, ignore=shutil.ignore_patterns("*.png"))
    arguments = ["--weights", "shipped", "--predictions", str(exact), "--predictions", str(tmp_path / "other")]
    found = run("facewarehouse", data, *arguments)
    assert list(found["tables"]["point_to_plane"]["methods"]) == ["MeanFace", "exact"]
    missing = {item["what"]: item["why"] for item in found["missing"]}
    assert "has no photo beside it" in missing["RecAugNet"] and "there is no such .obj" in missing["other"]


def test_where_no_face_is_found_the_boxes_are_asked_for(
    procedural_model: FaceModel, samples: list[Sample], tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jr2net.inference.photo.installed_detector", lambda: lambda image: [])
    scan_miniatures.facewarehouse(tmp_path / "data", procedural_model, samples[:1])
    boxes = tmp_path / "data" / "boxes.csv"
    found = run("facewarehouse", tmp_path / "data")
    assert "RecAugNet" in found["tables"]["point_to_plane"]["methods"]
    boxes.unlink()
    (missing,) = run("facewarehouse", tmp_path / "data")["missing"]
    assert missing["what"] == "RecAugNet" and "no face was found" in missing["why"]
    assert f"in boxes.csv: {name_of(samples[0])},left,top,right,bottom in pixels" in missing["why"]
    write(boxes, "pose_0,1,2\n")
    (missing,) = run("facewarehouse", tmp_path / "data")["missing"]
    assert f"{boxes}: not enough values" in missing["why"] and "a line is name,left,top,right,bottom" in missing["why"]


def test_shapes_of_bs_with_landmarks_as_vertices_and_a_mask(
    procedural_model: FaceModel, samples: list[Sample], tmp_path: Path, run: Run
) -> None:
    """The scan's topology has vertices that are no skin, which the mask leaves out."""
    shapes = np.array([samples[0].vertices, samples[1].vertices], "<f4")
    header = np.array([1, shapes.shape[1], 9], "<i4").tobytes()
    write(tmp_path / "data/Tester_1/Blendshape/shape.bs", header + shapes.tobytes())
    write(tmp_path / "data/landmarks.txt", rows(procedural_model.landmarks.numpy()[:, None]))
    skin = np.flatnonzero(scan_miniatures.surface_vertices(procedural_model).numpy())
    write(tmp_path / "skin.txt", rows(skin[:, None]))
    for number, sample in enumerate(samples[:2]):
        path = tmp_path / f"exact/Tester_1/Blendshape/shape/{number:02d}.obj"
        write(path, obj(sample.vertices, procedural_model.faces.numpy()))
    arguments = ["--predictions", str(tmp_path / "exact"), "--set", "truth=blendshapes"]
    found = run("facewarehouse", tmp_path / "data", *arguments, "--set", f"mask={tmp_path / 'skin.txt'}")
    assert found["measured"] == {"samples": "scans", "count": 2, "total": 2, "people": 1}
    assert value(found, "exact", "rmse") < 0.01


def test_frgc_reads_range_images_with_holes_landmarks_as_pixels_and_the_photo_of_the_next_number(
    procedural_model: FaceModel, samples: list[Sample], tmp_path: Path, run: Run
) -> None:
    scan_miniatures.frgc(tmp_path / "data", procedural_model, samples[::2])
    exact = tmp_path / "exact"
    for sample in samples[::2]:
        path = exact / f"Spring2004/{2463 + sample.person:05d}d{100 + 2 * sample.frame}.obj"
        write(path, obj(sample.vertices, procedural_model.faces.numpy()))
    found = run("frgc", tmp_path / "data", "--weights", "shipped", "--predictions", str(exact))
    assert found["measured"] == {"samples": "scans", "count": 2, "total": 2, "people": 2}
    assert value(found, "exact", "mae") < 0.6 < value(found, "MeanFace", "mae")
    assert value(found, "RecAugNet", "mae") > value(found, "exact", "mae")
    assert "95 mm" in found["title"] and found["tables"]["point_to_plane"]["published"] is None


def test_the_papers_rows_stand_only_beside_the_datasets_own_scans(
    procedural_model: FaceModel, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan_miniatures.facewarehouse(tmp_path, procedural_model, samples[:1])
    vertices = scan_miniatures.scan_of(procedural_model, samples[0].vertices, 0)[0][:: scan_miniatures.THINNED]

    def shown(*overrides: str) -> PaperTable | None:
        return measure("facewarehouse", str(tmp_path), Systems(), overrides).tables[0].published

    assert facewarehouse.VERTICES == 11_510 and frgc.PIXELS == (480, 640)
    assert shown() is None
    monkeypatch.setattr(facewarehouse, "VERTICES", len(vertices))
    assert shown() == TABLE_4 and shown("crop_mm=70") is None


def test_now_measures_the_neutral_face_by_challenge(
    procedural_model: FaceModel, samples: list[Sample], tmp_path: Path, run: Run
) -> None:
    data = tmp_path / "data"
    scan_miniatures.now(data, procedural_model, samples[:3])
    seven = procedural_model.landmarks.numpy()[[36, 39, 42, 45, 33, 48, 54]]
    for sample in samples[:3]:
        neutral = scan_miniatures.shape_of(procedural_model, sample.identity, np.zeros(51))
        kind = ("multiview_neutral", "selfie")[sample.frame % 2]
        path = tmp_path / f"exact/FaMoS_{sample.person:02d}/{kind}/IMG_{sample.frame}.obj"
        write(path, obj(neutral / 1000, procedural_model.faces.numpy()))
        np.save(path.with_suffix(".npy"), neutral[seven] / 1000)
    found = run("now", data, "--weights", "shipped", "--predictions", str(tmp_path / "exact"))
    assert found["measured"] == {"samples": "photos", "count": 3, "total": 3, "people": 2}
    assert list(found["tables"]) == ["all", "multiview_neutral", "selfie"]
    assert value(found, "exact", "median", "all") < 0.02 < value(found, "RecAugNet", "median", "all")
    assert value(found, "exact", "mean", "all") < value(found, "MeanFace", "mean", "all")


@pytest.mark.parametrize("protocol", ["facewarehouse", "frgc", "now"])
def test_a_folder_of_something_else_is_said_to_be_that(
    protocol: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["evaluate", protocol, str(tmp_path / "nothing")]) == 1
    assert "has no files; give the folder of the dataset" in capsys.readouterr().err
    write(tmp_path / "data/notes.md", "x")
    assert main(["evaluate", protocol, str(tmp_path / "data")]) == 1
    said = capsys.readouterr().err
    assert str(tmp_path / "data") in said and "; give " in said and len(said.splitlines()) == 1
