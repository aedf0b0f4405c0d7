"""ICT-FaceKit (Li et al. 2020), read from its folder of ``.obj`` files: the narrow face, in millimetres.

The folder, ``FaceXModel`` of the public repository, holds one mesh per shape, all with the same topology:
``generic_neutral_mesh.obj``, ``identity000.obj`` … and one file per expression (``jawOpen.obj``, ``eyeBlink_L.obj``),
in centimetres, and ``vertex_indices.json`` with the landmarks. The narrow face consists of skin, lips, mouth and eye
sockets, front teeth and the outer shell of the eyeballs; ICT-FaceKit documents the vertex range of each.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial import cKDTree

from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.landmarks import OUTER_MOUTH
from jr2net.face.model import FaceModel, FaceModelError
from jr2net.face.model_file import assemble
from jr2net.face.obj_file import read_obj, read_obj_vertices

IDENTITIES = 80
LABELS = ("skin", "lips", "mouth_socket", "eye_socket", "teeth_upper", "teeth_lower", "sclera", "iris", "pupil")
LICENSE = "ICT-FaceKit light: MIT License, copyright (c) 2020 USC Institute for Creative Technologies"

_NEUTRAL = "generic_neutral_mesh.obj"
_MM_PER_UNIT = 10.0
_IRIS_MM, _PUPIL_MM = 5.8, 2.0  # radii around the eye's axis
_EYE_DEPTH_MM = 4.0  # vertices of the eyeball farther than this behind its centre are dropped
_BROW_MM = (2.5, 6.0)  # distance from the brow's landmark line: full hair up to the first, none beyond the second
_TWO_SIDED = ("browInnerUp", "cheekPuff")  # one shape in ARKit, a left and a right one in ICT
_UNPAIRED = ("jawLeft", "jawRight", "mouthLeft", "mouthRight")  # directions, not sides
_GAZE = {"Up": ((-1, 0), 25), "Down": ((1, 0), 30), "In": ((0, -1), 30), "Out": ((0, 1), 30)}
"""Axis (x, y) and angle in degrees by which ``eyeLook…Left`` turns the left eyeball; y is mirrored for the right."""


@dataclass(frozen=True)
class Part:
    """Vertices ``first`` to ``last``, both included, of the neutral mesh are this part of the face."""

    label: str
    first: int
    last: int


NARROW_FACE = (
    Part("skin", 0, 6705),
    Part("mouth_socket", 11248, 13293),
    Part("eye_socket", 13294, 14061),
    Part("teeth_upper", 17607, 18678),  # from second bicuspid to second bicuspid
    Part("teeth_lower", 19814, 20883),
    Part("sclera", 21451, 22220),  # left
    Part("sclera", 23021, 23790),  # right
)


def read_ict_folder(folder: str | Path, parts: tuple[Part, ...] = NARROW_FACE) -> FaceModel:
    """Loads the folder (or the repository that contains it) as a narrow face with 80 identity modes and painted albedo.

    Rigid motion is removed from ICT's modes, which are then made orthogonal on the skin; ``browInnerUp`` and
    ``cheekPuff`` are the sums of their two sides; ``eyeLook*`` rotate the eyeballs, which they do not in ICT. Raises
    FaceModelError naming the file and the remedy if files are missing or damaged.
    """
    folder = Path(folder)
    if (folder / "FaceXModel").is_dir():
        folder = folder / "FaceXModel"
    head, head_faces, head_uv = read_obj(folder / _NEUTRAL)
    head *= _MM_PER_UNIT
    if len(head) <= max(part.last for part in parts):
        raise FaceModelError(
            f"{folder / _NEUTRAL}: {len(head)} vertices are fewer than ICT-FaceKit's topology has;"
            " give the unchanged FaceXModel folder"
        )
    label = np.full(len(head), "", dtype="U12")
    for part in parts:
        label[part.first : part.last + 1] = part.label
    eyes = _label_eyes(head, label)

    keep = np.flatnonzero(label != "")
    new_index = np.full(len(head), -1)
    new_index[keep] = np.arange(len(keep))
    vertices, label, eyes = head[keep], label[keep], eyes[keep]
    faces = new_index[head_faces]
    landmarks = _read_landmarks(folder / "vertex_indices.json", new_index)
    label[(label == "skin") & _inside_lips(vertices, landmarks)] = "lips"
    skin = np.isin(label, ["skin", "lips"])

    def displacement(name: str) -> np.ndarray:
        return (read_obj_vertices(folder / f"{name}.obj", len(head)) * _MM_PER_UNIT - head)[keep]

    modes = [displacement(path.stem) for path in sorted(folder.glob("identity[0-9]*.obj"))[:IDENTITIES]]
    if not modes:
        raise FaceModelError(f"{folder}: no identity000.obj and following; give the unchanged FaceXModel folder")
    expressions = [sum(map(displacement, ict_shapes(name))) + _gaze(name, vertices, eyes) for name in ARKIT_NAMES]
    arrays = {
        "mean": vertices,
        "identity_basis": remove_rigid_motion(np.array(modes), vertices, skin),
        "expression_basis": np.array(expressions),
        "uv": head_uv[keep] % 1.0,  # ICT distributes its materials over several unit tiles
        "brow_weight": _brow_weight(vertices, landmarks) * skin,
    }
    return assemble(
        str(folder),
        {key: value.astype(np.float32) for key, value in arrays.items()}
        | {
            "faces": faces[(faces >= 0).all(1)],
            "landmarks": landmarks,
            "labels": np.array([LABELS.index(name) for name in label]),
            "label_names": np.array(LABELS),
            "mirror": mirror_map(vertices),
            "license": np.array(LICENSE),
        },
    )


def ict_shapes(name: str) -> tuple[str, ...]:
    """Names of the ICT files whose displacements add up to an ARKit shape: ``eyeBlinkLeft`` -> ``eyeBlink_L``."""
    if name in _TWO_SIDED:
        return f"{name}_L", f"{name}_R"
    if name in _UNPAIRED:
        return (name,)
    if name.endswith("Left"):
        return (name.removesuffix("Left") + "_L",)
    if name.endswith("Right"):
        return (name.removesuffix("Right") + "_R",)
    return (name,)


def mirror_map(vertices: np.ndarray) -> np.ndarray:
    """(N, 3) -> (N,): index of the vertex nearest to each vertex's reflection in the plane x = 0."""
    return cKDTree(vertices).query(vertices * [-1, 1, 1])[1]


