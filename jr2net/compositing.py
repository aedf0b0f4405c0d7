"""What was made for the crop, brought back into the photo at the photo's own resolution."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from jr2net.data.crop import Crop
from jr2net.data.pictures import to_arrays, to_tensor
from jr2net.face.camera import Camera, to_camera
from jr2net.face.light import ambient
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.reenactment import Scene
from jr2net.render.renderer import render_mesh

_FINEST = 1024  # pixels of a crop beyond which nothing is gained
_MARGIN = 0.04  # of the crop's side: how far around the face its surroundings are the generator's
_FEATHER = 0.05


@dataclass(frozen=True)
class Act:
    """One generated crop of side S and how the source's surface moved in it; plain arrays, to be sent around.

    picture    (S, S, 3) uint8 RGB
    position   (S, S, 2) float32: where in the source crop, in its pixels, each pixel's surface point lies
    covisible  (S, S) float32: 1 where ``position`` holds, 0 where the source does not show that point
    changed    (S, S) float32: 1 on the face, in the source or as generated
    """

    picture: np.ndarray
    position: np.ndarray
    covisible: np.ndarray
    changed: np.ndarray


def acts(scene: Scene, generated: torch.Tensor) -> list[Act]:
    """Each item of a batch: its scene and DCNet's picture of it (B, 3, S, S)."""
    position = scene.view.position.float().cpu().numpy()
    covisible = scene.view.covisible[:, 0].float().cpu().numpy()
    changed = torch.maximum(scene.source.mask, scene.driving.mask)[:, 0].float().cpu().numpy()
    return [Act(*parts) for parts in zip(to_arrays(generated), position, covisible, changed, strict=True)]


def composite(photo: np.ndarray, crop: Crop, act: Act, whole: bool) -> np.ndarray:
    """The photo (H, W, 3) with what was generated of its crop.

    The generator's picture is small. Where the source shows the same surface point, the photo's own fine detail moves
    along and is added to it. ``whole=False`` replaces the face and a feathered margin and leaves every other pixel of
    the photo as it is (for when neither pose nor light changed); ``whole=True`` replaces the square, with feathered
    sides.
    """
    small = act.picture.shape[0]
    side = int(np.clip(round(crop.side), small, max(_FINEST, small)))
    patch = crop.apply(photo, side)
    made = _enlarge(act.picture.astype(np.float32), side) + _detail(patch, act, side)
    if not whole:
        weight = _soft_mask(act.changed, side)
        made = patch + weight * (made - patch)
    return paste(photo, crop, np.rint(made.clip(0, 255)).astype(np.uint8))


def paste(photo: np.ndarray, crop: Crop, picture: np.ndarray) -> np.ndarray:
    """A copy of the photo with the crop's square exchanged; only the part around the square is worked on."""
    height, width = photo.shape[:2]
    corners = crop.to_image(np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]]), 1)
    left, top = np.clip(np.floor(corners.min(0)) - 2, 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(0)) + 2, 0, (width, height)).astype(int)
    result = photo.copy()
    if right > left and bottom > top:
        moved = Crop((crop.center[0] - left, crop.center[1] - top), crop.side, crop.roll)
        result[top:bottom, left:right] = moved.paste_back(photo[top:bottom, left:right], picture, _FEATHER)
    return result


def draw_mesh(
    photo: np.ndarray, crop: Crop, model: FaceModel, face: FaceParameters, camera: Camera, opacity: float = 0.8
) -> np.ndarray:
    """The photo with the fitted face (a batch of one) drawn over it in grey, at the photo's resolution."""
    side = int(np.clip(round(crop.side), camera.size, max(_FINEST, camera.size)))
    scale = side / camera.size
    fine = Camera(side, camera.focal * scale, (camera.centre[0] * scale, camera.centre[1] * scale))
    vertices = to_camera(model.shape(face.identity, face.expression), face.rotation, face.translation)
    grey, light = torch.full_like(model.mean, 0.75), ambient(0.35, model.mean.device)
    light[2] = 1.2  # from the camera, so that form shows
    drawn = render_mesh(vertices, model.faces, grey[None], light[None], fine)
    patch = to_tensor([crop.apply(photo, side)]).to(model.mean.device)
    (mixed,) = to_arrays(torch.lerp(patch, drawn.image.clamp(0, 1), opacity * drawn.mask))
    return paste(photo, crop, mixed)


def _detail(patch: np.ndarray, act: Act, side: int) -> np.ndarray:
    """(side, side, 3): what the source crop has beyond the generator's resolution, moved with the surface."""
    small, scale = act.picture.shape[0], side / act.picture.shape[0]
    if side == small:
        return np.zeros(patch.shape, np.float32)
    # Positions are known where the face is; around it they go on smoothly, so that enlarging does not mix in others.
    known = cv2.GaussianBlur(act.covisible, (0, 0), 1.5)[..., None]
    spread = cv2.GaussianBlur(act.position * act.covisible[..., None], (0, 0), 1.5) / np.maximum(known, 1e-3)
    position = np.where(act.covisible[..., None] > 0, act.position, spread).astype(np.float32)
    at = _enlarge(position, side) * scale - 0.5  # OpenCV's pixel centres
    moved = cv2.remap(
        patch.astype(np.float32), at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    coarse = _enlarge(cv2.resize(moved, (small, small), interpolation=cv2.INTER_AREA), side)
    weight = _enlarge(cv2.erode(act.covisible, np.ones((3, 3), np.uint8)), side).clip(0, 1)
    return (moved - coarse) * weight[..., None]


def _soft_mask(mask: np.ndarray, side: int) -> np.ndarray:
    """(side, side, 1): the mask grown by the margin, fading out over as much again."""
    grown = _MARGIN * mask.shape[0]
    size = 2 * int(np.ceil(grown)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    soft = cv2.GaussianBlur(cv2.dilate(mask, kernel), (0, 0), max(grown / 2, 0.5))
    return _enlarge(soft, side).clip(0, 1)[..., None]


def _enlarge(image: np.ndarray, side: int) -> np.ndarray:
    if image.shape[0] == side:
        return image
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
