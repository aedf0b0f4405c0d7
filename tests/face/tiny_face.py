"""A coarse but complete face model for tests, and files in the formats of ICT-FaceKit and BFM 2009."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from scipy.io import savemat

from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.ict import Part, ict_shapes
from jr2net.face.model import FaceModel

COLUMNS, ROWS = 25, 35
SKIN = COLUMNS * ROWS
_RINGS, _SPOKES = 9, 12
EYE = 1 + _RINGS * _SPOKES
ICT_PARTS = (
    Part("skin", 0, SKIN - 1),
    Part("sclera", SKIN, SKIN + EYE - 1),
    Part("sclera", SKIN + EYE, SKIN + 2 * EYE - 1),
    Part("teeth_upper", SKIN + 2 * EYE, SKIN + 2 * EYE + 3),
)


def skin_sheet() -> tuple[np.ndarray, np.ndarray]:
    """Vertices (875, 3) in mm and quads (816, 4), from 0: a curved sheet with a nose, exactly symmetric."""
    x = np.linspace(-72, 72, COLUMNS)
    y = np.linspace(-100, 90, ROWS)
    x, y = (grid.ravel() for grid in np.meshgrid((x - x[::-1]) / 2, y))
    z = 110 - x**2 / 60 - y**2 / 150 + 18 * np.exp(-(x**2) / 150 - (y + 5) ** 2 / 300)
    corner = (np.arange(ROWS - 1)[:, None] * COLUMNS + np.arange(COLUMNS - 1)).ravel()
    return np.stack([x, y, z], 1), corner[:, None] + [0, 1, COLUMNS + 1, COLUMNS]


def landmarks(vertices: np.ndarray) -> np.ndarray:
    """(68,): vertices nearest to the typical positions of the iBUG points; the subject's right (smaller x) first."""
    turn = np.linspace(-np.pi / 2, np.pi / 2, 17)
    mouth = np.linspace(np.pi, -np.pi, 12, endpoint=False)
    inner = np.linspace(np.pi, -np.pi, 8, endpoint=False)
    eye = [(-14, 0), (-5, 6), (5, 6), (14, 0), (5, -6), (-5, -6)]
    points = [
        *zip(66 * np.sin(turn), -92 * np.cos(turn)),
        *((side, 55.0) for side in (-56, -46, -36, -26, -14, 14, 26, 36, 46, 56)),
        *((0.0, height) for height in (35, 20, 8, -4)),
        *((side, -15.0) for side in (-14, -7, 0, 7, 14)),
        *((-32.0 + dx, 36.0 + dy) for dx, dy in eye),
        *((32.0 + dx, 36.0 + dy) for dx, dy in eye),
        *zip(28 * np.cos(mouth), -42 + 14 * np.sin(mouth)),
        *zip(18 * np.cos(inner), -42 + 6 * np.sin(inner)),
    ]
    return np.array([((vertices[:SKIN, :2] - point) ** 2).sum(1).argmin() for point in points])


