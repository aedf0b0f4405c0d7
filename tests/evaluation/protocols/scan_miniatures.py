"""Miniatures of the datasets of scans, filmed in the studio: photos, and scans of another topology with known truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from jr2net.config import StudioConfig
from jr2net.data.scans.mesh import NO_FACES
from jr2net.evaluation.metrics.geometry import surface_vertices
from jr2net.face.model import FaceModel
from jr2net.studio.film import film_people


@dataclass(frozen=True)
class Sample:
    """A frame of the studio: its photo with the face's box, and the true coefficients and vertices."""

    person: int
    frame: int
    photo: bytes
    box: tuple[float, ...]
    identity: np.ndarray
    expression: np.ndarray
    vertices: np.ndarray


def film(model: FaceModel, people: int, frames: int, size: int = 96) -> Iterator[Sample]:
    config = StudioConfig(test_frames=frames, variety=0.0)
    for person, row in enumerate(film_people(model, config, 0, 0, people, "large", size)):
        assert row.truth is not None
        for frame in range(frames):
            marks = row.landmarks[frame]
            box = (*marks[17:].min(0), *marks.max(0))
            identity, expression = row.truth.identity, row.truth.expression[frame]
            yield Sample(
                person,
                frame,
                row.images[frame],
                tuple(map(float, box)),
                identity,
                expression,
                shape_of(model, identity, expression),
            )


def shape_of(model: FaceModel, identity: np.ndarray, expression: np.ndarray) -> np.ndarray:
    rows = (torch.as_tensor(np.asarray(row, np.float32))[None] for row in (identity, expression))
    return model.shape(*rows)[0].double().numpy()


def scan_of(model: FaceModel, vertices: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The skin as a scanner sees it, turned and moved: vertices and triangles of another topology (each is split in
    three, in another order), and the 68 landmarks."""
    kept, faces = surface_vertices(model).numpy(), model.faces.numpy()
    faces = faces[kept[faces].all(1)]
    points = np.vstack([vertices, vertices[faces].mean(1)])
    middle = len(vertices) + np.arange(len(faces))
    split = np.vstack([np.stack([faces[:, k], faces[:, (k + 1) % 3], middle], 1) for k in range(3)])
    used = np.random.default_rng(seed).permutation(np.unique(split))
    number = np.zeros(len(points), np.int64)
    number[used] = np.arange(len(used))
    turn = Rotation.from_euler("xyz", np.random.default_rng(seed).uniform(-0.5, 0.5, 3))
    shift = np.array([20, -50, 900.0])
    return turn.apply(points[used]) + shift, number[split], turn.apply(vertices[model.landmarks.numpy()]) + shift


THINNED = 6
"""One in so many vertices of the other topology is a point of a scan."""


def obj(vertices: np.ndarray, faces: np.ndarray = NO_FACES) -> str:
    lines = ["v {:.5f} {:.5f} {:.5f}".format(*row) for row in vertices.tolist()]
    return "\n".join([*lines, *("f {} {} {}".format(*row) for row in (faces + 1).tolist()), ""])


def rows(points: np.ndarray) -> str:
    return "\n".join(" ".join(f"{value:.5f}" for value in row) for row in points.tolist()) + "\n"


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def facewarehouse(root: Path, model: FaceModel, samples: list[Sample], scale: float = 1.0) -> None:
    """Tester_1/TrainingPose/pose_0.obj, .png and .txt, and boxes.csv."""
    boxes = []
    for seed, sample in enumerate(samples):
        name = f"Tester_{sample.person + 1}/TrainingPose/pose_{sample.frame}"
        vertices, _, marks = scan_of(model, sample.vertices, seed)
        write(root / f"{name}.obj", obj(scale * vertices[::THINNED]))
        write(root / f"{name}.txt", rows(scale * marks))
        write(root / f"{name}.png", sample.photo)
        boxes.append(",".join([name, *(f"{value:.2f}" for value in sample.box)]))
    write(root / "boxes.csv", "\n".join(["name,left,top,right,bottom", *boxes]))


def frgc(root: Path, model: FaceModel, samples: list[Sample], step: float = 4.0) -> None:
    """Spring2004/02463d100.abs with holes, and the landmarks as pixels; 02463d101.png is the photo."""
    boxes = []
    for sample in samples:
        recording = 100 + 2 * sample.frame
        name = f"Spring2004/{2463 + sample.person:05d}d{recording}"
        grid = np.mgrid[110:-110:-step, -90:90:step].astype(float)
        kept = surface_vertices(model).numpy()
        points = sample.vertices[kept]
        flag, z = range_of(points, grid)
        lines = [flag, grid[1], grid[0], np.where(flag == 1, z - 1500, -999999)]
        numbers = [" ".join(f"{value:.4f}" for value in plane.ravel()) for plane in (lines[0].astype(int), *lines[1:])]
        numbers[0] = " ".join(str(int(value)) for value in flag.ravel())
        size = grid.shape[1:]
        write(
            root / f"{name}.abs", "\n".join([f"{size[0]} rows", f"{size[1]} columns", "pixels (flag X Y Z):", *numbers])
        )
        marks = sample.vertices[model.landmarks.numpy()]
        pixels = np.stack([(marks[:, 0] + 90) / step, (110 - marks[:, 1]) / step], 1)
        write(root / f"{name}.txt", rows(pixels))
        write(root / f"Spring2004/{2463 + sample.person:05d}d{recording + 1}.png", sample.photo)
        boxes.append(",".join([name, *(f"{value:.2f}" for value in sample.box)]))
    write(root / "boxes.csv", "\n".join(boxes))


def range_of(points: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flag and depth by pixel: the frontmost of the surface's points nearby, interpolated."""
    from scipy.interpolate import LinearNDInterpolator

    front = points[points[:, 2] > np.percentile(points[:, 2], 15)]
    z = LinearNDInterpolator(front[:, :2], front[:, 2])(grid[1], grid[0])
    return np.isfinite(z).astype(int), np.nan_to_num(z)


def now(root: Path, model: FaceModel, samples: list[Sample]) -> None:
    """scans/person/scan.obj (neutral), scans_lmks_onlypp/person/scan.pp, iphone_pictures/person/challenge/IMG_0.png."""
    boxes, names = [], []
    for sample in samples:
        person = f"FaMoS_{sample.person:02d}"
        neutral = shape_of(model, sample.identity, np.zeros(51))
        vertices, _, marks = scan_of(model, neutral, sample.person)
        write(root / f"scans/{person}/natural.obj", obj(vertices[::THINNED]))
        picked = "".join(
            f'<point x="{x}" y="{y}" z="{z}" active="1" name="{n}"/>\n'
            for n, (x, y, z) in enumerate(marks[[36, 39, 42, 45, 33, 48, 54]].tolist())
        )
        write(root / f"scans_lmks_onlypp/{person}/natural.pp", f"<PickedPoints>\n{picked}</PickedPoints>\n")
        name = f"{person}/{('multiview_neutral', 'selfie')[sample.frame % 2]}/IMG_{sample.frame}"
        write(root / f"NoW_Dataset/final_release_version/iphone_pictures/{name}.png", sample.photo)
        boxes.append(",".join([name, *(f"{value:.2f}" for value in sample.box)]))
        names.append(f"{name}.png")
    write(root / "boxes.csv", "\n".join(boxes))
    write(root / "imagepathsvalidation.txt", "\n".join(names))
