"""Captures beyond the common ones: what applications, recorders and spreadsheets write, and garbage."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from jr2net.expressions.tracks import TrackError, parse_capture, read_capture
from jr2net.face.arkit import ARKIT_NAMES

FRAMES = 240
_PHASE = np.random.default_rng(0).uniform(0, 6, (2, 51))
VALUES = (0.45 + 0.45 * np.sin(np.arange(FRAMES)[:, None] / 60 * _PHASE[0] + _PHASE[1])).round(3).astype(np.float32)
ROWS = VALUES.tolist()
PASCAL = [name[0].upper() + name[1:] for name in ARKIT_NAMES]
UNITY = [name.replace("Left", "_L").replace("Right", "_R") for name in ARKIT_NAMES]
NAMED = [dict(zip(ARKIT_NAMES, row)) for row in ROWS]


def table(
    times: Sequence[object] | None = None,
    values: np.ndarray = VALUES,
    head: str = "Timecode",
    names: Sequence[str] = PASCAL,
    mark: str = ",",
    cell: Callable[[float], str] = str,
) -> str:
    """A CSV; by default with timecodes of 60 frames a second."""
    times = STAMPS if times is None else times
    lines = [[head, *names], *([str(time), *map(cell, row)] for time, row in zip(times, values.tolist()))]
    return "\n".join(mark.join(line) for line in lines) + "\n"


def timecode(frame: int, clock: int, mark: str = ":") -> str:
    second = frame // clock
    return f"{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}{mark}{frame % clock:02}"


STAMPS = [timecode(frame, 60) for frame in range(FRAMES)]
N = range(FRAMES)

TIMES: dict[str, tuple[str, list[object], float]] = {
    "rounded to 0.01 s": ("Time", [f"{n / 60:.2f}" for n in N], 60),
    "rounded to 0.01 s, 24 fps": ("Time", [f"{n / 24:.2f}" for n in N], 24),
    "rounded to 0.1 s": ("Time", [f"{n / 30:.1f}" for n in N], 30),
    "a spreadsheet's MM:SS.0": ("Timecode", [f"{54 + n // 1800:02}:{n / 30 % 60:04.1f}" for n in N], 30),
    "MM:SS.fff over the hour": (
        "Time", [f"{(3599 + n // 60) // 60 % 60:02}:{(59 + n / 60) % 60:06.3f}" for n in N], 60,
    ),
    "HH:MM:SS.FF": ("Timecode", [timecode(n, 30, ".") for n in N], 30),
    "HH:MM:SS:mmm": ("Timecode", [f"00:00:{n // 60:02}:{n % 60 * 1000 // 60:03}" for n in N], 60),
    "SRT's decimal comma": ("Time", [f'"00:00:{n / 60:06.3f}"'.replace(".", ",") for n in N], 60),
    "ISO 8601 with a zone": ("timestamp", [f"2024-05-01T10:00:{n / 60:06.3f}+02:00" for n in N], 60),
    "ISO 8601, UTC": ("timestamp", [f"2024-05-01T23:59:{n / 60:09.6f}Z" for n in N], 60),
    "whole seconds": ("DateTime", [f"2024-05-01 10:00:{(n + 12) // 30:02}" for n in N], 30),
    "seconds since 1970": ("time", [f"{1.7e9 + n / 60:.3f}" for n in N], 60),
    ".NET ticks": ("timestamp", [638_000_000_000_000_000 + n * 10_000_000 // 60 for n in N], 60),
    "days": ("Time", [f"{0.4166666 + n / 60 / 86400:.12f}" for n in N], 60),
    "a unit in each cell": ("Time", [f"{n * 40} ms" for n in N], 25),
    "a remark in the title": ("Timecode (HH:MM:SS:FF)", [timecode(n, 60) for n in N], 60),
    "t": ("t", [f"{n / 60:.4f}" for n in N], 60),
    "steps": ("deltaTime", [f"{1 / 60:.5f}"] * FRAMES, 60),
    "60 fps under 30, from an odd frame, over midnight": (
        "Timecode", [timecode(n // 2, 30) for n in range(86400 * 60 - 101, 86400 * 60 - 101 + FRAMES)], 60,
    ),
    "120 fps under 30": ("Timecode", [timecode(n // 4, 30) for n in N], 120),
    "50 fps under 25": ("Timecode", [timecode(n // 2, 25) for n in N], 50),
    "24 fps on a clock of 60": ("Timecode", [f"00:00:{n // 24:02}:{int(n % 24 * 2.5):02}" for n in N], 24),
    "drop frame at 59.94": (
        "Timecode", [timecode(n + 4 * ((n - 4) // 3596), 60, ";") for n in range(3600, 3840)], 59.94,
    ),
    "23.976": ("Time (s)", [f"{n * 1.001 / 24:.4f}" for n in N], 23.976),
    "5 fps in µs": ("timestamp", [n * 200_000 for n in N], 5),
}  # fmt: skip


@pytest.mark.parametrize("kind", TIMES)
def test_times_of_other_kinds(kind: str) -> None:
    head, times, fps = TIMES[kind]
    track = parse_capture(table(times, head=head).encode(), "a.csv")
    assert track.fps == pytest.approx(fps, rel=1e-3)
    assert np.array_equal(track.expression, VALUES) and track.notes == ()


def with_column(title: str, cells: Sequence[object]) -> str:
    head, *lines = table().splitlines()
    return "\n".join([f"{title},{head}", *(f"{cell},{line}" for cell, line in zip(cells, lines))])


def test_of_two_columns_of_times_the_first_that_makes_sense_counts() -> None:
    seconds = [f"{n / 60:.4f}" for n in N]
    assert parse_capture(with_column("Time", seconds).encode(), "a.csv").notes == ()
    still = table(["00:00:00:00"] * FRAMES).replace("Timecode,", "Timecode,Time,", 1).splitlines()
    still[1:] = [line.replace(",", f",{time},", 1) for line, time in zip(still[1:], seconds)]
    assert parse_capture("\n".join(still).encode(), "a.csv").fps == 60
    (note,) = parse_capture(with_column("Time", [f"{n / 30:.4f}" for n in N]).encode(), "a.csv").notes
    assert note == "its columns of times disagree (4.0 s, 8.0 s); the first is used"


def test_a_time_that_is_not_the_captures_is_ignored() -> None:
    noise = np.random.default_rng(0).uniform(5, 15, FRAMES).round(2)
    track = parse_capture(with_column("processing_time_ms", noise.tolist()).encode(), "a.csv")
    assert track.fps == 60 and np.array_equal(track.expression, VALUES)


@pytest.mark.parametrize("step", [1 / 60, 1 / 30])
def test_missing_frames_under_rounded_times_keep_the_timing(step: float) -> None:
    kept = np.sort(np.random.default_rng(0).permutation(np.arange(2, FRAMES - 2))[:180])
    kept = np.array([0, 1, *kept, FRAMES - 2, FRAMES - 1])
    track = parse_capture(table([f"{n * step:.2f}" for n in kept], VALUES[kept], "Time").encode(), "a.csv")
    assert (len(track), track.fps) == (FRAMES, 1 / step)
    assert np.array_equal(track.seen_frames, kept) and np.array_equal(track.expression[kept], VALUES[kept])


NAMES = {
    "the side first": [re.sub("(.*[a-z])(Left|Right)$", r"\2_\1", name) for name in ARKIT_NAMES],
    "a prefix without a mark": [f"bs{name}" for name in PASCAL],
    "a suffix": [f"{name}_score" for name in ARKIT_NAMES],
    "a range": [f"{name} (0..1)" for name in ARKIT_NAMES],
    "Character Creator": [f"A{n:02}_" + "_".join(re.findall("[A-Z][a-z]+", name)) for n, name in enumerate(PASCAL)],
    "Blender": [name.replace("_", ".") for name in UNITY],
    "Maya": [f"head:blendShape1.{name}" for name in UNITY],
}


@pytest.mark.parametrize("kind", NAMES)
def test_names_of_other_producers(kind: str) -> None:
    track = parse_capture(table(names=NAMES[kind]).encode(), "a.csv")
    assert np.array_equal(track.expression, VALUES) and track.notes == ()


def test_two_sets_of_columns_are_refused() -> None:
    names = [f"{name}_{kind}" for kind in ("raw", "smooth") for name in ARKIT_NAMES]
    with pytest.raises(TrackError, match="'jawOpen' occurs twice, as 'jawOpen_raw' and 'jawOpen_smooth'; remove one"):
        parse_capture(table(values=np.tile(VALUES, 2), names=names).encode(), "a.csv")


def untimed(mark: str = ",") -> str:
    return "\n".join(line.split(mark, 1)[1] for line in table(mark=mark).splitlines())


def face_cap() -> str:
    rows = [f"k,{n * 1000 // 60}," + "0.1," * 10 + ",".join(map(str, row)) for n, row in enumerate(ROWS)]
    return "\n".join(["info,Face Cap", "bs," + ",".join(UNITY), *rows])


LAYOUTS: dict[str, Callable[[], bytes]] = {
    "spaces": lambda: table(mark=" ").encode(),
    "aligned": lambda: table(mark="   ").encode(),
    "lines quoted as a whole": lambda: "\n".join(f'"{line}"' for line in table().splitlines()).encode(),
    "quoted decimal commas": lambda: table(cell=lambda v: f'"{v:.4f}"'.replace(".", ",")).encode(),
    "exponents with commas": lambda: table(mark=";", cell=lambda v: f"{v:.4E}".replace(".", ",")).encode(),
    "percent signs": lambda: table(mark=";", cell=lambda v: f"{100 * v:.3f}%".replace(".", ",")).encode(),
    "a rate before the names": lambda: f"Take,MySlate\nFrame Rate,60\n\n{untimed()}".encode(),
    "a rate in a comment": lambda: f"# fps: 60\n{untimed()}".encode(),
    "names in a comment": lambda: b"# " + table().encode(),
    "a line of units": lambda: table().replace("\n", "\nh" + ",a.u." * 51 + "\n", 1).encode(),
    "a comma behind the names": lambda: table().replace("\n", ",\n", 1).encode(),
    "carriage returns": lambda: table().replace("\n", "\r").encode(),
    "UTF-32": lambda: table().encode("utf-32"),
    "UTF-16, big-endian, unmarked": lambda: table().encode("utf-16-be"),
    "Shift JIS": lambda: b"# \x8e\x9e\x8a\xd4\x81\n" + table().encode(),
    "an unnamed index": lambda: re.sub("(?m)^", ",", table().rstrip("\n")).encode(),
    "Face Cap": lambda: face_cap().encode(),
}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_layouts(kind: str) -> None:
    track = parse_capture(LAYOUTS[kind](), "a.csv")
    assert track.fps == 60 and np.allclose(track.expression, VALUES, atol=1e-6) and track.notes == ()


@pytest.mark.parametrize(
    ("title", "no", "yes"), [("isTracked", "false", "true"), ("num_faces", "0", "1"), ("face_detected", "0.0", "1.0")]
)
def test_a_column_may_say_that_there_was_no_face(title: str, no: str, yes: str) -> None:
    track = parse_capture(with_column(title, [no if 50 <= n < 60 else yes for n in N]).encode(), "a.csv")
    assert np.array_equal(track.seen_frames, [*range(50), *range(60, FRAMES)])
    assert "10 show no face" in track.notes[0]


@pytest.mark.parametrize("absent", [-1, -999, np.nan, np.inf])
def test_impossible_rows_show_no_face(absent: float) -> None:
    values = VALUES.copy()
    values[50:60] = absent
    track = parse_capture(table(values=values).encode(), "a.csv")
    assert track.clamped == 0 and np.array_equal(track.seen_frames, [*range(50), *range(60, FRAMES)])


@pytest.mark.parametrize("rest", ["", ",0", "," * 51, ",-nan(ind)" * 51, ",1.#QNAN" * 51])
def test_a_row_of_a_time_alone_shows_no_face(rest: str) -> None:
    lines = table().splitlines()
    lines[51:61] = [line.split(",")[0] + rest for line in lines[51:61]]
    track = parse_capture("\n".join(lines).encode(), "a.csv")
    assert np.array_equal(track.seen_frames, [*range(50), *range(60, FRAMES)]) and len(track.notes) == 1


def test_of_several_faces_the_first_is_taken() -> None:
    head, *lines = table().splitlines()
    other = table(values=VALUES[::-1]).splitlines()[1:]
    both = [f"{face},{line}" for pair in zip(lines, other) for face, line in enumerate(pair)]
    track = parse_capture("\n".join([f"face_id,{head}", *both]).encode(), "a.csv")
    assert track.fps == 60 and np.array_equal(track.expression, VALUES)
    assert track.notes == ("it holds the faces '0', '1': only the rows of '0' are used",)
    changes = parse_capture(with_column("face_id", [n // 100 for n in N]).encode(), "a.csv")
    assert np.array_equal(changes.expression, VALUES)


@pytest.mark.parametrize(
    ("factor", "digits", "scale"),
    [(1.3, 4, 1), (100, 2, 100), (112, 2, 100), (135, 2, 100), (100, 0, 100), (255, 0, 255)],
)
def test_plain_scales(factor: float, digits: int, scale: int) -> None:
    track = parse_capture(table(values=(VALUES * factor).round(digits)).encode(), "a.csv")
    assert np.allclose(track.expression, (VALUES * factor / scale).clip(0, 1), atol=0.51 / 100)
    assert (f"coefficients from 0 to {scale} are divided by {scale}" in track.notes) == (scale > 1)
    assert any("clamped" in note for note in track.notes) == (track.clamped > 0) == (factor > 1.1 * scale)


@pytest.mark.parametrize(("factor", "digits"), [(3, 4), (10, 3), (20, 3), (130, 0), (255, 2), (1000, 0), (65535, 0)])
def test_scales_that_are_not_plain_are_refused(factor: float, digits: int) -> None:
    with pytest.raises(TrackError, match=r"a\.csv: line \d+, \w+: [\d.e+]+ fits no scale"):
        parse_capture(table(values=(VALUES * factor).round(digits)).encode(), "a.csv")
    with pytest.raises(TrackError, match="fits no scale"):
        parse_capture(table(values=2 * VALUES - 1).encode(), "a.csv")


def test_titles_may_say_that_values_are_percentages() -> None:
    track = parse_capture(table(values=VALUES * 6, names=[f"{name} (%)" for name in PASCAL]).encode(), "a.csv")
    assert np.allclose(track.expression, VALUES * 0.06, atol=1e-6)


def test_tongue_and_rotations_are_brought_to_their_units() -> None:
    extra = np.stack([np.full(FRAMES, 50), np.linspace(-40, 40, FRAMES), np.ones(FRAMES)], 1)
    values = np.concatenate([VALUES * 100, extra], 1)
    track = parse_capture(table(values=values, names=[*PASCAL, "TongueOut", "HeadYaw", "HeadRoll"]).encode(), "a.csv")
    assert track.extra["tongueOut"][0] == 0.5
    assert track.extra["headYaw"][0] == pytest.approx(-np.deg2rad(40)) and track.extra["headRoll"][0] < 0.02
    assert track.notes[-1] == "rotations in degrees are turned into radians"


def swift() -> object:
    turns = [[item for pair in zip(UNITY, row) for item in pair] for row in ROWS]
    return [{"timestamp": n / 60, "blendShapes": turn} for n, turn in enumerate(turns)]


def live_link_time(frame: int) -> dict[str, object]:
    return {"frame_number": 1337 + frame, "sub_frame": 0.1, "numerator": 60, "denominator": 1}


JSON: dict[str, object] = {
    "by number": {"fps": "60", "frames": {str(n): frame for n, frame in enumerate(NAMED)}},
    "deeper": {"take": {"meta": {"frameRate": 60}, "body": {"frames": [{"bs": frame} for frame in NAMED]}}},
    "columns below their times": {
        "timestamps": [n / 60 for n in N], "shapes": dict(zip(ARKIT_NAMES, VALUES.T.tolist())),
    },
    "Audio2Face, transposed": {"exportFps": 60, "facsNames": ARKIT_NAMES, "weightMat": VALUES.T.tolist()},
    "Audio2Face to Unreal": {
        f"{n / 60:.4f}": {"Audio2Face": {"Body": {}, "Facial": {"Names": PASCAL, "Weights": row}}}
        for n, row in enumerate(ROWS)
    },
    "Audio2Face's stream": [
        {"header": {"skelAnimationHeader": {"blendShapes": PASCAL, "joints": []}}},
        *({"data": {"blendShapeWeights": [{"timeCode": n / 60, "values": row}]}} for n, row in enumerate(ROWS)),
    ],
    "Swift's dictionaries": swift(),
    "Live Link frames": [
        {"frame_time": live_link_time(n), "blendshapes": dict(zip(PASCAL, row))} for n, row in enumerate(ROWS)
    ],
    "Azure's blocks": [
        {"FrameIndex": n, "BlendShapes": [[*row, 0, 0, 0, 0] for row in ROWS[n : n + 60]]} for n in range(0, FRAMES, 60)
    ],
    "three.js": {"name": "clip", "tracks": [
        {"name": f"face.morphTargetInfluences[{name}]", "times": [n / 60 for n in N], "values": column}
        for name, column in zip(ARKIT_NAMES, VALUES.T.tolist())
    ]},
    "keys and values": {"fps": 60, "blend_shape_keys": UNITY, "blend_shape_values": ROWS, "vertices": [[[0, 0, 0]]]},
    "numbers in quotes": [
        {"t": f"{n / 60:.4f}"} | {name: str(value) for name, value in frame.items()} for n, frame in enumerate(NAMED)
    ],
    "MediaPipe with landmarks": [
        {"timestampMs": 1000 * n / 60, "faceLandmarks": [[{"x": 0.1, "y": 0.2, "z": 0.3}] * 9], "faceBlendshapes": [
            {"headIndex": -1, "categories": [{"categoryName": k, "score": v} for k, v in frame.items()]}]}
        for n, frame in enumerate(NAMED)
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", JSON)
def test_json_of_other_producers(kind: str) -> None:
    track = parse_capture(json.dumps(JSON[kind]).encode(), "a.json")
    assert np.allclose(track.expression, VALUES) and track.fps == pytest.approx(60, rel=1e-3)


def test_json_in_lines_below_a_header_and_in_utf_16() -> None:
    header = {"fps": 60, "device": "iPhone"}
    lines = [json.dumps(header), *(json.dumps({"frame": n, "blendShapes": f}) for n, f in enumerate(NAMED))]
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        track = parse_capture("\n".join(lines).encode(encoding), "a.jsonl")
        assert track.fps == 60 and np.array_equal(track.expression, VALUES)


def test_one_frame_is_a_capture() -> None:
    scores = [{"categoryName": name, "score": value} for name, value in NAMED[0].items()]
    one_row = "\n".join(table().splitlines()[:2]).encode()
    for content in (json.dumps(NAMED[0]).encode(), json.dumps(scores).encode(), one_row):
        track = parse_capture(content, "a")
        assert len(track) == 1 and np.array_equal(track.expression[0], VALUES[0])


def test_json_frames_without_a_face_or_with_two() -> None:
    def scores(frame: dict[str, float]) -> dict[str, object]:
        return {"categories": [{"categoryName": name, "score": value} for name, value in frame.items()]}

    two = [{"timestamp": 1000 * n / 60, "faceBlendshapes": [scores(f), scores(NAMED[0])]} for n, f in enumerate(NAMED)]
    track = parse_capture(json.dumps(two).encode(), "a.json")
    assert np.array_equal(track.expression, VALUES)
    assert track.notes[0] == "frames with several faces: the first one of each is used"
    stale = [{"time": n / 60, "isTracked": not 50 <= n < 60, "blendShapes": f} for n, f in enumerate(NAMED)]
    gap = parse_capture(json.dumps(stale).encode(), "a.json")
    assert np.array_equal(gap.seen_frames, [*range(50), *range(60, FRAMES)])


OTHERS: dict[str, tuple[bytes, str]] = {
    "action units": (b"frame, timestamp, AU01_r, AU02_r\n1, 0.0, 0.1, 0.2\n", "holds action units"),
    "MetaHuman": (b"Frame,CTRL_expressions_browDownL,CTRL_expressions_browDownR\n0,0,0\n", "MetaHuman's own controls"),
    "Meta": (b"time,BROW_LOWERER_L,BROW_LOWERER_R\n0,0,0\n", "holds FACS poses"),
    "Audio2Face's poses": (
        b'{"facsNames": ["browLowerL", "browLowerR", "jawDrop"], "weightMat": [[0, 0, 0]]}', "holds FACS poses",
    ),
    "no names": ("\n".join(table().splitlines()[1:]).encode(), "the first line holds numbers"),
    "transposed": ("\n".join(map(",".join, zip(*map(str.split, table(mark=" ").splitlines())))).encode(), "first col"),
    "a line per shape": (
        ("frame,name,score\n" + "\n".join(f"0,{k},{v}" for k, v in NAMED[0].items())).encode(), "a line for each blend",
    ),
    "iFacialMocap": ("|".join(f"{k}-{int(100 * v)}" for k, v in zip(UNITY, ROWS[0])).encode(), "packets of iFacial"),
    "mouth alone": (table(values=VALUES[:, 14:41], names=ARKIT_NAMES[14:41]).encode(), "and 19 more missing"),
    "numbers without names": (json.dumps(ROWS[:3]).encode(), "holds no blendshapes"),
    "a scene": (b'{"asset": {"version": "2.0"}, "animations": []}', "holds no blendshapes"),
    "columns without end": ((",".join(PASCAL) + "," + ",".join(f"x{n}" for n in range(6000))).encode(), "columns"),
    "keys without end": (
        json.dumps([NAMED[0] | {f"k{n}_{k}": 0 for k in range(200)} for n in range(30)]).encode(), "6051 columns",
    ),
    "empty": (b"", "no frames"),
    "blank": (b"\n \n\r\n", "no frames"),
    "names alone": (table().splitlines()[0].encode(), "no frames"),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_capture_is_said(kind: str) -> None:
    content, message = OTHERS[kind]
    with pytest.raises(TrackError, match=message):
        parse_capture(content, "a.csv")


@pytest.mark.parametrize(
    ("head", "times"),
    [
        ("Timecode", [f"{10**30 + n}:00:00:00" for n in N]),
        ("Time", [f"{n}e306" for n in N]),
        ("Time", ["inf", "-inf"] * (FRAMES // 2)),
        ("timestamp", ["1.7E+12"] * FRAMES),
    ],
)
@pytest.mark.filterwarnings("error")
def test_senseless_times_count_as_none(head: str, times: list[object]) -> None:
    track = parse_capture(table(times, head=head).encode(), "a.csv")
    assert track.fps == 30 and len(track) == FRAMES and any("assumed" in note for note in track.notes)


@pytest.mark.parametrize(
    "content", [b"x" * 2_000_000, b"[" * 900 + b"1" + b"]" * 900, b'{"a":' * 900 + b"1" + b"}" * 900]
)
def test_long_lines_and_deep_nests_are_refused_at_once(content: bytes) -> None:
    with pytest.raises(TrackError):
        parse_capture(content, "a")


def test_a_recording_with_its_calibrated_csv(tmp_path: Path) -> None:
    (tmp_path / "take.json").write_text('{"slate": "MySlate"}')
    with pytest.raises(TrackError, match=r"holds a recording without a CSV.*ARKit mode"):
        read_capture(str(tmp_path))
    for kind in ("cal", "raw", "neutral"):
        (tmp_path / f"MySlate_1_iPhone_{kind}.csv").write_text(table())
    assert read_capture(str(tmp_path)).name == "MySlate_1_iPhone_cal"
    with pytest.raises(TrackError, match=r"take\.json: describes a recording; give its folder, or the CSV beside it"):
        read_capture(str(tmp_path / "take.json"))


@pytest.mark.parametrize("name", ["take.txt", "take", "TAKE.CSV", "take.csv.bak", "take.mp4"])
def test_a_capture_is_told_by_its_content(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(face_cap())
    assert len(read_capture(str(tmp_path / name))) == FRAMES
