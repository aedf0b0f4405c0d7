"""Imports: datasets in miniature to clip shards, resumed, with duplicates and bad files named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from landmark_files import mat_file, npy_file
from miniatures import box_track, face_shape, find_red, landmarks_of, picture, video, voxceleb2, walk, write

from jr2net import cli
from jr2net.data.clips import ClipSource
from jr2net.data.importing import clips as importing_clips
from jr2net.data.importing import options as importing_options
from jr2net.data.importing import work as importing_work
from jr2net.data.importing.clips import Tools
from jr2net.data.importing.plan import PHOTOS, Plan, make_plan
from jr2net.data.importing.run import in_this_process, run_import
from jr2net.data.importing.settings import Gates, ImportSettings
from jr2net.data.importing.work import Importer
from jr2net.data.readers import Folder
from jr2net.data.readers.problems import DatasetError
from jr2net.data.shards import read_clips
from jr2net.images.arrays import decode_image
from jr2net.images.face_detector import Face

GATES = Gates(size=20, sharpness=0.02)


def plan(folder: Path, output: Path, layout: str, **settings: Any) -> Plan:
    chosen = ImportSettings(**{"name": "set", "layout": layout, "size": 48, "gates": GATES} | settings)
    return make_plan(Folder(str(folder)), str(output), chosen)


def run(made: Plan, detector: Any = find_red) -> dict[str, Any]:
    return run_import(made, in_this_process(Tools(detector)), lambda line: None)


def quarantine(output: Path) -> dict[str, str]:
    """Reason by name."""
    lines = (output / "import/quarantine.jsonl").read_text().splitlines()
    return {entry["name"]: entry["reason"] for entry in map(json.loads, lines)}


def shards(output: Path) -> dict[str, bytes]:
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in sorted(output.rglob("*.parquet"))}


def test_a_miniature_voxceleb2_becomes_clips_of_its_two_parts(tmp_path: Path) -> None:
    voxceleb2(tmp_path / "vox")
    report = run(plan(tmp_path / "vox", tmp_path / "out", "voxceleb2"))
    assert (report["files"], report["clips"], report["frames"], report["identities"]) == (8, 8, 64, 4)
    assert report["folders"] == [f"{tmp_path}/out/test", f"{tmp_path}/out/train"]
    source = ClipSource(f"{tmp_path}/out/train")
    assert source.identities == ["set/id00010", "set/id00011", "set/id00012"]
    clip = source.read(0)
    assert clip.clip_id == "id00010/video0/00001" and clip.frame.tolist() == list(range(8)) and clip.fps == 25
    image = decode_image(clip.images[5])
    assert image is not None and image.shape == (48, 48, 3)
    # The crop is 1.7 times the box and shifted up; the face is where its landmarks say.
    points = clip.landmarks[5]
    assert np.ptp(points[:, 0]) == pytest.approx(48 / 1.7, abs=1.5)
    assert find_red(image)[0].box == pytest.approx((*points.min(0), *points.max(0)), abs=3)
    assert not (tmp_path / "out/import/parts").exists() or not list((tmp_path / "out/import/parts").rglob("*.*"))


def test_photos_with_labels_need_no_detector(tmp_path: Path) -> None:
    face = (70.0, 60.0, 50.0)
    for seed in range(3):
        write(tmp_path / "lp", f"AFW/AFW_{seed}_1_0.jpg", picture(140, 120, face, seed))
        write(tmp_path / "lp", f"AFW/AFW_{seed}_1_0.mat", mat_file(landmarks_of(face)))
    report = run(plan(tmp_path / "lp", tmp_path / "out", "300w-lp"), detector=None)
    assert (report["clips"], report["identities"], report["left_out"]) == (3, 3, {})
    clip = ClipSource(str(tmp_path / "out")).read(0)
    assert clip.identity == "set/AFW_0_1"
    assert clip.landmarks[0] == pytest.approx(48 / 1.7 * (face_shape() - 0.5) + [24, 24 + 0.08 * 48 / 1.7], abs=0.01)


class Stops:
    """A detector that a signal interrupts after so many pictures."""

    def __init__(self, after: int) -> None:
        self.left, self.seen = after, 0

    def __call__(self, image: np.ndarray) -> list[Face]:
        self.left, self.seen = self.left - 1, self.seen + 1
        if self.left < 0:
            raise KeyboardInterrupt
        return find_red(image)


def test_an_interrupted_import_goes_on_with_the_next_video_and_ends_with_the_same_shards(tmp_path: Path) -> None:
    voxceleb2(tmp_path / "vox", people=4, clips=3, frames=5)
    run(plan(tmp_path / "vox", tmp_path / "whole", "voxceleb2"))
    again = plan(tmp_path / "vox", tmp_path / "out", "voxceleb2")
    seen, attempts = 0, 0
    while True:
        detector = Stops(after=22)  # two videos of 5 frames or three, each of whose frames is looked at once or twice
        attempts += 1
        try:
            run(again, detector)
            break
        except KeyboardInterrupt:
            seen += detector.seen
    assert attempts > 2 and shards(tmp_path / "whole") == shards(tmp_path / "out")
    reports = [json.loads((tmp_path / name / "import/report.json").read_text()) for name in ("whole", "out")]
    assert reports[0] | {"folders": []} == reports[1] | {"folders": []}


def test_a_finished_import_is_not_repeated_and_a_lost_shard_is_made_again(tmp_path: Path) -> None:
    voxceleb2(tmp_path / "vox", people=2, clips=1, frames=4)
    made = plan(tmp_path / "vox", tmp_path / "out", "voxceleb2")
    report, before = run(made), shards(tmp_path / "out")
    assert run(made, detector=Stops(0)) == report  # nothing is looked at
    (tmp_path / "out/train/clips-00001.parquet").unlink()
    assert run(made) == report and shards(tmp_path / "out") == before


@pytest.mark.parametrize("after", [7, 10_000])
def test_a_lost_shard_is_made_again_after_an_interruption_of_this(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    voxceleb2(tmp_path / "vox", people=6, clips=6, frames=3)
    made = plan(tmp_path / "vox", tmp_path / "out", "voxceleb2")
    report, before = run(made), shards(tmp_path / "out")
    (tmp_path / "out/train/clips-00001.parquet").unlink()

    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Importer, "finish_shard", interrupt)  # where all pictures have been looked at
        run(made, Stops(after))
    assert list((tmp_path / "out/import/parts").rglob("*.rows"))
    assert run(made) == report and shards(tmp_path / "out") == before
    assert not list((tmp_path / "out/import/parts").rglob("*.*"))


def test_other_settings_and_other_files_are_refused(tmp_path: Path) -> None:
    voxceleb2(tmp_path / "vox", people=1, clips=1, frames=4)
    run(plan(tmp_path / "vox", tmp_path / "out", "voxceleb2"))
    with pytest.raises(DatasetError, match=r"size was 48 and is 64"):
        run(plan(tmp_path / "vox", tmp_path / "out", "voxceleb2", size=64))
    write(tmp_path / "vox", "dev/mp4/id00077/v/00001.mp4", video(walk(4)))
    with pytest.raises(DatasetError, match=r"had 2 units and has 3"):
        run(plan(tmp_path / "vox", tmp_path / "out", "voxceleb2"))
    write(tmp_path / "other", "clips.parquet", b"x")
    with pytest.raises(DatasetError, match=r"holds other shards, e\.g\. clips\.parquet"):
        run(plan(tmp_path / "vox", tmp_path / "other", "voxceleb2"))


def test_bad_files_are_named_with_the_reason(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write(folder, "good.mp4", video(walk(6)))
    write(folder, "truncated.mp4", video(walk(6), seed=1)[:900])
    write(folder, "page.mp4", "<!DOCTYPE html><html>quota</html>")
    write(folder, "empty.mp4", video([None] * 5, seed=2))
    write(folder, "short.mp4", video(walk(2), seed=3))
    write(folder, "small.jpg", picture(160, 120, (80, 60, 16), seed=4))
    write(folder, "broken.jpg", b"\xff\xd8\xff\xe0 no jpeg")
    write(folder, "good.jpg", picture(160, 120, (80, 60, 60), seed=5))
    report = run(plan(folder, tmp_path / "out", "footage"))
    assert report["clips"] == 2 and report["left_out"] == {
        "damaged video": 1, "web page": 1, "no face": 1, "short clip": 1, "small": 1, "damaged picture": 1,
    }  # fmt: skip
    assert quarantine(tmp_path / "out") == {
        "truncated": "damaged video", "page": "web page", "empty": "no face", "short": "short clip",
        "small": "small", "broken": "damaged picture",
    }  # fmt: skip
    assert report["frames_left_out"] == {"no face": 5, "short clip": 2, "small": 1}
    message = (tmp_path / "out/import/quarantine.jsonl").read_text()
    assert "empty.mp4: none of 5 frames can be used: 5 no face" in message


def test_swapped_columns_and_truncated_labels_are_quarantined_by_name(tmp_path: Path) -> None:
    face = (70.0, 60.0, 50.0)
    for name in ("a", "b", "c"):
        write(tmp_path / "set", f"{name}.jpg", picture(140, 120, face))
        content = mat_file(landmarks_of(face)[:, ::-1] if name == "b" else landmarks_of(face))
        write(tmp_path / "set", f"{name}.mat", content[:100] if name == "c" else content)
    report = run(plan(tmp_path / "set", tmp_path / "out", "300w-lp"), detector=None)
    assert report["clips"] == 1
    assert quarantine(tmp_path / "out") == {"b": "implausible landmarks", "c": "damaged .mat"}


def labelled(folder: Path, count: int, damaged: set[int]) -> None:
    """Photos with ``.npy``, of which some have a header that NumPy stumbles over."""
    face = (70.0, 60.0, 50.0)
    for number in range(count):
        write(folder, f"{number:02d}.jpg", picture(140, 120, face, number))
        content = npy_file(landmarks_of(face))
        broken = content[:10] + b"(" + content[11:].replace(b"}", b" ")
        write(folder, f"{number:02d}.npy", broken if number in damaged else content)


def test_files_that_raise_unexpected_errors_are_quarantined(tmp_path: Path) -> None:
    labelled(tmp_path / "ls", 3, {0, 2})
    write(tmp_path / "vox", "dev/mp4/id00010/v/00001.mp4", video(walk(4)))
    write(tmp_path / "vox", "dev/txt/id00010/v/00001.txt", box_track(4).replace("0.6", "nan"))
    report = run(plan(tmp_path / "ls", tmp_path / "out", "ls3d-w"), detector=None)
    assert report["clips"] == 1
    assert quarantine(tmp_path / "out") == {"00": "unexpected error", "02": "unexpected error"}
    message = (tmp_path / "out/import/quarantine.jsonl").read_text()
    assert "00.jpg: cannot be read (TokenError: " in message
    run(plan(tmp_path / "vox", tmp_path / "boxes", "voxceleb2"))
    assert quarantine(tmp_path / "boxes") == {"id00010/v/00001": "unexpected error"}


def test_a_machine_on_which_nothing_can_be_imported_ends_the_import_and_leaves_no_outcomes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(25):
        write(tmp_path / "mine", f"{number:02d}.mp4", video(walk(4), seed=number))

    def fail(*arguments: Any) -> None:
        raise ImportError("a library is missing")

    made = plan(tmp_path / "mine", tmp_path / "out", "footage")
    with monkeypatch.context() as patch, pytest.raises(ImportError, match="a library is missing"):
        patch.setattr(importing_work, "import_unit", fail)
        run(made)
    assert run(made)["clips"] == 25


def test_duplicates_leave_one_whichever_shard_they_are_in(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for number in range(3 * PHOTOS):
        seed = 7 if number in (3, 150) else 1000 + number
        photo = picture(100, 100, (50, 50, 40), seed)
        write(folder, f"{number:04d}.png", cv2.resize(photo, (150, 150)) if number == 150 else photo)
    made = plan(folder, tmp_path / "out", "footage", size=32)
    assert len(made.shards) == 3
    report = run(made)
    kept = [row.clip_id for path in sorted((tmp_path / "out").glob("*.parquet")) for row in read_clips(str(path))]
    assert quarantine(tmp_path / "out") == {"0003": "duplicate"}  # the other one's face is larger
    assert len(set(kept)) == len(kept) == report["clips"] == 3 * PHOTOS - 1


def test_a_cut_begins_a_clip_of_the_same_person(tmp_path: Path) -> None:
    first = [picture(160, 120, (60, 60, 50), seed=1)] * 5
    second = [255 - picture(160, 120, None, seed=5) for _ in range(5)]
    for frame in second:
        frame[35:85, 85:135] = picture(50, 50, (25, 25, 50), seed=9)
    from jr2net.images.video import encode_mp4

    write(tmp_path / "mine", "anna/cut.mp4", b"".join(encode_mp4(first + second, 25.0, None)))
    report = run(plan(tmp_path / "mine", tmp_path / "out", "footage"))
    rows = list(read_clips(str(tmp_path / "out/clips-00000.parquet")))
    assert [(row.clip_id, row.identity, row.frame.tolist()) for row in rows] == [
        ("anna/cut", "set/anna", [0, 1, 2, 3, 4]),
        ("anna/cut~2", "set/anna", [5, 6, 7, 8, 9]),
    ]
    assert report["identities"] == 1


def test_fewer_frames_a_second(tmp_path: Path) -> None:
    write(tmp_path / "mine", "a.mp4", video(walk(20)))
    run(plan(tmp_path / "mine", tmp_path / "out", "footage", fps=10))
    (row,) = read_clips(str(tmp_path / "out/clips-00000.parquet"))
    assert row.frame.tolist() == [2, 4, 7, 9, 12, 14, 17, 19] and row.fps == 25


def test_captured_expressions_are_stored_with_their_frames(tmp_path: Path) -> None:
    from jr2net.face.arkit import ARKIT_NAMES

    header = ",".join(name[0].upper() + name[1:] for name in ARKIT_NAMES)
    rows = [f"00:00:00:{n:02d}.000,51," + ",".join([f"{n / 100:.2f}"] * 51) for n in range(30)]
    write(tmp_path / "mine", "take/a.csv", "\n".join([f"Timecode,BlendShapeCount,{header}", *rows]) + "\n")
    write(tmp_path / "mine", "take/a.mp4", video(walk(6)))
    run(plan(tmp_path / "mine", tmp_path / "out", "livelink"))
    (row,) = read_clips(str(tmp_path / "out/clips-00000.parquet"))
    assert row.identity == "set/person" and row.expression is not None
    assert row.expression[:, 17] == pytest.approx([0, 0.01, 0.03, 0.04, 0.05, 0.06])  # 30 a second at 25 a second


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(importing_options, "load_face_detector", lambda name: find_red)
    monkeypatch.setattr(importing_clips, "load_face_detector", lambda name: find_red)
    write(tmp_path / "My clips", "a.mp4", video(walk(6)))
    write(tmp_path / "My clips", "b.mp4", video(walk(6), seed=2))
    write(tmp_path / "My clips", "notes.txt", b"not a clip")
    arguments = ["data", "import", str(tmp_path / "My clips"), "-o", str(tmp_path / "out"), "--size", "32"]
    arguments += ["--no-mattes", "--gate", "size=20", "--gate", "sharpness=0.02", "--licence", "CC0"]
    assert cli.main(arguments) == 0
    output = capsys.readouterr()
    assert "12 frames in 2 clips of 2 identities, from 2 files" in output.out and "2 files in 2 shards" in output.err
    assert "layout footage" in output.err and "files that are no part of a clip: 1 .txt" in output.err
    (row,) = read_clips(str(tmp_path / "out/clips-00000.parquet"))
    assert row.identity == "My-clips/a" and row.license == "CC0" and row.matte is None
    assert cli.main([*arguments, "--gate", "colour=3"]) == 1
    assert "--gate colour=3: write NAME=VALUE with one of size, sharpness, yaw, frames" in capsys.readouterr().err
    assert cli.main(["data", "import", str(tmp_path / "none"), "-o", str(tmp_path / "out")]) == 1
    assert cli.main(["data", "import", str(tmp_path / "My clips/a.mp4"), "-o", str(tmp_path / "out")]) == 1
    assert "a.mp4: is a file; give the folder of a dataset" in capsys.readouterr().err


def test_an_import_of_nothing_usable_says_why(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.jpg"):
        write(tmp_path / "mine", name, "text")
    report = run(plan(tmp_path / "mine", tmp_path / "out", "footage"))
    assert report["clips"] == 0 and not report["shards"]
    assert quarantine(tmp_path / "out") == {"a": "unknown video format", "b": "unknown picture format"}
