"""The rest of the head: skull, ears, neck and shoulders, attached to the boundary of any face model.

A face model ends in front of the ears. From each boundary vertex a meridian continues over an ellipsoid to the back of
the head. It starts at the boundary of every frame, so the seam stays closed for every identity and expression.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jr2net.face.model import FaceModel, FaceModelError

RINGS = 9  # of the skull, from the face's boundary to the back of the head
EAR_RINGS, EAR_COLUMNS = 5, 12
NECK_COLUMNS = 24

# Rings of neck and shoulders of an average adult: height above the face's lowest point, half width, half depth, z of
# the axis (all mm), and the skinning weight of the head.
_NECK = np.array(
    [
        [50.0, 54, 52, 2, 1.0],
        [16.0, 54, 50, 0, 0.95],
        [0.0, 55, 50, -2, 0.8],
        [-13.0, 60, 52, -6, 0.5],
        [-24.0, 76, 56, -10, 0.25],
        [-34.0, 108, 64, -14, 0.08],
        [-45.0, 146, 76, -17, 0.0],
        [-62.0, 184, 88, -18, 0.0],
        [-92.0, 206, 97, -18, 0.0],
        [-150.0, 216, 106, -18, 0.0],
        [-250.0, 222, 112, -18, 0.0],
    ]
)
NECK_BASE = 4  # the ring about which head and body rotate against each other
FACE, SKULL, EAR, BODY = range(4)  # values of ``Head.region``


@dataclass(frozen=True)
class Head:
    """A face model's mesh completed to a head; N face vertices, M in all. Lengths in mm.

    faces       (F, 3) int64    triangles of face, skull, ears, neck and shoulders
    rest        (M, 3)          the neutral mean face and what surrounds it
    region      (M,) int64      FACE, SKULL, EAR or BODY (neck and shoulders)
    head_weight (M,)            skinning weight of the head's motion: 1 on the head, 0 on the shoulders
    boundary    (L,) int64      the face's rim, in order
    skull       (L, R, 3)       skull rings of the rest shape
    decay       (R,)            how much each ring follows displacements of the rim
    centre      (3,)            middle of the skull
    pivot       (3,)            base of the neck
    ear_anchor  (2,) int64      rim vertices to which the left and the right ear are attached
    """

    model: FaceModel
    faces: Tensor
    rest: Tensor
    region: Tensor
    head_weight: Tensor
    boundary: Tensor
    skull: Tensor
    decay: Tensor
    centre: Tensor
    pivot: Tensor
    ear_anchor: Tensor

    @property
    def face_size(self) -> int:
        return self.model.mean.shape[0]

    def vertices(self, face: Tensor, ear_scale: float = 1.0, neck_scale: float = 1.0, neck_drop: float = 0.0) -> Tensor:
        """Face vertices (B, N, 3) in model space to head vertices (B, M, 3); neck_drop lengthens the neck, mm."""
        batch = face.shape[0]
        moved = face[:, self.boundary] - self.rest[self.boundary]
        skull = self.skull + moved[:, :, None] * self.decay[:, None]
        rest = self.rest[self.region >= EAR].expand(batch, -1, -1).clone()
        ears, neck = rest[:, : 2 * EAR_RINGS * EAR_COLUMNS], rest[:, 2 * EAR_RINGS * EAR_COLUMNS :]
        for side, ear in enumerate(ears.chunk(2, dim=1)):
            anchor = self.rest[self.ear_anchor[side]]
            shift = face[:, self.ear_anchor[side], None] - anchor
            ear.copy_((ear - anchor) * ear_scale + anchor + 0.8 * shift)
        neck[:, : (NECK_BASE + 1) * NECK_COLUMNS, 0] *= neck_scale
        neck[..., 1] -= neck_drop * (1 - self.head_weight[-neck.shape[1] :])
        return torch.cat([face, skull.flatten(1, 2), rest], dim=1)

    def pose(self, vertices: Tensor, head_weight: Tensor, head: Tensor, body: Tensor, translation: Tensor) -> Tensor:
        """Model space (B, V, 3) to camera space, mm; head_weight (V,) blends the rotations head and body (B, 3, 3)."""
        on_head = vertices @ head.transpose(1, 2) + translation[:, None]
        base = self.pivot @ head.transpose(1, 2) + translation
        on_body = (vertices - self.pivot) @ body.transpose(1, 2) + base[:, None]
        return torch.lerp(on_body, on_head, head_weight[:, None])


def build_head(model: FaceModel) -> Head:
    """Builds the head around ``model``. Raises FaceModelError when its mesh has no rim."""
    mean = model.mean.double().numpy()
    rim = boundary_loop(model)
    low, high = mean[rim].min(0), mean[rim].max(0)
    eyes = mean[model.landmarks[36:48].numpy()].mean(0)
    half_width = high[0]
    centre = np.array([0.0, eyes[1] + 6, low[2] - 20])
    radii = np.array([half_width + 2, 108.0 * half_width / 75, 96.0 * half_width / 75])

    direction = (mean[rim] - centre) / radii
    around = np.arctan2(direction[:, 1], direction[:, 0])
    start = np.arctan2(np.hypot(direction[:, 0], direction[:, 1]), direction[:, 2])
    fraction = np.linspace(0, 1, RINGS + 1)
    polar = start[:, None] + (0.96 * np.pi - start[:, None]) * fraction
    ellipsoid = np.stack(
        [np.sin(polar) * np.cos(around)[:, None], np.sin(polar) * np.sin(around)[:, None], np.cos(polar)], -1
    )
    ellipsoid = centre + ellipsoid * radii
    decay = (1 - fraction) ** 2
    skull = (ellipsoid + (mean[rim] - ellipsoid[:, 0])[:, None] * decay[:, None])[:, 1:]

    ears, anchors = zip(*(_ear(mean, rim, eyes, side) for side in (1, -1)))
    bottom = rim[mean[rim, 1].argmin()]
    neck = _neck(low[1], mean[bottom, 2], half_width / 75)

    n, rings = len(mean), RINGS
    count = n + len(rim) * rings
    triangles = [model.faces.numpy(), _skull_faces(rim, n)]
    for side, ear in enumerate(ears):
        grid = _grid_faces(EAR_RINGS, EAR_COLUMNS, wrap=True) + count
        triangles.append(grid[:, ::-1] if side else grid)
        count += len(ear)
    triangles.append(_grid_faces(len(_NECK), NECK_COLUMNS, wrap=True)[:, ::-1] + count)
    region = np.repeat([FACE, SKULL, EAR, BODY], [n, len(rim) * rings, 2 * EAR_RINGS * EAR_COLUMNS, len(neck)])
    head_weight = np.ones(len(region))
    head_weight[-len(neck) :] = np.repeat(_NECK[:, 4], NECK_COLUMNS)

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32))

    return Head(
        model=model,
        faces=torch.from_numpy(np.concatenate(triangles).astype(np.int64)),
        rest=tensor(np.concatenate([mean, skull.reshape(-1, 3), *ears, neck])),
        region=torch.from_numpy(region),
        head_weight=tensor(head_weight),
        boundary=torch.from_numpy(rim),
        skull=tensor(skull),
        decay=tensor(decay[1:]),
        centre=tensor(centre),
        pivot=tensor(neck.reshape(len(_NECK), NECK_COLUMNS, 3)[NECK_BASE].mean(0)),
        ear_anchor=torch.tensor(anchors),
    )


def boundary_loop(model: FaceModel) -> np.ndarray:
    """Vertices (L,) of the face's open rim, counter-clockwise in a frontal view. Raises FaceModelError without one."""
    faces = model.faces.numpy()
    edges = {(int(a), int(b)) for t in faces for a, b in ((t[0], t[1]), (t[1], t[2]), (t[2], t[0]))}
    following = {a: b for a, b in edges if (b, a) not in edges}
    best: list[int] = []
    while following:
        loop = [next(iter(following))]
        while loop[-1] in following:
            loop.append(following.pop(loop[-1]))
        if len(loop) > 3 and _extent(model, loop) > _extent(model, best):
            best = loop[:-1]
    if len(best) < 8:
        raise FaceModelError(
            f"{model.name}: the mesh has no open rim to attach a head to; use a model of the face alone"
        )
    return np.array(best, np.int64)


