"""The figures of README.md and docs/results.md that come from ``benchmarks/results.json`` are those in it, rounded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = json.loads((ROOT / "benchmarks" / "results.json").read_text())
SECTIONS = ("## Speed", "## Precision")
"""Sections of docs/results.md all of whose rows come from the benchmarks."""

SMALL, LARGE = "(laptop's sizes, 64 px", "(paper's sizes, 224 px"
FASTEST = ", OpenVINO int8, DCNet bf16)"
Figures = Mapping[str, Sequence[str]]
"""The beginning of a row -> ``figure = result``, where a figure is as in the row; ``max``: of all that begin so."""

README: Figures = {
    "`/v1/reconstruct`, 64 px": (
        f"FastAPI + uvicorn 107 = fastapi_reconstruct_per_s {SMALL})", f"135 = serve_per_s {SMALL})",
        f"(1.27) = serve_vs_fastapi {SMALL})",
    ),
}  # fmt: skip

DOCUMENT: Figures = {
    "2,201 vertices, 64 px": (
        "184 ms = render_fwd_bwd_ms of PyTorch3D (2.2k vertices, 64 px, batch 1)",
        "5 ms = render_fwd_bwd_ms (2.2k vertices, 64 px, batch 1)",
        "53 times = render_vs_pytorch3d_cpu (2.2k vertices, 64 px, batch 1)",
    ),
    "12,752 vertices, 128 px": (
        "2,573 ms = render_fwd_bwd_ms of PyTorch3D (12.7k vertices, 128 px, batch 1)",
        "11 ms = render_fwd_bwd_ms (12.7k vertices, 128 px, batch 1)",
        "237 times = render_vs_pytorch3d_cpu (12.7k vertices, 128 px, batch 1)",
    ),
    "RecNet's step, `laptop`": (
        "104 ms = training_step_ms (recnet, laptop, 64 px, batch 16)",
        "0.27; = recnet_step_render_share (recnet, laptop, 64 px, batch 16)",
        "0.04 at = recnet_step_render_share (recnet, paper, 224 px, batch 4)",
    ),
    "DCNet's step, `laptop`": ("261 ms = training_step_ms (dcnet, laptop, 64 px, batch 8)",),
    "job, 2 workers, paper's sizes": (
        "DCNet 1.07 = train_job_vs_bare_loop (dcnet, paper)",
        "RecNet 1.03 = train_job_vs_bare_loop (recnet, paper) on 2 thread",
        "(0.79 = train_job_vs_bare_loop (recnet, paper)",
    ),
    "job, 2 workers, `laptop`": (
        "RecNet 0.93 = train_job_vs_bare_loop (recnet, laptop)", "DCNet 0.90 = train_job_vs_bare_loop (dcnet, laptop)",
    ),
    "1 to 2 workers, paper's sizes": (
        "DCNet 1.73 = train_scaling_1_to_2 (dcnet, paper)",
        "RecNet 1.51 = train_scaling_1_to_2 (recnet, paper) on 2 thread",
    ),
    "1 to 2 workers, `laptop`": (
        "DCNet 1.39 = train_scaling_1_to_2 (dcnet, laptop)", "RecNet 1.23 = train_scaling_1_to_2 (recnet, laptop)",
    ),
    "saving states": ("0.2 % = max state_saving_share",),
    "paper's sizes on a GPU": (),
    "samples/s from S3, loader alone": (
        "DCNet 25 = loaded_samples_per_s (dcnet, local, loader alone)",
        "ETNet 78 = loaded_samples_per_s (etnet, local, loader alone)",
        "DCNet 0.97 = train_s3_delayed_vs_local (dcnet, loader alone)",
        "ETNet 1.21 = train_s3_delayed_vs_local (etnet, loader alone)",
    ),
    "samples/s from S3, steps of 0.3 s": (
        "ETNet 50 = loaded_samples_per_s (etnet, local, steps of 0.3 s)",
        "ETNet 1.18 = train_s3_delayed_vs_local (etnet, steps of 0.3 s)",
    ),
    "the same, RecNet; DCNet's steps": (),
    "bytes read for a byte used": ("1.09 = recnet_read_amplification",),
    "index of 213 million frames": (
        "4.0 s = index_open_s (213 M frames)", "179 MB = index_memory_mb (213 M frames)",
    ),
    "index of a billion pairs": (
        "1.8 s = index_open_s (1e9 pairs)", "68 MB = index_memory_mb (1e9 pairs)",
    ),
    "2 workers: 167 pairs/s": (
        "167 pairs = synthesis_job_pairs_per_s (2 workers)",
        "172 pairs = synthesis_bare_loop_pairs_per_s (2 processes)",
        "0.98 = synthesis_job_vs_bare_loop",
    ),
    "1 to 2 workers |": ("1.76 = synthesis_scaling_1_to_2",),
    "resuming a million pairs": (
        "0.24 s = planning_1m_pairs_s", "11 MiB = max synthesis_driver_memory_growth_mib",
    ),
    "RecAugNet, OpenVINO int8": ("21.4 ms = recaugnet_224_one_core_ms (OpenVINO, int8)",),
    "RecAugNet, OpenVINO bf16": ("37 ms = recaugnet_224_one_core_ms (OpenVINO, bf16)",),
    "RecAugNet, OpenVINO fp32": ("70 ms = recaugnet_224_one_core_ms (OpenVINO, fp32)",),
    "RecAugNet, PyTorch bf16": ("75 ms = recaugnet_224_one_core_ms (PyTorch, bf16)",),
    "RecAugNet, PyTorch fp32": ("117 ms = recaugnet_224_one_core_ms (PyTorch, fp32)",),
    "DCNet with its scene, PyTorch fp32": ("108 ms = dcnet_224_one_core_ms (with its scene, PyTorch, fp32)",),
    "DCNet with its scene, PyTorch bf16": ("82 ms = dcnet_224_one_core_ms (with its scene, PyTorch, bf16)",),
    "`/v1/reconstruct`, 224 px: 9.3": (
        f"9.3 requests = serve_per_s {LARGE})", f"0.81; = serve_vs_bare_forward {LARGE})",
        f"per call 0.85 = serve_vs_bare_forward {LARGE}, 16 pictures a call)",
    ),
    "`/v1/reconstruct`, 64 px: 135": (
        f"135 requests = serve_per_s {SMALL})", f"0.47 = serve_vs_bare_forward {SMALL})",
    ),
    "`/v1/reconstruct`, 64 px, fp32": (f"1.27 = serve_vs_fastapi {SMALL})",),
    "`/v1/reconstruct`, 64 px, int8": (
        f"104 requests = serve_per_s {SMALL}{FASTEST}", f"1.44; = serve_vs_fastapi {SMALL}{FASTEST}",
        f"bf16 1.48 = serve_vs_fastapi {SMALL}, bf16)",
    ),
    "`/v1/reconstruct`, 224 px, fp32": (f"1.12 = serve_vs_fastapi {LARGE})",),
    "`/v1/reconstruct`, 224 px, int8": (
        f"29 requests = serve_per_s {LARGE}{FASTEST}", f"bf16: 15 = serve_per_s {LARGE}, bf16)",
        f"3.6; = serve_vs_fastapi {LARGE}{FASTEST}", f"bf16 1.85 = serve_vs_fastapi {LARGE}, bf16)",
    ),
    "`/v1/reenact`, 64 px": (
        f"37 requests = serve_reenact_per_s {SMALL})", f"0.68; = serve_reenact_vs_bare_forward {SMALL})",
        f"1.18 = serve_reenact_vs_fastapi {SMALL})",
    ),
    "`/v1/reenact`, 224 px: 3.3": (
        f"3.3 requests = serve_reenact_per_s {LARGE})", f"0.68; = serve_reenact_vs_bare_forward {LARGE})",
        f"0.80 = serve_reenact_vs_fastapi {LARGE})",
    ),
    "`/v1/reenact`, 224 px, RecAugNet int8": (
        f"7.1 requests = serve_reenact_per_s {LARGE}{FASTEST}", f"1.73; = serve_reenact_vs_fastapi {LARGE}{FASTEST}",
        f"both bf16 1.23 = serve_reenact_vs_fastapi {LARGE}, bf16)",
    ),
    "latency of `/v1/reconstruct` at half of saturation, 64 px": (
        f"p50 100 ms = serve_p50_ms {SMALL}, 50% of saturation)",
        f"p99 204 ms = serve_p99_ms {SMALL}, 50% of saturation)",
    ),
    "latency of `/v1/reconstruct` at half of saturation, 224 px": (
        f"p50 158 ms = serve_p50_ms {LARGE}, 50% of saturation)",
        f"p99 226 ms = serve_p99_ms {LARGE}, 50% of saturation)",
    ),
    "PyTorch bf16": (
        "0.006 = expression_change (PyTorch, bf16, of spread)", "0.0004 = landmark_change (PyTorch, bf16, mean)",
        "0.00006 = picture_change (PyTorch, bf16, mean)",
    ),
    "OpenVINO int8": (
        "0.04 = expression_change (OpenVINO, int8, of spread)", "0.0026 = landmark_change (OpenVINO, int8, mean)",
    ),
}  # fmt: skip


def value_of(result: str) -> float:
    """A result by its name, measured with one thread unless it says otherwise; ``max NAME``: the largest of a kind."""
    name, _, machine = result.partition(" on ")
    if name.startswith("max "):
        return max(entry["value"] for entry in RESULTS if entry["name"].startswith(name.removeprefix("max ")))
    found = [
        entry["value"]
        for entry in RESULTS
        if entry["name"] == name and entry["machine"].endswith(machine or "1 thread")
    ]
    assert len(found) == 1, f"{result}: {len(found)} results"
    return found[0]


def rows_of(text: str) -> list[str]:
    """The rows of the tables of a Markdown text, without headers."""
    lines = [line.removeprefix("|").strip() for line in text.splitlines() if line.startswith("|")]
    return [line for line in lines if not line.startswith(("|", "---"))]


def check(row: str, figures: Sequence[str]) -> None:
    for figure in figures:
        shown, _, result = figure.partition(" = ")
        assert shown in row, f"{shown!r} is not in the row: {row}"
        number = re.findall(r"\d[\d,]*(?:\.\d+)?", shown)[-1].replace(",", "")
        digits = len(number.partition(".")[2])
        assert round(value_of(result), digits) == float(number), f"{row}: {shown} is {value_of(result)} ({result})"


def test_the_figures_of_the_readme() -> None:
    rows = rows_of((ROOT / "README.md").read_text())
    for start, figures in README.items():
        (row,) = [row for row in rows if row.startswith(start)]
        check(row, figures)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_figure_of_the_benchmarks_sections(section: str) -> None:
    text = (ROOT / "docs" / "results.md").read_text()
    part = re.split(r"(?m)^## ", text.partition(f"\n{section}\n")[2])[0]
    rows = rows_of(part)
    assert rows
    for row in rows:
        starts = [start for start in DOCUMENT if row.startswith(start)]
        assert starts, f"a row without its results in {Path(__file__).name}: {row}"
        check(row, DOCUMENT[max(starts, key=len)])


def test_every_row_that_is_known_exists() -> None:
    rows = rows_of((ROOT / "docs" / "results.md").read_text())
    assert not [start for start in DOCUMENT if not any(row.startswith(start) for row in rows)]
