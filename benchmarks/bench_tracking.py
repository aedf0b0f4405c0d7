"""Tracking with the weights of the package: error, jitter and lag on films of the studio, and frames a second."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.results import Measurement, best_ms
from jr2net.config import StudioConfig
from jr2net.data.shards import ClipRow
from jr2net.evaluation.metrics.delay import delay
from jr2net.images.arrays import decode_image, encode_jpeg, resize
from jr2net.images.crop import Crop
from jr2net.images.face_detector import DETECTORS, DetectorError, Face, load_face_detector
from jr2net.inference.assembly import TrackedFrame, assemble
from jr2net.inference.face_track import SMOOTHINGS, FaceTrack
from jr2net.inference.following import FaceFollower
from jr2net.inference.messages import FaceArrays
from jr2net.inference.openvino import OpenVINOError, Precision
from jr2net.inference.photo import Photo
from jr2net.inference.reconstruction import Reconstructor, Runtime
from jr2net.inference.smoothing import CropSmoother
from jr2net.studio.acting import FPS
from jr2net.studio.film import film_sequence

PEOPLE, FRAMES, SIDE = 8, 60, 144
SEED = 7
TURN = 50.0
RUNTIMES: tuple[tuple[Runtime, Precision], ...] = (("torch", "fp32"), ("openvino", "fp32"), ("openvino", "int8"))


def measure() -> Iterator[Measurement]:
    reconstructor = Reconstructor.load()
    films = [
        film_sequence(reconstructor.model, StudioConfig(), SEED, n, FRAMES, SIDE, n % 2 == 1) for n in range(PEOPLE)
    ]
    truths = [film.truth.expression.astype(np.float64) for film in films if film.truth is not None]
    raw = [_track(reconstructor, film) for film in films]
    zero = float(np.mean([np.abs(truth).mean() for truth in truths]))
    yield Measurement(f"tracking_error of always zero ({_case()})", zero, "")
    jitter = {"zero": float(np.mean([_jitter(-truth) for truth in truths]))}
    yield Measurement(f"tracking_jitter of always zero ({_case()})", 100 * jitter["zero"], "% of full scale")
    for kind in SMOOTHINGS[::-1]:
        found = [track.smoothed(kind).expression.astype(np.float64) for track in raw]
        error = float(np.mean([np.abs(f - t).mean() for f, t in zip(found, truths)]))
        jitter[kind] = float(np.mean([_jitter(f - t) for f, t in zip(found, truths)]))
        lags = np.array([delay(f, t, 10) for f, t in zip(found, truths)])
        yield Measurement(f"tracking_error, smoothing {kind} ({_case()})", error, "")
        yield Measurement(f"tracking_jitter, smoothing {kind} ({_case()})", 100 * jitter[kind], "% of full scale")
        lag = float(np.nanmean(np.abs(lags)))
        yield Measurement(f"tracking_lag, smoothing {kind} ({_case()})", lag, "frames, either way")
    for kind in ("causal", "two-sided"):
        yield Measurement(f"tracking_jitter_left, smoothing {kind}", jitter[kind] / jitter["none"], "of raw")

    still = [
        film_sequence(reconstructor.model, StudioConfig(), SEED, PEOPLE + n, FRAMES, SIDE, n % 2 == 1, TURN)
        for n in range(PEOPLE)
    ]
    raw, case = [_track(reconstructor, film) for film in still], f"face still, head turning by {TURN:g} degrees"
    shaking = {}
    for kind in SMOOTHINGS[::-1]:
        found = [track.smoothed(kind).expression.astype(np.float64) for track in raw]
        deviation = float(np.mean([expression.std(0).mean() for expression in found]))
        yield Measurement(f"tracking_deviation, {case}, {kind}", deviation, "")
        shaking[kind] = float(np.mean([_jitter(expression) for expression in found]))
        yield Measurement(f"tracking_jitter, {case}, {kind}", 100 * shaking[kind], "% of full scale")
    for kind in ("causal", "two-sided"):
        yield Measurement(f"tracking_jitter_left, {case}, {kind}", shaking[kind] / shaking["none"], "of raw")

    fits = dict[str, float]()
    for runtime, precision in RUNTIMES:
        try:
            network = Reconstructor.load(runtime=runtime, precision=precision)
        except OpenVINOError as error:
            print(f"{runtime} {precision}: {error}")
            continue
        case = f"{runtime} {precision}, one core"
        crops = _crops(films[0], network.camera.size)
        fits[case] = best_ms(partial(network.fit, crops[:8])) / 8
        yield Measurement(f"tracking_fit_fps ({case}, batches of 8)", 1000 / fits[case], "frames/s")
        yield Measurement(
            f"recaugnet_answer_ms ({case}, from a JPEG of 256 pixels to JSON)", _answer_ms(network, films[0]), "ms"
        )
        expressions = [
            np.stack([each.face["expression"] for each in net.fit(crops)]) for net in (reconstructor, network)
        ]
        gap = float(np.abs(expressions[0] - expressions[1]).mean())
        yield Measurement(f"recaugnet_difference ({case})", gap, "mean over coefficients, to torch fp32")
    picture = np.zeros((720, 1280, 3), np.uint8)
    image = decode_image(films[0].images[0])
    assert image is not None
    picture[200 : 200 + SIDE, 500 : 500 + SIDE] = image
    for name in DETECTORS:
        try:
            follow = FaceFollower(load_face_detector(name))
        except DetectorError as error:
            print(f"detector {name}: {error}")
            continue
        follow(picture)  # the first frame is searched as a whole, later ones near the face
        find = best_ms(partial(follow, picture))
        case = f"detector {name}, 720p, one core"
        yield Measurement(f"tracking_find_fps ({case})", 1000 / find, "frames/s")
        for how, fit in fits.items():
            yield Measurement(f"tracking_fps (detector {name}, 720p, {how})", 1000 / (find + fit), "frames/s")


def _crops(film: ClipRow, side: int) -> list[np.ndarray]:
    """The film's frames at a side of ``side`` pixels."""
    images = [decode_image(content) for content in film.images]
    return [resize(image, side) for image in images if image is not None]


