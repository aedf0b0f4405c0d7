import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from jr2net.evaluation.figures import Grid, GridRow, image_grid
from jr2net.report.curves import training_log
from jr2net.report.html import render_html, write_report
from jr2net.report.result import ReportError, expected
from jr2net.run.environment import duration, machine, versions

VOID = {"meta", "img", "br", "path", "link", "input"}


class Outline(HTMLParser):
    """Checks that tags are nested correctly; collects ids and everything that a browser would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        self.loaded += [values[key] for key in ("src", "href", "srcset", "data", "action", "poster") if key in values]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> closes something else"


def outline(page: str) -> Outline:
    parsed = Outline()
    parsed.feed(page)
    assert parsed.open == []
    return parsed


@pytest.fixture(scope="module")
def result() -> dict:
    """A studio run with all expected metrics."""
    tree: dict = {"name": "laptop", "ground": "studio", "perceptual_features": "RecNet's backbone"}
    for index, key in enumerate(expected({"ground": "studio"})):
        *parents, leaf = key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = 0.5 + 0.01 * index
    tree["expression"] = {"large": {"RecNet": {"mae": 0.1, "shapes": {"jawOpen": {"correlation": 0.9}}}}}
    return tree | {"versions": versions(), "machine": machine(), "digests": {"recnet": "ab" * 32}}


@pytest.fixture(scope="module")
def figures() -> tuple[list[Grid], list]:
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    large = np.zeros((224, 224, 3), np.uint8)
    grids = [
        image_grid("reenactment", "Same identity", "", {"source": images, "DCNet": images}, ["<one>", "two"]),
        Grid("reconstruction", "Overlays", "", ("input", "RecNet"), (GridRow("a", (large, None)),)),
    ]
    records = [{"step": step, "losses": {"photometric": 1 / step}} for step in range(1, 30)]
    return grids, [training_log("recnet", records)]


def test_page_is_self_contained(result, figures):
    page = render_html(result, *figures)
    parsed = outline(page)
    assert all(uri.startswith(("data:image/", "#")) for uri in parsed.loaded)
    assert {uri[1:] for uri in parsed.loaded if uri[0] == "#"} <= set(parsed.ids)
    assert sum(uri.startswith("data:image/png") for uri in parsed.loaded) == 4
    assert sum(uri.startswith("data:image/jpeg") for uri in parsed.loaded) == 1
    assert not re.search(r"https?://|@import|url\(|<script", page)


def test_page_contains_all_parts_of_the_result(result, figures):
    page = render_html(result, *figures)
    for text in ("laptop", "MeanFace", "CopySource", "WarpOnly", "DCNet"):
        assert text in page
    for text in ("RecNet&#39;s backbone", "jawOpen", "photometric", "&lt;one&gt;", "ab" * 32, "prefers-color-scheme"):
        assert text in page
    assert "expected metrics were not measured" not in page


def test_published_tables_stand_beside_figures_of_the_same_thing(result, figures):
    """Nothing that the studio films is measured on the paper's kind of data; of real clips L1, PSNR and SSIM are."""
    assert not re.search(r"Table \d", render_html(result, *figures))
    page = render_html(result | {"ground": "clips"}, *figures)
    assert re.findall(r"Table \d", page) == ["Table 2", "Table 5"] and "37.45" not in page and "67.20" not in page
    with_fid = json.loads(json.dumps(result)) | {"ground": "clips"}
    with_fid["reenactment"]["cross_identity"]["DCNet"]["fid"] = 40.0
    page = render_html(with_fid, *figures)
    assert re.findall(r"Table \d", page) == ["Table 2", "Table 5", "Table 1"]
    assert "37.45" in page and "17.29" not in page, "FID measures the same, EFL in unknown pixels does not"


def test_page_shows_how_sure_its_figures_are(result, figures):
    tree = json.loads(json.dumps(result))
    natural = tree["reconstruction"]["natural"]
    natural["RecNet"]["intervals"] = {"rmse_mm": {"low": 0.41, "high": 0.72, "people": 9}}
    ratio = {"value": 0.9, "low": 0.81, "high": 0.99, "people": 9}
    paired = {"ratio": ratio, "difference": ratio, "p": 0.003}
    compared = {"figure": "rmse_mm", "method": "RecNet", "reference": "MeanFace", "paired": paired}
    natural["comparisons"] = [compared]
    page = render_html(tree, *figures)
    outline(page)
    for text in ("0.41 to 0.72", "0.900 [0.810, 0.990]", "0.81 to 0.99", "0.003", "compared on the same people"):
        assert text in page
    assert "compared on the same people" not in render_html(result, *figures)


def test_missing_sections_are_omitted(figures):
    clips = {
        "ground": "clips",
        "reconstruction": {},
        "landmarks": {"held_out": {"RecNet": {"nme": 0.05}, "MeanLandmarks": {"nme": 0.19}}},
        "stages": {"recnet": {"seconds": None}},
    }
    page = render_html(clips, figures[0])
    parsed = outline(page)
    assert "landmarks" in parsed.ids and "expression" not in parsed.ids and "losses" not in parsed.ids
    assert "Table 4" not in page
    assert "expected metrics were not measured" in page
    outline(render_html({}))


def test_page_is_valid_if_all_metrics_are_nan(result, figures):
    def with_nan(node):
        return {key: with_nan(value) for key, value in node.items()} if isinstance(node, dict) else float("nan")

    page = render_html(with_nan(result) | {"ground": "studio"}, *figures)
    outline(page)
    assert ">nan" not in page


def test_both_files_are_written(result, figures, tmp_path):
    write_report(str(tmp_path / "evaluation"), result, *figures)
    written = json.loads((tmp_path / "evaluation" / "report.json").read_text())
    for key in expected({"ground": "studio"}):
        value = written
        for part in key.split("."):
            value = value[part]
        assert isinstance(value, float)
    assert written["machine"] == machine() and written["versions"] == versions()
    outline((tmp_path / "evaluation" / "report.html").read_text())


def test_nothing_is_written_if_json_cannot_represent_the_result(tmp_path):
    with pytest.raises(ReportError, match=r"result\.machine is a object"):
        write_report(str(tmp_path), {"machine": object()})
    assert list(tmp_path.iterdir()) == []


def test_durations():
    assert [duration(s) for s in (3.25, 45, 200, 7500)] == ["3.2 s", "45 s", "3 min 20 s", "2 h 5 min"]
