"""Captures as spreadsheets, phones that lost power, and our own answers leave them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jr2net.expressions.columns import MOST_TITLES, TrackError
from jr2net.expressions.tracks import parse_capture
from jr2net.face.arkit import ARKIT_NAMES

VALUES = (np.arange(30 * 51, dtype=np.float32).reshape(30, 51) * 0.37) % 1


def csv(values: np.ndarray = VALUES) -> str:
    lines = [",".join(["time", *ARKIT_NAMES])]
    lines += [",".join([f"{n / 25:.2f}", *(f"{value:.4f}" for value in row)]) for n, row in enumerate(values)]
    return "\n".join(lines) + "\n"


def read(text: str | bytes) -> tuple[np.ndarray, tuple[str, ...]]:
    track = parse_capture(text.encode() if isinstance(text, str) else text, "a.csv")
    assert track.fps == 25
    return track.expression, track.notes


@pytest.mark.parametrize("name", ["Average", "MEAN:", "Total", "Mittelwert", "Somme", "Std."])
def test_a_line_of_sums_is_no_frame(name: str) -> None:
    expression, notes = read(csv() + f"{name}," + ",".join(["0.3"] * 51) + "\n")
    assert np.allclose(expression, VALUES, atol=1e-4) and notes == ("lines of sums or means, left out: 1",)


@pytest.mark.parametrize("title", ["TC", "Zeit", "Horodatage"])
def test_timecodes_tell_the_times_whatever_their_title(title: str) -> None:
    head = ",".join([title, "Note", *ARKIT_NAMES])
    rows = [f"10:00:{n // 25:02}:{n % 25:02},ok" + ",0.5" * 51 for n in range(60)]
    track = parse_capture("\n".join([head, *rows]).encode(), "a.csv")
    assert track.fps == 25 and track.notes == ("ignored columns: Note",)


def test_a_typographic_minus_is_a_minus() -> None:
    expression, notes = read(csv().replace(",0.0000,", ",\u22120.0001,", 1).replace(",0.3700", ",\u202f0.3700"))
    assert np.allclose(expression, VALUES, atol=2e-4) and notes == ("1 coefficients outside [0, 1] were clamped",)


def test_a_last_line_that_is_cut_off_is_left_out() -> None:
    for cut in (30, 150, 290):
        expression, notes = read(csv()[:-cut])
        assert len(expression) == 29 and np.allclose(expression, VALUES[:29], atol=1e-4)
        assert notes == ("the last line is cut off and was left out",)
    lines = csv().splitlines()
    lines[9] = lines[9][:-30]
    with pytest.raises(TrackError, match=r"line 10 has \d+ values for 52 columns; the file may be cut off"):
        read("\n".join(lines))


def test_null_in_the_place_of_blendshapes_is_a_frame_without_a_face() -> None:
    frames = [
        {"timestamp": n / 25, "blendShapes": dict(zip(ARKIT_NAMES, row.tolist()))} for n, row in enumerate(VALUES)
    ]
    frames[9]["blendShapes"] = frames[10]["blendShapes"] = None
    expression, notes = read(json.dumps(frames))
    assert len(expression) == 30 and len(notes) == 1 and notes[0].startswith("of 30 frames, 2 show no face")


def test_zero_bytes_at_the_end_are_left_out() -> None:
    for encoding in ("utf-8", "utf-16"):
        expression, notes = read(csv().encode(encoding) + bytes(4096))
        assert np.allclose(expression, VALUES, atol=1e-4) and notes == ()
    with pytest.raises(TrackError, match="it holds zero bytes"):
        read(csv().encode()[:5000] + bytes(100) + csv().encode()[5100:])


def test_a_track_of_ours_has_no_unknown_columns() -> None:
    frames = [
        {"seconds": n / 25, "expression": row.tolist(), "rotation": [0, 0, 0], "translation": [0, 0, 900],
         "confidence": 0.4, "doubtful": True, "cut": True}
        for n, row in enumerate(VALUES)
    ]  # fmt: skip
    text = json.dumps({"name": "clip", "fps": 25, "names": ARKIT_NAMES, "frames": frames})
    expression, notes = read(text)
    assert np.allclose(expression, VALUES, atol=1e-4) and notes == ()


def test_comments_in_json_are_named() -> None:
    for comment in ("// recorded today\n", "/* recorded today */ "):
        with pytest.raises(TrackError, match="has comments, which JSON does not allow; remove them"):
            parse_capture((comment + json.dumps({"frames": []})).encode(), "a.json")


def test_every_title_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of thousands of words took seconds."""
    from jr2net.expressions import columns

    looked = []
    tails = columns._tails
    monkeypatch.setattr(columns, "_tails", lambda title: looked.append(title) or tails(title))
    with pytest.raises(TrackError, match="eyeBlinkLeft"):
        parse_capture(",".join(f"mouth note {n}" for n in range(MOST_TITLES)).encode() + b"\n1,2\n", "a.csv")
    assert len(looked) <= MOST_TITLES
