"""Files that hold several captures, and captures whose frames follow each other without a list around them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_other_producers import NAMED, ROWS, VALUES

from jr2net.expressions.tracks import TrackError, parse_capture
from jr2net.face.arkit import ARKIT_NAMES

TIMED = [{"time": n / 60, "blendShapes": frame} for n, frame in enumerate(NAMED)]
TAKES: dict[str, object] = {
    "a list of takes": [{"name": f"take {n}", "fps": 60, "frames": TIMED[n : n + 60]} for n in (0, 60, 120)],
    "takes without times": [{"name": f"take {n}", "frames": NAMED[n : n + 20]} for n in (0, 20)],
    "lists of frames": [TIMED[:60], TIMED[60:]],
    "short takes": [TIMED[:2], TIMED[2:4]],
    "deeper": {"session": {"takes": {"a": {"frames": TIMED[:60]}, "b": {"frames": TIMED[60:]}}}},
    "raw and smooth": {"fps": 60, "raw": NAMED, "smooth": NAMED},
    "columns": [dict(zip(ARKIT_NAMES, VALUES[n : n + 60].T.tolist())) for n in (0, 60)],
    "matrices": [{"facsNames": ARKIT_NAMES, "weightMat": ROWS[n : n + 60]} for n in (0, 60)],
    "matrices under the same names": {"names": ARKIT_NAMES, "takes": [{"rows": ROWS[:60]}, {"rows": ROWS[60:]}]},
}


@pytest.mark.parametrize("kind", TAKES)
def test_several_captures_in_a_file_are_refused(kind: str) -> None:
    with pytest.raises(TrackError, match=r"a\.json: holds several captures \('.+', '.+'\); put each into"):
        parse_capture(json.dumps(TAKES[kind]).encode(), "a.json")


def test_one_capture_in_a_list_is_read() -> None:
    track = parse_capture(json.dumps([{"name": "take", "fps": 60, "frames": NAMED}]).encode(), "a.json")
    assert track.fps == 60 and np.array_equal(track.expression, VALUES)


@pytest.mark.parametrize("between", ["", "\n", ",\n", " "])
def test_json_values_that_follow_each_other(between: str) -> None:
    text = between.join(map(json.dumps, TIMED)) + between
    assert np.array_equal(parse_capture(text.encode(), "a.json").expression, VALUES)
    with pytest.raises(TrackError, match=r"a\.json: line \d+: not JSON .* it may be cut off"):
        parse_capture(text[:-300].encode(), "a.json")
