"""What the protocols on scans share: every method on every scan, what could not be measured, and the comparisons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from jr2net.errors import UserError
from jr2net.evaluation.metrics.scans import align_landmarks, crop, nose_tip, point_to_plane
from jr2net.evaluation.paper import PaperTable
from jr2net.evaluation.protocols.answers import MEAN_FACE, Answer, Method
from jr2net.evaluation.protocols.protocol import ProtocolError, ProtocolSettings
from jr2net.evaluation.protocols.result import Figure, Measured, Missing, Table
from jr2net.evaluation.protocols.scan_set import Scan, ScanSet, Truth
from jr2net.evaluation.statistics import Comparison, Estimate, Statistic, compare, estimate

Array = NDArray[np.float64]
RMSE, MAE = 0, 1
"""Columns of ``plane_errors``."""

Errors = Callable[[Scan, Truth, Answer], Array]
"""Measures an answer: an array of one shape for all. Raises UserError where that is not possible."""


@dataclass(frozen=True)
class OnScans:
    """What was measured.

    scans        the n scans that every method was measured on
    methods      method -> errors (n, …)
    measured, quarantined, missing   as in ``Result``
    """

    scans: Sequence[Scan]
    methods: Mapping[str, Array]
    measured: Measured
    quarantined: tuple[Missing, ...]
    missing: tuple[Missing, ...]

    @property
    def identities(self) -> list[str]:
        """Who each of the scans shows."""
        return [scan.identity for scan in self.scans]


def measure_scans(scans: ScanSet, chosen: Sequence[Scan], methods: Mapping[str, Method], errors: Errors) -> OnScans:
    """Every method on every scan. A scan that a method cannot be measured on is quarantined for all of them, so that
    they are compared on the same; a method that cannot be measured on any scan is missing.

    Raises ProtocolError where no scan can be measured.
    """
    found: dict[str, dict[str, Array]] = {name: {} for name in methods}
    broken: dict[str, str] = {}
    failed: dict[str, dict[str, str]] = {name: {} for name in methods}
    for scan in chosen:
        try:
            truth = scans.read(scan)
            found[MEAN_FACE][scan.name] = errors(scan, truth, methods[MEAN_FACE](scan))
        except UserError as error:
            broken[scan.name] = str(error)
            continue
        for name, method in methods.items():
            if name == MEAN_FACE:
                continue
            try:
                found[name][scan.name] = errors(scan, truth, method(scan))
            except UserError as error:
                failed[name][scan.name] = str(error)
    if not found[MEAN_FACE]:
        first = next(iter(broken.values()), "there are none")
        raise ProtocolError(f"none of {len(chosen)} scans can be measured; the first: {first}")
    kept = {name: measured for name, measured in found.items() if measured}
    absent = [Missing(name, next(iter(failed[name].values()))) for name in methods if name not in kept]
    common = [scan for scan in chosen if all(scan.name in measured for measured in kept.values())]
    reasons = dict(broken)
    for name in kept:
        reasons |= {scan: f"{name}: {why}" for scan, why in failed[name].items()}
    if not common:
        raise ProtocolError(
            f"no scan can be measured with all of {', '.join(kept)}; the first: {next(iter(reasons.values()))}"
        )
    return OnScans(
        common,
        {name: np.array([measured[scan.name] for scan in common]) for name, measured in kept.items()},
        Measured("scans", len(common), len(chosen), len({scan.identity for scan in common})),
        tuple(Missing(name, why) for name, why in reasons.items()),
        tuple(absent),
    )


def plane_errors(crop_mm: float) -> Errors:
    """(rmse, mae) mm of the point-to-plane distances of a scan's points within ``crop_mm`` of the tip of its nose."""

    def errors(scan: Scan, truth: Truth, answer: Answer) -> Array:
        points = crop(truth.mesh, nose_tip(truth.mesh, truth.landmarks, scan.mesh), crop_mm, scan.mesh)
        vertices = align_landmarks(answer.vertices, answer.landmarks, truth.landmarks, scan.name)
        distance = point_to_plane(points, vertices, answer.faces)
        return np.array([np.sqrt((distance**2).mean()), np.abs(distance).mean()])

    return errors


def plane_table(
    found: OnScans,
    column: int,
    figures: Mapping[Figure, Statistic],
    settings: ProtocolSettings,
    published: PaperTable | None,
) -> Table:
    """The table of one column of ``plane_errors``: its figures over the scans, the first of them compared."""
    errors = {method: values[:, column] for method, values in found.methods.items()}
    title = ("Root mean square", "Mean absolute")[column]
    return Table(
        "point_to_plane",
        f"{title} point-to-plane distance of a scan",
        tuple(figures),
        estimates(errors, found.identities, figures, settings),
        comparisons(errors, found.identities, figures, settings),
        published,
    )


def estimates(
    samples: Mapping[str, Array],
    identities: Sequence[str],
    figures: Mapping[Figure, Statistic],
    settings: ProtocolSettings,
) -> dict[str, dict[str, Estimate]]:
    """Method -> figure's key -> its estimate of the method's samples (n, …)."""
    return {
        method: {
            figure.key: estimate(values, identities, statistic, settings.draws, settings.seed)
            for figure, statistic in figures.items()
        }
        for method, values in samples.items()
    }


def comparisons(
    samples: Mapping[str, Array],
    identities: Sequence[str],
    figures: Mapping[Figure, Statistic],
    settings: ProtocolSettings,
) -> tuple[Comparison, ...]:
    """The first figure of every method against that of every one above it in the table."""
    figure, statistic = next(iter(figures.items()))
    return tuple(
        Comparison(
            figure.key,
            method,
            reference,
            compare(samples[method], samples[reference], identities, statistic, settings.draws, settings.seed),
        )
        for reference, method in combinations(samples, 2)
    )
