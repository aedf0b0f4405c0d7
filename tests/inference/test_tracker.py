"""Tracking: one person through a video, gaps, cuts, rates, smoothing, the resting face, exports."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from jr2net.expressions.tracks import parse_csv, read_capture
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.model import FaceModel
from jr2net.images.face_detector import Face
from jr2net.images.video import VideoFrame
from jr2net.inference.assembly import TrackedFrame, assemble, frame_rate
from jr2net.inference.face import OutputError
from jr2net.inference.face_track import FaceTrack, NeutralError
from jr2net.inference.following import FaceChoice, FaceFollower
from jr2net.inference.messages import Fit, ModelInfo
from jr2net.inference.photo import NoFaceError
from jr2net.inference.tracker import LiveSmoother, Tracker

INFO = ModelInfo("recaugnet", "0" * 64, 64, 5.0)
JAW, BLINK = ARKIT_NAMES.index("jawOpen"), ARKIT_NAMES.index("eyeBlinkLeft")


def landmarks(x: float, y: float, side: float) -> np.ndarray:
    """68 points in a square, eyes level."""
    points = np.stack([np.linspace(-0.5, 0.5, 68), np.linspace(-0.5, 0.5, 68)], -1)
    points[36:42], points[42:48] = (-0.2, -0.1), (0.2, -0.1)
    return (points * side + (x, y)).astype(np.float32)


def picture(*centres: tuple[float, float], level: float = 1.0, sizes: tuple[float, ...] = ()) -> np.ndarray:
    """Grey, with a bright square for each face, brighter the further its mouth is open."""
    image = np.full((120, 200, 3), 60, np.uint8)
    for (x, y), side in zip(centres, sizes or (40,) * len(centres)):
        h = int(side / 2)
        image[int(y) - h : int(y) + h, int(x) - h : int(x) + h] = int(150 + 100 * level)
    return image


def detect(image: np.ndarray) -> list[Face]:
    """The bright squares of an image, the largest first."""
    from scipy.ndimage import find_objects, label

    faces = []
    for rows, columns in find_objects(label(image[..., 0] > 120)[0]):
        side = min(rows.stop - rows.start, columns.stop - columns.start)
        x, y = (columns.start + columns.stop) / 2, (rows.start + rows.stop) / 2
        if side > 5:
            faces.append(Face((x - side / 2, y - side / 2, x + side / 2, y + side / 2), 0.9, landmarks(x, y, side)))
    return sorted(faces, key=lambda face: -face.area)


class Network:
    """A reconstruction network that reads the jaw from the brightness of the crop's middle."""

    info = INFO
    camera = SimpleNamespace(size=64)

    def __init__(self, model: FaceModel) -> None:
        self.model = model

    def fit(self, crops: list[np.ndarray]) -> list[Fit]:
        fits = []
        for crop in crops:
            expression = np.zeros(51, np.float32)
            expression[JAW] = np.clip((crop[28:36, 28:36].mean() - 150) / 100, 0, 1)
            face = {
                "identity": np.ones(4, np.float32),
                "albedo": np.zeros(3, np.float32),
                "light": np.zeros((9, 3), np.float32),
                "expression": expression,
                "rotation": np.zeros(3, np.float32),
                "translation": np.array([0, 0, 1000], np.float32),
            }
            fits.append(Fit(face, np.zeros((68, 2), np.float32), INFO))
        return fits


@pytest.fixture
def tracker(toy_model: FaceModel) -> Tracker:
    return Tracker(Network(toy_model), detect)  # type: ignore[arg-type]


def encode(images: list[np.ndarray], instants: list[float]) -> bytes:
    """An MP4 whose frames are shown at these seconds."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=60)
        stream.width, stream.height, stream.pix_fmt = images[0].shape[1], images[0].shape[0], "yuv444p"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.options = {"crf": "5", "bf": "0"}
        for image, seconds in zip(images, instants):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(1000 * seconds), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The squares of these pictures count as faces, which our detector, asked for a confidence, would not say."""
    monkeypatch.setattr(FaceFollower, "confidence", lambda self, photo, landmarks: 0.9)


def track_of(tracker: Tracker, images: list[np.ndarray], fps: float = 30.0, **arguments: object) -> FaceTrack:
    frames = [VideoFrame(number / fps, image) for number, image in enumerate(images)]
    network = tracker.reconstructor
    follow = FaceFollower(tracker.detector, fps, FaceChoice.of(**arguments))  # type: ignore[arg-type]
    return assemble(tracker.track(frames, follow), "clip", network.model, network.info)


