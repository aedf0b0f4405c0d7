"""The tables of a matrix (``report.ablation``) as Markdown, and as a page with its variants' images side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jr2net.evaluation.figures import Grid
from jr2net.evaluation.paper import TABLE_5
from jr2net.evaluation.protocols.markdown import rows_to_markdown, show
from jr2net.evaluation.protocols.result import Figure
from jr2net.evaluation.statistics import LEVEL, PairedEstimate
from jr2net.report.ablation import SECTIONS, Evaluated, SetTable
from jr2net.report.html import TEMPLATES, data_uri
from jr2net.report.tables import METRICS, SET_TITLES, TextTable


@dataclass(frozen=True)
class Part:
    """What is shown of one test set."""

    title: str
    tables: tuple[TextTable, ...]


def preface(evaluated: Sequence[Evaluated], wanted: int, stale: Sequence[str] = ()) -> list[str]:
    """Paragraphs above the tables. wanted: number of runs, of which some may not have been evaluated; stale: those that
    were evaluated, but with other settings."""
    left_out = [f"Left out, as not all has finished with these settings: {'; '.join(stale)}."] if stale else []
    if not evaluated:
        return [f"None of {wanted} runs has been evaluated.", *left_out]
    seeds = ", ".join(map(str, dict.fromkeys(run.seed for run in evaluated)))
    if without := [f"{run.variant}, seed {run.seed}" for run in evaluated if not run.samples]:
        older = f"Not compared over people, as an older version evaluated them: {'; '.join(without)}."
        left_out.append(f"{older} With --redo evaluation they are.")
    return [
        f"{len(evaluated)} of {wanted} runs: variants {', '.join(_variants(evaluated))}; seeds {seeds}. Means over "
        f"seeds; in brackets: Student's {LEVEL:.0%} interval of the mean over seeds. Ratios are of the same seed.",
        *left_out,
    ]


def parts(tables: Sequence[SetTable], evaluated: Sequence[Evaluated], first: str) -> list[Part]:
    """What is shown of every test set. first: the variant to which the others are compared."""
    return [_part(table, first, _variants(evaluated)) for table in tables]


def ablation_markdown(paragraphs: Sequence[str], shown: Sequence[Part]) -> str:
    """The preface and the parts, ending with a newline."""
    blocks = list(paragraphs)
    for part in shown:
        blocks.append(f"## {part.title}")
        for table in part.tables:
            blocks += [table.text] if table.text else []
            blocks.append("\n".join(rows_to_markdown(table.header, table.rows)))
    return "\n\n".join(blocks) + "\n"


def ablation_html(paragraphs: Sequence[str], shown: Sequence[Part], grids: Sequence[Grid]) -> str:
    """A page that needs no other file. grids: images of several variants."""
    template = TEMPLATES.get_template("ablation.html.j2")
    return template.render(paragraphs=paragraphs, parts=shown, grids=grids, data_uri=data_uri)


def _variants(evaluated: Sequence[Evaluated]) -> list[str]:
    return list(dict.fromkeys(run.variant for run in evaluated))


def _part(table: SetTable, first: str, variants: Sequence[str]) -> Part:
    compared = SECTIONS[table.section]
    metrics = [metric for metric in compared.metrics if any(metric in row.metrics for row in table.rows)]
    order = [(reference, metric) for metric in compared.ratios for reference in (*compared.references, first)]
    ratios = [key for key in order if any(key in row.ratios for row in table.rows)]
    figures = {metric: _figure(metric) for metric in metrics}
    headings = tuple(f"{METRICS[metric].header} / {reference}" for reference, metric in ratios)
    rows, paired = [], []
    for row in table.rows:
        is_shared = set(row.variants) == set(variants) and len(variants) > 1
        name = row.method, "all" if is_shared else ", ".join(row.variants)
        values = (show(row.metrics.get(metric), figures[metric]) for metric in metrics)
        rows.append((*name, *values, *(show(row.ratios.get(key), _RATIO) for key in ratios)))
        if row.paired:
            paired.append((*name, *(_show_paired(row.paired.get(key)) for key in ratios)))
    header = ("", "variant", *(figures[metric].heading for metric in metrics), *headings)
    tables = [TextTable("", header, tuple(rows))]
    if paired:
        tables.append(TextTable(_OVER_PEOPLE, ("", "variant", *headings), tuple(paired)))
    if table.name == "same_identity" and table.ground == "clips":  # the studio's people are not those of the paper
        published = f"The paper's {TABLE_5.title}, as printed (its own networks and clips):"
        tables.append(TextTable(published, ("", *TABLE_5.columns), TABLE_5.rows))
    title = SET_TITLES.get(table.name, table.name.replace("_", " ").capitalize())
    return Part(f"{compared.title}: {title[0].lower()}{title[1:]}", tuple(tables))


def _show_paired(paired: PairedEstimate | None) -> str:
    return "–" if paired is None else f"{show(paired.ratio, _RATIO)}, p = {paired.p:.2g}"


_OVER_PEOPLE = (
    f"The same ratios of means over the people of all seeds; in brackets: {LEVEL:.0%} interval, bootstrap over people; "
    "p: randomisation test on the same people."
)

_RATIO = Figure("ratio", "", digits=3)


def _figure(metric: str) -> Figure:
    known = METRICS[metric]
    return Figure(metric, known.header, known.unit, known.digits, known.better)
