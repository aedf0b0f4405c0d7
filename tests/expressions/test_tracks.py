from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jr2net.expressions.tracks import (
    Track,
    TrackError,
    infer_fps,
    parse_csv,
    read_capture,
    read_captures,
    write_track,
)
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.storage import join, write_bytes


def make_csv(names: list[str], rows: list[list[object]], first: str = "Timecode") -> bytes:
    lines = [",".join([first, *names])] + [
        ",".join([f"10:00:{n // 30:02}:{2 * (n % 30):02}.500", *map(str, row)]) for n, row in enumerate(rows)
    ]
    return "\n".join(lines).encode()


def pascal(name: str) -> str:
    return name[0].upper() + name[1:]


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).random((70, 51)).astype(np.float32)


@pytest.mark.parametrize("style", [pascal, str])
def test_columns_are_found_by_name(values: np.ndarray, style) -> None:
    order = np.random.default_rng(1).permutation(51)
    track = parse_csv(make_csv([style(ARKIT_NAMES[i]) for i in order], values[:, order].tolist()), "folder/smile.csv")
    assert np.array_equal(track.expression, values)
    assert (track.name, track.fps, track.clamped, dict(track.extra)) == ("smile", 30.0, 0, {})


def test_a_capture_may_lie_in_a_bucket_with_options(
    values: np.ndarray, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    folder = f"s3://bucket/captures?endpoint_override={s3_server}"
    write_bytes(join(folder, "smile.csv"), make_csv(list(ARKIT_NAMES), values.tolist()))
    write_track(join(folder, "frown.parquet"), Track("frown", values, 30.0))
    assert read_capture(join(folder, "smile.csv")).name == "smile"
    assert [track.name for track in read_captures(folder).tracks] == ["frown", "smile"]


def test_other_columns_are_kept_as_extra(values: np.ndarray) -> None:
    names = ["BlendShapeCount", *map(pascal, ARKIT_NAMES), "TongueOut", "HeadYaw", "LeftEyeRoll"]
    rows = [[61, *row, 0.5, -0.25, 0.125] for row in values.tolist()]
    track = parse_csv(b"\xef\xbb\xbf" + make_csv(names, rows) + b"\n\n", "a.csv")
    assert np.array_equal(track.expression, values)
    assert {name: float(column[0]) for name, column in track.extra.items()} == {
        "tongueOut": 0.5, "headYaw": -0.25, "leftEyeRoll": 0.125,
    }  # fmt: skip


def test_values_out_of_range_are_clamped_and_counted(values: np.ndarray) -> None:
    values[3, 4], values[5, 6] = 1.003, -0.01
    track = parse_csv(make_csv(list(ARKIT_NAMES), values.tolist()), "a.csv")
    assert track.clamped == 2 and track.expression[3, 4] == 1 and track.expression[5, 6] == 0


def test_frame_rates_are_inferred_from_timecodes() -> None:
    def codes(clock: float, step: float, count: int) -> list[str]:
        return [f"23:59:{58 + int(t // clock):02}:{t % clock:06.3f}" for t in step * np.arange(count)]

    assert infer_fps(codes(60, 2, 50)) == 30.0
    assert infer_fps(codes(60, 1, 100)) == 60.0
    assert infer_fps(codes(30, 1, 50)) == 30.0
    assert infer_fps(codes(25, 1, 40)) == 25.0
    assert infer_fps(codes(24, 1, 40)) == 24.0
    assert infer_fps(["23:59:59:58.0", "00:00:00:00.0", "00:00:00:02.0", "00:00:00:04.0"]) == 30.0
    assert infer_fps([]) == infer_fps(["x", "y", "z"]) == 30.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda names, rows: (names[1:], [row[1:] for row in rows]), "a.csv: column eyeBlinkLeft missing"),
        (
            lambda names, rows: (["smile", *names[1:]], rows),
            r"a.csv: column eyeBlinkLeft missing \(unknown: 'smile'\)",
        ),
        (
            lambda names, rows: ([*names, "jawOpen"], [[*row, 0] for row in rows]),
            "a.csv: column 'jawOpen' occurs twice",
        ),
        (lambda names, rows: (names, [rows[0][:9], *rows]), "a.csv: line 2 has 10 values for 52 columns"),
        (lambda names, rows: (names, [["x", *rows[0][1:]], *rows]), "a.csv: line 2, eyeBlinkLeft: 'x' is not a number"),
        (lambda names, rows: (names, [["nan", *rows[0][1:]]]), "a.csv: column eyeBlinkLeft holds no number"),
        (lambda names, rows: (names, [["", *row[1:]] for row in rows]), "a.csv: column eyeBlinkLeft holds no number"),
        (lambda names, rows: (names, [[""] * 51 for row in rows]), "a.csv: none of its 70 frames shows a face"),
        (lambda names, rows: (names, [["7", *rows[0][1:]], *rows]), "a.csv: line 2, eyeBlinkLeft: 7 fits no scale"),
        (lambda names, rows: (names, [[*row, 0.5] for row in rows]), "a.csv: line 2 has 53 values for 52 columns"),
        (lambda names, rows: (names, []), "a.csv: no frames"),
    ],
)
def test_unusable_captures_raise_with_the_reason(values: np.ndarray, change, message: str) -> None:
    with pytest.raises(TrackError, match=message):
        parse_csv(make_csv(*change(list(ARKIT_NAMES), values.tolist())), "a.csv")


