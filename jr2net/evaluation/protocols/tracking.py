"""``tracking``: the 51 coefficients that systems find in single images, against truth.

Data: a table of labelled images, a table of another system's answers on clip shards, clip shards with ground truth, or
pair shards (``data/readers/expressions.py``). Beside the networks and other systems stand always zero and the mean of
the truth. ``--predictions``: a ``.parquet`` or ``.csv`` of the 51 columns (``data/readers/answers.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from jr2net.data.readers.answers import read_answers
from jr2net.data.readers.expressions import LabelledImages, read_labelled
from jr2net.evaluation.metrics.tracking import APART, CLOSED, GROUPS, VARIES, correlation, group_mean
from jr2net.evaluation.protocols.protocol import Protocol, ProtocolSettings, Systems
from jr2net.evaluation.protocols.result import Figure, Measured, Missing, Result, Table
from jr2net.evaluation.statistics import Comparison, Estimate, compare, estimate_figures
from jr2net.evaluation.tracking import TRIVIAL, by_shape, delays, figures, parts, systems_of, track
from jr2net.face.arkit import ARKIT_NAMES

Array = NDArray[np.float64]

TITLE = "Expression coefficients against truth, by blendshape, group and side"

_OVERALL = (
    Figure("correlation", "Correlation", better=1),
    Figure("mae", "MAE", digits=3),
    Figure("side_correlation", "Left less right, correlation", better=1),
    Figure("side_accuracy", "Sides told apart", better=1),
    Figure("side_bias", "Bias to a side", digits=3),
)
_GROUPS = tuple(Figure(f"correlation {group}", group.capitalize(), better=1) for group in GROUPS)
_GROUP_MAE = tuple(Figure(f"mae {group}", group.capitalize(), digits=3) for group in GROUPS)
_EYES = (
    Figure("blink_correlation", "Blinks, correlation", better=1),
    Figure("blink_auc", "Closed eyes told from open ones, AUC", better=1),
    Figure("blink_recall", "Closed eyes found", better=1),
    Figure("blink_precision", "Found closed rightly", better=1),
    Figure("wink_correlation", "One eye closed more, correlation", better=1),
    Figure("wink_side", "Winks, the right eye found", better=1),
    Figure("wink_recall", "Winks found", better=1),
    Figure("gaze_sideways", "Gaze sideways, correlation", better=1),
    Figure("gaze_upwards", "Gaze upwards, correlation", better=1),
    Figure("gaze_mae", "Gaze, MAE", digits=3),
)
_VIDEO = (
    Figure("seconds", "Time of one frame", "s", 4),
    Figure("smoothing_frames", "Delay by smoothing", "frames"),
    Figure("smoothing_ms", "Delay by smoothing", "ms", 0),
    Figure("delay_frames", "Delay after the truth, not smoothed", "frames", 2, 0),
    Figure("smoothed_frames", "Delay after the truth, smoothed", "frames", 2, 0),
)
_SHAPES = (("mae", "MAE", 3), ("correlation", "r", 2), ("side_correlation", "r of sides", 2))


class TrackingSettings(ProtocolSettings):
    """Settings of ``tracking``."""

    draws: int = Field(500, ge=100, description="of the bootstrap")
    clips: str | None = Field(
        None,
        description="folder of the clip shards of a table without images; none: `clips` beside its folder",
    )
    limit: int = Field(5000, ge=1, description="largest number of frames or pairs of shards that are measured")


def measure(data: str, systems: Systems, settings: TrackingSettings) -> Result:
    """See the module. Raises DatasetError, ShardError or StorageError naming the file."""
    images = read_labelled(data, settings.clips, settings.limit)
    answers = {name: read_answers(folder, images) for name, folder in systems.predictions.items()}
    seconds = {}
    for name, reconstructor in systems.reconstructors().items():
        tracked = track(reconstructor, images)
        answers[name], seconds[name] = tracked.expression, tracked.seconds
    everything = systems_of(images, answers)
    tables: list[Table] = []
    for part, numbers in parts(images).items():
        tables += _part(part, numbers, images, everything, tuple(answers), settings)
    video = {
        name: _video(images, found, seconds.get(name)) for name, found in everything.items() if name not in TRIVIAL
    }
    tables.append(Table("video", "In video", _VIDEO, {name: row for name, row in video.items() if row}))
    return Result(
        "tracking",
        TITLE,
        data,
        tuple(tables),
        Measured("images", sum(map(len, parts(images).values())), len(images), len(set(images.identity))),
        missing=_missing(images, video),
        notes=_notes(images),
        settings=settings.model_dump(),
    )


def _part(
    part: str,
    numbers: NDArray[np.intp],
    images: LabelledImages,
    answers: Mapping[str, Array],
    ours: Sequence[str],
    settings: TrackingSettings,
) -> list[Table]:
    """Tables of the images that are evaluated together."""
    truth, people = images.truth[numbers], [images.identity[number] for number in numbers]
    chosen = {name: found[numbers] for name, found in answers.items()}
    rows = {
        name: estimate_figures(partial(_drawn, found, truth), people, settings.draws, settings.seed)
        for name, found in chosen.items()
    }
    both = {name: np.stack([found, truth], 1) for name, found in chosen.items()}
    comparisons = [
        Comparison(
            figure, name, other, compare(both[name], both[other], people, statistic, settings.draws, settings.seed)
        )
        for name in ours
        for other in chosen
        if other not in ours
        for figure, statistic in _COMPARED.items()
        if figure == "mae" or other not in TRIVIAL  # which never move
    ]
    title = "" if part == "all" else f", {part}"
    closed, winks = (int(rows["Zero"][key].value) for key in ("closed", "winks"))
    return [
        Table(f"{part}", f"All blendshapes{title}: {len(numbers)} images", _OVERALL, rows, tuple(comparisons)),
        Table(f"{part} groups", f"Correlation by group{title}", _GROUPS, rows, upright=True),
        Table(f"{part} group errors", f"MAE by group{title}", _GROUP_MAE, rows, upright=True),
        Table(f"{part} eyes", f"Lids and gaze{title}: {closed} closed eyes, {winks} winks", _EYES, rows, upright=True),
        _shapes(part, title, truth, chosen),
    ]


def _mae(both: Array) -> float:
    """Of answers and truth (M, 2, 51)."""
    return float(np.abs(both[:, 0] - both[:, 1]).mean())


def _correlation(both: Array) -> float:
    """Of answers and truth (M, 2, 51): the mean over the blendshapes that vary."""
    return group_mean(correlation(both[:, 0], both[:, 1], VARIES))


_COMPARED = {"correlation": _correlation, "mae": _mae}


def _drawn(found: Array, truth: Array, drawn: NDArray[np.int64]) -> dict[str, float]:
    return figures(found[drawn], truth[drawn])


def _shapes(part: str, title: str, truth: Array, answers: Mapping[str, Array]) -> Table:
    """A row for every blendshape, without intervals."""
    found = {name: by_shape(predicted, truth) for name, predicted in answers.items() if name != "Mean"}
    columns = [
        Figure(f"{metric} {name}", f"{name}, {heading}", "", digits, -1 if metric == "mae" else 1)
        for name in found
        for metric, heading, digits in _SHAPES
        if name != "Zero" or metric == "mae"
    ]
    people = 1
    rows = {
        shape: {
            f"{metric} {name}": Estimate(values[shape][metric], people=people)
            for name, values in found.items()
            for metric, _, _ in _SHAPES
            if metric in values[shape]
        }
        for shape in ARKIT_NAMES
    }
    return Table(f"{part} shapes", f"Every blendshape{title}", tuple(columns), rows)


def _video(images: LabelledImages, found: Array, seconds: float | None) -> dict[str, Estimate]:
    measured = dict(delays(images, found)) | ({} if seconds is None else {"seconds": seconds})
    return {figure.key: Estimate(measured[figure.key]) for figure in _VIDEO if figure.key in measured}


def _missing(images: LabelledImages, video: Mapping[str, Mapping[str, Estimate]]) -> tuple[Missing, ...]:
    found = []
    if not any("smoothing_frames" in row for row in video.values()):
        found.append(Missing("delay in video", "these images are no videos of a second and a half or more"))
    steady = [name for name, deviation in zip(ARKIT_NAMES, images.truth.std(0)) if deviation <= VARIES]
    if steady:
        found.append(Missing("correlation", f"the truth of {', '.join(steady)} does not vary"))
    return tuple(found)


def _notes(images: LabelledImages) -> tuple[str, ...]:
    notes = [
        "Zero answers 0 always; Mean the mean of the truth, which no system could know.",
        f"Correlation: mean over the blendshapes whose true standard deviation is above {VARIES:g} in that part; 0 "
        "where an answer never moves.",
        f"Sides: of the pairs whose true coefficients differ by {APART:g} or more, the fraction in which the same side "
        f"is the larger. An eye is closed from {CLOSED:g} on; in a wink one is, and the other is not.",
        "Time of one frame: a crop to coefficients, one at a time. Delay: by cross-correlation, where answers follow "
        "the truth at all; smoothing is that of `jr2net animate`.",
    ]
    if images.source != "exact":
        notes.append(f"The truth is weak: it is what {images.source} answers; figures are of agreement with it.")
    return tuple(notes)


PROTOCOL = Protocol("tracking", TITLE, measure, TrackingSettings)
