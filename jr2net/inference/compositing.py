"""Compositing: pastes a generated crop into the photo, at the photo's resolution."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from jr2net.device import constant
from jr2net.face.camera import Camera, to_camera
from jr2net.face.light import ambient
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.images.arrays import to_arrays, to_tensor
from jr2net.images.crop import Crop, index_matrix, square_weight
from jr2net.inference.messages import GeneratedCrop
from jr2net.render.renderer import render_mesh
from jr2net.render.scene import Generated, Scene

_MAX_OVERLAY_SIDE = 1024  # pixels
_MARGIN = 0.04  # around the face, as a fraction of the crop's side; the generated image replaces it too
_FEATHER = 0.05  # of the crop's side
_CORRECTED = 0.1  # of the range of colours: pixels that are corrected by less have the photo's detail, by twice it none
_RIM = 3 / 64  # of the crop's side: width of the outline of a face along which nothing is drawn
_TORN = 0.5  # pixels of the generated image: a displacement that differs by more from those around it
_COLOURLESS = 2 / 255  # of the range of colours: channels of a black and white photo differ by less
_LUMA = (0.299, 0.587, 0.114)  # of ITU-R BT.601, as in JPEG
_OUTLINE = 3.0  # pixels of the generated image: how far the outline of the face reaches


def generated_crops(scene: Scene, generated: Generated) -> list[GeneratedCrop]:
    """The generated crops of a batch as plain arrays."""
    changed = torch.maximum(scene.source.mask, scene.driving.mask)
    if generated.position is None:  # drawn throughout: the mesh knows where the face comes from
        picture, position, moved = generated.picture, scene.view.position, scene.view.covisible
    else:
        position = generated.position
        picture, moved = _as_moved(scene, generated.picture, position)
    picture = _as_grey_as(scene.source_image, picture)
    maps = (position, *(each[:, 0] for each in (moved, changed, generated.kept)))
    arrays = [each.float().cpu().numpy() for each in maps]
    return [GeneratedCrop(*row) for row in zip(to_arrays(picture), *arrays, strict=True)]


def _as_grey_as(source: Tensor, picture: Tensor) -> Tensor:
    """The images (B, 3, S, S), without colours where the source image has none: the networks draw red mouths."""
    is_grey = (source.amax(1) - source.amin(1)).amax((1, 2)) < _COLOURLESS
    luma = (picture * constant(_LUMA, picture)[:, None, None]).sum(1, keepdim=True)
    return torch.where(is_grey[:, None, None, None], luma, picture)


def _as_moved(scene: Scene, picture: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
    """The image (B, 3, S, S) to paste, and how far each of its pixels is the source moved (B, 1, S, S).

    On the face the mesh tells what the source shows. Elsewhere the colours do: a pixel that is like the source at its
    position was moved. What the source hides along the outline of a turned face is the source moved, too: most of it is
    behind hair, and the networks draw bare skin there.
    """
    side, mask, covisible = picture.shape[-1], scene.driving.mask, scene.view.covisible
    grid = position.float() * (2 / side) - 1
    source = F.grid_sample(scene.source_image.float(), grid, padding_mode="border", align_corners=False)
    difference = (picture.float() - source).abs().mean(1, keepdim=True)
    alike = (2 - F.avg_pool2d(difference, 3, 1, 1, count_include_pad=False) / _CORRECTED).clamp(0, 1)
    width = round(_RIM * side)
    rim = mask * F.max_pool2d(1 - mask, 2 * width + 1, 1, width)
    hidden = rim * (1 - covisible)
    return torch.lerp(picture.float(), source, hidden), torch.where(mask > 0, torch.maximum(covisible, rim), alike)


def composite(photo: np.ndarray, crop: Crop, generated: GeneratedCrop, whole_crop: bool) -> np.ndarray:
    """The photo (H, W, 3) uint8 with the generated crop pasted into it.

    The generated crop has a low resolution. Where it is the source moved, the photo's fine detail is moved alike and
    added to it: of the face along its surface, of hair, shoulders and background as the network moved them.

    whole_crop  False: replace the face and a feathered margin (if neither pose nor light changed); True: replace the
                crop's square, with feathered sides

    All other pixels, and those that the reenactor kept, remain unchanged.
    """
    result = photo.copy()
    weight = square_weight(len(generated.image), _FEATHER) if whole_crop else _soft_mask(generated.changed)
    weight = weight * (1 - generated.kept)
    region = _weighted_region(photo, crop, weight)
    if region is None:
        return result
    window, image, side = _Window.of(region, crop), generated.image, max(1, round(crop.side))
    if side < len(image):  # linear interpolation would skip pixels
        image, weight = (cv2.resize(array, (side, side), interpolation=cv2.INTER_AREA) for array in (image, weight))
        patch = window.resample(image)
    else:
        patch = cv2.add(window.enlarge(image), _detail(photo, crop, generated, window), dtype=cv2.CV_8U)
    opacity = window.resample(weight)
    result[region] = cv2.blendLinear(photo[region], patch, 1 - opacity, opacity)
    return result


def paste(photo: np.ndarray, crop: Crop, patch: np.ndarray) -> np.ndarray:
    """A copy of the photo with the crop's square replaced by ``patch`` (S, S, 3)."""
    result = photo.copy()
    region = _bounding_region(photo, crop.to_image(np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]]), 1))
    if region is not None:
        result[region] = _Window.of(region, crop).crop.paste_back(photo[region], patch, _FEATHER)
    return result