def remove_rigid_motion(modes: np.ndarray, vertices: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """(K, N, 3) modes with the same shape statistics but without rigid motion of the skin (N,) bool.

    The rigid component, fitted on the skin, is subtracted from the whole face; then the modes are rotated to be
    orthogonal on the skin, largest first. Rotation and translation belong to the pose; an identity mode that contains
    them makes the fit ambiguous.
    """
    arm = vertices - vertices[skin].mean(0)
    motions = np.array([move for axis in np.eye(3) for move in (np.broadcast_to(axis, arm.shape), np.cross(axis, arm))])
    on_skin = motions[:, skin].reshape(6, -1)
    coefficients = np.linalg.lstsq(on_skin.T, modes[:, skin].reshape(len(modes), -1).T, rcond=None)[0]
    residual = modes - np.einsum("mk,mnc->knc", coefficients, motions)
    rotation = np.linalg.svd(residual[:, skin].reshape(len(modes), -1), full_matrices=False)[0]
    return np.einsum("kj,knc->jnc", rotation, residual)


def _label_eyes(head: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Relabels iris and pupil on the eyeballs and clears the labels of their back, in place.

    Returns (N,): 1 on the left eyeball, -1 on the right one, 0 elsewhere.
    """
    eyes = np.where(label == "sclera", np.sign(head[:, 0]), 0)
    for side in (1, -1):
        eye = np.flatnonzero(eyes == side)
        if len(eye) == 0:
            continue
        offset = head[eye] - eyeball_centre(head[eye])
        axis = offset[
            np.linalg.norm(offset, axis=1).argmax()
        ]  # through the apex of the cornea; points slightly outwards
        radius = np.linalg.norm(np.cross(offset, axis / np.linalg.norm(axis)), axis=1)
        front = offset[:, 2] > 0
        label[eye[front & (radius < _IRIS_MM)]] = "iris"
        label[eye[front & (radius < _PUPIL_MM)]] = "pupil"
        label[eye[offset[:, 2] < -_EYE_DEPTH_MM]] = ""
    return eyes


def eyeball_centre(points: np.ndarray) -> np.ndarray:
    """Centre (3,) of the best-fitting sphere of an eyeball (N, 3), without its front quarter (the bulging cornea)."""
    low, high = points[:, 2].min(), points[:, 2].max()
    points = points[points[:, 2] <= low + 0.75 * (high - low)]
    system = np.hstack([2 * points, np.ones((len(points), 1))])
    return np.linalg.lstsq(system, (points**2).sum(1), rcond=None)[0][:3]


def _gaze(name: str, vertices: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    """Linearised rotation (N, 3) of one eyeball for ``eyeLook*``; zero for every other shape."""
    motion = np.zeros_like(vertices)
    for direction, ((x, y), degrees) in _GAZE.items():
        for side, suffix in ((1, "Left"), (-1, "Right")):
            eye = eyes == side
            if name == f"eyeLook{direction}{suffix}" and eye.any():
                axis = np.radians(degrees) * np.array([x, y * side, 0])
                motion[eye] = np.cross(axis, vertices[eye] - eyeball_centre(vertices[eye]))
    return motion


def _read_landmarks(path: Path, new_index: np.ndarray) -> np.ndarray:
    """Vertex indices of the 68 iBUG points; ``new_index`` maps a head vertex to its index in the narrow face, or -1."""
    try:
        landmarks = np.array(json.loads(path.read_text())["idx_to_landmark_verts"])
    except FileNotFoundError:
        raise FaceModelError(f"{path}: no such file; give the unchanged FaceXModel folder") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FaceModelError(f"{path}: idx_to_landmark_verts cannot be read ({error!r}); copy the file again") from None
    fits = landmarks.shape == (68,) and landmarks.dtype.kind == "i"
    if not fits or landmarks.min() < 0 or landmarks.max() >= len(new_index) or (new_index[landmarks] < 0).any():
        raise FaceModelError(f"{path}: idx_to_landmark_verts must be 68 vertices of the narrow face; copy it again")
    return new_index[landmarks]


def _inside_lips(vertices: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(N,) bool: inside the polygon of the outer lip landmarks (48 to 59), seen from the front."""
    outline = vertices[landmarks[OUTER_MOUTH], :2].astype(np.float32)
    return np.array([cv2.pointPolygonTest(outline, (float(x), float(y)), False) >= 0 for x, y in vertices[:, :2]])


def _brow_weight(vertices: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(N,) in [0, 1]: weight of brow hair, by distance from the polylines of landmarks 17 to 21 and 22 to 26."""
    distance = np.full(len(vertices), np.inf)
    for first in (*range(17, 21), *range(22, 26)):
        start, end = vertices[landmarks[first]], vertices[landmarks[first + 1]]
        along = np.clip((vertices - start) @ (end - start) / ((end - start) @ (end - start)), 0, 1)
        distance = np.minimum(distance, np.linalg.norm(vertices - start - along[:, None] * (end - start), axis=1))
    return np.interp(distance, _BROW_MM, (1.0, 0.0))
