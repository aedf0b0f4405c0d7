"""The ``jr2net`` command: what it writes, what it says, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from jr2net.cli import main, progress
from jr2net.cli.photos import CommandError, find_photos, output_names
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.images.face_detector import Face
from jr2net.inference import onnx
from jr2net.inference import photo as inference_photo

ROOT = Path(__file__).parents[1]
SAMPLE = str(ROOT / "serve" / "page" / "sample.jpg")
BOX = ["--box", "150,150,450,450"]


def test_a_photo_becomes_files(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["reconstruct", SAMPLE, *BOX, "-o", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "sample.json",
        "sample.glb",
        "sample.obj",
        "sample_overlay.jpg",
    }
    assert len(json.loads((tmp_path / "sample.json").read_text())["expression"]) == 51
    assert len(set(re.findall(r"\w+", capsys.readouterr().out)) & {*ARKIT_NAMES}) == 3  # the strongest


def test_folders_are_taken_and_one_bad_photo_stops_no_other(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(SAMPLE, photos / "a.jpg")
    (photos / "b.png").write_text("no photo")
    (photos / "notes.txt").write_text("not taken")
    shutil.copy(SAMPLE, tmp_path / "a.jpg")
    arguments = [
        "reconstruct",
        str(photos),
        str(tmp_path / "*.jpg"),
        *BOX,
        "--formats",
        "json",
        "-o",
        str(tmp_path / "o"),
    ]
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert "[1/3]" in said.out and "b.png: a text, not a photo" in said.err and "1 of 3 photos failed" in said.err
    assert {path.name for path in (tmp_path / "o").iterdir()} == {"a.json", "a-2.json"}


def test_a_photo_acts(tmp_path: Path) -> None:
    out = tmp_path / "out.jpg"
    assert main(["reenact", SAMPLE, *BOX, "--set", "jawOpen=0.8", "--set", "eyeBlinkLeft=1", "-o", str(out)]) == 0
    assert out.stat().st_size > 10_000
    assert main(["reenact", SAMPLE, *BOX, "--set", "jawOpen=0.5", "-o", str(tmp_path / "folder")]) == 0
    assert (tmp_path / "folder" / "sample.jpg").is_file()


def test_without_a_face_the_options_of_the_command_are_named(tmp_path: Path, capsys, monkeypatch) -> None:
    empty = tmp_path / "empty.png"
    Image.new("RGB", (64, 64)).save(empty)
    monkeypatch.setattr(inference_photo, "installed_detector", lambda: lambda image: [])
    assert main(["reconstruct", str(empty), "-o", str(tmp_path)]) == 1
    assert "give its box: --box left,top,right,bottom in pixels" in capsys.readouterr().err
    assert main(["reenact", SAMPLE, *BOX, "--driving", str(empty), "-o", str(tmp_path / "x.jpg")]) == 1
    assert "or give its box: --driving-box left,top,right,bottom" in capsys.readouterr().err


def test_the_score_of_a_detected_face_is_said(tmp_path: Path, capsys, monkeypatch) -> None:
    faces = [Face((153, 158, 510, 516), 0.9012), Face((0, 0, 40, 40), 0.8)]
    monkeypatch.setattr(inference_photo, "installed_detector", lambda: lambda image: faces)
    assert main(["reconstruct", SAMPLE, "--formats", "json", "-o", str(tmp_path)]) == 0
    assert "face 0 of 2, 0 is the largest (--face or --box chooses), score 0.90; " in capsys.readouterr().out


def test_the_face_of_a_driving_photo_is_chosen(tmp_path: Path, capsys, monkeypatch) -> None:
    faces = [Face((153, 158, 510, 516), 0.9012), Face((0, 0, 40, 40), 0.8)]
    monkeypatch.setattr(inference_photo, "installed_detector", lambda: lambda image: faces)
    arguments = ["reenact", SAMPLE, "--driving", SAMPLE, "-o", str(tmp_path / "x.jpg")]
    assert main([*arguments, "--driving-face", "1"]) == 0
    said = capsys.readouterr()
    assert "face 1 of 2, 0 is the largest (--driving-face or --driving-box chooses), score 0.80; " in said.err
    assert "the confidence is low (0.0" in said.err and "score 0.90; confidence 0.9" in said.out
    assert main([*arguments, "--driving-box", "153,158,510,516"]) == 0
    assert main([*arguments, "--driving-face", "5"]) == 1
    assert "face 5 was requested, but 2 were found" in capsys.readouterr().err


def test_a_missing_local_folder_of_weights_is_no_bucket(tmp_path: Path, capsys) -> None:
    weights = str(tmp_path / "nowhere")
    assert main(["reconstruct", SAMPLE, *BOX, "--weights", weights, "-o", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "no such file" in said and "bucket" not in said


def test_a_film_says_what_was_done_about_its_capture_and_how_far_it_is(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(progress, "_PROGRESS_S", 0.0)
    lines = [",".join(["Timecode", "BlendShapeCount", *ARKIT_NAMES])]
    lines += [f"00:00:00:{n:02}" + (",0" if n in (4, 5) else ",51" + ",0.1" * 51) for n in range(8)]
    (tmp_path / "take").write_text("\n".join(lines))  # told by its content
    film = str(tmp_path / "x.mp4")
    assert main(["animate", SAMPLE, str(tmp_path / "take"), *BOX, "-o", film]) == 0
    said = capsys.readouterr()
    assert "take: of 8 frames, 2 show no face" in said.err and "\n8 frames of 8, 0 s left" in said.err
    assert said.out == f"{film}: 8 frames at 30 fps\n" and f"{SAMPLE}: confidence 0.9" in said.err


def test_a_face_model_is_converted(tmp_path: Path, real_ground: Path, capsys: pytest.CaptureFixture) -> None:
    model = str(real_ground / "assets" / "ict_narrow_lo.npz")
    assert main(["face", "convert", model, str(tmp_path / "face.npz"), "--vertices", "800"]) == 0
    assert "80 identity" in capsys.readouterr().out and (tmp_path / "face.npz").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["reenact", SAMPLE, *BOX, "-o", "x.jpg"], "either --set NAME=VALUE"),
        (["reenact", SAMPLE, *BOX, "--set", "jawOpen=1", "--driving-face", "1", "-o", "x.jpg"], "give --driving PHOTO"),
        (["reenact", SAMPLE, *BOX, "--set", "jawOpen", "-o", "x.jpg"], "--set jawOpen: write NAME=VALUE"),
        (["reenact", SAMPLE, *BOX, "--set", "jawOpn=1", "-o", "x.jpg"], "did you mean 'jawOpen'"),
        (["reenact", SAMPLE, *BOX, "--set", "jawOpen=1", "-o", SAMPLE], "would overwrite the input"),
        (["reenact", SAMPLE, *BOX, "--set", "jawOpen=1", "--weights", "nowhere", "-o", "x.jpg"], "nowhere/model.json"),
        (["reenact", SAMPLE, *BOX, "--set", "jawOpen=1", "-o", "x.gif"], "-o x.gif: pictures are written as .jpg"),
        (["reenact", SAMPLE, *BOX, "--set", "jawOpen=1", "--device", "gpu", "-o", "x.jpg"], "give cpu, cuda or cuda:"),
        (["reconstruct", SAMPLE, *BOX, "--device", "cuda:99", "-o", "x"], "--device cuda:99: PyTorch finds"),
        (["reconstruct", SAMPLE, *BOX, "--precision", "int8", "-o", "x"], "needs --runtime openvino"),
        (["animate", SAMPLE, "gone.csv", *BOX, "-o", "x.mp4"], "gone.csv"),
        (["animate", SAMPLE, SAMPLE, *BOX, "-o", "x.mp4"], f"jr2net reenact me.jpg --driving {SAMPLE} -o"),
        (["animate", SAMPLE, *BOX, "-o", "x.mp4"], "a photo needs a driving file"),
        (["animate", SAMPLE, "gone.csv", *BOX, "-o", "x.avi"], "-o x.avi: films are written as .mp4"),
        (["animate", "gone.mp4", "gone.csv", "-o", "x.mp4"], "gone.mp4"),
        (
            ["animate", SAMPLE, "x.csv", *BOX, "--reference", "last", "-o", "x.mp4"],
            "--reference: 'last' is unknown; give",
        ),
        (
            ["reenact", SAMPLE, *BOX, "--set", "jawOpen=1", "--regions", "pose", "-o", "x.jpg"],
            "--pose: named coefficients",
        ),
        (["reenact", SAMPLE, *BOX, "--yaw", "90", "-o", "x.jpg"], "--yaw: '90' is not a number from -45 to 45 degrees"),
        (
            ["reenact", SAMPLE, *BOX, "--strength", "x", "--set", "a=1", "-o", "x.jpg"],
            "--strength: 'x' is not a number",
        ),
        (["reconstruct", "gone.jpg", "-o", "x"], "gone.jpg"),
        (["reconstruct", "*.nothing", "-o", "x"], "no photos found"),
    ],
)
def test_mistakes_are_explained_in_one_line(arguments, words, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert words in said and said.startswith("error: ") and "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["reconstruct", "reenact", "animate", "face convert", "export onnx"])
def test_every_command_has_an_example(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), "--help"])
    assert stop.value.code == 0 and f"example:\n  jr2net {command}" in capsys.readouterr().out


@pytest.mark.parametrize(("option", "kind"), [([], "dcnet"), (["--reenactor", "flow3d"], "flow3d")])
def test_the_reenactor_to_export_is_chosen(option, kind, tmp_path: Path, capsys, monkeypatch) -> None:
    def export(network, path: Path) -> onnx.Exported:
        path.write_text(network.info.kind)
        return onnx.Exported(path, 0.0)

    monkeypatch.setattr(onnx, "export_reconstructor", export)
    monkeypatch.setattr(onnx, "export_reenactor", export)
    assert main(["export", "onnx", "-o", str(tmp_path), *option]) == 0
    assert (tmp_path / f"{kind}.onnx").read_text() == kind


def test_photos_are_found_once_and_in_order(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", "c.txt"):
        (tmp_path / name).write_bytes(b"")
    here = str(tmp_path)
    assert find_photos([here, f"{here}/b.jpg"]) == [f"{here}/a.PNG", f"{here}/b.jpg"]
    assert find_photos([f"{here}/*.jpg", "s3://bucket/x.jpg"]) == [f"{here}/b.jpg", "s3://bucket/x.jpg"]
    with pytest.raises(CommandError, match="no photos found"):
        find_photos([f"{here}/*.webp"])


def test_faces_of_one_photo_do_not_overwrite_each_other() -> None:
    assert output_names(["a/x.jpg", "b/x.jpg"]) == {"a/x.jpg": "x", "b/x.jpg": "x-2"}
    assert output_names(["x.jpg"], face=1) == {"x.jpg": "x_face1"}


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from jr2net.cli import build_parser; import jr2net; build_parser();"
        "print(sorted({'torch', 'numpy', 'cv2', 'pyarrow', 'ray', 'pydantic'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either a video or --camera N"),
        (["a.mp4", "--camera", "0", "-o", "a.csv"], "give either a video or --camera N"),
        (["a.mp4"], "give -o FILE, or --to"),
        (["a.mp4", "-o", "a.fbx"], "-o a.fbx: tracks are written as .csv, .json, .glb"),
        (["a.mp4", "--to", "host:1"], "write udp://host:port"),
        (["a.csv", "-o", "a.csv"], "a.csv: would overwrite the input"),
        (["--camera", "0", "--to", "udp://x", "--smooth", "two-sided"], "later frames of a camera are not known"),
        (["--camera", "0", "--to", "udp://x", "--neutral", "auto"], "it applies to the recording; add -o FILE"),
        (["a.mp4", "-o", "a.csv", "--precision", "int8"], "--precision int8: needs --runtime openvino"),
    ],
)
def test_what_cannot_be_tracked_is_said_before_networks_are_loaded(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["track", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_camera_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["track", "--camera", "99", "-o", "take.csv"]) == 1
    assert "--camera 99: no such camera" in capsys.readouterr().err
