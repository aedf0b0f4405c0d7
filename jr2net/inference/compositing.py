"""What was made for the crop, brought back into the photo at the photo's own resolution."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from jr2net.face.camera import Camera, to_camera
from jr2net.face.light import ambient
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.images.arrays import to_arrays, to_tensor
from jr2net.images.crop import Crop, index_matrix, square_weight
from jr2net.inference.messages import GeneratedCrop
from jr2net.render.renderer import render_mesh
from jr2net.render.scene import Generated, Scene

_FINEST = 1024  # pixels of a crop beyond which nothing is gained
_MARGIN = 0.04  # of the crop's side: how far around the face its surroundings are the generator's
_FEATHER = 0.05


def generated_crops(scene: Scene, generated: Generated) -> list[GeneratedCrop]:
    """Each item of a batch, as plain arrays."""
    position = scene.view.position.float().cpu().numpy()
    covisible = scene.view.covisible[:, 0].float().cpu().numpy()
    changed = torch.maximum(scene.source.mask, scene.driving.mask)[:, 0].float().cpu().numpy()
    kept = generated.kept[:, 0].float().cpu().numpy()
    images = to_arrays(generated.picture)
    return [GeneratedCrop(*parts) for parts in zip(images, position, covisible, changed, kept, strict=True)]


def composite(photo: np.ndarray, crop: Crop, generated: GeneratedCrop, whole: bool) -> np.ndarray:
    """The photo (H, W, 3) uint8 with what was generated of its crop.

    The generator's picture is small. Where the source shows the same surface point, the photo's own fine detail moves
    along and is added to it. ``whole=False`` replaces the face and a feathered margin and leaves every other pixel of
    the photo as it is (for when neither pose nor light changed); ``whole=True`` replaces the square, with feathered
    sides.
    """
    result = photo.copy()
    weight = square_weight(len(generated.image), _FEATHER) if whole else _soft_mask(generated.changed)
    window = _window(photo, crop, weight)
    if window is None:
        return result
    place, picture, side = _Place.of(window, crop), generated.image, max(1, round(crop.side))
    if side < len(picture):  # interpolation would skip pixels
        picture, weight = (cv2.resize(each, (side, side), interpolation=cv2.INTER_AREA) for each in (picture, weight))
        made = place.bring(picture)
    else:
        made = cv2.add(place.enlarge(picture), _detail(photo, crop, generated, place), dtype=cv2.CV_8U)
    share = place.bring(weight)
    result[window] = cv2.blendLinear(photo[window], made, 1 - share, share)
    return result


def paste(photo: np.ndarray, crop: Crop, picture: np.ndarray) -> np.ndarray:
    """A copy of the photo with the crop's square exchanged; only the part around the square is worked on."""
    result = photo.copy()
    window = _rectangle(photo, crop.to_image(np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]]), 1))
    if window is not None:
        result[window] = _Place.of(window, crop).crop.paste_back(photo[window], picture, _FEATHER)
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


@dataclass(frozen=True)
class _Place:
    """A window of a photo (height, width), and the crop as seen from its corner."""

    height: int
    width: int
    crop: Crop

    @staticmethod
    def of(window: tuple[slice, slice], crop: Crop) -> _Place:
        down, across = window
        centre = (crop.center[0] - across.start, crop.center[1] - down.start)
        return _Place(down.stop - down.start, across.stop - across.start, Crop(centre, crop.side, crop.roll))

    def bring(self, values: np.ndarray) -> np.ndarray:
        """What is given for the crop's square, (S, S) or (S, S, C), at the window's pixels; 0 outside the square."""
        matrix = index_matrix(cv2.invertAffineTransform(self.crop.matrix(len(values))))
        return cv2.warpAffine(values, matrix, (self.width, self.height), flags=cv2.INTER_LINEAR)

    def enlarge(self, picture: np.ndarray) -> np.ndarray:
        """A picture of the crop's square (S, S, 3), smoothly: cubic to twice its size, and linear from there."""
        return self.bring(cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC))


def _window(photo: np.ndarray, crop: Crop, weight: np.ndarray) -> tuple[slice, slice] | None:
    """The photo's rows and columns where the crop's ``weight`` (S, S) is not 0; None where there are none."""
    down, across = (np.flatnonzero(weight.any(axis)) for axis in (1, 0))
    if not len(down):
        return None
    left, right, top, bottom = across[0] - 1, across[-1] + 2, down[0] - 1, down[-1] + 2
    corners = crop.to_image(np.array([[left, top], [right, top], [left, bottom], [right, bottom]], float), len(weight))
    return _rectangle(photo, corners)


def _rectangle(photo: np.ndarray, points: np.ndarray) -> tuple[slice, slice] | None:
    """The photo's rows and columns around points (N, 2), with two pixels to spare; None where none are inside."""
    if not len(points):
        return None
    lengths = photo.shape[1::-1]
    left, top = (int(np.clip(np.floor(points[:, axis].min()) - 2, 0, lengths[axis])) for axis in (0, 1))
    right, bottom = (int(np.clip(np.ceil(points[:, axis].max()) + 2, 0, lengths[axis])) for axis in (0, 1))
    return (slice(top, bottom), slice(left, right)) if right > left and bottom > top else None


def _detail(photo: np.ndarray, crop: Crop, generated: GeneratedCrop, place: _Place) -> np.ndarray:
    """(height, width, 3) float32: what the photo has beyond the generator's resolution, moved with the surface."""
    covisible = generated.covisible[..., None]
    reached = _rectangle(photo, crop.to_image(generated.position[generated.covisible > 0], len(generated.image)))
    if reached is None:
        return np.zeros((place.height, place.width, 3), np.float32)
    # Positions are known where the face is; around it they go on smoothly, so that enlarging does not mix in others.
    known = cv2.GaussianBlur(generated.covisible, (0, 0), 1.5)[..., None]
    spread = cv2.GaussianBlur(generated.position * covisible, (0, 0), 1.5) / np.maximum(known, 1e-3)
    position = _Place.of(reached, crop).crop.to_image(
        np.where(covisible > 0, generated.position, spread), len(generated.image)
    )
    certain = cv2.erode(generated.covisible, np.ones((3, 3), np.uint8))
    x, y, share = cv2.split(place.bring(np.dstack([position - np.float32(0.5), certain])))  # OpenCV's pixel centres
    moved = cv2.remap(photo[reached], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    coarse = place.enlarge(place.crop.apply(moved, len(generated.image)))
    return cv2.multiply(cv2.subtract(moved, coarse, dtype=cv2.CV_32F), cv2.merge([share] * 3))


def _soft_mask(mask: np.ndarray) -> np.ndarray:
    """(S, S): the mask grown by the margin, fading out over as much again."""
    grown = _MARGIN * mask.shape[0]
    size = 2 * int(np.ceil(grown)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return cv2.GaussianBlur(cv2.dilate(mask, kernel), (0, 0), max(grown / 2, 0.5))