def _answer_ms(reconstructor: Reconstructor, film: ClipRow) -> float:
    """Of one photo whose box is known: decoding, crop, networks, JSON."""
    content = encode_jpeg(_crops(film, 256)[0])

    def answer() -> str:
        image = decode_image(content)
        assert image is not None
        (face,) = reconstructor([Photo.from_image(image, box=[48, 48, 208, 208], name="photo")])
        return json.dumps(face.to_json())

    return best_ms(answer)


def _case() -> str:
    return f"{PEOPLE} films of {FRAMES} frames, shipped weights"


def _track(reconstructor: Reconstructor, film: ClipRow) -> FaceTrack:
    """The film tracked by its detected landmarks, crops smoothed as those of a video are."""
    smooth, photos = CropSmoother(FPS), []
    for content, landmarks in zip(film.images, film.landmarks):
        image = decode_image(content)
        assert image is not None
        face = Face((0.0, 0.0, SIDE, SIDE), landmarks=landmarks)
        crop: Crop = smooth(face.crop())
        photos.append(Photo(image, face, crop))
    faces: list[FaceArrays] = [fitted.fit.face for fitted in reconstructor(photos)]
    frames = [TrackedFrame(number / FPS, face) for number, face in enumerate(faces)]
    track = assemble(frames, film.clip_id, reconstructor.model, reconstructor.info)
    return replace(track, begins=np.zeros(len(track), bool))


def _jitter(values: np.ndarray) -> float:
    """Deviation of the second difference over time (T, 51), averaged over the coefficients.

    Of an error it has a part that is motion of the truth which was not followed: always zero has it too.
    """
    return float(np.diff(values, 2, axis=0).std(0).mean())
