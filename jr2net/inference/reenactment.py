"""``Reenactor``: gives a photo another expression or animates it, with DCNet (paper, Figure 3) or 3DFlowRenderer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Unpack, overload

import numpy as np
import torch
from torch import Tensor, nn

from jr2net import storage
from jr2net.device import check_finite, to_device
from jr2net.expressions.named import expression_from_names
from jr2net.expressions.tracks import Track
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.images.arrays import resize, to_tensor
from jr2net.images.face_detector import FaceDetector
from jr2net.inference.animation import (
    MAX_FILM_SIDE,
    Expression,
    FilmFaces,
    ReenactmentError,
    animate,
    batches,
    photo_options,
)
from jr2net.inference.compositing import composite, generated_crops
from jr2net.inference.control import DrivingOptions, FilmControls, PhotoControls, drive, with_expression
from jr2net.inference.face import FittedFace
from jr2net.inference.films import Film, ReenactedPhoto
from jr2net.inference.following import FaceChoice
from jr2net.inference.messages import (
    FaceArrays,
    ModelInfo,
    ReenactRequest,
    ReenactResult,
    to_face_arrays,
    to_parameters,
)
from jr2net.inference.photo import Photo, installed_detector
from jr2net.inference.portraits import Portrait, Portraits, portrait_key
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.weights import REENACTMENT, as_face_model, checkpoint_folder, load_checkpoint
from jr2net.networks.checkpoint import CheckpointError
from jr2net.networks.precision import prepare
from jr2net.render.renderer import render
from jr2net.render.scene import Generated, Scene, set_scene
from jr2net.storage.elsewhere import folder_of

__all__ = ("ReenactmentError", "Reenactor")


@dataclass(frozen=True)
class Reenactor:
    """A reenactment network (DCNet or flow3d), with the face model and the camera of its scenes.

    reconstructor  fits the faces of photos; None if callers pass fitted faces only (``generate``, ``reenact``)
    batch_size     largest number of images in one forward pass
    portraits      what depends on the latest source crops and their faces alone
    """

    network: nn.Module
    model: FaceModel
    info: ModelInfo
    reconstructor: Reconstructor | None = None
    batch_size: int = 8
    portraits: Portraits = field(default_factory=Portraits)

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
        **controls: Unpack[PhotoControls],
    ) -> ReenactedPhoto: ...

    @overload
    def __call__(
        self,
        photos: Sequence[Photo | FittedFace],
        expression: Expression | None = None,
        *,
        driving: Photo | FittedFace | None = None,
        **controls: Unpack[PhotoControls],
    ) -> list[ReenactedPhoto]: ...

    def __call__(
        self,
        photos: Photo | FittedFace | Sequence[Photo | FittedFace],
        expression: Expression | None = None,
        *,
        driving: Photo | FittedFace | None = None,
        **controls: Unpack[PhotoControls],
    ) -> ReenactedPhoto | list[ReenactedPhoto]:
        """Gives a photo, or each photo of a sequence, another expression, at the photo's resolution.

        expression  ARKit coefficients by name, in [0, 1], or, with ``relative``, in [-1, 1]; missing ones are 0
        driving     instead of ``expression``: a photo whose expression is used
        controls    fields of ``DrivingOptions``: ``pose``, ``light``, ``relative``, ``regions``, ``strength``,
                    ``pitch``, ``yaw``, ``roll``, ``retarget``, ``close_mouth``

        With neither, the photo keeps its own expression, and ``pitch``, ``yaw``, ``roll`` or ``close_mouth`` change it.
        Raises ExpressionError, ControlError, or ReenactmentError if the arguments contradict each other.
        """
        options = photo_options(expression, driving is not None, DrivingOptions(**controls))
        coefficients, driver = None, None
        if driving is None:
            coefficients = expression_from_names(expression or {}, -1.0 if options.relative else 0.0)
        one = isinstance(photos, Photo | FittedFace)
        sources = self.fit_photos([photos] if isinstance(photos, Photo | FittedFace) else photos)
        if coefficients is not None:
            targets = [with_expression(source.fit.face, coefficients) for source in sources]
        else:
            assert driving is not None
            (driver,) = self.fit_photos([driving])
            targets = [driver.fit.face] * len(sources)
        faces = [drive(source.fit.face, target, options) for source, target in zip(sources, targets, strict=True)]
        images = self.composite_images(zip(sources, faces, strict=True), options.affects_whole_crop)
        results = [ReenactedPhoto(image, self.info, source, driver) for image, source in zip(images, sources)]
        return results[0] if one else results

    def animate(
        self,
        source: Photo | FittedFace | str | Path | bytes,
        driving: str | Path | bytes | Track | Expression | None,
        *,
        face: int = 0,
        box: Sequence[float] | None = None,
        driving_face: int = 0,
        driving_box: Sequence[float] | None = None,
        detector: FaceDetector | None = None,
        longest_side: int = MAX_FILM_SIDE,
        **controls: Unpack[FilmControls],
    ) -> Film:
        """Animates a photo or a video, driven by a capture (CSV, JSON, Parquet), a video or named coefficients.

        source        a photo, or a video, whose every frame acts (``jr2net.inference.animation``)
        driving       coefficients drive a video only, all its frames alike; None: its own expression, which
                      ``pitch``, ``yaw``, ``roll`` or ``close_mouth`` change
        face, box     which face of a source video acts (``FaceChoice``): the same one throughout
        driving_face, driving_box    which face of a driving video drives
        detector      the default is the installed one
        controls      fields of ``DrivingOptions``; a capture drives the expression only
        longest_side  of the generated video, in pixels; larger sources are shrunk

        Frames are generated while the result is iterated or saved. Raises ControlError, TrackError, VideoError or
        ReenactmentError immediately, and NoFaceError while generating if no frame shows a face.
        """
        choices = FaceChoice.of(face, box), FaceChoice.of(driving_face, driving_box)
        faces = FilmFaces(detector or installed_detector(), *choices)
        return animate(self, source, driving, DrivingOptions(**controls), faces, longest_side)

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Any:
        """What the network computes of source crops (B, 3, S, S) alone (``render.scene``); None if it gains nothing."""
        encode: Callable[[Tensor], Any] = self.network.encode  # type: ignore[assignment]
        return encode(images)

    @torch.inference_mode()
    def portrait(self, images: Tensor, source: FaceParameters) -> Portrait:
        """What depends on source crops (B, 3, S, S) and their faces alone, for ``generate``."""
        rendering = render(self.model, source, self.camera)
        rendering.image, rendering.depth, rendering.normal, rendering.light  # noqa: B018  cached for later scenes
        return Portrait(rendering, self.encode(images))

    @torch.inference_mode()
    def generate(
        self, images: Tensor, source: FaceParameters, driving: FaceParameters, portrait: Portrait | None = None
    ) -> tuple[Generated, Scene]:
        """Generates images from source crops (B, 3, S, S) in [0, 1]; also returns the scene that the network got.

        source    the faces of the crops
        driving   the target faces (``recombine``)
        portrait  of the crops and their faces, where it exists already
        """
        rendering, code = (None, None) if portrait is None else (portrait.rendering, portrait.code)
        scene = set_scene(self.model, self.camera, images, source, driving, rendering=rendering)
        return self.network(scene, code), scene

    @torch.inference_mode()
    def reenact(self, requests: Sequence[ReenactRequest]) -> list[ReenactResult]:
        """Generates the crop of each request, in one forward pass. Of portraits seen before, less is computed.

        Raises FloatingPointError where the network's numbers are not finite.
        """
        device = self.model.mean.device
        images = to_device(to_tensor([resize(request.crop, self.camera.size) for request in requests]), device)
        source = to_parameters([request.source for request in requests]).to(device)
        driving = to_parameters([request.driving for request in requests]).to(device)

        def make(places: list[int]) -> Portrait:
            # Contiguous, so that the same crop gives the same bits in every batch.
            crops = torch.stack([images[place].contiguous() for place in places])
            return self.portrait(crops, source[torch.tensor(places, device=device)])

        portrait = self.portraits.of([portrait_key(request.crop, request.source) for request in requests], make)
        generated, scene = self.generate(images, source, driving, portrait)
        check_finite(generated.picture, self.info.kind)
        return [ReenactResult(crop, self.info) for crop in generated_crops(scene, generated)]

    def warm_up(self, batch_size: int = 1) -> None:
        """Runs the first, slow forward passes now: with one request, and with a batch."""
        neutral = to_face_arrays(self.model.neutral(1))
        crop = np.full((self.camera.size, self.camera.size, 3), 128, np.uint8)
        for count in {1, batch_size}:
            self.reenact([ReenactRequest(crop, neutral, neutral)] * count)

    def probe(self) -> None:
        """Generates a grey crop. Raises an error of the device, or FloatingPointError, where the network is broken."""
        size, neutral = self.camera.size, self.model.neutral(1)
        grey = torch.full((1, 3, size, size), 0.5, device=self.model.mean.device)
        check_finite(self.generate(grey, neutral, neutral)[0].picture, self.info.kind)

    def fit_photos(self, photos: Sequence[Photo | FittedFace]) -> list[FittedFace]:
        """Fits the photos among the arguments; fitted faces are returned as they are. Raises ReenactmentError."""
        unfitted = [photo for photo in photos if isinstance(photo, Photo)]
        if unfitted and self.reconstructor is None:
            raise ReenactmentError("this reenactor has no reconstructor; pass fitted faces, or use Reenactor.load")
        fitted = iter(self.reconstructor(unfitted) if self.reconstructor is not None else [])
        return [photo if isinstance(photo, FittedFace) else next(fitted) for photo in photos]

    def composite_images(
        self, pairs: Iterable[tuple[FittedFace, FaceArrays]], whole_crop: bool
    ) -> Iterator[np.ndarray]:
        """The photo (H, W, 3) uint8 of each source with the target face."""
        for batch in batches(pairs, self.batch_size):
            requests = [
                ReenactRequest(source.photo.crop_image(self.camera.size, continued=True), source.fit.face, face)
                for source, face in batch
            ]
            for (source, _), result in zip(batch, self.reenact(requests), strict=True):
                yield composite(source.photo.image, source.photo.crop, result.crop, whole_crop)


def _kinds(reenactor: str | None) -> tuple[str, ...]:
    if reenactor not in (None, *REENACTMENT):
        raise CheckpointError(f"reenactor {reenactor!r} is none of {', '.join(REENACTMENT)}")
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
