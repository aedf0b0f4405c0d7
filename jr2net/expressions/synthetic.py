"""Procedural expression tracks: (T, 51) coefficients in [0, 1] as pure functions of a random generator.

``natural`` imitates footage of people talking: mild, sparse, nearly symmetric. ``large`` has what such footage lacks:
strong combinations, extremes, single shapes and one-sided ones.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from jr2net.face.arkit import ARKIT_NAMES

_INDEX = {name: index for index, name in enumerate(ARKIT_NAMES)}
SHAPES = len(ARKIT_NAMES)

OPPOSING: tuple[tuple[str, ...], ...] = (
    ("jawLeft", "jawRight"),
    ("mouthLeft", "mouthRight"),
    ("eyeLookUpLeft", "eyeLookDownLeft"),
    ("eyeLookUpRight", "eyeLookDownRight"),
    ("eyeLookInLeft", "eyeLookOutLeft"),
    ("eyeLookInRight", "eyeLookOutRight"),
    ("eyeWideLeft", "eyeBlinkLeft"),
    ("eyeWideLeft", "eyeSquintLeft"),
    ("eyeWideRight", "eyeBlinkRight"),
    ("eyeWideRight", "eyeSquintRight"),
    ("browDownLeft", "browOuterUpLeft"),
    ("browDownRight", "browOuterUpRight"),
    ("mouthSmileLeft", "mouthFrownLeft"),
    ("mouthSmileRight", "mouthFrownRight"),
    ("mouthPucker", "mouthStretchLeft"),
    ("mouthPucker", "mouthStretchRight"),
    ("mouthPucker", "mouthSmileLeft"),
    ("mouthPucker", "mouthSmileRight"),
    ("mouthPucker", "mouthFunnel"),
    ("mouthPressLeft", "mouthLowerDownLeft"),
    ("mouthPressRight", "mouthLowerDownRight"),
    ("mouthPressLeft", "mouthUpperUpLeft"),
    ("mouthPressRight", "mouthUpperUpRight"),
    ("mouthRollLower", "mouthLowerDownLeft"),
    ("mouthRollLower", "mouthLowerDownRight"),
    ("mouthRollUpper", "mouthUpperUpLeft"),
    ("mouthRollUpper", "mouthUpperUpRight"),
    ("mouthRollLower", "mouthFunnel"),
    ("mouthRollUpper", "mouthFunnel"),
    ("cheekPuff", "jawOpen"),
)
"""Mutually exclusive shapes; where a sample has both, the smaller coefficient is subtracted from both."""

_OPPOSING = np.array([(_INDEX[one], _INDEX[other]) for one, other in OPPOSING])

_PAIRED = tuple(sorted({name[: -len("Left")] for name in ARKIT_NAMES if name.endswith("Left")} - {"jaw", "mouth"}))
_SINGLE = (
    *(name for name in ARKIT_NAMES if not name.endswith(("Left", "Right"))), "jawLeft", "jawRight", "mouthLeft",
    "mouthRight",
)  # fmt: skip

_ONE_SIDED = tuple(name for name in ARKIT_NAMES if name.endswith(("Left", "Right")) and "Look" not in name)

_PROTOTYPES: tuple[Mapping[str, float], ...] = (
    {"jawOpen": 1.0, "mouthFunnel": 0.4},  # shout
    {"jawOpen": 0.9, "browInnerUp": 0.9, "browOuterUp": 0.9, "eyeWide": 1.0},  # surprise
    {"mouthSmile": 1.0, "cheekSquint": 0.9, "eyeSquint": 0.7},  # grin
    {"mouthSmile": 0.9, "jawOpen": 0.6, "mouthUpperUp": 0.5, "cheekSquint": 0.8, "eyeBlink": 0.5},  # laugh
    {"browDown": 1.0, "noseSneer": 0.9, "mouthUpperUp": 0.6, "mouthPress": 0.3},  # anger
    {"noseSneer": 1.0, "mouthUpperUp": 0.9, "eyeSquint": 0.8, "browDown": 0.7},  # disgust
    {"mouthFrown": 1.0, "browInnerUp": 0.9, "mouthShrugLower": 0.8},  # sadness
    {"mouthStretch": 1.0, "mouthLowerDown": 0.9, "jawOpen": 0.4, "eyeWide": 0.9, "browInnerUp": 0.7},  # fear
    {"mouthPucker": 1.0, "eyeBlink": 0.6},  # kiss
    {"mouthFunnel": 1.0, "jawOpen": 0.5},  # "oh"
    {"cheekPuff": 1.0, "mouthPress": 0.5},  # puffed cheeks
    {"mouthRollLower": 1.0, "mouthRollUpper": 1.0, "mouthPress": 0.6},  # lips rolled in
    {"mouthLowerDown": 1.0, "mouthUpperUp": 1.0, "mouthStretch": 0.6},  # bared teeth
    {"eyeBlink": 1.0, "browDown": 0.8, "cheekSquint": 0.9, "noseSneer": 0.6},  # eyes screwed up
    {"jawForward": 1.0, "mouthShrugLower": 0.6},
    {"mouthShrugUpper": 1.0, "mouthShrugLower": 1.0, "browInnerUp": 0.5},  # shrug
)
"""Typical strong expressions, by stem: a stem of a left/right pair sets both."""


def natural(rng: np.random.Generator, frames: int, fps: float = 25.0) -> np.ndarray:
    """A person talking or listening: (frames, 51), mostly below 0.4, smooth in time at ``fps``."""
    track = np.zeros((frames, SHAPES))
    time = np.arange(frames) / fps

    talking = rng.random() < 0.7
    strength = rng.uniform(0.4, 1.0)
    if talking:
        envelope = np.clip(_smooth_noise(rng, time, 0.7) + 0.8, 0, 1)
        _add(track, "jawOpen", 0.6 * strength * envelope * _syllables(rng, time, 4.0))
        for name, size in (("mouthFunnel", 0.5), ("mouthPucker", 0.5), ("mouthShrugUpper", 0.3),
                           ("mouthShrugLower", 0.3), ("mouthRollLower", 0.4), ("mouthRollUpper", 0.3)):  # fmt: skip
            _add(track, name, size * strength * envelope * _syllables(rng, time, 3.0))
        for stem, size in (("mouthLowerDown", 0.5), ("mouthUpperUp", 0.4), ("mouthStretch", 0.4), ("mouthPress", 0.4)):
            _add_pair(track, rng, stem, size * strength * envelope * _syllables(rng, time, 3.0), 0.1)
        _add(track, "mouthClose", 0.15 * envelope * _syllables(rng, time, 4.0))
    elif rng.random() < 0.3:
        _add(track, "jawOpen", rng.uniform(0.05, 0.3) * np.clip(_smooth_noise(rng, time, 0.3) + 0.6, 0, 1))

    moods = ("mouthSmile", "mouthFrown", "browDown", "mouthDimple", "mouthPress", "eyeSquint", "cheekSquint",
             "browOuterUp", "eyeWide", "noseSneer")  # fmt: skip
    sizes = (0.7, 0.4, 0.5, 0.35, 0.4, 0.4, 0.4, 0.5, 0.4, 0.25)
    for stem, size in zip(moods, sizes):
        if rng.random() < (0.5 if stem == "mouthSmile" else 0.3):
            values = size * rng.beta(1.5, 2.5) * np.clip(_smooth_noise(rng, time, 0.3) + 0.7, 0, 1)
            _add_pair(track, rng, stem, values, 0.15)
    for name, size in (("browInnerUp", 0.5), ("jawForward", 0.2), ("jawLeft", 0.12), ("jawRight", 0.12),
                       ("mouthLeft", 0.15), ("mouthRight", 0.15)):  # fmt: skip
        if rng.random() < 0.25:
            _add(track, name, size * rng.random() * np.clip(_smooth_noise(rng, time, 0.4) + 0.5, 0, 1))

    _gaze(track, rng, time, reach=0.35)
    _blinks(track, rng, time)
    return plausible(track)


def large(rng: np.random.Generator, frames: int, fps: float = 25.0) -> np.ndarray:
    """Range of motion: (frames, 51), interpolated between strong key poses that are held for a while; smooth in time.

    ``large_pose`` draws the key poses.
    """
    time = np.arange(frames) / fps
    hold_s = rng.uniform(0.4, 0.8)
    keys = [large_pose(rng) for _ in range(int(np.ceil(time[-1] / hold_s)) + 2)]
    position = time / hold_s + rng.random()
    first = np.minimum(position.astype(int), len(keys) - 2)
    fraction = _ease(np.clip(2 * (position - first) - 0.5, 0, 1))[:, None]
    poses = np.array(keys)
    return plausible(poses[first] * (1 - fraction) + poses[first + 1] * fraction)


def large_pose(rng: np.random.Generator) -> np.ndarray:
    """One strong expression (51,): 2 to 6 shapes, a typical expression, one shape alone, or two one-sided shapes."""
    kind = rng.choice(4, p=[0.4, 0.3, 0.2, 0.1])
    pose = np.zeros(SHAPES)
    if kind == 0:
        _combine(pose, rng, int(rng.integers(2, 7)))
        if rng.random() < 0.25:  # the jaw, which most strong expressions move
            _set_shape(pose, rng, "jawOpen", rng.uniform(0.4, 1.0))
    elif kind == 1:
        strength = rng.uniform(0.7, 1.0)
        for stem, size in _PROTOTYPES[int(rng.integers(len(_PROTOTYPES)))].items():
            _set_shape(pose, rng, stem, min(1.0, strength * size * rng.uniform(0.85, 1.15)))
        if rng.random() < 0.4:
            _combine(pose, rng, 1)
    elif kind == 2:
        _set_shape(pose, rng, _random_stem(rng), rng.uniform(0.6, 1.0))
    else:
        for name in rng.choice(_ONE_SIDED, 2, replace=False):
            pose[_INDEX[name]] = rng.uniform(0.6, 1.0)
    if rng.random() < 0.3:  # a large expression often comes with a change of gaze
        _gaze(pose[None], rng, np.zeros(1), reach=0.9)
    return plausible(pose[None])[0]


def spontaneous(rng: np.random.Generator) -> np.ndarray:
    """An expression as captures of people record them (51,): up to three typical expressions of any strength, over
    small activations of many shapes, with a gaze that the lids follow.

    In captures most shapes are a little active at any time, shapes of all strengths occur, and opposing ones occur
    together.
    """
    pose = np.zeros(SHAPES)
    for _ in range(rng.integers(0, 4)):
        strength = rng.beta(1.2, 1.5)
        for stem, size in _PROTOTYPES[int(rng.integers(len(_PROTOTYPES)))].items():
            if stem != "eyeBlink":
                _raise_shape(pose, rng, stem, strength * size * rng.uniform(0.5, 1.2))
    activity = rng.beta(1, 2)
    for stem in _PAIRED + _SINGLE:
        if not stem.startswith(("eyeLook", "eyeBlink")) and rng.random() < 0.5:
            _raise_shape(pose, rng, stem, activity * rng.beta(0.8, 2.5))
    if rng.random() < 0.5:
        _raise_shape(pose, rng, "jawOpen", rng.beta(1, 2.5))
    _gaze(pose[None], rng, np.zeros(1), reach=rng.uniform(0.3, 1.0))
    for side in ("Left", "Right"):
        pose[_INDEX[f"eyeWide{side}"]] += 0.5 * pose[_INDEX[f"eyeLookUp{side}"]] * rng.random()
    if rng.random() < 0.3:
        _raise_shape(pose, rng, "eyeBlink", rng.beta(1.2, 1))
    pose = np.clip(pose, 0, 1)
    pose[_INDEX["mouthClose"]] = min(pose[_INDEX["mouthClose"]], pose[_INDEX["jawOpen"]])
    return pose.astype(np.float32)


def sweep(name: str, frames: int) -> np.ndarray:
    """One shape from 0 to 1, all others 0: (frames, 51). ``mouthClose`` also sets ``jawOpen``, which it requires."""
    track = np.zeros((frames, SHAPES), np.float32)
    track[:, _INDEX[name]] = np.linspace(0, 1, frames)
    if name == "mouthClose":
        track[:, _INDEX["jawOpen"]] = track[:, _INDEX[name]]
    return track


def plausible(track: np.ndarray) -> np.ndarray:
    """Clips coefficients (T, 51) to [0, 1], removes opposing shapes and limits mouthClose to jawOpen; float32."""
    track = np.clip(track, 0, 1)
    # Coefficients only decrease below: a pair that is not active now cannot become so.
    active = ((track[:, _OPPOSING[:, 0]] > 0) & (track[:, _OPPOSING[:, 1]] > 0)).any(0)
    for a, b in _OPPOSING[active]:
        excess = np.minimum(track[:, a], track[:, b])
        track[:, a] -= excess
        track[:, b] -= excess
    close = _INDEX["mouthClose"]
    track[:, close] = np.minimum(track[:, close], track[:, _INDEX["jawOpen"]])
    return track.astype(np.float32)


def _combine(pose: np.ndarray, rng: np.random.Generator, count: int) -> None:
    """Sets ``count`` random shapes or pairs to 0.5 … 1, in place."""
    for _ in range(count):
        _set_shape(pose, rng, _random_stem(rng), rng.uniform(0.5, 1.0))


def _random_stem(rng: np.random.Generator) -> str:
    stems = _PAIRED + _SINGLE
    return stems[int(rng.integers(len(stems)))]


def _set_shape(pose: np.ndarray, rng: np.random.Generator, stem: str, value: float) -> None:
    """Sets a shape, or both shapes of a pair, in place: usually nearly equal, sometimes one side only."""
    if stem in _INDEX:
        pose[_INDEX[stem]] = value
        if stem == "mouthClose":  # it closes the lips over an open jaw
            pose[_INDEX["jawOpen"]] = max(pose[_INDEX["jawOpen"]], value)
        return
    left, right = _INDEX[stem + "Left"], _INDEX[stem + "Right"]
    if stem in ("eyeLookIn", "eyeLookOut"):  # eyes turn together: one in, the other out
        other = "eyeLookOut" if stem == "eyeLookIn" else "eyeLookIn"
        right = _INDEX[other + "Right"]
    if rng.random() < (0.0 if stem.startswith("eyeLook") else 0.25):
        pose[left if rng.random() < 0.5 else right] = value
    else:
        pose[left] = value
        pose[right] = value * rng.uniform(0.85, 1.0)


def _raise_shape(pose: np.ndarray, rng: np.random.Generator, stem: str, value: float) -> None:
    """Raises a shape, or both shapes of a pair, to ``value`` at least, in place: usually nearly equal on both sides."""
    if stem in _INDEX:
        pose[_INDEX[stem]] = max(pose[_INDEX[stem]], value)
        return
    balance = rng.normal(0, 0.08) if rng.random() < 0.8 else rng.uniform(-1, 1)
    for side, sign in (("Left", 1), ("Right", -1)):
        pose[_INDEX[stem + side]] = max(pose[_INDEX[stem + side]], value * (1 + min(0.0, sign * balance)))


def _add(track: np.ndarray, name: str, values: np.ndarray | float) -> None:
    track[:, _INDEX[name]] += values


def _add_pair(track: np.ndarray, rng: np.random.Generator, stem: str, values: np.ndarray, asymmetry: float) -> None:
    """Adds values to both shapes of a pair, one side stronger by up to ``asymmetry``, in place."""
    balance = asymmetry * rng.uniform(-1, 1)
    _add(track, stem + "Left", values * (1 + balance))
    _add(track, stem + "Right", values * (1 - balance))


def _gaze(track: np.ndarray, rng: np.random.Generator, time: np.ndarray, reach: float) -> None:
    """Sets a gaze of both eyes that jumps every 0.5 to 1.5 s; looking down lowers the eyelids a little. In place."""
    jumps = np.floor(time / rng.uniform(0.5, 1.5) + rng.random()).astype(int)
    targets = np.clip(rng.normal(0, 0.5, (int(jumps.max()) + 1, 2)), -1, 1) * reach
    across, up = targets[jumps].T  # across: to the subject's left
    for side, turn in (("Left", across), ("Right", -across)):
        track[:, _INDEX[f"eyeLookOut{side}"]] = np.maximum(turn, 0)
        track[:, _INDEX[f"eyeLookIn{side}"]] = np.maximum(-turn, 0)
        track[:, _INDEX[f"eyeLookUp{side}"]] = np.maximum(up, 0)
        track[:, _INDEX[f"eyeLookDown{side}"]] = np.maximum(-up, 0)
        track[:, _INDEX[f"eyeBlink{side}"]] += 0.3 * np.maximum(-up, 0)


def _blinks(track: np.ndarray, rng: np.random.Generator, time: np.ndarray) -> None:
    """Adds a blink of 0.3 s every few seconds, and a constant closure of the eyelids in between. In place."""
    blink_time = -rng.exponential(2.0)
    eyelids = np.full(len(time), max(0.0, rng.normal(0.03, 0.06)))
    while blink_time < time[-1]:
        blink = _ease(np.clip(1 - np.abs(time - blink_time) / 0.15, 0, 1)) * rng.uniform(0.8, 1.0)
        eyelids = np.maximum(eyelids, blink)
        blink_time += 0.4 + rng.exponential(2.5)
    for side in ("Left", "Right"):
        column = _INDEX[f"eyeBlink{side}"]
        track[:, column] = np.maximum(track[:, column], eyelids)


def _smooth_noise(rng: np.random.Generator, time: np.ndarray, rate: float) -> np.ndarray:
    """Smooth noise within about ±1: four sines around ``rate`` Hz with random phases."""
    frequency, phase = rate * rng.uniform(0.4, 1.6, 4), rng.uniform(0, 2 * np.pi, 4)
    return np.sin(2 * np.pi * np.outer(time, frequency) + phase).sum(1) / 2.5


def _syllables(rng: np.random.Generator, time: np.ndarray, rate: float) -> np.ndarray:
    """Noise at ``rate`` Hz in [0, 1] that is 0 half of the time, like the syllables of speech."""
    return np.clip(1.2 * _smooth_noise(rng, time, rate) + 0.1, 0, 1) * rng.uniform(0.5, 1.0)


def _ease(t: np.ndarray) -> np.ndarray:
    """Smoothstep from [0, 1] to [0, 1]."""
    return t * t * (3 - 2 * t)
