"""The import as a Ray job: the same shards as without Ray; from files to a finished cascade in one command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jobs import import_clips
from jobs.import_clips import _sets_of, main
from jr2net import cli
from jr2net.config import FaceConfig, StudioConfig
from jr2net.data.importing.plan import Plan, Shard
from jr2net.data.importing.settings import ImportSettings
from jr2net.face.load import load_face_model
from jr2net.images.arrays import decode_image
from jr2net.images.face_detector import DetectorError, load_face_detector
from jr2net.images.video import encode_mp4
from jr2net.run.manifest import read_manifest
from jr2net.settings import ConfigError
from jr2net.studio.film import film_people

ROOT = Path(__file__).parents[2]


def labelled_photos(folder: Path) -> None:
    """As iBUG's: photos that need no detector, and one whose landmark file is a web page."""
    rng = np.random.default_rng(0)
    angle = np.linspace(0, 2 * np.pi, 68)
    for number in range(150):
        import cv2

        points = np.stack([60 + 30 * np.cos(angle), 60 + 30 * np.sin(angle)], -1)
        points[36:42], points[42:48], points[48:] = [45, 50], [75, 50], [60, 80]
        image = cv2.resize(rng.integers(0, 255, (60, 60, 3)).astype(np.uint8), (120, 120))
        folder.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f"{number:03d}.png"), image)
        lines = "\n".join(f"{x:.3f} {y:.3f}" for x, y in points)
        text = f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n" if number != 7 else "<html>quota</html>"
        (folder / f"{number:03d}.pts").write_text(text)


def run_job(*arguments: str) -> str:
    """What the job prints on standard output. It is a process of its own, with its own cluster."""
    command = [sys.executable, "jobs/import_clips.py", *arguments]
    job = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert job.returncode == 0, job.stdout + job.stderr
    return job.stdout


def test_the_job_writes_the_shards_of_the_command(tmp_path: Path) -> None:
    labelled_photos(tmp_path / "ibug")
    options = ["--size", "32", "--no-mattes"]
    assert cli.main(["data", "import", str(tmp_path / "ibug"), "-o", str(tmp_path / "a"), *options]) == 0
    job = [str(tmp_path / "ibug"), "-o", str(tmp_path / "b"), *options]
    assert "[import] files and clips left out: 1 web page" in run_job(*job)
    written = [sorted((tmp_path / name).glob("*.parquet")) for name in "ab"]
    assert [path.name for path in written[0]] == [path.name for path in written[1]] != []
    assert [path.read_bytes() for path in written[0]] == [path.read_bytes() for path in written[1]]
    assert "already done" in run_job(*job)


def split_plan(folder: Path, *parts: str) -> Plan:
    shards = tuple(Shard(part, 0, ()) for part in parts)
    return Plan("vox", str(folder), ImportSettings(name="set", layout="voxceleb2"), shards, ())


@pytest.mark.parametrize(
    ("parts", "settings", "unused"),
    [
        ([""], ["data.clips=/c"], []),
        (["test"], ["data.clips=/c/test"], []),
        (["train", "test"], ["data.clips=/c/train", "data.test_clips=/c/test"], []),
        (["train", "val", ""], ["data.clips=/c/train"], ["not used: clips of no part", "not used: val"]),
    ],
)
def test_the_part_that_is_trained_on(parts: list[str], settings: list[str], unused: list[str]) -> None:
    assert _sets_of(split_plan(Path("/c"), *parts), set(parts)) == (settings, unused)


def test_the_part_test_of_a_split_is_not_trained_on_where_train_gave_nothing() -> None:
    with pytest.raises(ConfigError, match=r"data\.clips: nothing can be trained on.*'train' \(found: test\)"):
        _sets_of(split_plan(Path("/c"), "train", "test"), {"test"})


def test_a_set_without_a_part_to_train_on_ends_the_job_before_the_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(import_clips, "plan_import", lambda options: split_plan(tmp_path / "clips", "test", "val"))
    assert main([str(tmp_path), "-o", str(tmp_path / "clips"), "--config", "configs/smoke.yaml"]) == 1
    assert "nothing can be trained on" in capsys.readouterr().err and not (tmp_path / "clips").exists()


def studio_voxceleb2(folder: Path, videos: int) -> None:
    """Short videos of the studio's people as VoxCeleb2 has them, every tenth person in the part ``test``."""
    model, frames = load_face_model(FaceConfig()), 4
    studio = StudioConfig(people=videos // 2, frames=2 * frames, test_people=1)
    for person, row in enumerate(film_people(model, studio, 3, 0, videos // 2, "train", 128)):
        images = [image for content in row.images if (image := decode_image(content)) is not None]
        for clip in range(2):
            part = "test" if person % 10 == 0 else "dev"
            path = folder / part / "mp4" / f"id{person:05d}" / f"video{person}" / f"{clip + 1:05d}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            shown = [np.asarray(image) for image in images[clip * frames : (clip + 1) * frames] for _ in range(2)]
            path.write_bytes(b"".join(encode_mp4(shown, 25.0, None)))


@pytest.mark.drill
def test_a_miniature_voxceleb2_of_200_videos_goes_through_the_smoke_cascade_in_one_command(tmp_path: Path) -> None:
    """The job is killed in the middle of the import and given again."""
    try:
        load_face_detector("mediapipe")
    except DetectorError as error:
        pytest.skip(str(error))
    studio_voxceleb2(tmp_path / "vox", 200)
    command = [sys.executable, "-m", "jobs.import_clips", str(tmp_path / "vox"), "-o", str(tmp_path / "clips")]
    command += ["--size", "64", "--no-mattes", "--gate", "frames=1", "--actors", "2"]
    command += ["--config", "configs/smoke.yaml", f"storage={tmp_path}/run"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with (tmp_path / "first.log").open("w") as log:
        first = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 600
        while len(list((tmp_path / "clips/import/parts").rglob("*.json"))) < 20 and time.monotonic() < deadline:
            assert first.poll() is None, (tmp_path / "first.log").read_text()
            time.sleep(0.2)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "clips/import/parts").rglob("*.rows")}
    assert before and not (tmp_path / "clips/import/report.json").exists()
    second = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=1800)
    assert second.returncode == 0, second.stdout + second.stderr
    report = json.loads((tmp_path / "clips/import/report.json").read_text())
    assert report["files"] == 200 and report["clips"] > 150
    manifest = read_manifest(str(tmp_path / "run/evaluation"))
    assert manifest is not None
    result = json.loads((tmp_path / "run/evaluation/report.json").read_text())
    assert result["leaks"] == 0
