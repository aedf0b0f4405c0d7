"""Films: a photo or a video as the source, driven by a capture, a video or fixed coefficients.

A film of a photo is as long as its driving. A film of a video is as long as the video, frame by frame: each keeps its
own head pose, light and background, and takes the expression of the driving at the same instant. A driving that ends
earlier begins anew, one that lasts longer is cut. Frames of the source that show no face remain as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from jr2net.errors import UserError
from jr2net.expressions.named import expression_from_names
from jr2net.expressions.tracks import Track, is_folder, parse_capture, read_capture
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.images.face_detector import FaceDetector
from jr2net.images.photo import photo_format
from jr2net.images.sound import first_with_sound
from jr2net.images.video_file import CONTAINERS, VideoFile, is_video
from jr2net.inference.compositing import composite
from jr2net.inference.confidence import Doubts, doubt
from jr2net.inference.control import ControlError, DrivingOptions, amount_of_expression, drive
from jr2net.inference.driving import Clip, VideoTracker, capture_faces, frame_step, reference_frame, shows_head
from jr2net.inference.face import FittedFace
from jr2net.inference.films import Film
from jr2net.inference.following import LARGEST, FaceChoice, FaceFollower
from jr2net.inference.messages import FaceArrays, ReenactRequest
from jr2net.inference.photo import Photo, shrink_to

if TYPE_CHECKING:
    from jr2net.inference.reenactment import Reenactor

T = TypeVar("T")
Expression = Mapping[str, float]

MAX_FILM_SIDE = 1280


class ReenactmentError(UserError, ValueError):
    """Arguments of a reenactment that contradict each other. The message names valid ones."""


@dataclass(frozen=True)
class FilmFaces:
    """How faces are found in the videos of a film: by which detector, and which of several."""

    detector: FaceDetector | None
    source: FaceChoice = LARGEST
    driving: FaceChoice = LARGEST


@dataclass(frozen=True)
class Driving:
    """What drives a film.

    faces  each frame's driving face and that of the frame of reference; of coefficients the expression, of captures the
           head's rotation too if they hold it
    fps    frames per second; 0: one face for all instants
    count  approximate number of frames; 0: unknown
    found  what was found in it until now and done about it; of a capture all of it (``Track.notes``)
    video  a video, whose sound is kept
    """

    faces: Iterator[tuple[FaceArrays, FaceArrays | None]]
    fps: float
    count: int
    options: DrivingOptions
    found: Callable[[], tuple[str, ...]] = tuple
    video: VideoFile | None = None


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
    faces: FilmFaces,
    longest_side: int = MAX_FILM_SIDE,
) -> Film:
    """``Reenactor.animate``."""
    if isinstance(source, Photo | FittedFace):
        if driving is None or isinstance(driving, Mapping):
            raise ReenactmentError("coefficients give a photo one expression: call the reenactor with the photo")
        return _film_of_photo(reenactor, source, open_driving(reenactor, driving, options, faces), longest_side)
    name = "source" if isinstance(source, bytes) else str(source)
    video = VideoFile.of(source)
    if not is_video(video):
        raise ReenactmentError(f"{name}: is no video that is read ({CONTAINERS}); of a photo give Photo.open({name})")
    clip = Clip.open(video, name)
    follow = FaceFollower(faces.detector, clip.fps, faces.source, name)
    return _film_of_video(reenactor, clip, follow, open_driving(reenactor, driving, options, faces), longest_side)


def open_driving(
    reenactor: Reenactor,
    driving: str | Path | bytes | Track | Expression | None,
    options: DrivingOptions,
    faces: FilmFaces,
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
    name = str(driving) if isinstance(driving, str | Path) else "driving"
    opened = capture_or_video(driving, name)
    if isinstance(opened, Track):
        options = options.of_expression("a capture drives", shows_head(opened))
        shown, step = capture_faces(opened), frame_step(opened.fps)
        reference, driving_frames = shown[reference_frame(opened, options)], shown[::step]
        pairs = ((face, reference) for face in driving_frames)
        return Driving(pairs, opened.fps / step, len(driving_frames), options, partial(tuple, opened.notes))
    clip = Clip.open(opened, name)
    new_tracker = partial(VideoTracker, clip.fps, options, faces.detector, faces.driving, name)
    tracker = new_tracker()
    driving_faces = _faces_of_video(reenactor, clip, tracker, new_tracker)
    return Driving(driving_faces, clip.fps, clip.count, options, lambda: (*tracker.notes(), *clip.ended), clip.video)


def capture_or_video(driving: str | Path | bytes | Track, name: str = "driving") -> Track | VideoFile:
    """The capture, or the video, told by its content. Raises TrackError, ReenactmentError and StorageError.

    name: as errors call it
    """
    if isinstance(driving, Track):
        return driving
    if not isinstance(driving, bytes) and is_folder(str(driving)):
        return read_capture(str(driving))
    video = VideoFile.of(driving)
    if is_video(video):
        return video
    if photo_format(video.head):
        raise ReenactmentError(
            f"{name}: is a photo, and a film needs a capture or a video; for a photo's expression: jr2net reenact "
            f"me.jpg --driving {name} -o out.jpg"
        )
    return parse_capture(driving, name) if isinstance(driving, bytes) else read_capture(name)


def _film_of_photo(reenactor: Reenactor, photo: Photo | FittedFace, driving: Driving, longest_side: int) -> Film:
    (source,) = reenactor.fit_photos([photo.shrunk(longest_side) if isinstance(photo, Photo) else photo])
    options = driving.options
    pairs = ((source, drive(source.fit.face, face, options, reference)) for face, reference in driving.faces)
    images = reenactor.composite_images(pairs, options.affects_whole_crop)

    def found() -> tuple[str, ...]:
        return (*(f"source: {note}" for note in doubt(source.confidence)), *driving.found())

    return Film(images, driving.fps, driving.count, reenactor.info, found, driving.video, source)


def _film_of_video(reenactor: Reenactor, clip: Clip, follow: FaceFollower, driving: Driving, longest_side: int) -> Film:
    doubts = Doubts()

    def found() -> tuple[str, ...]:
        return (*source_notes(clip, follow, doubts), *driving.found())

    images = _act(reenactor, clip, follow, driving, longest_side, doubts)
    heard = first_with_sound(clip.video, driving.video)
    return Film(images, clip.fps, clip.count, reenactor.info, found, heard)


def _act(
    reenactor: Reenactor, clip: Clip, follow: FaceFollower, driving: Driving, longest_side: int, doubts: Doubts
) -> Iterator[np.ndarray]:
    """The frames of a source video, driven."""
    reconstructor = reenactor.reconstructor
    if reconstructor is None:
        raise ReenactmentError("this reenactor has no reconstructor; a video as source needs one: use Reenactor.load")
    targets, options = at_instants(driving.faces, driving.fps, clip.fps), driving.options
    numbers = count()
    for photos in batches(source_photos(clip, follow, longest_side), reenactor.batch_size):
        fits = iter(reconstructor([photo for photo in photos if isinstance(photo, Photo)]))
        requests: list[ReenactRequest] = []
        for number, photo in zip(numbers, photos):
            face, reference = next(targets)
            if isinstance(photo, Photo):
                fitted = next(fits)
                doubts.add(number / clip.fps, follow.confidence(photo, fitted.landmarks))
                own = fitted.fit.face
                target = drive(own, face, options, reference)
                requests.append(ReenactRequest(photo.crop_image(reenactor.camera.size, continued=True), own, target))
        results = iter(reenactor.reenact(requests) if requests else [])
        for photo in photos:
            if isinstance(photo, Photo):
                yield composite(photo.image, photo.crop, next(results).crop, options.affects_whole_crop)
            else:
                yield photo


def source_photos(clip: Clip, follow: FaceFollower, longest_side: int) -> Iterator[Photo | np.ndarray]:
    """Each frame of a source video, shrunk to ``longest_side``, with the face that is followed, or the frame (H, W, 3)
    alone where it is not seen. Raises NoFaceError if no frame shows it."""
    for frame in clip.frames():
        photo = follow(frame).photo
        yield shrink_to(frame, longest_side)[0] if photo is None else photo.shrunk(longest_side)
    follow.check_found()


def source_notes(clip: Clip, follow: FaceFollower, doubts: Doubts) -> tuple[str, ...]:
    """What was found in a source video so far. doubts: its frames of low confidence."""
    gaps = (f"{follow.unseen} of {follow.frames} frames show no face and stay as they are",) * bool(follow.unseen)
    found = (*follow.notes(), *gaps, *doubts.notes(follow.frames), *clip.ended)
    return tuple(f"source: {note}" for note in found)


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
    reenactor: Reenactor, clip: Clip, tracker: VideoTracker, new_tracker: Callable[[], VideoTracker]
) -> Iterator[tuple[FaceArrays, FaceArrays | None]]:
    options = tracker.options
    if options.needs_reference and options.reference != "first":
        tracker.set_reference(_reference_of_video(clip, options, _tracked(reenactor, clip, new_tracker())))
    for face in _tracked(reenactor, clip, tracker):
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


def _tracked(reenactor: Reenactor, clip: Clip, tracker: VideoTracker) -> Iterator[FaceArrays]:
    """The driving face of each frame of a video, smoothed. Raises NoFaceError if no frame shows one."""
    reconstructor = reenactor.reconstructor
    if reconstructor is None:
        raise ReenactmentError("this reenactor has no reconstructor; a driving video needs one: use Reenactor.load")
    photos = (photo for frame in clip.frames() for photo in tracker.locate(frame))
    for batch in batches(photos, reenactor.batch_size):
        for fitted in reconstructor(batch):
            yield tracker.track(fitted.fit, tracker.confidence(fitted.photo, fitted.landmarks))
    tracker.finish()


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