def test_a_frame_rate_that_varies_keeps_its_instants(tracker: Tracker) -> None:
    """Ten frames a second for two seconds, then sixty: the mouth opens at 1.0 s and at 2.5 s."""
    instants = [n / 10 for n in range(20)] + [2 + n / 60 for n in range(60)]
    images = [picture((100, 60), level=float(1.0 <= t < 1.5 or 2.5 <= t < 2.75)) for t in instants]
    track = tracker(encode(images, instants), smooth="none")
    opens = track.seconds[np.flatnonzero(np.diff((track.expression[:, JAW] > 0.5).astype(int)) == 1) + 1]
    assert track.fps == 60 and len(track) / track.fps == pytest.approx(3.0, abs=0.04)
    assert opens == pytest.approx([1.0, 2.5], abs=0.06)


def test_the_same_person_is_tracked_among_several(tracker: Tracker) -> None:
    """The larger face has its mouth shut; the other one is chosen, and the two walk."""

    def frame(n: int) -> np.ndarray:
        image = picture((50 + n, 60), level=0.0, sizes=(50,))
        other = picture((150 - n / 2, 60), level=1.0, sizes=(30,))
        return np.where(other > 120, other, image)

    images = [frame(n) for n in range(20)]
    assert track_of(tracker, images).expression[:, JAW].max() < 0.1
    assert track_of(tracker, images, face=1).expression[:, JAW].min() > 0.9
    assert track_of(tracker, images, box=(135, 45, 165, 75)).expression[:, JAW].min() > 0.9


def test_gaps_are_marked_and_said(tracker: Tracker, tmp_path: Path) -> None:
    images = [picture((100, 60)) if not 20 <= n < 50 else picture() for n in range(60)]
    track = track_of(tracker, [picture(), *images])
    assert (~track.seen).sum() == 31 and len(track) == 61
    assert track.notes == ("31 of 61 frames show no face (longest gap 1.0 s)",)
    assert np.array_equal(track.smoothed("two-sided").seen, track.seen)
    track.save(tmp_path / "take.csv")
    capture = read_capture(str(tmp_path / "take.csv"))
    assert len(capture) == 61 and np.isfinite(capture.expression).all()
    with pytest.raises(NoFaceError, match="none of its 5 frames shows a face"):
        track_of(tracker, [picture()] * 5)


def test_frames_of_low_confidence_are_marked_and_said(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    sure = iter([0.9] * 5 + [0.2] * 3 + [0.9] * 4)
    monkeypatch.setattr(FaceFollower, "confidence", lambda self, photo, landmarks: next(sure))
    track = track_of(tracker, [picture((100, 60))] * 12)
    assert np.flatnonzero(track.doubtful).tolist() == [5, 6, 7]
    (note,) = track.notes
    assert note.startswith("3 of 12 frames have a confidence below 0.5 (the first at 0.2 s)")
    assert (track.frame_json(5)["confidence"], track.frame_json(5)["doubtful"]) == (0.2, True)
    assert track.frame_json(0)["confidence"] == 0.9 and "doubtful" not in track.frame_json(0)


def test_smoothing_begins_anew_at_a_cut(tracker: Tracker) -> None:
    images = [picture((60, 60), level=0.0)] * 20
    images += [np.where(picture((140, 60)) > 120, np.uint8(250), np.uint8(10))] * 20
    track = track_of(tracker, images)
    assert np.flatnonzero(track.begins).tolist() == [20] and track.notes == ("1 cut: smoothing begins anew",)
    for kind in ("two-sided", "causal"):
        smooth = track.smoothed(kind).expression[:, JAW]  # type: ignore[arg-type]
        assert smooth[:20].max() < 0.05 and smooth[20:].min() > 0.9


def signal(frames: int = 300, fps: float = 30.0, noise: float = 0.05, model: FaceModel | None = None) -> FaceTrack:
    """A jaw that opens and shuts, and a lid that hangs."""
    seconds, rng = np.arange(frames) / fps, np.random.default_rng(0)
    expression = np.zeros((frames, 51), np.float32)
    expression[:, JAW] = 0.4 + 0.3 * np.sin(2 * np.pi * 0.7 * seconds) + noise * rng.standard_normal(frames)
    expression[:, BLINK] = 0.2
    zeros = np.zeros((frames, 3), np.float32)
    return FaceTrack(
        name="signal",
        fps=fps,
        seconds=seconds,
        expression=expression,
        rotation=zeros,
        translation=zeros + np.array([0, 0, 1000], np.float32),
        begins=np.zeros(frames, bool),
        still={"identity": zeros[:4, 0], "albedo": zeros[0], "light": np.zeros((9, 3), np.float32)},
        model=model,  # type: ignore[arg-type]
        network=INFO,
    )


def test_two_sided_smoothing_has_no_lag_and_less_noise() -> None:
    from jr2net.evaluation.metrics.delay import delay

    raw, truth = signal(), signal(noise=0.0).expression[:, [JAW]].astype(float)

    def jitter(track: FaceTrack) -> float:
        return float(np.diff(track.expression[:, JAW] - truth[:, 0], 2).std())

    both, causal = raw.smoothed("two-sided"), raw.smoothed("causal")
    assert abs(delay(both.expression[:, [JAW]].astype(float), truth, 10)) < 0.5
    assert 0.5 < delay(causal.expression[:, [JAW]].astype(float), truth, 10) < 6
    assert jitter(both) < 0.5 * jitter(raw) and jitter(causal) < 0.5 * jitter(raw)
    assert raw.smoothed("none") is raw


def test_live_smoothing_is_causal_smoothing() -> None:
    raw = signal(60)
    smooth, shown = LiveSmoother(30.0), []
    for frame in range(60):
        face = {name: getattr(raw, name)[frame] for name in ("expression", "rotation", "translation")}
        shown.append(smooth(TrackedFrame(raw.seconds[frame], face)).face["expression"])  # type: ignore[index]
    np.testing.assert_allclose(np.stack(shown), raw.smoothed("causal").expression, atol=1e-6)
    assert smooth(TrackedFrame(2.0, None)).face is None


def test_the_resting_face_is_subtracted() -> None:
    track = signal(noise=0.0)
    rested = track.relative_to("auto")
    assert rested.expression[:, BLINK].max() == 0 and rested.expression[:, JAW].min() < 0.03
    assert rested.expression[:, JAW].max() == pytest.approx((0.7 - 0.1) / 0.9, abs=0.03)
    at_top = track.relative_to(0.357)  # the sine's top
    assert at_top.expression[:, JAW].max() < 0.02
    with pytest.raises(NeutralError, match=r"the video lasts 10\.00 s"):
        track.relative_to(11)
    hidden = replace(track, expression=np.where(np.arange(300)[:, None] < 90, np.nan, track.expression))
    with pytest.raises(NeutralError, match="no face is seen there"):
        hidden.relative_to(1.0)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([1 / 30] * 50, 30),
        ([0.033, 0.033, 0.034] * 20, 30),
        ([1001 / 30000] * 50, 30000 / 1001),
        ([0.04] * 50, 25),
        ([0.1] * 20 + [1 / 60] * 60, 60),
        ([1 / 120] * 99, 60),
        ([1 / 12.5] * 30, 12.5),
        ([], 30),
    ],
)
def test_rates(steps: list[float], expected: float) -> None:
    assert frame_rate(np.concatenate([[0.0], np.cumsum(steps)])) == pytest.approx(expected, rel=1e-3)