def test_binary_files_raise() -> None:
    with pytest.raises(TrackError, match=r"a\.csv: not a CSV text"):
        parse_csv(b"\xff\xfe\x00", "a.csv")


def test_tracks_round_trip_through_parquet(values: np.ndarray, tmp_path: Path) -> None:
    track = Track("smile", values, 59.94, {"tongueOut": values[:, 0]}, clamped=3)
    path = str(tmp_path / "take.parquet")
    write_track(path, track)
    back = read_capture(path)
    assert np.array_equal(back.expression, values) and np.array_equal(back.extra["tongueOut"], values[:, 0])
    assert (back.name, back.fps, back.clamped) == ("smile", 59.94, 3)


def test_folders_of_captures_are_read_in_order(values: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_bytes(make_csv(list(ARKIT_NAMES), values.tolist()))
    write_track(str(tmp_path / "a.parquet"), Track("a", values, 30.0))
    (tmp_path / "LICENSE").write_text("MIT")
    assert [track.name for track in read_captures(str(tmp_path)).tracks] == ["a", "b"]
    assert [track.name for track in read_captures(str(tmp_path / "b.csv")).tracks] == ["b"]


def test_other_files_raise(tmp_path: Path) -> None:
    (tmp_path / "take.fbx").write_bytes(b"Kaydara FBX Binary  \0")
    with pytest.raises(TrackError, match=r"take\.fbx: is an FBX scene, not a capture"):
        read_capture(str(tmp_path / "take.fbx"))
    with pytest.raises(TrackError, match="holds no"):
        read_captures(str(tmp_path))
    (tmp_path / "take.parquet").write_bytes(b"no parquet")
    with pytest.raises(TrackError, match=r"take\.parquet: not a readable Parquet"):
        read_capture(str(tmp_path / "take.parquet"))


def test_real_captures_are_read(real_ground: Path) -> None:
    lost, track = read_captures(str(real_ground / "data" / "captures")).tracks
    assert (track.name, len(track), track.fps, track.clamped) == ("alex_rom_3", 4033, 30.0, 1)
    assert len(track.seen_frames) == 4030 and len(track.extra) == 10 and track.expression.max(0).min() > 0.1
    assert track.expression[0, ARKIT_NAMES.index("jawRight")] == pytest.approx(0.0185036063)
    assert (lost.name, len(lost), lost.fps, len(lost.seen_frames)) == ("S88-001", 1942, 30.0, 1939 - 277)
    assert any("277 show no face and 3 are missing (longest gap 4.3 s)" in note for note in lost.notes)
