"""The protocol ``detection``: faces pasted into small pictures are found, and the table says how often."""

from __future__ import annotations

from pathlib import Path

import pytest

from jr2net.config import StudioConfig
from jr2net.data.shards import write_clips
from jr2net.evaluation import detection
from jr2net.evaluation.protocols import ProtocolError, Systems, measure
from jr2net.evaluation.protocols import detection as protocol
from jr2net.face.model import FaceModel
from jr2net.images.face_detector import load_face_detector
from jr2net.studio.film import film_people


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "WIDTH", 320)
    monkeypatch.setattr(detection, "HEIGHT", 180)
    monkeypatch.setattr(detection, "LEAST_SIDE", 50.0)
    monkeypatch.setattr(protocol, "DETECTORS", ("own",))


def test_faces_of_the_studio_are_found(procedural_model: FaceModel, tmp_path: Path) -> None:
    studio = StudioConfig(test_frames=2, variety=0.0, detector_shrink=0.0, detector_noise=0.0)
    write_clips(str(tmp_path / "a.parquet"), film_people(procedural_model, studio, 5, 0, 2, "natural", 128))
    result = measure("detection", str(tmp_path), Systems(("shipped",)), ["limit=2", "draws=100"])
    tables = {table.key: table.methods for table in result.tables}
    assert tables["all"]["ours"]["found"].value == 100 and tables["all"]["ours"]["ms"].value > 0
    assert sum(row["answers"].value for row in tables["reliability"].values()) >= 4
    (surest,) = [row for name, row in tables["reliability"].items() if name.endswith(": 0.9 to 1")]
    assert surest["right"].value == 100


def test_detectors_are_compared_on_the_same_pictures(
    procedural_model: FaceModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "DETECTORS", ("own", "blind"))
    monkeypatch.setattr(protocol, "_TITLES", {"own": "ours", "blind": "blind"})
    monkeypatch.setattr(
        protocol,
        "load_face_detector",
        lambda kind="own": (lambda image: []) if kind == "blind" else load_face_detector(),
    )
    studio = StudioConfig(test_frames=2, variety=0.0, detector_shrink=0.0, detector_noise=0.0)
    write_clips(str(tmp_path / "a.parquet"), film_people(procedural_model, studio, 5, 0, 2, "natural", 128))
    table = measure("detection", str(tmp_path), Systems(), ["limit=2", "draws=100"]).tables[0]
    found, alarms = table.comparisons
    assert (found.figure, found.method, found.reference) == ("found", "blind", "ours") and alarms.figure == "alarms"
    assert found.paired.difference.value == -100 and alarms.paired.difference.value <= 0


def test_clips_without_landmarks_are_refused(tmp_path: Path, procedural_model: FaceModel) -> None:
    (row,) = film_people(procedural_model, StudioConfig(test_frames=2), 0, 0, 1, "natural", 32)
    row.landmarks[:] = float("nan")
    write_clips(str(tmp_path / "a.parquet"), [row])
    with pytest.raises(ProtocolError, match="no frame has landmarks"):
        measure("detection", str(tmp_path), Systems(), [])


def test_real_faces_are_found(real_ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = real_ground / "data" / "clips"
    if not clips.is_dir():
        pytest.skip(f"{clips} does not exist")
    result = measure("detection", str(clips), Systems(), ["limit=6", "draws=100"])
    assert result.tables[0].methods["ours"]["found"].value >= 80
