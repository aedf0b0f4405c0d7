"""``report.html``: a self-contained page with light and dark theme, for desktop and mobile."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
from markupsafe import Markup

from jr2net.evaluation.figures import Grid, ImageArray
from jr2net.evaluation.paper import PaperTable, published_reenactment
from jr2net.evaluation.protocols.result import Result
from jr2net.report import curves
from jr2net.report.curves import TrainingLog
from jr2net.report.images import encode_for_page
from jr2net.report.protocols import protocol_views
from jr2net.report.result import EVALUATED, missing, plain, test_sets, to_json
from jr2net.report.tables import Table, headlines, section_tables
from jr2net.run.environment import duration
from jr2net.storage import join, write_bytes

TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("jr2net.report", "."),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)

_SECTIONS = (
    (
        "reconstruction",
        "Reconstruction",
        "Geometric error by the paper's FaceWarehouse protocol: similarity alignment by the 3D landmarks, crop around "
        "the nose tip, ICP, then point-to-plane distances of skin and lips to the ground truth. RMSE is the mean over "
        "meshes; STD, median and 80 % (percentile) describe its distribution. Vertex RMSE is that of corresponding "
        "vertices, expression RMSE that of the displacement Σ b (β − β_gt) only, over skin and lips.",
    ),
    (
        "landmarks",
        "Landmarks",
        "NME: mean distance between predicted and detected inner 51 landmarks, divided by the distance of the outer "
        "eye corners.",
    ),
    (
        "expression",
        "Expressions",
        "Predicted against true coefficients. Correlation is the mean over blendshapes. STD ratio is the standard "
        "deviation of the predictions divided by that of the ground truth; 0 would be a constant prediction.",
    ),
    (
        "reenactment",
        "Reenactment",
        "CopySource is the unchanged source image; WarpOnly warps the visible part of its face into the driving view "
        "and copies the rest. EFL: root mean square distance between the landmarks of the generated and the driving "
        "image: by a face detector that shares nothing with the cascade, over the distance of the eyes, and as "
        "RecAugNet reads them, in pixels of the crop. FID: to the driving images (same identity) or the source images "
        "(cross identity). CSIM: cosine of the source's and the generated face's embedding.",
    ),
)

_KNOWN = {*EVALUATED, "synthesis", "stages", "name", "created", "ground", "protocols"}


@dataclass(frozen=True)
class SetView:
    """One test set on the page: our table, the paper's tables, and correlations by blendshape if available."""

    table: Table
    paper: tuple[PaperTable, ...]
    shapes: dict[str, dict[str, Any]]


def write_report(
    uri: str,
    result: Mapping[str, Any],
    grids: Sequence[Grid] = (),
    logs: Sequence[TrainingLog] = (),
    protocols: Mapping[str, Result] | None = None,
) -> None:
    """Writes ``report.json`` and ``report.html`` into a folder or below an s3:// URI.

    result: see ``jr2net.report.result``; protocols: the results that ``result["protocols"]`` holds as trees. Raises
    ReportError if it cannot be represented in JSON.
    """
    document = to_json(result)
    page = render_html(result, grids, logs, protocols)
    write_bytes(join(uri, "report.html"), page.encode())
    write_bytes(join(uri, "report.json"), document.encode())


def render_html(
    result: Mapping[str, Any],
    grids: Sequence[Grid] = (),
    logs: Sequence[TrainingLog] = (),
    protocols: Mapping[str, Result] | None = None,
) -> str:
    """Renders the page. Sections without metrics and images are omitted."""
    result = plain(result)
    sections = []
    for key, title, text in _SECTIONS:
        section_grids = [grid for grid in grids if grid.section == key]
        sets = _set_views(result, key)
        if sets or section_grids:
            sections.append({"key": key, "title": title, "text": text, "sets": sets, "grids": section_grids})
    return TEMPLATES.get_template("report.html.j2").render(
        **{key: result.get(key) for key in ("name", "created", "ground", "synthesis")},
        headlines=headlines(result),
        sections=sections,
        protocols=protocol_views(protocols or {}),
        missing=missing(result),
        stages=_stages(result),
        facts={k: v for k, v in result.items() if k not in _KNOWN and not isinstance(v, (dict, list))},
        details={k: list(_leaves(v)) for k, v in result.items() if k not in _KNOWN and isinstance(v, (dict, list))},
        logs=[log for log in logs if log.curves],
        data_uri=data_uri,
        svg=lambda curve: Markup(curves.svg(curve)),
        ends=curves.ends,
        duration=duration,
    )


def _set_views(result: Mapping[str, Any], section: str) -> list[SetView]:
    shapes: dict[str, dict[str, dict[str, Any]]] = {}
    for name, methods, _ in test_sets(result, section):
        by_method = {method: metrics["shapes"] for method, metrics in methods.items() if metrics.get("shapes")}
        shapes[name] = _by_shape(by_method)
    return [
        SetView(table, _published(result, section, table), shapes[table.name])
        for table in section_tables(result, section)
    ]


def _published(result: Mapping[str, Any], section: str, table: Table) -> tuple[PaperTable, ...]:
    """The paper's tables that measure the same thing as one of the report's: none of what the studio films."""
    if section != "reenactment" or result.get("ground") != "clips":
        return ()
    methods = (entry for entry in result[section][table.name].values() if isinstance(entry, Mapping))
    return published_reenactment(table.name, {metric for metrics in methods for metric in metrics})


def _by_shape(by_method: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """{method: {shape: {correlation}}} to {shape: {method: correlation}}."""
    names = next(iter(by_method.values()), {})
    return {
        name: {method: shapes.get(name, {}).get("correlation") for method, shapes in by_method.items()}
        for name in names
    }


def _stages(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Per stage: name, seconds (None if unknown), percentage of the longest stage, and its other entries as text."""
    stages = result.get("stages") or {}
    longest = max((stage.get("seconds") or 0.0 for stage in stages.values()), default=0.0)
    return [
        {
            "name": name,
            "seconds": stage.get("seconds"),
            "percent": 100 * (stage.get("seconds") or 0.0) / longest if longest else 0.0,
            "details": ", ".join(
                f"{key.replace('_', ' ')} {_brief(v)}" for key, v in stage.items() if key != "seconds"
            ),
        }
        for name, stage in stages.items()
    ]


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, text) of all leaves of a mapping or list."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        name = f"{prefix}{key}"
        if isinstance(item, dict) and item:
            yield from _leaves(item, f"{name}.")
        else:
            yield name, _brief(item)


def _brief(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "–" if value is None else str(value)


def data_uri(image: ImageArray) -> str:
    """The image within a page."""
    content = encode_for_page(image)
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
