"""Videos of public reports (``cases/vid`` of the real ground) by the command, with the weights of the package."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from jr2net.cli import main
from jr2net.expressions.tracks import read_capture
from jr2net.face.arkit import ARKIT_NAMES

JAW = ARKIT_NAMES.index("jawOpen")
SAMPLE = str(Path(__file__).parents[1] / "serve" / "page" / "sample.jpg")

pytestmark = pytest.mark.drill


@pytest.fixture(scope="module")
def videos(real_ground: Path) -> Path:
    folder = real_ground / "cases" / "vid"
    if not folder.is_dir():
        pytest.skip(f"no public cases: {folder} does not exist")
    return folder


def opens(path: Path) -> np.ndarray:
    """When the mouth opens in a capture, in seconds."""
    track = read_capture(str(path))
    is_open = track.expression[:, JAW] > 0.17
    return (np.flatnonzero(np.diff(is_open.astype(int)) == 1) + 1) / track.fps


@pytest.mark.parametrize("name", ["fps_29.97.mp4", "vfr_10_then_60.mp4"])
def test_the_mouth_opens_when_it_does(videos: Path, tmp_path: Path, name: str) -> None:
    assert main(["track", str(videos / name), "-o", str(tmp_path / "take.csv")]) == 0
    assert opens(tmp_path / "take.csv") == pytest.approx([0.5, 3.5], abs=0.11)


@pytest.mark.parametrize(
    ("name", "seconds", "said"),
    [
        ("face_gone_frames_25_64.mp4", 3.0, "40 of 90 frames show no face; the face before is held"),
        ("vfr_10_then_60.mp4", 6.0, ""),
        ("hlg_10bit_hevc.mov", 3.0, ""),
        ("selfie_mirrored_header.mp4", 3.0, ""),
        ("two_people.mp4", 3.0, "face 0 of 2 is followed"),
    ],
)
def test_films(videos: Path, tmp_path: Path, capsys, name: str, seconds: float, said: str) -> None:
    film = tmp_path / "film.mp4"
    assert main(["animate", SAMPLE, str(videos / name), "-o", str(film)]) == 0
    assert said in capsys.readouterr().err
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        rate, frames = float(stream.average_rate or 0), sum(1 for _ in container.decode(stream))
    assert frames / rate == pytest.approx(seconds, abs=0.05)


def test_the_second_person_acts(videos: Path, tmp_path: Path) -> None:
    film, source = tmp_path / "film.mp4", videos / "two_people.mp4"
    assert main(["animate", str(source), "--face", "1", "--set", "jawOpen=0.9", "-o", str(film)]) == 0
    first = []
    for path in (source, film):
        with av.open(str(path)) as container:
            first.append(next(container.decode(video=0)).to_ndarray(format="rgb24").astype(np.float32))
    left, right = (np.quantile(half, 0.99) for half in np.split(np.abs(first[0] - first[1]), 2, axis=1))
    assert left > 3 * right, "the small person stands on the left"
