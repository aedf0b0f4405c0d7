"""The protocol ``aflw2000`` on a miniature of the layout, on bad files, and on the published sample."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jr2net.cli import main
from jr2net.data.readers.mat import from_published
from jr2net.data.readers.problems import DatasetError
from jr2net.evaluation.protocols import ProtocolError, Result, Systems, measure
from jr2net.images.arrays import encode_jpeg
from tests.data.landmark_files import face_points, mat_file

YAWS = (0.0, -0.7, 1.2)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Three faces of 450 pixels, one in each bin of yaw."""
    folder = tmp_path / "AFLW2000-3D"
    folder.mkdir()
    for number, yaw in enumerate(YAWS):
        (folder / f"image{number:05d}.jpg").write_bytes(encode_jpeg(np.full((450, 450, 3), 90, np.uint8)))
        (folder / f"image{number:05d}.mat").write_bytes(mat_file(face_points(), (0.1, yaw, -0.2)))
    return folder


def predictions(folder: Path, shift: float = 0.0, yaw: float = 0.0) -> str:
    folder.mkdir()
    for number, true_yaw in enumerate(YAWS):
        rotation = from_published(np.array([0.1, true_yaw + yaw, -0.2]))
        answer = {"landmarks": (face_points() + shift).tolist(), "rotation": rotation.tolist()}
        (folder / f"image{number:05d}.json").write_text(json.dumps(answer))
    return str(folder)


def values(result: Result, method: str) -> dict[str, float]:
    return {key: estimate.value for key, estimate in result.tables[0].methods[method].items()}


def test_known_answers_have_known_errors(faces: Path, tmp_path: Path) -> None:
    theirs = {
        "perfect": predictions(tmp_path / "perfect"),
        "off": predictions(tmp_path / "off", shift=3.0, yaw=np.radians(6)),
    }
    result = measure("aflw2000", str(faces), Systems(predictions=theirs), ["draws=100"])
    perfect, off = values(result, "perfect"), values(result, "off")
    assert perfect["nme mean"] == pytest.approx(0, abs=1e-4) and perfect["pose mae"] == pytest.approx(0, abs=1e-4)
    width, height = np.ptp(face_points(), 0)
    expected = 100 * 3 * 2**0.5 / (width * height) ** 0.5
    for name in ("[0, 30]", "[30, 60]", "[60, 90]", "mean"):
        assert off[f"nme {name}"] == pytest.approx(expected, rel=1e-3)
    assert off["nme std"] == pytest.approx(0, abs=1e-4)
    assert (off["pose yaw"], off["pose mae"]) == (pytest.approx(6, abs=1e-3), pytest.approx(2, abs=1e-3))
    frontal = values(result, "Frontal mean face")
    assert frontal["pose yaw"] == pytest.approx(np.degrees(np.abs(YAWS)).mean(), abs=1e-2)
    assert frontal["nme all"] > 1 and not result.quarantined and not result.missing
    turned = np.degrees(np.abs(YAWS))
    counts = [int(((turned > low) & (turned <= high)).sum()) for low, high in ((-1, 30), (30, 60), (60, 90))]
    bins = [result.tables[0].methods["off"][f"nme {name}"] for name in ("[0, 30]", "[30, 60]", "[60, 90]")]
    assert [found.people for found in bins] == counts
    assert [found.low is None for found in bins] == [count == 1 for count in counts]
    compared = {(each.method, each.reference): each.paired for each in result.tables[0].comparisons}
    assert len(compared) == 3 and compared["off", "perfect"].difference.value == pytest.approx(expected, rel=1e-3)
    (pose,) = [each for each in result.tables[1].comparisons if (each.method, each.reference) == ("off", "perfect")]
    assert pose.figure == "pose mae" and pose.paired.difference.value == pytest.approx(2, abs=1e-3)