def _extent(model: FaceModel, loop: list[int]) -> float:
    """Width + height + depth of a loop's bounding box, mm."""
    points = model.mean[loop]
    return float((points.amax(0) - points.amin(0)).sum()) if loop else 0.0


def _skull_faces(rim: np.ndarray, first: int) -> np.ndarray:
    """Triangles between the rim and the skull's rings, which are stored per rim vertex from ``first`` on."""
    length = len(rim)
    index = np.concatenate([rim[:, None], first + np.arange(length * RINGS).reshape(length, RINGS)], axis=1)
    a, b = index, np.roll(index, -1, axis=0)
    quads = np.stack([a[:, :-1], a[:, 1:], b[:, 1:], b[:, :-1]], -1).reshape(-1, 4)
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def _grid_faces(rows: int, columns: int, wrap: bool) -> np.ndarray:
    """Triangles of a grid of vertices stored row by row; ``wrap`` joins the last column to the first."""
    index = np.arange(rows * columns).reshape(rows, columns)
    right = np.roll(index, -1, axis=1)
    quads = np.stack([index[:-1], index[1:], right[1:], right[:-1]], -1)
    quads = (quads if wrap else quads[:, :-1]).reshape(-1, 4)
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def _ear(mean: np.ndarray, rim: np.ndarray, eyes: np.ndarray, side: int) -> tuple[np.ndarray, int]:
    """The subject's left (side 1) or right (-1) ear (rings × columns, 3), and the rim vertex it is attached to."""
    candidates = rim[mean[rim, 0] * side > 0]
    anchor = int(candidates[np.abs(mean[candidates][:, 1] - (eyes[1] - 8)).argmin()])
    radial = np.array([0.0, 0.4, 0.7, 0.87, 1.0])[:, None]
    lift = np.array([0.0, 1.5, 7.0, 6.0, 9.0])[:, None]  # concha, antihelix, scapha, helix
    angle = np.linspace(0, 2 * np.pi, EAR_COLUMNS, endpoint=False)[None]
    back = -np.cos(angle)  # 1 at the helix's back edge, -1 where the ear joins the head
    width = np.where(np.sin(angle) > 0, 19.0, 14.0)  # wide above, narrow at the lobe
    z = -radial * back * width
    y = radial * np.sin(angle) * 31.0
    out = lift * (0.55 + 0.45 * back) + radial * (back + 1) * 4.0
    local = np.stack([side * out, y, z - 0.18 * y], -1)
    origin = mean[anchor] + np.array([side * -0.5, -7.0, -20.0])
    return (local + origin).reshape(-1, 3), anchor


def _neck(bottom: float, throat: float, scale: float) -> np.ndarray:
    """Neck and shoulders (rings × columns, 3); the throat lies behind the face's lowest point."""
    height, width, depth, axis, _ = (_NECK * [scale, scale, scale, scale, 1]).T
    angle = np.linspace(0, 2 * np.pi, NECK_COLUMNS, endpoint=False)
    axis = axis + (throat - 4 - depth[1] - axis[1])
    x = width[:, None] * np.sin(angle)
    z = axis[:, None] + depth[:, None] * np.cos(angle)
    y = np.broadcast_to((bottom + height)[:, None], x.shape)
    return np.stack([x, y, z], -1).reshape(-1, 3)
