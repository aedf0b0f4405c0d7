"""Datasets in miniature: pictures with a red square for a face, the detector that finds it, and their folders."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from landmark_files import face_points

from jr2net.images.arrays import encode_jpeg
from jr2net.images.face_detector import Face
from jr2net.images.video import encode_mp4


def face_shape() -> np.ndarray:
    """68 landmarks (68, 2) of a plain frontal face, in fractions of their box, which is a square."""
    points = face_points()
    return (points - points.min(0)) / np.ptp(points, 0)


def picture(
    width: int = 160, height: int = 120, face: tuple[float, float, float] | None = (80, 60, 60), seed: int = 0
) -> np.ndarray:
    """A picture (H, W, 3) uint8 of a room; face: (x, y) of the middle of a square face and its side."""
    rng = np.random.default_rng(seed)
    rough = rng.integers(20, 150, (6, 8, 3)).astype(np.uint8)
    image = cv2.resize(rough, (width, height), interpolation=cv2.INTER_LINEAR)
    image[..., 0] //= 2
    if face is not None:
        x, y, side = face
        left, top = round(x - side / 2), round(y - side / 2)
        rows, columns = np.mgrid[0 : round(side), 0 : round(side)]
        skin = np.where(((rows // 4 + columns // 4) % 2)[..., None], [255, 90, 90], [190, 10, 10])
        spots = np.random.default_rng(seed + 1).integers(0, round(side) - 8, (6, 2))
        for spot in spots:
            skin[spot[0] : spot[0] + 8, spot[1] : spot[1] + 8] = [255, 60, 60]
        low = max(0, top), max(0, left)
        high = min(height, top + round(side)), min(width, left + round(side))
        image[low[0] : high[0], low[1] : high[1]] = skin[low[0] - top : high[0] - top, low[1] - left : high[1] - left]
    return image


def landmarks_of(face: tuple[float, float, float]) -> np.ndarray:
    """The 68 landmarks of a square face."""
    x, y, side = face
    return (face_shape() * side + [x - side / 2, y - side / 2]).astype(np.float32)


def find_red(image: np.ndarray) -> list[Face]:
    """A detector of red squares."""
    red = (image[..., 0] > 150) & (image[..., 1].astype(int) < image[..., 0].astype(int) - 80)
    closed = cv2.morphologyEx(red.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5)))
    count, _, boxes, _ = cv2.connectedComponentsWithStats(closed)
    found = []
    for left, top, width, height, _ in boxes[1:count]:
        if min(width, height) >= 12:
            box = (float(left), float(top), float(left + width), float(top + height))
            found.append(Face(box, 1.0, (face_shape() * [width, height] + [left, top]).astype(np.float32)))
    return sorted(found, key=lambda face: -face.area)


def video(
    faces: Iterable[tuple[float, float, float] | None], seed: int = 0, width: int = 160, height: int = 120
) -> bytes:
    """An MP4 with one face a frame at 25 frames per second."""
    frames = (picture(width, height, face, seed) for face in faces)
    return b"".join(encode_mp4(frames, 25.0, None))


def walk(count: int, start: float = 70.0) -> list[tuple[float, float, float] | None]:
    """A face that moves to the right."""
    return [(start + number, 60.0, 60.0) for number in range(count)]


def write(folder: Path, name: str, content: bytes | str | np.ndarray) -> None:
    """Writes a file of a dataset; a picture as JPEG."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = encode_jpeg(content) if isinstance(content, np.ndarray) else content
    path.write_bytes(encoded.encode() if isinstance(encoded, str) else encoded)


def voxceleb2(folder: Path, people: int = 3, clips: int = 2, frames: int = 8) -> None:
    """``dev/mp4/id00010/video/00001.mp4`` with tracks beside; one more person in ``test``."""
    for person in range(people + 1):
        part = "test" if person == people else "dev"
        for clip in range(clips):
            name = f"id{person + 10:05d}/video{person}/{clip + 1:05d}"
            write(folder, f"{part}/mp4/{name}.mp4", video(walk(frames), seed=10 * person + clip))
            write(folder, f"{part}/txt/{name}.txt", box_track(frames))


def box_track(frames: int) -> str:
    head = "Identity  : \tid00010\nReference : \tabc\nOffset    : \t0\nFV Conf   : \t15.0\t(1)\nASD Conf  : \t4.2\n\n"
    rows = "".join(f"{number + 100:06d} \t0.2 \t0.2 \t0.6 \t0.6 \n" for number in range(frames))
    return f"{head}FRAME \tX \tY \tW \tH \n{rows}"
