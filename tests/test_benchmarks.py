"""The results file of the benchmarks, and a run of the renderer's benchmark; no measured value is checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as entry
from benchmarks import bench_render, results
from benchmarks.results import Measurement

FIELDS = {"name", "value", "unit", "peer", "machine", "commit", "date"}


def test_record_adds_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results.record([Measurement("a", 1.0, "ms"), Measurement("b", 2.0, "ms", "peer")], path)
    results.record([Measurement("a", 3.0, "ms"), Measurement("b", 4.0, "ms", "another")], path)
    entries = json.loads(path.read_text())
    assert [(entry["name"], entry["value"]) for entry in entries] == [("b", 2.0), ("a", 3.0), ("b", 4.0)]
    assert all(set(entry) == FIELDS for entry in entries)


def test_the_recorded_results_are_well_formed() -> None:
    entries = json.loads(results.RESULTS.read_text())
    assert entries and all(set(entry) == FIELDS and entry["value"] > 0 for entry in entries)
    assert all("/" not in entry["machine"] for entry in entries)
    names = [entry["name"] for entry in entries]
    for vertices in ("2.2k", "12.7k"):
        for size in (64, 128, 256):
            for batch in (1, 8):
                assert f"render_fwd_bwd_ms ({vertices} vertices, {size} px, batch {batch})" in names


def test_an_unknown_name_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(["rendr"]) == 2
    assert "render" in capsys.readouterr().err


def test_the_renderers_benchmark_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench_render, "MODELS", {"0.2k": ("absent.npz", 200)})
    monkeypatch.setattr(bench_render, "TRAINING_CASES", ())
    monkeypatch.setattr(bench_render, "PEER_CASES", ())
    monkeypatch.setattr(bench_render, "best_ms", lambda function, at_least=0: function() is not None)
    monkeypatch.setattr(bench_render, "REAL_GROUND", tmp_path)
    measured = list(bench_render.measure())
    assert len(measured) == 6 and all(m.name.startswith("render_fwd_bwd_ms (0.2k") for m in measured)
