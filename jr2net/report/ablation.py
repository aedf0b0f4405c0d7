"""One table per test set of a matrix of runs: every method of every variant, as mean over seeds with its interval.

A method that several variants share, e.g. RecNet where only DCNet's settings differ, is one row. Ratios are of figures
of the same seed: to methods of the same run, and to the same method of the first variant. They have two intervals: over
seeds, of what other trainings would show, and over people, of what other people would show of these networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from jr2net.evaluation.samples import DRAWS, Samples
from jr2net.evaluation.statistics import Estimate, PairedEstimate, compare_means, over_seeds
from jr2net.report.result import look_up, test_sets


@dataclass(frozen=True)
class Compared:
    """What the tables of a section of ``report.json`` have.

    metrics     columns; those that no method has are left out
    references  methods of the same run to which ratios are given
    ratios      the metrics, errors all, of which there are ratios
    """

    title: str
    metrics: tuple[str, ...]
    references: tuple[str, ...]
    ratios: tuple[str, ...]


SECTIONS: Mapping[str, Compared] = {
    "reconstruction": Compared(
        "Reconstruction",
        ("rmse_mm", "std_mm", "median_mm", "p80_mm", "expression_rmse_mm"),
        ("MeanFace", "RecNet", "RecAugNet"),
        ("rmse_mm", "expression_rmse_mm"),
    ),
    "expression": Compared("Expressions", ("mae", "correlation"), ("MeanFace", "RecNet", "RecAugNet"), ("mae",)),
    "landmarks": Compared("Landmarks", ("nme",), ("MeanLandmarks", "RecNet", "RecAugNet"), ("nme",)),
    "reenactment": Compared(
        "Reenactment",
        ("l1", "l1_face", "psnr", "ssim", "fid", "efl", "efl_px", "csim"),
        ("WarpOnly", "DCNet", "3DFlowRenderer"),
        ("l1", "l1_face", "efl", "efl_px"),
    ),
}


@dataclass(frozen=True)
class Evaluated:
    """The report of one run of a matrix, and the samples of its means; none: an older version made it."""

    variant: str
    seed: int
    report: Mapping[str, Any]
    samples: Sequence[Samples] = ()


@dataclass(frozen=True)
class Row:
    """One method.

    variants  those that have it, with the same figures
    metrics   metric -> estimate over seeds, and ``seeds``: metric -> figure by seed
    ratios    (reference, metric) -> estimate over seeds; the first variant, as a reference, is its name
    paired    the same, over the people of all seeds together
    """

    method: str
    variants: tuple[str, ...]
    metrics: Mapping[str, Estimate]
    seeds: Mapping[str, Mapping[int, float]]
    ratios: Mapping[tuple[str, str], Estimate]
    paired: Mapping[tuple[str, str], PairedEstimate]


@dataclass(frozen=True)
class SetTable:
    """The methods on one test set of a section. ground: ``studio`` or ``clips``."""

    section: str
    name: str
    ground: str
    rows: tuple[Row, ...]


def set_tables(evaluated: Sequence[Evaluated], first: str) -> list[SetTable]:
    """The tables of all sections and test sets. first: the variant to which the others are
    compared, whether or not it is among them."""
    tables = []
    for section in SECTIONS:
        names = dict.fromkeys(name for run in evaluated for name, _, _ in test_sets(run.report, section))
        for name in names:
            rows = tuple(_rows(evaluated, first, section, name))
            if any(row.metrics for row in rows):
                tables.append(SetTable(section, name, str(evaluated[0].report.get("ground")), rows))
    return tables


def ablation_json(tables: Sequence[SetTable]) -> dict[str, Any]:
    """section -> test set -> rows, each with its figures by seed and its estimates; ratios by reference."""
    tree: dict[str, Any] = {}
    for table in tables:
        rows = []
        for row in table.rows:
            estimates = {metric: asdict(value) for metric, value in row.metrics.items()}
            by_seed = {metric: {str(seed): value for seed, value in each.items()} for metric, each in row.seeds.items()}
            rows.append(
                {"method": row.method, "variants": list(row.variants), "metrics": estimates, "seeds": by_seed}
                | {"ratios": _by_reference(row.ratios), "paired": _by_reference(row.paired)}
            )
        tree.setdefault(table.section, {})[table.name] = rows
    return tree


def _by_reference(found: Mapping[tuple[str, str], Any]) -> dict[str, dict[str, Any]]:
    tree: dict[str, dict[str, Any]] = {}
    for (reference, metric), value in found.items():
        tree.setdefault(reference, {})[metric] = asdict(value)
    return tree


def _rows(evaluated: Sequence[Evaluated], first: str, section: str, name: str) -> Iterator[Row]:
    """Rows of equal figures are joined: two networks that differ do not agree in every digit of every seed."""
    compared = SECTIONS[section]
    figures: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    for run in evaluated:
        methods = next((methods for found, methods, _ in test_sets(run.report, section) if found == name), {})
        for method, values in methods.items():
            by_metric = figures.setdefault((run.variant, method), {})
            for metric in compared.metrics:
                if (value := look_up(values, metric)) is not None:
                    by_metric.setdefault(metric, {})[run.seed] = value
    joined: list[tuple[str, list[str], dict[str, dict[int, float]]]] = []
    for (variant, method), by_metric in figures.items():
        for other, variants, known in joined:
            if other == method and _agree(known, by_metric):
                variants.append(variant)
                for metric, by_seed in by_metric.items():
                    known.setdefault(metric, {}).update(by_seed)
                break
        else:
            joined.append((method, [variant], {metric: dict(by_seed) for metric, by_seed in by_metric.items()}))
    for method, variants, known in joined:
        others = {reference: figures.get((variants[0], reference), {}) for reference in compared.references}
        others[first] = figures.get((first, method), {})
        ratios = {
            (reference, metric): over_seeds(found)
            for reference in others
            for metric in compared.ratios
            if reference != method and (reference != first or first not in variants)
            if (found := _ratios(known.get(metric, {}), others[reference].get(metric, {})))
        }
        estimates = {metric: over_seeds(list(by_seed.values())) for metric, by_seed in known.items()}
        people = {
            (reference, metric): paired
            for reference, metric in ratios
            if (paired := _over_people(evaluated, (section, name, metric), method, variants, reference, first))
        }
        yield Row(method, tuple(variants), estimates, known, ratios, people)


def _over_people(
    evaluated: Sequence[Evaluated],
    figure: tuple[str, str, str],
    method: str,
    variants: Sequence[str],
    reference: str,
    first: str,
) -> PairedEstimate | None:
    """A method, which some variants share, against a reference on the people of all seeds together; None where runs
    have no samples or were tested on different people.

    figure: section, test set and metric. The studio's people differ between seeds, real ones do not.
    """
    runs = {(run.variant, run.seed): run for run in evaluated}
    values, others, people = [], [], []
    for seed in dict.fromkeys(run.seed for run in evaluated):
        run = next((runs[variant, seed] for variant in variants if (variant, seed) in runs), None)
        other, of = (runs.get((first, seed)), method) if reference == first else (run, reference)
        ours, theirs = (_samples(each, figure) for each in (run, other))
        if ours is None or theirs is None or method not in ours.values or of not in theirs.values:
            continue
        if ours.identities != theirs.identities:
            return None
        values.append(ours.values[method])
        others.append(theirs.values[of])
        is_real = run is not None and run.report.get("ground") == "clips"
        people += [name if is_real else f"{seed}/{name}" for name in ours.identities]
    if not values:
        return None
    return compare_means(np.concatenate(values), np.concatenate(others), people, DRAWS)


def _samples(run: Evaluated | None, figure: tuple[str, str, str]) -> Samples | None:
    found = run.samples if run is not None else ()
    return next((each for each in found if (each.section, each.test_set, each.metric) == figure), None)


def _agree(one: Mapping[str, Mapping[int, float]], other: Mapping[str, Mapping[int, float]]) -> bool:
    """Whether all figures that both have are the same, and they have some."""
    both = [(metric, seed) for metric in one for seed in one[metric] if seed in other.get(metric, {})]
    return bool(both) and all(one[metric][seed] == other[metric][seed] for metric, seed in both)


def _ratios(values: Mapping[int, float], others: Mapping[int, float]) -> list[float]:
    """Of the seeds that both have."""
    return [values[seed] / others[seed] for seed in values if others.get(seed)]
