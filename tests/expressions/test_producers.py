"""Captures as people send them: names, units, times and separators of every producer, and what is missing in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from jr2net.expressions.tracks import TrackError, parse_capture, read_capture, read_captures
from jr2net.face.arkit import ARKIT_NAMES

VALUES = np.random.default_rng(0).uniform(0, 0.95, (200, 51)).round(3).astype(np.float32)


def text(
    times: Sequence[object],
    values: np.ndarray = VALUES,
    head: str = "Timecode",
    names: Sequence[str] = ARKIT_NAMES,
    mark: str = ",",
    point: str = ".",
) -> str:
    lines = [[head, *names], *([time, *row] for time, row in zip(times, values.tolist()))]
    return "\n".join(
        mark.join(str(cell).replace(".", point) if isinstance(cell, float) else str(cell) for cell in line)
        for line in lines
    )


def timecode(frame: int, clock: int, mark: str = ":") -> str:
    second = frame // clock
    return f"{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}{mark}{frame % clock:02}"


def drop_frame(frame: int) -> str:
    """SMPTE 12M at 29.97 Hz, within the first ten minutes: two numbers are skipped at the start of each minute."""
    return timecode(frame + 2 * max(0, (frame - 2) // 1798), 30, ";")


STAMPS = [timecode(frame, 30) for frame in range(200)]
UNITY = [name.replace("Left", "_L").replace("Right", "_R") for name in ARKIT_NAMES]


@pytest.mark.parametrize(
    "names",
    [
        [name[0].upper() + name[1:] for name in ARKIT_NAMES],
        UNITY,
        [f"blendShapes.{name}" for name in ARKIT_NAMES],
        [f"Face|AK_{index:02}_{name}" for index, name in enumerate(UNITY)],
        ["".join(f"_{c.lower()}" if c.isupper() else c for c in name) for name in ARKIT_NAMES],
    ],
    ids=lambda names: names[0],
)
def test_names_of_every_producer(names: list[str]) -> None:
    assert np.array_equal(parse_capture(text(STAMPS, names=names).encode(), "a.csv").expression, VALUES)


def test_columns_that_are_no_blendshapes_are_named_and_ignored() -> None:
    names = [*ARKIT_NAMES, "Angry", "_neutral", "TongueOut"]
    values = np.concatenate([VALUES, np.full((200, 3), 0.5, np.float32)], 1)
    track = parse_capture(text(STAMPS, values, names=names).encode(), "a.csv")
    assert np.array_equal(track.expression, VALUES) and set(track.extra) == {"tongueOut"}
    assert track.notes == ("ignored columns: Angry, _neutral",)


@pytest.mark.parametrize(
    ("head", "times", "fps"),
    [
        *[("Timecode", [timecode(n, clock) for n in range(200)], clock) for clock in (15, 24, 25, 30, 48, 50, 60, 100)],
        ("Timecode", [timecode(n // 2, 30) for n in range(200)], 60),  # FF counts to 29, each number twice
        ("Timecode", [f"10:00:{n // 30:02}:{2 * (n % 30):02}.133" for n in range(200)], 30),  # in ticks of 1/60 s
        ("Timecode", [timecode(n, 30) for n in range(86400 * 30 - 100, 86400 * 30 + 100)], 30),  # over midnight
        ("Timecode", [drop_frame(n) for n in range(1700, 1900)], 29.97),
        ("Timecode", [drop_frame(n).replace(":", ";") for n in range(1700, 1900)], 29.97),  # as editors write it
        ("Time", [f"{n * 0.04:.4f}" for n in range(200)], 25),
        ("Time (ms)", [n * 40 for n in range(200)], 25),
        ("timestamp", [1_700_000_000_000 + n * 1000 // 30 for n in range(200)], 30),
        ("timestamp_us", [n * 1_000_000 // 60 for n in range(200)], 60),
        ("timestamp", [n * 1_000_000_000 // 60 for n in range(200)], 60),
        ("Timestamp", [f"2024-05-01T10:00:{n / 30:06.3f}" for n in range(200)], 30),
    ],
)
def test_times_of_every_kind(head: str, times: list[object], fps: float) -> None:
    track = parse_capture(text(times, head=head).encode(), "a.csv")
    assert track.fps == pytest.approx(fps, rel=1e-3)
    assert np.array_equal(track.expression, VALUES) and track.seen is None and track.notes == ()


@pytest.mark.parametrize(
    ("head", "times"),
    [("Frame", range(200)), ("Timecode", STAMPS[:10]), ("Time", ["noon"] * 200), ("Time", [1] * 200)],
)
def test_captures_without_times_have_30_frames_a_second_and_say_so(head: str, times: Sequence[object]) -> None:
    track = parse_capture(text(times, head=head).encode(), "a.csv")
    assert track.fps == 30 and len(track) == len(times)
    assert any("30" in note and "assumed" in note for note in track.notes)


def test_rows_out_of_order_are_sorted() -> None:
    for order in (np.arange(200)[::-1], np.random.default_rng(0).permutation(200), np.roll(np.arange(200), 100)):
        track = parse_capture(text([STAMPS[n] for n in order], VALUES[order]).encode(), "a.csv")
        assert np.array_equal(track.expression, VALUES) and track.fps == 30
        assert track.notes == ("rows that were out of order are sorted by their times",)


def test_a_few_repeated_rows_are_left_out() -> None:
    order = [*range(100), 99, *range(100, 200)]
    track = parse_capture(text([STAMPS[n] for n in order], VALUES[order]).encode(), "a.csv")
    assert np.array_equal(track.expression, VALUES) and track.notes == ("rows that repeat a time, left out: 1",)


def test_a_second_capture_in_the_file_is_refused() -> None:
    with pytest.raises(TrackError, match=r"a\.csv: line 122: the time begins anew; put each capture into a file"):
        parse_capture(text(STAMPS[:120] + STAMPS[:80]).encode(), "a.csv")


def without_faces(first: int, count: int) -> bytes:
    """A capture in which Live Link Face saw no face in some frames."""
    header, *lines = text(STAMPS).replace("Timecode", "Timecode,BlendShapeCount", 1).splitlines()
    lines = [line.replace(",", ",51,", 1) for line in lines]
    lines[first : first + count] = [f"{stamp},0" for stamp in STAMPS[first : first + count]]
    return "\n".join([header, *lines]).encode()


def test_a_short_gap_is_bridged_at_its_time() -> None:
    track = parse_capture(without_faces(50, 15), "a.csv")
    assert len(track) == 200 and track.fps == 30
    expected = np.linspace(VALUES[49], VALUES[65], 17)[1:-1]
    assert np.allclose(track.expression[50:65], expected, atol=1e-6)
    assert np.array_equal(np.delete(track.expression, np.s_[50:65], 0), np.delete(VALUES, np.s_[50:65], 0))
    assert np.array_equal(track.seen_frames, [*range(50), *range(65, 200)])
    (note,) = track.notes
    assert "15 show no face" in note and "longest gap 0.5 s" in note


def test_a_long_gap_holds_and_returns_within_half_a_second() -> None:
    track = parse_capture(without_faces(50, 60), "a.csv")
    assert len(track) == 200
    assert np.array_equal(track.expression[50:95], np.repeat(VALUES[49:50], 45, 0))
    assert np.allclose(track.expression[95:111], np.linspace(VALUES[49], VALUES[110], 16), atol=1e-6)


def test_gaps_at_the_ends_hold_the_nearest_frame() -> None:
    assert np.array_equal(parse_capture(without_faces(0, 9), "a.csv").expression[:10], np.repeat(VALUES[9:10], 10, 0))
    track = parse_capture(without_faces(190, 10), "a.csv")
    assert len(track) == 200 and np.array_equal(track.expression[189:], np.repeat(VALUES[189:190], 11, 0))


def test_missing_frames_keep_the_timing() -> None:
    kept = np.sort(np.random.default_rng(0).permutation(np.arange(1, 199))[:138])
    kept = np.array([0, *kept, 199])
    track = parse_capture(text([STAMPS[n] for n in kept], VALUES[kept]).encode(), "a.csv")
    assert (len(track), track.fps) == (200, 30.0)
    assert np.array_equal(track.seen_frames, kept) and np.array_equal(track.expression[kept], VALUES[kept])


def test_irregular_times_are_resampled() -> None:
    times = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.06, 200))
    rising = np.repeat((times / times[-1] * 0.9)[:, None], 51, 1).round(6)
    track = parse_capture(text([f"{t:.5f}" for t in times], rising, head="Time").encode(), "a.csv")
    assert len(track) / track.fps == pytest.approx(times[-1] - times[0], abs=2 / track.fps)
    slope = np.diff(track.expression[:-1, 0]) * track.fps
    assert slope == pytest.approx(0.9 / times[-1], rel=0.02)


def test_long_pauses_without_rows_are_left_out() -> None:
    times = [n / 30 + (3600 if n >= 100 else 0) for n in range(200)]
    track = parse_capture(text(times, head="Time").encode(), "a.csv")
    assert len(track) == 200 and track.notes == ("pauses of more than 60 s, left out: 1",)


def test_a_capture_of_pauses_is_refused() -> None:
    times = [*(n / 480 for n in range(100)), *(1 + 50 * n for n in range(100))]
    with pytest.raises(TrackError, match=r"a\.csv: 200 rows over 1\.4 hours; split the capture"):
        parse_capture(text(times, head="Time (s)").encode(), "a.csv")


def test_blank_cells_are_interpolated() -> None:
    lines = text(STAMPS).splitlines()
    for line, blank in ((11, ""), (12, "NaN")):
        cells = lines[line].split(",")
        lines[line] = ",".join([*cells[:1], blank, *cells[2:]])
    track = parse_capture("\n".join(lines).encode(), "a.csv")
    assert np.allclose(track.expression[10:12, 0], np.linspace(VALUES[9, 0], VALUES[12, 0], 4)[1:-1], atol=1e-6)
    assert np.array_equal(track.expression[:, 1:], VALUES[:, 1:]) and track.seen is None
    assert track.notes == ("blank cells that were interpolated: 2",)


@pytest.mark.parametrize(("scale", "digits"), [(100, 4), (100, 0), (255, 0)])
def test_other_scales_are_divided(scale: int, digits: int) -> None:
    track = parse_capture(text(STAMPS, (VALUES * scale).round(digits)).encode(), "a.csv")
    assert np.allclose(track.expression, VALUES, atol=0.51 / scale) and track.clamped == 0
    assert track.notes == (f"coefficients from 0 to {scale} are divided by {scale}",)


@pytest.mark.parametrize("factor", [3.5, 180.5, 1000])
def test_unclear_scales_are_refused(factor: float) -> None:
    with pytest.raises(TrackError, match=r"a\.csv: line \d+, \w+: [\d.]+ fits no scale .* bring the columns to 0 to 1"):
        parse_capture(text(STAMPS, VALUES * factor).encode(), "a.csv")


@pytest.mark.parametrize(
    "encode",
    [
        lambda: b"\xef\xbb\xbf" + text(STAMPS, mark=";", point=",").replace("\n", "\r\n").encode(),
        lambda: b"sep=;\n" + text(STAMPS, mark=";").encode(),
        lambda: text(STAMPS, mark="\t", point=",").encode("utf-16"),
        lambda: text(STAMPS).encode("utf-16-le"),
        lambda: text(STAMPS).replace("Timecode", "# Café\nTimecode", 1).encode("cp1252"),
        lambda: b"# an export\n\n" + text(STAMPS).encode() + b"\n" + b"," * 51 + b"\n",
    ],
    ids=["decimal commas", "sep=", "UTF-16 with tabs", "UTF-16 without mark", "Windows-1252", "comments and blanks"],
)
def test_spreadsheets_and_encodings(encode: Callable[[], bytes]) -> None:
    track = parse_capture(encode(), "a.csv")
    assert np.array_equal(track.expression, VALUES) and track.fps == 30


def test_decimal_commas_between_commas_are_explained() -> None:
    with pytest.raises(TrackError, match="line 2 has 103 values for 52 columns; if its decimals have commas, save it"):
        parse_capture(text(STAMPS, point=",").encode(), "a.csv")


def test_a_large_file_is_read() -> None:
    stamps = [timecode(n, 60) for n in range(20_000)]
    track = parse_capture(text(stamps, np.tile(VALUES, (100, 1))).encode(), "a.csv")
    assert (len(track), track.fps) == (20_000, 60.0)


FRAMES = [dict(zip(ARKIT_NAMES, row)) for row in VALUES.tolist()]
JSON: dict[str, object] = {
    "frames with times": [{"timestamp": n / 60, "blendShapes": frame} for n, frame in enumerate(FRAMES)],
    "a stated rate": {"fps": 60, "frames": FRAMES},
    "Audio2Face": {
        "exportFps": 60.0, "trackPath": "a.wav", "numPoses": 51, "numFrames": 200, "facsNames": ARKIT_NAMES,
        "weightMat": VALUES.tolist(),
    },
    "names and frames of rows": {
        "names": ARKIT_NAMES, "metadata": {"fps": 30.0},
        "frames": [{"weights": row, "time": n / 60, "rotation": []} for n, row in enumerate(VALUES.tolist())],
    },
    "MediaPipe": [
        {"timestamp": 1000 * n / 60, "faceBlendshapes": [{"headIndex": -1, "categories": [
            {"categoryName": name, "displayName": "", "score": score} for name, score in frame.items()]}]}
        for n, frame in enumerate(FRAMES)
    ],
    "by time": {f"{n / 60:.5f}": frame for n, frame in enumerate(FRAMES)},
    "columns": {"time": [n / 60 for n in range(200)], **dict(zip(ARKIT_NAMES, VALUES.T.tolist()))},
}  # fmt: skip


@pytest.mark.parametrize("kind", JSON)
def test_json_of_every_kind(kind: str) -> None:
    track = parse_capture(json.dumps(JSON[kind]).encode(), "a.json")
    assert np.array_equal(track.expression, VALUES) and track.fps == pytest.approx(60, rel=1e-3)


def test_json_lines_and_frames_without_a_face() -> None:
    lines = [json.dumps({"time": n / 60, "blendShapes": frame if n % 50 else {}}) for n, frame in enumerate(FRAMES)]
    track = parse_capture("\n".join(lines).encode(), "a.jsonl")
    assert len(track) == 200 and set(range(200)) - set(track.seen_frames) == {0, 50, 100, 150}


def test_shapes_that_a_frame_in_json_leaves_out_are_0() -> None:
    sparse = [{name: value for name, value in frame.items() if value > 0.2995} for frame in FRAMES]
    track = parse_capture(json.dumps(sparse).encode(), "a.json")
    assert np.array_equal(track.expression, VALUES * (VALUES > 0.2995))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "a.json: holds no blendshapes"),
        ("[1, null]", "a.json: holds no blendshapes"),
        ('[{"jawOpen": 0.1}]', "a.json: column eyeBlinkLeft, .* and 45 more missing"),
        (json.dumps([dict.fromkeys(ARKIT_NAMES, "x")]), "a.json: frame 0, eyeBlinkLeft: 'x' is not a number"),
        (json.dumps(FRAMES)[:-50], "a.json: not JSON"),
        ("[" * 900 + "]" * 900, "a.json: "),
    ],
)
def test_unusable_json_is_explained(content: str, message: str) -> None:
    with pytest.raises(TrackError, match=message):
        parse_capture(content.encode(), "a.json")


def test_damaged_files_never_raise_anything_else() -> None:
    rng = np.random.default_rng(0)
    sound = [
        text(STAMPS[:20]).encode(),
        without_faces(3, 4)[:9000],
        json.dumps(JSON["frames with times"]).encode()[:9000],
    ]
    for trial in range(300):
        content = bytearray(sound[trial % 3])
        for _ in range(int(rng.integers(1, 30))):
            where = int(rng.integers(len(content)))
            content[where : where + int(rng.integers(3))] = (
                rng.integers(0, 256, int(rng.integers(4))).astype(np.uint8).tobytes()
            )
        try:
            track = parse_capture(bytes(content), "a")
        except TrackError as error:
            assert str(error).startswith("a: ")
        else:
            assert np.isfinite(track.expression).all() and 0 <= track.expression.min() <= track.expression.max() <= 1


def test_the_folder_of_a_recording_is_a_capture(tmp_path: Path) -> None:
    (tmp_path / "MySlate_1_iPhone.csv").write_text(text(STAMPS))
    (tmp_path / "take.json").write_text('{"slate": "MySlate", "take": 1}')
    (tmp_path / "frame_log.csv").write_text("V,0,00:00:00:00\n")
    (tmp_path / "MySlate_1_iPhone.mov").write_bytes(b"")
    assert read_capture(str(tmp_path)).name == "MySlate_1_iPhone" and not read_captures(str(tmp_path)).damaged
    (tmp_path / "other.json").write_text(json.dumps(JSON["a stated rate"]))
    with pytest.raises(TrackError, match=r"holds 2 captures; give one of them, e\.g\. .*MySlate_1_iPhone\.csv"):
        read_capture(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "seconds", "unseen"),
    [
        ("68_emotion_columns", 4.0, 0),
        ("dropped_frames_30pct", 3.94, 67),
        ("excel_german_semicolon_comma", 4.0, 0),
        ("ff_up_to_29_at_60fps_repeated", 4.0, 0),
        ("good_60fps", 4.0, 0),
        ("mediapipe_names_with_neutral", 8.0, 0),
        ("milliseconds_timestamp", 9.6, 0),
        ("prefixed_nvidia_style", 8.0, 0),
        ("scale_0_100", 4.0, 0),
        ("scale_0_255_int", 4.0, 0),
        ("seconds_as_time", 9.6, 0),
        ("tracking_lost_rows", 4.0, 40),
    ],
)
def test_public_cases(real_ground: Path, name: str, seconds: float, unseen: int) -> None:
    path = real_ground / "cases" / "csv" / f"{name}.csv"
    if not path.is_file():
        pytest.skip(f"no public cases: {path} does not exist")
    track = read_capture(str(path))
    assert len(track) / track.fps == pytest.approx(seconds, abs=0.01)
    assert len(track) - len(track.seen_frames) == unseen
    assert 0.8 < track.expression.max() < 0.9 and track.clamped == 0