def glb_parts(content: bytes) -> tuple[dict, bytes]:
    length = struct.unpack("<I", content[12:16])[0]
    return json.loads(content[20 : 20 + length]), content[28 + length :]


def animation_of(content: bytes) -> tuple[dict, Callable[[int], np.ndarray]]:
    """The document of a GLB, and its accessors' float values by their number."""
    document, binary = glb_parts(content)

    def values(accessor: int) -> np.ndarray:
        described = document["accessors"][accessor]
        view = document["bufferViews"][described["bufferView"]]
        return np.frombuffer(binary, "<f4", view["byteLength"] // 4, view["byteOffset"])

    return document, values


def test_the_mesh_acts(toy_model: FaceModel) -> None:
    track = signal(30, model=toy_model)
    document, values = animation_of(track.to_glb())
    (animation,) = document["animations"]
    assert [channel["target"]["path"] for channel in animation["channels"]] == ["weights", "rotation", "translation"]
    assert document["meshes"][0]["extras"]["targetNames"] == list(ARKIT_NAMES)
    weights = values(animation["samplers"][0]["output"]).reshape(30, 51)
    np.testing.assert_allclose(weights[:, JAW], track.expression[:, JAW], atol=1e-6)
    np.testing.assert_allclose(values(animation["samplers"][0]["input"]), track.seconds, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(values(animation["samplers"][1]["output"]).reshape(-1, 4), axis=1), 1)


def test_the_mesh_holds_still_in_long_gaps_as_captures_do(toy_model: FaceModel) -> None:
    track = signal(90, model=toy_model)
    track.expression[10:70], track.rotation[10:70], track.translation[10:70] = np.nan, np.nan, np.nan
    document, values = animation_of(track.to_glb())
    weights = values(document["animations"][0]["samplers"][0]["output"]).reshape(90, 51)
    assert (weights[10:55] == weights[9]).all()
    np.testing.assert_allclose(weights, parse_csv(track.to_csv(), "take.csv").expression, atol=1e-5)


def test_files(toy_model: FaceModel, tmp_path: Path) -> None:
    track = signal(10, model=toy_model)
    track.expression[4] = np.nan
    for name in ("a.json", "a.csv", "a.glb"):
        track.save(tmp_path / name)
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["names"] == list(ARKIT_NAMES) and len(found["frames"]) == 10
    assert found["frames"][4]["expression"] is None and len(found["frames"][5]["expression"]) == 51
    with pytest.raises(OutputError, match=r"written as \.csv, \.json, \.glb"):
        track.save(tmp_path / "a.bvh")
