"""One table per test set of a matrix of runs: every method of every variant, as mean over seeds with its interval.

A method that several variants share, e.g. RecNet where only DCNet's settings differ, is one row. Ratios are of figures
of the same seed: to methods of the same run, and to the same method of the first variant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jr2net.evaluation.paper import TABLE_5
from jr2net.evaluation.protocols.markdown import rows_to_markdown, show
from jr2net.evaluation.protocols.result import Figure
from jr2net.evaluation.statistics import LEVEL, Estimate, over_seeds
from jr2net.report.result import look_up, test_sets
from jr2net.report.tables import METRICS, SET_TITLES


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
        ("MeanFace", "RecNet"),
        ("rmse_mm", "expression_rmse_mm"),
    ),
    "expression": Compared("Expressions", ("mae", "correlation"), ("MeanFace", "RecNet"), ("mae",)),
    "landmarks": Compared("Landmarks", ("nme",), ("MeanLandmarks", "RecNet"), ("nme",)),
    "reenactment": Compared(
        "Reenactment",
        ("l1", "l1_face", "psnr", "ssim", "fid", "efl", "efl_px", "csim"),
        ("WarpOnly",),
        ("l1", "l1_face", "efl", "efl_px"),
    ),
}


@dataclass(frozen=True)
class Evaluated:
    """The report of one run of a matrix."""

    variant: str
    seed: int
    report: Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One method.

    variants  those that have it, with the same figures
    metrics   metric -> estimate over seeds, and ``seeds``: metric -> figure by seed
    ratios    (reference, metric) -> estimate over seeds; the first variant, as a reference, is its name
    """

    method: str
    variants: tuple[str, ...]
    metrics: Mapping[str, Estimate]
    seeds: Mapping[str, Mapping[int, float]]
    ratios: Mapping[tuple[str, str], Estimate]


@dataclass(frozen=True)
class SetTable:
    """The methods on one test set of a section. ground: ``studio`` or ``clips``."""

    section: str
    name: str
    ground: str
    rows: tuple[Row, ...]


def set_tables(evaluated: Sequence[Evaluated], first: str) -> list[SetTable]:
    """The tables of all sections and test sets, of at least one run. first: the variant to which the others are
    compared, whether or not it is among them."""
    tables = []
    for section in SECTIONS:
        names = dict.fromkeys(name for run in evaluated for name, _, _ in test_sets(run.report, section))
        for name in names:
            rows = tuple(_rows(evaluated, first, section, name))
            if any(row.metrics for row in rows):
                tables.append(SetTable(section, name, str(evaluated[0].report.get("ground")), rows))
    return tables


def ablation_markdown(evaluated: Sequence[Evaluated], first: str, wanted: int, stale: Sequence[str] = ()) -> str:
    """All tables. wanted: number of runs, of which some may not have been evaluated; stale: those that were evaluated,
    but with other settings."""
    left_out = [f"Left out, as not all has finished with these settings: {'; '.join(stale)}."] if stale else []
    if not evaluated:
        return "\n\n".join([f"None of {wanted} runs has been evaluated.", *left_out]) + "\n"
    variants, seeds = (list(dict.fromkeys(getattr(run, part) for run in evaluated)) for part in ("variant", "seed"))
    lines = [
        f"{len(evaluated)} of {wanted} runs: variants {', '.join(variants)}; seeds {', '.join(map(str, seeds))}. Means "
        f"over seeds; in brackets: Student's {LEVEL:.0%} interval of the mean over seeds. Ratios are of the same seed.",
    ]
    for line in left_out:
        lines += ["", line]
    for table in set_tables(evaluated, first):
        lines += ["", *_markdown(table, first, variants)]
    return "\n".join(lines) + "\n"


def ablation_json(evaluated: Sequence[Evaluated], first: str) -> dict[str, Any]:
    """section -> test set -> rows, each with its figures by seed and its estimates; ratios by reference."""
    tree: dict[str, Any] = {}
    for table in set_tables(evaluated, first) if evaluated else []:
        rows = []
        for row in table.rows:
            ratios: dict[str, dict[str, Any]] = {}
            for (reference, metric), value in row.ratios.items():
                ratios.setdefault(reference, {})[metric] = asdict(value)
            estimates = {metric: asdict(value) for metric, value in row.metrics.items()}
            by_seed = {metric: {str(seed): value for seed, value in each.items()} for metric, each in row.seeds.items()}
            rows.append(
                {"method": row.method, "variants": list(row.variants), "metrics": estimates, "seeds": by_seed}
                | {"ratios": ratios}
            )
        tree.setdefault(table.section, {})[table.name] = rows
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
        yield Row(method, tuple(variants), estimates, known, ratios)


def _agree(one: Mapping[str, Mapping[int, float]], other: Mapping[str, Mapping[int, float]]) -> bool:
    """Whether all figures that both have are the same, and they have some."""
    both = [(metric, seed) for metric in one for seed in one[metric] if seed in other.get(metric, {})]
    return bool(both) and all(one[metric][seed] == other[metric][seed] for metric, seed in both)


def _ratios(values: Mapping[int, float], others: Mapping[int, float]) -> list[float]:
    """Of the seeds that both have."""
    return [values[seed] / others[seed] for seed in values if others.get(seed)]


def _markdown(table: SetTable, first: str, variants: Sequence[str]) -> list[str]:
    compared = SECTIONS[table.section]
    metrics = [metric for metric in compared.metrics if any(metric in row.metrics for row in table.rows)]
    order = [(reference, metric) for metric in compared.ratios for reference in (*compared.references, first)]
    ratios = [key for key in order if any(key in row.ratios for row in table.rows)]
    figures = {metric: _figure(metric) for metric in metrics}
    header = ["", "variant", *(figures[metric].heading for metric in metrics)]
    header += [f"{METRICS[metric].header} / {reference}" for reference, metric in ratios]
    rows = [
        [
            row.method,
            "all" if set(row.variants) == set(variants) and len(variants) > 1 else ", ".join(row.variants),
            *(show(row.metrics.get(metric), figures[metric]) for metric in metrics),
            *(show(row.ratios.get(key), _RATIO) for key in ratios),
        ]
        for row in table.rows
    ]
    title = SET_TITLES.get(table.name, table.name.replace("_", " ").capitalize())
    lines = [f"## {compared.title}: {title[0].lower()}{title[1:]}", "", *rows_to_markdown(header, rows)]
    if table.name == "same_identity" and table.ground == "clips":  # the studio's people are not those of the paper
        published = f"The paper's {TABLE_5.title}, as printed (its own networks and clips):"
        lines += ["", published, "", *rows_to_markdown(["", *TABLE_5.columns], TABLE_5.rows)]
    return lines


_RATIO = Figure("ratio", "", digits=3)


def _figure(metric: str) -> Figure:
    known = METRICS[metric]
    return Figure(metric, known.header, known.unit, known.digits, known.better)
