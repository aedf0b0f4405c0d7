"""Films: a photo or a video as the source, driven by a capture, a video or fixed coefficients.

A film of a photo is as long as its driving. A film of a video is as long as the video, frame by frame: each keeps its
own head pose, light and background, and takes the expression of the driving at the same instant. A driving that ends
earlier begins anew, one that lasts longer is cut. Frames of the source that show no face remain as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from jr2net import storage
from jr2net.errors import UserError
from jr2net.expressions.named import expression_from_names
from jr2net.expressions.tracks import Track, is_capture, parse_capture, read_capture
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.images.face_detector import FaceDetector, detector_for_frames
from jr2net.images.photo import photo_format
from jr2net.images.video import VideoError, VideoLimits
from jr2net.inference.compositing import composite
from jr2net.inference.control import ControlError, DrivingOptions, amount_of_expression, drive
from jr2net.inference.driving import VideoTracker, film_frames, frame_step, is_video, reference_frame
from jr2net.inference.face import FittedFace
from jr2net.inference.films import Film
from jr2net.inference.messages import FaceArrays, ReenactRequest
from jr2net.inference.photo import NoFaceError, Photo, installed_detector, shrink_to
from jr2net.inference.smoothing import CropSmoother

if TYPE_CHECKING:
    from jr2net.inference.reenactment import Reenactor

T = TypeVar("T")
Expression = Mapping[str, float]

MAX_FILM_SIDE = 1280
NO_LIMITS = VideoLimits(seconds=float("inf"), pixels=2**28, frames=2**62)


class ReenactmentError(UserError, ValueError):
    """Arguments of a reenactment that contradict each other. The message names valid ones."""


@dataclass(frozen=True)
class Driving:
    """What drives a film.

    faces  each frame's driving face and that of the frame of reference; of captures and coefficients the expression
    fps    frames per second; 0: one face for all instants
    count  approximate number of frames; 0: unknown
    found  what was found in it until now and done about it; of a capture all of it (``Track.notes``)
    video  the bytes of a video
    """

    faces: Iterator[tuple[FaceArrays, FaceArrays | None]]
    fps: float
    count: int
    options: DrivingOptions
    found: Callable[[], tuple[str, ...]] = tuple
    video: bytes = b""


@dataclass(frozen=True)
class Clip:
    """A video that is read: its bytes and name, and about ``count`` frames of it at the constant rate of a film."""

    content: bytes
    name: str
    fps: float
    count: int

    @staticmethod
    def open(content: bytes, name: str) -> Clip:
        """Raises VideoError."""
        with _named(name):
            fps, count, _ = film_frames(content, NO_LIMITS)
        return Clip(content, name, fps, count)

    def frames(self) -> Iterator[np.ndarray]:
        return film_frames(self.content, NO_LIMITS)[2]


def photo_options(expression: Expression | None, has_driving: bool, options: DrivingOptions) -> DrivingOptions:
    """The options of a single picture as its arguments allow them. Raises ReenactmentError or ControlError."""
    if (expression is not None) and has_driving:
        raise ReenactmentError("give either an expression, e.g. {'jawOpen': 0.8}, or a driving photo")
    if has_driving:
        if options.relative:
            raise ReenactmentError("relative applies to an expression only, not to a driving photo")
        return options
    if expression is not None:
        return options.of_expression("named coefficients drive")
    if not options.changes_source:
        raise ReenactmentError("give either an expression, e.g. {'jawOpen': 0.8}, or a driving photo, or turn the head")
    return options.own()


def animate(
    reenactor: Reenactor,
    source: Photo | FittedFace | str | Path | bytes,
    driving: str | Path | bytes | Track | Expression | None,
    options: DrivingOptions,
    detector: FaceDetector | None = None,
    longest_side: int = MAX_FILM_SIDE,
) -> Film:
    """``Reenactor.animate``."""
    if isinstance(source, Photo | FittedFace):
        if driving is None or isinstance(driving, Mapping):
            raise ReenactmentError("coefficients give a photo one expression: call the reenactor with the photo")
        return _film_of_photo(reenactor, source, open_driving(reenactor, driving, options, detector), longest_side)
    name, content = ("source", source) if isinstance(source, bytes) else (source, storage.read_bytes(str(source)))
    if not is_video(content):
        raise ReenactmentError(f"{name}: is no video (MP4, MOV, WebM); of a photo give Photo.open({name})")
    clip = Clip.open(content, str(name))
    return _film_of_video(reenactor, clip, open_driving(reenactor, driving, options, detector), detector, longest_side)


def open_driving(
    reenactor: Reenactor,
    driving: str | Path | bytes | Track | Expression | None,
    options: DrivingOptions,
    detector: FaceDetector | None = None,
) -> Driving:
    """Reads a capture, a video's header, or coefficients. Raises an error of the file, or ControlError."""
    if driving is None:
        if not options.changes_source:
            raise ReenactmentError("give a driving, coefficients, or turn the head, e.g. yaw=20")
        return Driving(iter([({"expression": np.zeros(len(ARKIT_NAMES), np.float32)}, None)]), 0.0, 1, options.own())
    if isinstance(driving, Mapping):
        options = options.of_expression("named coefficients drive")
        face = {"expression": expression_from_names(driving, -1.0 if options.relative else 0.0)}
        return Driving(iter([(face, None)]), 0.0, 1, options)
    track, content = capture_or_video(driving)
    name = str(driving) if isinstance(driving, str | Path) else "driving"
    if track is not None:
        options = options.of_expression("a capture drives")
        reference = {"expression": track.expression[reference_frame(track, options)]}
        step = frame_step(track.fps)
        frames = track.expression[::step]
        pairs = (({"expression": frame}, reference) for frame in frames)
        return Driving(pairs, track.fps / step, len(frames), options, partial(tuple, track.notes))
    clip = Clip.open(content, name)
    tracker = VideoTracker(clip.fps, options, name=clip.name)
    faces = _faces_of_video(reenactor, clip, tracker, detector or installed_detector())
    return Driving(faces, clip.fps, clip.count, options, tracker.notes, content)


