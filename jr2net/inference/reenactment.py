"""``Reenactor``: gives a photo another expression or animates it, with DCNet (paper, Figure 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import numpy as np
import torch
from torch import Tensor, nn

from jr2net import storage
from jr2net.device import to_device
from jr2net.errors import UserError
from jr2net.expressions.named import expression_from_names
from jr2net.expressions.tracks import Track, is_capture, parse_capture, read_capture
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.images.arrays import resize, to_tensor
from jr2net.images.face_detector import FaceDetector
from jr2net.images.photo import photo_format
from jr2net.images.video import VideoLimits
from jr2net.inference.compositing import composite, generated_crops
from jr2net.inference.driving import (
    DrivingOptions,
    VideoTracker,
    apply_driving,
    apply_expression,
    faces_from_capture,
    film_frames,
    frame_step,
    is_video,
)
from jr2net.inference.face import FittedFace
from jr2net.inference.films import Film, ReenactedPhoto
from jr2net.inference.messages import (
    FaceArrays,
    ModelInfo,
    ReenactRequest,
    ReenactResult,
    to_face_arrays,
    to_parameters,
)
from jr2net.inference.photo import Photo, installed_detector
from jr2net.inference.portraits import PortraitCodes
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.weights import REENACTMENT, as_face_model, checkpoint_folder, load_checkpoint
from jr2net.networks.checkpoint import CheckpointError
from jr2net.networks.precision import prepare
from jr2net.render.scene import Generated, Scene, set_scene
from jr2net.storage.elsewhere import folder_of

T = TypeVar("T")
Expression = Mapping[str, float]

_VIDEO_SIDE = 1280
_NO_LIMITS = VideoLimits(seconds=float("inf"), pixels=2**28, frames=2**62)


class ReenactmentError(UserError, ValueError):
    """Arguments of a reenactment that contradict each other. The message names valid ones."""


@dataclass(frozen=True)
class Reenactor:
    """A reenactment network (DCNet or flow3d), with the face model and the camera of its scenes.

    reconstructor  fits the faces of photos; None if callers pass fitted faces only (``generate``, ``reenact``)
    batch_size     largest number of images in one forward pass
    portraits      what the network has computed of the latest crops
    """

    network: nn.Module
    model: FaceModel
    info: ModelInfo
    reconstructor: Reconstructor | None = None
    batch_size: int = 8
    portraits: PortraitCodes = field(default_factory=PortraitCodes)

    @staticmethod
    def load(
        weights: str | Path | None = None,
        *,
        reconstructor: Reconstructor | str | Path | None = None,
        face_model: FaceModel | str | Path | None = None,
        device: torch.device | str = "cpu",
        precision: Literal["fp32", "bf16"] = "fp32",
        batch_size: int = 8,
        optimize: bool = True,
        reenactor: Literal["dcnet", "flow3d"] | None = None,
    ) -> Reenactor:
        """Loads a reenactment network, and the reconstruction network that fits its photos.

        weights        the folder of a checkpoint or a run, local or ``s3://``; None: the weights of the package
        reconstructor  a loaded one, or its weights; None: those of the same run, or the ones of the package
        face_model     the model that both were trained with, as in the setting ``face.model``; None: the procedural one
        optimize       see ``Reconstructor.load``
        reenactor      which network of the package or of a run; None: DCNet, or the only one of the run

        Raises CheckpointError if the folder holds no such network or one of another face model, StorageError if it
        cannot be read.
        """
        model = as_face_model(face_model)
        loaded = Reenactor.load_network(weights, model, device, precision, batch_size, optimize, reenactor)
        if not isinstance(reconstructor, Reconstructor):
            location = reconstructor if reconstructor is not None else _run_folder(weights, reenactor)
            reconstructor = Reconstructor.load(
                location, face_model=model, device=device, precision=precision, optimize=optimize
            )
        _check_cameras(reconstructor.info, loaded.info)
        return replace(loaded, reconstructor=reconstructor)

    @staticmethod
    def load_network(
        weights: str | Path | None,
        model: FaceModel,
        device: torch.device | str = "cpu",
        precision: Literal["fp32", "bf16"] = "fp32",
        batch_size: int = 8,
        optimize: bool = True,
        reenactor: Literal["dcnet", "flow3d"] | None = None,
    ) -> Reenactor:
        """Loads the reenactment network only, for callers that pass fitted faces."""
        kinds = _kinds(reenactor)
        folder = checkpoint_folder(weights, kinds)
        network, info = load_checkpoint(folder, model)
        if info.kind not in kinds:
            raise CheckpointError(f"{folder}: holds a {info.kind}; give the folder of a {' or '.join(kinds)}")
        network = network.to(device)
        return Reenactor(prepare(network, precision) if optimize else network, model.to(device), info, None, batch_size)

    @property
    def camera(self) -> Camera:
        return self.info.camera

    @overload
    def __call__(
        self,
        photos: Photo | FittedFace,
        expression: Expression | None = None,
        *,
        driving: Photo | FittedFace | None = None,
        pose: bool = False,
        light: bool = False,
        relative: bool = False,
    ) -> ReenactedPhoto: ...

    @overload
    def __call__(
        self,
        photos: Sequence[Photo | FittedFace],
        expression: Expression | None = None,
        *,
        driving: Photo | FittedFace | None = None,
        pose: bool = False,
        light: bool = False,
        relative: bool = False,
    ) -> list[ReenactedPhoto]: ...

    def __call__(
        self,
        photos: Photo | FittedFace | Sequence[Photo | FittedFace],
        expression: Expression | None = None,
        *,
        driving: Photo | FittedFace | None = None,
        pose: bool = False,
        light: bool = False,
        relative: bool = False,
    ) -> ReenactedPhoto | list[ReenactedPhoto]:
        """Gives a photo, or each photo of a sequence, another expression, at the photo's resolution.

        expression  ARKit coefficients by name, in [0, 1]; missing ones are 0
        driving     instead of ``expression``: a photo whose expression is used
        pose        use the driving photo's head pose too
        light       use the driving photo's light too
        relative    add the coefficients, in [-1, 1], to the photo's own

        Raises ExpressionError, or ReenactmentError if the arguments contradict each other.
        """
        if (expression is None) == (driving is None):
            raise ReenactmentError("give either an expression, e.g. {'jawOpen': 0.8}, or a driving photo")
        if expression is not None and (pose or light):
            raise ReenactmentError("pose and light need a driving photo; an expression has neither")
        if driving is not None and relative:
            raise ReenactmentError("relative applies to an expression only, not to a driving photo")
        if isinstance(photos, Photo | FittedFace):
            return self([photos], expression, driving=driving, pose=pose, light=light, relative=relative)[0]
        sources = self._fit_photos(photos)
        if driving is not None:
            (driving_face,) = self._fit_photos([driving])
            options = DrivingOptions(pose, light)
            faces = [apply_driving(source.fit.face, driving_face.fit.face, options) for source in sources]
        else:
            coefficients = expression_from_names(expression, -1.0 if relative else 0.0)
            faces = [apply_expression(source.fit.face, coefficients, relative) for source in sources]
        images = self._composite_images(zip(sources, faces, strict=True), pose or light)
        return [ReenactedPhoto(image, self.info) for image in images]

    def animate(
        self,
        photo: Photo | FittedFace,
        driving: str | Path | bytes | Track,
        *,
        pose: bool = False,
        light: bool = False,
        relative: bool = False,
        smooth: bool = True,
        detector: FaceDetector | None = None,
        longest_side: int = _VIDEO_SIDE,
    ) -> Film:
        """Animates a photo, driven by a capture (CSV, JSON, Parquet) or by a video.

        pose, light, relative, smooth  see ``DrivingOptions``; a capture drives the expression only
        longest_side                   of the generated video, in pixels; larger photos are shrunk

        Frames are generated while the result is iterated or saved. Raises TrackError, VideoError or ReenactmentError
        immediately, and NoFaceError while generating if no frame shows a face.
        """
        options = DrivingOptions(pose, light, relative, smooth)
        (source,) = self._fit_photos([photo.shrunk(longest_side) if isinstance(photo, Photo) else photo])
        track, content = _capture_or_video(driving)
        found: Callable[[], tuple[str, ...]]
        if track is not None:
            if options.affects_whole_crop:
                raise ReenactmentError("a capture drives the expression alone; omit pose and light, or give a video")
            step, found = frame_step(track.fps), partial(tuple, track.notes)
            faces, fps, count = faces_from_capture(track, source.fit.face, relative), track.fps / step, len(track)
        else:
            fps, count, frames = film_frames(content, _NO_LIMITS)
            step = 1
            tracker = VideoTracker(source.fit.face, fps, options)
            found = tracker.notes
            faces = self._faces_from_video(frames, tracker, detector or installed_detector())
        images = self._composite_images(((source, face) for face in faces), options.affects_whole_crop)
        return Film(images, fps, -(-count // step), self.info, found, content)

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Any:
        """What the network computes of source crops (B, 3, S, S) alone (``render.scene``); None if it gains nothing."""
        encode: Callable[[Tensor], Any] = self.network.encode  # type: ignore[assignment]
        return encode(images)

    @torch.inference_mode()
    def generate(
        self, images: Tensor, source: FaceParameters, driving: FaceParameters, code: Any = None
    ) -> tuple[Generated, Scene]:
        """Generates images from source crops (B, 3, S, S) in [0, 1]; also returns the scene that the network got.

        source   the faces of the crops
        driving  the target faces (``recombine``)
        code     what the network has computed of the crops already (``render.scene``), or None
        """
        scene = set_scene(self.model, self.camera, images, source, driving)
        return self.network(scene, code), scene

    @torch.inference_mode()
    def reenact(self, requests: Sequence[ReenactRequest]) -> list[ReenactResult]:
        """Generates the crop of each request, in one forward pass. Of crops seen before, less is computed."""
        device = self.model.mean.device
        images = to_device(to_tensor([resize(request.crop, self.camera.size) for request in requests]), device)
        source = to_parameters([request.source for request in requests]).to(device)
        driving = to_parameters([request.driving for request in requests]).to(device)
        code = self.portraits.of([request.crop for request in requests], images, self.encode)
        generated, scene = self.generate(images, source, driving, code)
        return [ReenactResult(crop, self.info) for crop in generated_crops(scene, generated)]

    def warm_up(self, batch_size: int = 1) -> None:
        """Runs the first, slow forward passes now: with one request, and with a batch."""
        neutral = to_face_arrays(self.model.neutral(1))
        crop = np.full((self.camera.size, self.camera.size, 3), 128, np.uint8)
        for count in {1, batch_size}:
            self.reenact([ReenactRequest(crop, neutral, neutral)] * count)

    def _fit_photos(self, photos: Sequence[Photo | FittedFace]) -> list[FittedFace]:
        """Fits the photos among the arguments; fitted faces are returned as they are. Raises ReenactmentError."""
        unfitted = [photo for photo in photos if isinstance(photo, Photo)]
        if unfitted and self.reconstructor is None:
            raise ReenactmentError("this reenactor has no reconstructor; pass fitted faces, or use Reenactor.load")
        fitted = iter(self.reconstructor(unfitted) if self.reconstructor is not None else [])
        return [photo if isinstance(photo, FittedFace) else next(fitted) for photo in photos]

    def _composite_images(
        self, pairs: Iterable[tuple[FittedFace, FaceArrays]], whole_crop: bool
    ) -> Iterator[np.ndarray]:
        """The photo (H, W, 3) uint8 of each source with the target face."""
        for batch in _batches(pairs, self.batch_size):
            requests = [
                ReenactRequest(source.photo.crop_image(self.camera.size), source.fit.face, face)
                for source, face in batch
            ]
            for (source, _), result in zip(batch, self.reenact(requests), strict=True):
                yield composite(source.photo.image, source.photo.crop, result.crop, whole_crop)

    def _faces_from_video(
        self, frames: Iterator[np.ndarray], tracker: VideoTracker, detector: FaceDetector | None
    ) -> Iterator[FaceArrays]:
        assert self.reconstructor is not None
        size = self.reconstructor.camera.size
        photos = (photo for frame in frames for photo in tracker.locate(frame, detector))
        for batch in _batches(photos, self.batch_size):
            for fit in self.reconstructor.fit([photo.crop_image(size) for photo in batch]):
                yield tracker.update(fit)
        tracker.finish()


def _kinds(reenactor: str | None) -> tuple[str, ...]:
    return REENACTMENT if reenactor is None else (reenactor,)


def _run_folder(weights: str | Path | None, reenactor: str | None) -> str | Path | None:
    """The folder of the run that the weights belong to; None if they are those of the package."""
    if weights is None:
        return None
    folder = checkpoint_folder(weights, _kinds(reenactor))
    return storage.parent(str(weights)) if folder == folder_of(str(weights)) else weights


def _check_cameras(reconstruction: ModelInfo, reenactment: ModelInfo) -> None:
    if reconstruction.focal_ratio != reenactment.focal_ratio:
        raise CheckpointError(
            f"the networks were trained for different cameras (focal ratios {reconstruction.focal_ratio:g} and "
            f"{reenactment.focal_ratio:g}); give weights of one run"
        )


def _capture_or_video(driving: str | Path | bytes | Track) -> tuple[Track | None, bytes]:
    """The capture, or None and the bytes of a video."""
    if isinstance(driving, Track):
        return driving, b""
    if isinstance(driving, bytes):
        return (None, driving) if is_video(driving) else (parse_capture(driving, "driving"), b"")
    name = str(driving)
    if is_capture(name):
        return read_capture(name), b""
    content = storage.read_bytes(name)
    if photo_format(content):
        raise ReenactmentError(
            f"{name}: is a photo, and a film needs a capture or a video; a photo drives a single photo"
        )
    return None, content


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
