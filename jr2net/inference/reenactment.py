"""What a user calls to make a photo act: a photo and what drives it in, an image or a film out (Figure 3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar, overload

import numpy as np
import torch
from torch import Tensor, nn

from jr2net import storage
from jr2net.errors import UserError
from jr2net.expressions.named import expression_from_names
from jr2net.expressions.tracks import Track, parse_csv, read_capture
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.images.arrays import resize, to_tensor
from jr2net.images.face_detector import FaceDetector
from jr2net.images.video import VideoLimits, probe_video, read_video
from jr2net.inference.compositing import composite, generated_crops
from jr2net.inference.driving import (
    DrivingOptions,
    VideoFollower,
    apply_driving,
    apply_expression,
    faces_of_capture,
    frame_step,
    is_video,
    thinned,
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
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.weights import REENACTMENT, as_face_model, checkpoint_folder, load_checkpoint
from jr2net.networks.checkpoint import CheckpointError
from jr2net.networks.dcnet import DCNet
from jr2net.networks.precision import prepare
from jr2net.render.scene import Generated, Scene, set_scene

T = TypeVar("T")
Expression = Mapping[str, float]

_FILM_SIDE = 1280
_ANY_LENGTH = VideoLimits(seconds=float("inf"), pixels=2**28, frames=2**62)


class ReenactmentError(UserError, ValueError):
    """A reenactment that is asked for in a way that contradicts itself; the message says what to give."""


@dataclass(frozen=True)
class Reenactor:
    """DCNet beside the face model and the camera that its scenes are rendered with.

    reconstructor  fits the photos' faces; None where callers give faces only (``generate``, ``reenact``)
    batch_size     most images of one forward pass
    """

    network: nn.Module
    model: FaceModel
    info: ModelInfo
    reconstructor: Reconstructor | None = None
    batch_size: int = 8

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
    ) -> Reenactor:
        """Loads a reenactment network, and the reconstruction network that fits its photos.

        weights        a checkpoint's folder or a run's, local or ``s3://``; None: the weights of the package
        reconstructor  a loaded one, or where its weights lie; None: those of the same run, or the shipped ones
        face_model     the model that both were trained with, as ``face.model`` names it; None: the procedural one
        optimize       as of ``Reconstructor.load``

        Raises CheckpointError where the folder holds no such network or another face model's, StorageError where it
        cannot be read.
        """
        model = as_face_model(face_model)
        reenactor = Reenactor.load_network(weights, model, device, precision, batch_size, optimize)
        if not isinstance(reconstructor, Reconstructor):
            source = reconstructor if reconstructor is not None else _run_of(weights)
            reconstructor = Reconstructor.load(
                source, face_model=model, device=device, precision=precision, optimize=optimize
            )
        _check_cameras(reconstructor.info, reenactor.info)
        return replace(reenactor, reconstructor=reconstructor)

    @staticmethod
    def load_network(
        weights: str | Path | None,
        model: FaceModel,
        device: torch.device | str = "cpu",
        precision: Literal["fp32", "bf16"] = "fp32",
        batch_size: int = 8,
        optimize: bool = True,
    ) -> Reenactor:
        """Loads the reenactment network alone, for callers that give faces."""
        folder = checkpoint_folder(weights, REENACTMENT)
        network, info = load_checkpoint(folder, model)
        if not isinstance(network, DCNet):
            raise CheckpointError(f"{folder}: holds a {info.kind}; give the folder of a DCNet")
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
        """A photo, or each photo of a sequence, with another expression, at the photo's own resolution.

        expression  ARKit coefficients by name, in [0, 1]; those that are missing are 0
        driving     a photo whose expression is taken instead and, with ``pose`` and ``light``, its head pose and light
        relative    the coefficients, in [-1, 1], are added to the photo's own

        Raises ExpressionError, or ReenactmentError where the arguments contradict each other.
        """
        if (expression is None) == (driving is None):
            raise ReenactmentError("give either an expression, e.g. {'jawOpen': 0.8}, or a driving photo")
        if expression is not None and (pose or light):
            raise ReenactmentError("pose and light are taken from a driving photo; an expression has none")
        if driving is not None and relative:
            raise ReenactmentError("relative goes with an expression; a driving photo's is taken as it is")
        if isinstance(photos, Photo | FittedFace):
            return self([photos], expression, driving=driving, pose=pose, light=light, relative=relative)[0]
        sources = self._fitted(photos)
        if driving is not None:
            (other,) = self._fitted([driving])
            options = DrivingOptions(pose, light)
            faces = [apply_driving(source.fit.face, other.fit.face, options) for source in sources]
        else:
            wanted = expression_from_names(expression, -1.0 if relative else 0.0)
            faces = [apply_expression(source.fit.face, wanted, relative) for source in sources]
        images = self._images(zip(sources, faces, strict=True), pose or light)
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
        longest_side: int = _FILM_SIDE,
    ) -> Film:
        """The photo acting as a capture (Live Link Face CSV, Parquet) or a video does, frame by frame.

        pose, light, relative, smooth  see ``DrivingOptions``; a capture drives the expression alone
        longest_side                   of the film, in pixels; larger photos are shrunk

        Frames are made while the film is read or saved. Raises TrackError, VideoError or ReenactmentError at once,
        NoFaceError with the first frame where it shows no face.
        """
        options = DrivingOptions(pose, light, relative, smooth)
        (source,) = self._fitted([photo.shrunk(longest_side) if isinstance(photo, Photo) else photo])
        track, content = _capture_or_video(driving)
        if track is not None:
            if options.moves_surroundings:
                raise ReenactmentError(
                    "a capture drives the expression alone; leave pose and light off, or give a video"
                )
            step = frame_step(track.fps)
            faces, fps, count = faces_of_capture(track, source.fit.face, relative), track.fps / step, len(track)
        else:
            shape = probe_video(content, _ANY_LENGTH)
            step, count = frame_step(shape.fps), shape.frames
            fps = shape.fps / step
            follower = VideoFollower(source.fit.face, fps, options)
            frames = read_video(content, _ANY_LENGTH)
            faces = self._faces_of_video(frames, step, follower, detector or installed_detector())
        images = self._images(((source, face) for face in faces), options.moves_surroundings)
        return Film(images, fps, -(-count // step), self.info)

    @torch.inference_mode()
    def generate(self, images: Tensor, source: FaceParameters, driving: FaceParameters) -> tuple[Generated, Scene]:
        """Source crops (B, 3, S, S) in [0, 1] to generated ones, and the scene that they were generated from.

        source: their faces; driving: what the result should show (``recombine``).
        """
        scene = set_scene(self.model, self.camera, images, source, driving)
        return self.network(scene), scene

    @torch.inference_mode()
    def reenact(self, requests: Sequence[ReenactRequest]) -> list[ReenactResult]:
        """Requests to generated crops, by one forward pass."""
        device = self.model.mean.device
        images = to_tensor([resize(request.crop, self.camera.size) for request in requests]).to(device)
        source = to_parameters([request.source for request in requests]).to(device)
        driving = to_parameters([request.driving for request in requests]).to(device)
        generated, scene = self.generate(images, source, driving)
        return [ReenactResult(crop, self.info) for crop in generated_crops(scene, generated)]

    def warm_up(self, batch_size: int = 1) -> None:
        """Runs the slow first passes now, for one request and for a batch."""
        neutral = to_face_arrays(self.model.neutral(1))
        crop = np.full((self.camera.size, self.camera.size, 3), 128, np.uint8)
        for count in {1, batch_size}:
            self.reenact([ReenactRequest(crop, neutral, neutral)] * count)

    def _fitted(self, photos: Sequence[Photo | FittedFace]) -> list[FittedFace]:
        """Every photo with its face; those that are fitted already are left as they are."""
        unfitted = [photo for photo in photos if isinstance(photo, Photo)]
        if unfitted and self.reconstructor is None:
            raise ReenactmentError("this reenactor has no reconstructor: give fitted faces, or use Reenactor.load")
        fitted = iter(self.reconstructor(unfitted) if self.reconstructor is not None else [])
        return [photo if isinstance(photo, FittedFace) else next(fitted) for photo in photos]

    def _images(self, pairs: Iterable[tuple[FittedFace, FaceArrays]], whole: bool) -> Iterator[np.ndarray]:
        """The photo of each (source, driving face), (H, W, 3) uint8."""
        for batch in _batches(pairs, self.batch_size):
            requests = [
                ReenactRequest(source.photo.crop_image(self.camera.size), source.fit.face, face)
                for source, face in batch
            ]
            for (source, _), result in zip(batch, self.reenact(requests), strict=True):
                yield composite(source.photo.image, source.photo.crop, result.crop, whole)

    def _faces_of_video(
        self, frames: Iterator[np.ndarray], step: int, follower: VideoFollower, detector: FaceDetector | None
    ) -> Iterator[FaceArrays]:
        assert self.reconstructor is not None
        size = self.reconstructor.camera.size
        for batch in _batches(thinned(frames, step), self.batch_size):
            crops = [follower.locate(frame, detector).crop_image(size) for frame in batch]
            for fit in self.reconstructor.fit(crops):
                yield follower.follow(fit)


def _run_of(weights: str | Path | None) -> str | Path | None:
    """Where the reconstruction network of the same run is expected."""
    if weights is None:
        return None
    folder = checkpoint_folder(weights, REENACTMENT)
    return weights if folder != str(weights) else str(weights).rstrip("/").rpartition("/")[0]


def _check_cameras(reconstruction: ModelInfo, reenactment: ModelInfo) -> None:
    if reconstruction.focal_ratio != reenactment.focal_ratio:
        raise CheckpointError(
            f"the networks were trained for different cameras (focal ratios {reconstruction.focal_ratio:g} and "
            f"{reenactment.focal_ratio:g}); give weights of one run"
        )


def _capture_or_video(driving: str | Path | bytes | Track) -> tuple[Track | None, bytes]:
    """A capture, or the bytes of a video."""
    if isinstance(driving, Track):
        return driving, b""
    if isinstance(driving, bytes):
        return (None, driving) if is_video(driving) else (parse_csv(driving, "driving"), b"")
    name = str(driving)
    if name.lower().endswith((".csv", ".parquet")):
        return read_capture(name), b""
    return None, storage.read_bytes(name)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
