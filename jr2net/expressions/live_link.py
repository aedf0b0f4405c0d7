"""The values of Epic's Live Link Face: 52 blendshapes and nine angles, as its CSV files and its packets have them.

Angles are in radians. In the app's axes positive yaw turns to the subject's right, positive pitch down, positive roll
tilts clockwise in the image: as the eyes' angles of its recordings go with their gaze blendshapes.
"""

from __future__ import annotations

import math

import numpy as np

from jr2net.face.arkit import ARKIT_NAMES

PACKET_SHAPES = (*(name[0].upper() + name[1:] for name in ARKIT_NAMES), "TongueOut")
"""Blendshapes in the order of packets."""

ANGLES = (
    "HeadYaw", "HeadPitch", "HeadRoll", "LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll", "RightEyeYaw", "RightEyePitch",
    "RightEyeRoll",
)  # fmt: skip

_SWAPPED = {"JawLeft": "JawRight", "JawRight": "JawLeft", "MouthLeft": "MouthRight", "MouthRight": "MouthLeft"}
CSV_SHAPES = tuple(_SWAPPED.get(name, name) for name in PACKET_SHAPES)
"""Blendshapes in the order of the app's CSV files, which have right before left for jaw and mouth."""

_CLOCKS = (24, 25, 30, 48, 50, 60, 100, 120, 240)
"""Ticks per second of timecodes in use."""

VALUES = len(PACKET_SHAPES) + len(ANGLES)

# Radians of an eye at a gaze blendshape of 1, by least squares on two recordings of the app.
_IN, _OUT, _UP, _DOWN = 0.6, 0.7, 0.45, 0.6


def head_angles(rotation: np.ndarray) -> np.ndarray:
    """Our Euler angles (T, 3), pitch, yaw and roll, to the app's yaw, pitch and roll (T, 3)."""
    pitch, yaw, roll = np.moveaxis(rotation, -1, 0)
    return np.stack([-yaw, pitch, -roll], -1)


def head_rotation(angles: np.ndarray) -> np.ndarray:
    """The app's yaw, pitch and roll (T, 3) to our Euler angles (T, 3), pitch, yaw and roll."""
    yaw, pitch, roll = np.moveaxis(angles, -1, 0)
    return np.stack([pitch, -yaw, -roll], -1)


def eye_angles(expression: np.ndarray) -> np.ndarray:
    """Yaw, pitch and roll of the left and of the right eye (T, 6), from their gaze blendshapes; expression: (T, 51)."""
    gaze = {
        f"{way}{side}": expression[:, ARKIT_NAMES.index(f"eyeLook{way}{side}")]
        for way in ("In", "Out", "Up", "Down")
        for side in ("Left", "Right")
    }
    inward = {side: _IN * gaze[f"In{side}"] - _OUT * gaze[f"Out{side}"] for side in ("Left", "Right")}
    pitch = {side: _DOWN * gaze[f"Down{side}"] - _UP * gaze[f"Up{side}"] for side in ("Left", "Right")}
    none = np.zeros(len(expression), expression.dtype)
    return np.stack([inward["Left"], pitch["Left"], none, -inward["Right"], pitch["Right"], none], -1)


def packet_values(expression: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """(T, 61) float32 in the order of packets; expression (T, 51), rotation (T, 3) as ``FaceParameters`` has them."""
    tongue = np.zeros((len(expression), 1))
    return np.concatenate([expression, tongue, head_angles(rotation), eye_angles(expression)], 1).astype(np.float32)


def timecode(seconds: float, fps: float) -> str:
    """``HH:MM:SS:FF.fff`` of an instant; durations stay those of the clock.

    FF counts the ticks of a clock in use: of the slowest one that has a tick for every frame, also where ``fps`` is a
    little below it, e.g. 29.97, else of the slowest one that is as fast.
    """
    fast = [clock for clock in _CLOCKS if clock > fps - 0.01] or [math.ceil(fps)]
    clock = next((clock for clock in fast if abs(clock / fps - round(clock / fps)) < 2e-3), fast[0])
    thousandths = round(seconds * clock * 1000)
    second, part = divmod(thousandths, clock * 1000)
    minute, second = divmod(second, 60)
    hour, minute = divmod(minute, 60)
    return f"{hour % 24:02d}:{minute:02d}:{second:02d}:{part // 1000:02d}.{part % 1000:03d}"


def to_csv(expression: np.ndarray, rotation: np.ndarray, seconds: np.ndarray, fps: float) -> bytes:
    """A CSV as the app writes it. expression (T, 51), NaN where no face was seen: then the app writes a timecode and no
    values; rotation (T, 3); seconds (T,) of the frames.

    Timecodes begin at 0, but those of less than a second a frame before a full one: only there a clock shows its rate.
    """
    begin = 0.0 if seconds[-1] >= 1 else 1 - 1 / fps
    order = [PACKET_SHAPES.index(name) for name in CSV_SHAPES] + list(range(len(PACKET_SHAPES), VALUES))
    values = packet_values(expression, rotation)[:, order]
    lines = [",".join(["Timecode", "BlendShapeCount", *CSV_SHAPES, *ANGLES])]
    for row, instant in zip(values.tolist(), seconds.tolist(), strict=True):
        seen = not math.isnan(row[0])
        cells = [str(VALUES), *(f"{value:.6f}" for value in row)] if seen else ["0"]
        lines.append(",".join([timecode(begin + instant, fps), *cells]))
    return ("\r\n".join(lines) + "\r\n").encode()