def is_video_file(uri: str) -> bool:
    """Whether a file is a video, by its first bytes. Raises StorageError if it cannot be read."""
    path = Path(uri)
    if not path.is_file():
        return is_video(storage.read_bytes(uri))
    with path.open("rb") as file:
        return is_video(file.read(64))


def capture_or_video(driving: str | Path | bytes | Track) -> tuple[Track | None, bytes]:
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


def _film_of_photo(reenactor: Reenactor, photo: Photo | FittedFace, driving: Driving, longest_side: int) -> Film:
    (source,) = reenactor.fit_photos([photo.shrunk(longest_side) if isinstance(photo, Photo) else photo])
    options = driving.options
    pairs = ((source, drive(source.fit.face, face, options, reference)) for face, reference in driving.faces)
    images = reenactor.composite_images(pairs, options.affects_whole_crop)
    return Film(images, driving.fps, driving.count, reenactor.info, driving.found, driving.video)


def _film_of_video(
    reenactor: Reenactor, clip: Clip, driving: Driving, detector: FaceDetector | None, longest_side: int
) -> Film:
    images = _act(reenactor, clip, driving, detector or installed_detector(), longest_side)
    return Film(images, clip.fps, clip.count, reenactor.info, driving.found, clip.content)


def _act(
    reenactor: Reenactor, clip: Clip, driving: Driving, detector: FaceDetector | None, longest_side: int
) -> Iterator[np.ndarray]:
    """The frames of a source video, driven."""
    reconstructor = reenactor.reconstructor
    if reconstructor is None:
        raise ReenactmentError("this reenactor has no reconstructor; a video as source needs one: use Reenactor.load")
    targets, options = at_instants(driving.faces, driving.fps, clip.fps), driving.options
    frames = (shrink_to(frame, longest_side)[0] for frame in clip.frames())
    for photos in batches(source_photos(frames, clip.fps, clip.name, detector), reenactor.batch_size):
        seen = [photo for photo in photos if isinstance(photo, Photo)]
        fits = iter(reconstructor.fit([photo.crop_image(reconstructor.camera.size) for photo in seen]) if seen else [])
        requests: list[ReenactRequest] = []
        for photo in photos:
            face, reference = next(targets)
            if isinstance(photo, Photo):
                own = next(fits).face
                target = drive(own, face, options, reference)
                requests.append(ReenactRequest(photo.crop_image(reenactor.camera.size), own, target))
        results = iter(reenactor.reenact(requests) if requests else [])
        for photo in photos:
            if isinstance(photo, Photo):
                yield composite(photo.image, photo.crop, next(results).crop, options.affects_whole_crop)
            else:
                yield photo