def draw_mesh(
    photo: np.ndarray, crop: Crop, model: FaceModel, face: FaceParameters, camera: Camera, opacity: float = 0.8
) -> np.ndarray:
    """The photo with the fitted face (a batch of one) rendered over it in grey, at the photo's resolution."""
    side = int(np.clip(round(crop.side), camera.size, max(_MAX_OVERLAY_SIDE, camera.size)))
    scale = side / camera.size
    fine = Camera(side, camera.focal * scale, (camera.centre[0] * scale, camera.centre[1] * scale))
    face = face.to(model.mean.device)
    vertices = to_camera(model.shape(face.identity, face.expression), face.rotation, face.translation)
    grey, light = torch.full_like(model.mean, 0.75), ambient(0.35, model.mean.device)
    light[2] = 1.2  # from the camera, so that shading shows the shape
    rendering = render_mesh(vertices, model.faces, grey[None], light[None], fine)
    patch = to_tensor([crop.apply(photo, side)]).to(model.mean.device)
    (blended,) = to_arrays(torch.lerp(patch, rendering.image.clamp(0, 1), opacity * rendering.mask))
    return paste(photo, crop, blended)


@dataclass(frozen=True)
class _Window:
    """A rectangular region of a photo, and the crop in coordinates relative to the region's top left corner."""

    height: int
    width: int
    crop: Crop

    @staticmethod
    def of(region: tuple[slice, slice], crop: Crop) -> _Window:
        rows, columns = region
        centre = (crop.center[0] - columns.start, crop.center[1] - rows.start)
        return _Window(rows.stop - rows.start, columns.stop - columns.start, Crop(centre, crop.side, crop.roll))

    def resample(self, values: np.ndarray) -> np.ndarray:
        """Values on the crop's square, (S, S) or (S, S, C), sampled at the window's pixels; 0 outside the square."""
        matrix = index_matrix(cv2.invertAffineTransform(self.crop.matrix(len(values))))
        return cv2.warpAffine(values, matrix, (self.width, self.height), flags=cv2.INTER_LINEAR)

    def enlarge(self, image: np.ndarray) -> np.ndarray:
        """An image of the crop's square (S, S, 3), upsampled: cubic to twice its size, then linear."""
        return self.resample(cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC))