def test_bad_files_are_quarantined_by_name(faces: Path) -> None:
    (faces / "alone.jpg").write_bytes(b"")
    (faces / "image00001.mat").write_bytes((faces / "image00001.mat").read_bytes()[:100])
    (faces / "image00002.mat").write_bytes(mat_file(face_points()[:, ::-1]))
    result = measure("aflw2000", str(faces), Systems(), ["draws=100"])
    reasons = {missing.what: missing.why for missing in result.quarantined}
    assert set(reasons) == {"alone.jpg", "image00001", "image00002"}
    assert "alone.jpg: has no .mat" in reasons["alone.jpg"]
    assert "damaged or truncated" in reasons["image00001"]
    assert "x and y, or left and right, are swapped" in reasons["image00002"]
    assert (result.measured.count, result.measured.total) == (1, 3)
    assert [missing.what for missing in result.missing] == [
        "faces with a yaw in [30, 60]",
        "faces with a yaw in [60, 90]",
    ]
    (faces / "image00000.jpg").write_bytes(b"<html>quota exceeded</html>")
    with pytest.raises(ProtocolError, match="none of 3 faces can be used"):
        measure("aflw2000", str(faces), Systems())
    with pytest.raises(DatasetError, match="there is no such folder"):
        measure("aflw2000", str(faces.parent / "nowhere"), Systems())
    (faces.parent / "other").mkdir()
    (faces.parent / "other" / "a.mat").write_bytes(b"x")
    with pytest.raises(ProtocolError, match=r"no photo with a \.mat beside it"):
        measure("aflw2000", str(faces.parent / "other"), Systems())


def test_bad_predictions_are_an_error(faces: Path, tmp_path: Path) -> None:
    folder = predictions(tmp_path / "theirs")
    (Path(folder) / "image00001.json").write_text('{"landmarks": [[1, 2]]}')
    with pytest.raises(ProtocolError, match=r"image00001\.json: landmarks must be 68 × 2 numbers"):
        measure("aflw2000", str(faces), Systems(predictions={"theirs": folder}))


def test_a_system_leaves_out_no_face(faces: Path, tmp_path: Path) -> None:
    folder = predictions(tmp_path / "theirs")
    first, second, third = (Path(folder) / f"image{number:05d}.json" for number in range(3))
    whole = json.loads(second.read_text())
    points: list[list[float | None]] = [[None, None], *whole["landmarks"][1:]]
    for lacking, key in (
        ({"rotation": whole["rotation"]}, "landmarks"),
        ({"landmarks": whole["landmarks"]}, "rotation"),
        ({**whole, "landmarks": points}, "landmarks"),
    ):
        second.write_text(json.dumps(lacking))
        with pytest.raises(ProtocolError, match=rf"image00001\.json: theirs leaves out {key} of 1 of 3 faces"):
            measure("aflw2000", str(faces), Systems(predictions={"theirs": folder}))
    for file in (first, second, third):
        file.write_text(json.dumps({"rotation": whole["rotation"]}))
    result = measure("aflw2000", str(faces), Systems(predictions={"theirs": folder}), ["draws=100"])
    assert np.isnan(values(result, "theirs")["nme mean"]) and np.isfinite(values(result, "theirs")["pose mae"])


def test_the_published_sample(real_ground: Path, tmp_path: Path) -> None:
    """The shipped weights find the heads' pose far better than the frontal face, so that signs and order are right."""
    folder = real_ground / "data/datasets/AFLW2000-3D"
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist")
    assert main(["evaluate", "aflw2000", str(folder), "-o", str(tmp_path), "--set", "draws=100"]) == 0
    found = json.loads((tmp_path / "aflw2000.json").read_text())["tables"]
    for table, figure, bound in (("landmarks", "nme mean", 0.4), ("pose", "pose yaw", 0.4), ("pose", "pose mae", 0.6)):
        methods = found[table]["methods"]
        ours, trivial = (methods[name][figure]["value"] for name in ("RecAugNet", "Frontal mean face"))
        assert ours < bound * trivial, figure
    assert len(list(tmp_path.glob("image*.jpg"))) == 6