def tiny_model(seed: int = 0) -> FaceModel:
    """875 vertices of skin and lips, 4 identity, 51 expression and 3 albedo bases of smooth noise."""
    vertices, quads = skin_sheet()
    rng = np.random.default_rng(seed)

    def smooth(count: int, size: float) -> torch.Tensor:
        phase = rng.uniform(0, 2 * np.pi, (count, 1, 3))
        wave = np.sin(vertices @ rng.normal(0, 0.03, (count, 3, 3)) + phase)
        return torch.from_numpy((size * wave).astype(np.float32))

    lips = (np.abs(vertices[:, 0]) < 25) & (np.abs(vertices[:, 1] + 42) < 12)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    mirror = (np.arange(SKIN) // COLUMNS) * COLUMNS + COLUMNS - 1 - np.arange(SKIN) % COLUMNS
    return FaceModel(
        mean=torch.from_numpy(vertices.astype(np.float32)),
        faces=torch.from_numpy(faces),
        identity_basis=smooth(4, 2.0),
        expression_basis=smooth(51, 3.0),
        albedo_mean=torch.from_numpy(np.where(lips[:, None], [0.6, 0.3, 0.3], [0.7, 0.5, 0.4]).astype(np.float32)),
        albedo_basis=smooth(3, 0.1),
        landmarks=torch.from_numpy(landmarks(vertices)),
        labels=torch.from_numpy(lips.astype(np.int64)),
        label_names=("skin", "lips"),
        mirror=torch.from_numpy(mirror),
        uv=torch.from_numpy((vertices[:, :2] / 200 + 0.5).astype(np.float32)),
        name="tiny",
        license="none",
    )


def model_arrays() -> dict[str, np.ndarray]:
    """The arrays of a model file without albedo, like those in ``assets/``."""
    model = tiny_model()
    keys = ("mean", "faces", "identity_basis", "expression_basis", "landmarks", "labels", "mirror", "uv")
    arrays = {key: getattr(model, key).numpy() for key in keys}
    return arrays | {"expression_names": np.array(ARKIT_NAMES), "label_names": np.array(model.label_names)}


def ict_head() -> tuple[np.ndarray, list[list[int]]]:
    """Vertices in mm and polygons of a head like ICT's: skin, two eyeballs looking ahead, a tooth, hair."""
    skin, quads = skin_sheet()
    polar = np.linspace(0, np.pi, _RINGS + 1)[1:]
    around = np.linspace(0, 2 * np.pi, _SPOKES, endpoint=False)
    ring = np.array([(np.sin(p) * np.cos(a), np.sin(p) * np.sin(a), np.cos(p)) for p in polar for a in around])
    ball = np.concatenate([[[0, 0, 1.1]], ring]) * 12.0  # the pole is the cornea's apex
    eyes = [ball * [side, 1, 1] + [side * 32.0, 36, 80] for side in (1, -1)]
    tooth = np.array([[-5, -40, 95], [5, -40, 95], [5, -30, 95], [-5, -30, 95]], float)
    hair = np.array([[0, 120, 60], [10, 120, 60], [0, 130, 60]], float)
    vertices = np.concatenate([skin, *eyes, tooth, hair])
    polygons = quads.tolist()
    for first in (SKIN, SKIN + EYE):
        polygons += [[first, first + 1 + i, first + 1 + (i + 1) % _SPOKES] for i in range(_SPOKES)]
    last = SKIN + 2 * EYE
    return vertices, [*polygons, [last, last + 1, last + 2, last + 3], [last + 4, last + 5, last + 6]]


def write_ict_folder(folder: Path) -> None:
    """A folder in ICT-FaceKit's layout, in centimetres: three identities, a different bump for every expression."""
    folder.mkdir(parents=True)
    vertices, polygons = ict_head()
    uv = vertices[:, :2] / 300 + 0.5
    texture = "".join(f"vt {u:.6f} {v:.6f}\n" for u, v in uv)
    faces = "".join("f " + " ".join(f"{i + 1}/{i + 1}" for i in polygon) + "\n" for polygon in polygons)

    def write(name: str, positions: np.ndarray) -> None:
        lines = "".join(f"v {x:.7f} {y:.7f} {z:.7f}\n" for x, y, z in positions / 10)
        (folder / f"{name}.obj").write_text(f"# a comment\nmtllib x.mtl\n{lines}{texture}usemtl skin\n{faces}")

    write("generic_neutral_mesh", vertices)
    for mode, shift in enumerate(([3.0, 0, 0], [0, 2.0, 0], [0, 0, 1.0])):  # each mostly a translation
        wave = np.sin(vertices[:, [1, 2, 0]] / (20 + 10 * mode))
        write(f"identity{mode:03d}", vertices + shift + wave)
    for number, source in enumerate(sorted({source for name in ARKIT_NAMES for source in ict_shapes(name)})):
        write(source, vertices + ict_displacement(number))
    (folder / "vertex_indices.json").write_text(json.dumps({"idx_to_landmark_verts": landmarks(vertices).tolist()}))


def ict_displacement(number: int) -> np.ndarray:
    """The displacement of the expression file with this index in alphabetical order."""
    vertices, _ = ict_head()
    bump = np.exp(-((vertices - vertices[(number * 13) % SKIN]) ** 2).sum(1) / 500)
    bump[SKIN : SKIN + 2 * EYE] = 0  # ICT's expressions do not move the eyeballs
    return bump[:, None] * [0.5, 1.0 + 0.1 * number, 2.0]


def write_bfm(folder: Path, components: int = 5) -> tuple[Path, Path]:
    """``01_MorphableModel.mat`` in the units of BFM 2009 and an expression file for it."""
    model, rng = tiny_model(), np.random.default_rng(1)
    coordinates = SKIN * 3
    mat, expressions = folder / "01_MorphableModel.mat", folder / "expressions.npz"
    savemat(
        mat,
        {
            "shapeMU": model.mean.numpy().reshape(-1, 1) * 1000,
            "shapePC": rng.normal(size=(coordinates, components)),
            "shapeEV": np.arange(components, 0, -1.0)[:, None] * 1000,
            "texMU": model.albedo_mean.numpy().reshape(-1, 1) * 255,
            "texPC": rng.normal(size=(coordinates, components)),
            "texEV": np.full((components, 1), 10.0),
            "tl": model.faces.numpy()[:, ::-1] + 1,  # opposite winding
        },
    )
    np.savez(
        expressions,
        expression_basis=model.expression_basis.numpy(),
        expression_names=np.array(ARKIT_NAMES),
        landmarks=model.landmarks.numpy(),
    )
    return mat, expressions