def _weighted_region(photo: np.ndarray, crop: Crop, weight: np.ndarray) -> tuple[slice, slice] | None:
    """The photo's rows and columns where the crop's ``weight`` (S, S) is not 0; None if there are none."""
    rows, columns = (np.flatnonzero(weight.any(axis)) for axis in (1, 0))
    if not len(rows):
        return None
    left, right, top, bottom = columns[0] - 1, columns[-1] + 2, rows[0] - 1, rows[-1] + 2
    corners = crop.to_image(np.array([[left, top], [right, top], [left, bottom], [right, bottom]], float), len(weight))
    return _bounding_region(photo, corners)


def _bounding_region(photo: np.ndarray, points: np.ndarray) -> tuple[slice, slice] | None:
    """The photo's rows and columns around points (N, 2), with two pixels of margin; None if it lies outside."""
    if not len(points):
        return None
    lengths = photo.shape[1::-1]
    left, top = (int(np.clip(np.floor(points[:, axis].min()) - 2, 0, lengths[axis])) for axis in (0, 1))
    right, bottom = (int(np.clip(np.ceil(points[:, axis].max()) + 2, 0, lengths[axis])) for axis in (0, 1))
    return (slice(top, bottom), slice(left, right)) if right > left and bottom > top else None


def _detail(photo: np.ndarray, crop: Crop, generated: GeneratedCrop, window: _Window) -> np.ndarray:
    """(height, width, 3) float32: the photo's detail beyond the generator's resolution, warped with the surface."""
    position, valid = _correspondence(generated)
    source = _bounding_region(photo, crop.to_image(position[valid > 0], len(generated.image)))
    if source is None:
        return np.zeros((window.height, window.width, 3), np.float32)
    position = _Window.of(source, crop).crop.to_image(position, len(generated.image))
    # OpenCV has the centre of the first pixel at 0, not at 0.5.
    x, y, opacity = cv2.split(window.resample(np.dstack([position - np.float32(0.5), valid])))
    warped = cv2.remap(photo[source], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    coarse = window.enlarge(window.crop.apply(warped, len(generated.image)))
    return cv2.multiply(cv2.subtract(warped, coarse, dtype=cv2.CV_32F), cv2.merge([opacity] * 3))


def _correspondence(generated: GeneratedCrop) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel's detail comes from, and how much of it: positions (S, S, 2) in the source crop, weights (S, S).

    Positions are unknown where the network draws, and the edge of the face goes in steps of a pixel. Displacements vary
    less: where they are unknown they are extrapolated, so that upsampling blends no unknown ones in; along the outline
    of the face they are smoothed, so that a moving chin has no steps. Within the face positions stay exact (else closed
    lids would show the eye's detail), and the detail ends a pixel before what the source does not show. A gap between
    lips, a pixel high, moves otherwise than the lips around it: it has no detail, or the lips' would be there twice.
    """
    side = len(generated.image)
    grid = np.stack(np.meshgrid(*[np.arange(side, dtype=np.float32) + 0.5] * 2), -1)
    displacement = generated.position - grid
    inside = (2 * _blur(generated.changed, _OUTLINE) - 1).clip(0, 1)
    torn = np.linalg.norm(displacement - cv2.medianBlur(displacement, 5), axis=-1) > _TORN
    moved = generated.moved * ~(torn & (inside > 0))
    displacement = displacement * moved[..., None]
    smooth = _blur(displacement, 1.5) / np.maximum(_blur(moved, 1.5), 1e-3)[..., None]
    exact = (inside * moved)[..., None]
    position = grid + displacement * exact + smooth * (1 - exact)
    within, along = cv2.erode(moved, np.ones((3, 3), np.uint8)), (2 * _blur(moved, 1.0) - 0.5).clip(0, 1)
    return position, within * inside + along * (1 - inside)


def _blur(values: np.ndarray, pixels: float) -> np.ndarray:
    return cv2.GaussianBlur(values, (0, 0), pixels)


def _soft_mask(mask: np.ndarray) -> np.ndarray:
    """(S, S) float32: the mask dilated by the margin, and faded out over about the same distance."""
    margin = _MARGIN * mask.shape[0]
    size = 2 * int(np.ceil(margin)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return cv2.GaussianBlur(cv2.dilate(mask, kernel), (0, 0), max(margin / 2, 0.5))