def source_photos(
    frames: Iterator[np.ndarray], fps: float, name: str, detector: FaceDetector | None
) -> Iterator[Photo | np.ndarray]:
    """Each frame of a source video with its face, or the frame (H, W, 3) alone where it shows none.

    Raises NoFaceError if no frame shows a face, or if there is no detector.
    """
    smooth, found = CropSmoother(fps), 0
    for frame in frames:
        try:
            photo = Photo.from_image(frame, detector=detector_for_frames(detector), name=name)
        except NoFaceError as error:
            if detector is None:
                raise NoFaceError(error.message(None)) from None
            smooth = CropSmoother(fps)  # whoever comes next may be elsewhere
            yield frame
            continue
        found += 1
        yield Photo(frame, photo.face, smooth(photo.crop), photo.faces)
    if not found:
        raise NoFaceError(f"{name}: no frame of the video shows a face; use a video that shows one from the front")


def at_instants(items: Iterable[T], rate: float, wanted_rate: float) -> Iterator[T]:
    """Items of ``rate`` a second, at the instants of ``wanted_rate`` a second: the latest of each instant, for ever.

    After the last one they begin anew. They are kept for that, so they should be small. A rate of 0: one for ever.
    """
    kept: list[T] = []
    remaining: Iterator[T] | None = iter(items)
    number = 0
    while True:
        index = int(number * rate / wanted_rate + 1e-6)
        while remaining is not None and index >= len(kept):
            if not (more := list(islice(remaining, 1))):
                remaining = None
            kept += more
        if not kept:
            raise ReenactmentError("driving: has no frames")
        yield kept[index % len(kept)]
        number += 1


def _faces_of_video(
    reenactor: Reenactor, clip: Clip, tracker: VideoTracker, detector: FaceDetector | None
) -> Iterator[tuple[FaceArrays, FaceArrays | None]]:
    options = tracker.options
    if options.needs_reference and options.reference != "first":
        before = VideoTracker(clip.fps, options, name=clip.name)
        tracker.set_reference(_reference_of_video(clip, options, _tracked(reenactor, clip, before, detector)))
    for face in _tracked(reenactor, clip, tracker, detector):
        yield face, tracker.reference


def _reference_of_video(clip: Clip, options: DrivingOptions, faces: Iterator[FaceArrays]) -> FaceArrays:
    """The face of the frame of reference. The video is read as far as is needed. Raises ControlError."""
    if options.reference == "neutral":
        return min(faces, key=lambda face: float(amount_of_expression(face["expression"])))
    instant, number = float(options.reference), -1
    for number, face in enumerate(faces):
        if number >= round(instant * clip.fps):
            return face
    raise ControlError(
        f"reference: {instant:g} s lies beyond the end of {clip.name}; it lasts {(number + 1) / clip.fps:.2f} s"
    )


def _tracked(
    reenactor: Reenactor, clip: Clip, tracker: VideoTracker, detector: FaceDetector | None
) -> Iterator[FaceArrays]:
    """The driving face of each frame of a video, smoothed. Raises NoFaceError if no frame shows one."""
    reconstructor = reenactor.reconstructor
    if reconstructor is None:
        raise ReenactmentError("this reenactor has no reconstructor; a driving video needs one: use Reenactor.load")
    size = reconstructor.camera.size
    photos = (photo for frame in clip.frames() for photo in tracker.locate(frame, detector))
    for batch in batches(photos, reenactor.batch_size):
        for fit in reconstructor.fit([photo.crop_image(size) for photo in batch]):
            yield tracker.track(fit)
    tracker.finish()


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Errors of a video name it."""
    try:
        yield
    except VideoError as error:
        raise VideoError(error.kind, f"{name}: {error}") from None


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
