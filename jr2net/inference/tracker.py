"""``Tracker``: the face of a person in a video, frame by frame, as ARKit coefficients and head pose."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from jr2net import storage
from jr2net.face.model import FaceModel
from jr2net.images.face_detector import FaceDetector
from jr2net.images.video import NO_LIMITS, VideoError, VideoFrame, probe_video, up_to_damage
from jr2net.inference.assembly import TrackedFrame, assemble
from jr2net.inference.face_track import FaceTrack, Smoothing
from jr2net.inference.following import FaceChoice, FaceFollower, PictureCamera
from jr2net.inference.photo import installed_detector
from jr2net.inference.reconstruction import Precision, Reconstructor, Runtime
from jr2net.inference.smoothing import EXPRESSION, ROTATION, TRANSLATION, OneEuroFilter

_FASTEST = 120.0  # frames per second of a camera


@dataclass(frozen=True)
class Tracker:
    """Tracks a face with a reconstruction network and a face detector."""

    reconstructor: Reconstructor
    detector: FaceDetector

    @staticmethod
    def load(
        weights: str | Path | None = None,
        *,
        face_model: FaceModel | str | Path | None = None,
        device: torch.device | str = "cpu",
        precision: Precision = "fp32",
        runtime: Runtime = "torch",
        detector: FaceDetector | None = None,
    ) -> Tracker:
        """Loads the networks; arguments as of ``Reconstructor.load``. detector: the default is the installed one.

        Raises the errors of ``Reconstructor.load``.
        """
        reconstructor = Reconstructor.load(
            weights, face_model=face_model, device=device, precision=precision, runtime=runtime
        )
        return Tracker(reconstructor, detector or installed_detector())

    def __call__(
        self,
        video: str | Path | bytes,
        *,
        face: int = 0,
        box: Sequence[float] | None = None,
        smooth: Smoothing = "two-sided",
        neutral: float | Literal["auto"] | None = None,
        progress: Callable[[int], None] = lambda frames: None,
    ) -> FaceTrack:
        """Tracks the face of a video (a path, an ``s3://`` URI or the file's bytes) at its own rate, at most 60 fps.

        face      index of the face in the first frame that shows one, starting at 0, the largest first
        box       or its (left, top, right, bottom) there, in pixels, from the brows to the chin
        smooth    ``FaceTrack.smoothed``
        neutral   ``FaceTrack.relative_to``: seconds or ``auto``; None: the coefficients as they are
        progress  called with the number of frames done

        Raises VideoError, StorageError, NoFaceError where no frame shows a face, NeutralError.
        """
        name = "video" if isinstance(video, bytes) else str(video)
        try:
            shape, ended = probe_video(video, NO_LIMITS), list[str]()
        except VideoError as error:
            raise VideoError(error.kind, f"{name}: {error}") from None
        follow = FaceFollower(self.detector, shape.fps, FaceChoice.of(face, box), name)

        def counted() -> Iterator[TrackedFrame]:
            frames = up_to_damage(video, NO_LIMITS, ended)
            for number, frame in enumerate(self.track(frames, follow), 1):
                yield frame
                progress(number)
            follow.check_found()

        track = assemble(counted(), storage.base_name(name), self.reconstructor.model, self.reconstructor.info)
        track = replace(track, notes=(*follow.notes(), *track.notes, *ended)).smoothed(smooth)
        return track if neutral is None else track.relative_to(neutral)

    def track(self, frames: Iterable[VideoFrame], follow: FaceFollower, batch: int = 8) -> Iterator[TrackedFrame]:
        """Every frame's face as it is fitted, unsmoothed; that of the person who is followed.

        batch: frames that are fitted at a time; 1 answers each before the next is read, as a camera needs.
        """
        camera = PictureCamera(self.reconstructor.info.focal_ratio)
        remaining, size = iter(frames), self.reconstructor.camera.size
        while taken := list(islice(remaining, batch)):
            found = [follow(frame.image) for frame in taken]
            crops = [followed.photo.crop_image(size) for followed in found if followed.photo is not None]
            fits = iter(self.reconstructor.fit(crops) if crops else [])
            for frame, followed in zip(taken, found):
                if followed.photo is None:
                    yield TrackedFrame(frame.seconds, None, followed.begins)
                else:
                    fit, photo = next(fits), followed.photo
                    landmarks = photo.crop.to_image(fit.landmarks.astype(np.float64), size)
                    yield TrackedFrame(
                        frame.seconds,
                        camera.place(fit.face, photo),
                        followed.begins,
                        photo.crop,
                        follow.confidence(photo, landmarks),
                    )


class LiveSmoother:
    """Smooths tracked frames as they come, by the 1 € filter; a cut, or a loss of the face, begins anew.

    rate: frames per second; None: as the frames' instants say, for cameras whose pace varies.
    """

    def __init__(self, rate: float | None) -> None:
        self.rate, self._filters, self._before = rate, dict[str, OneEuroFilter](), 0.0

    def __call__(self, frame: TrackedFrame) -> TrackedFrame:
        step, self._before = frame.seconds - self._before, frame.seconds
        if frame.face is None or frame.begins:
            self._filters = {}
        if frame.face is None:
            return frame
        rate = self.rate or 1 / max(step, 1 / _FASTEST)
        settings = {"expression": EXPRESSION, "rotation": ROTATION, "translation": TRANSLATION}
        self._filters = self._filters or {name: OneEuroFilter(rate, *pair) for name, pair in settings.items()}
        for one_euro in self._filters.values():
            one_euro.rate = rate
        return replace(frame, face={**frame.face, **{name: f(frame.face[name]) for name, f in self._filters.items()}})
