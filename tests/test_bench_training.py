"""A run of the training benchmark with every phase of both networks' steps; no measured value is checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import bench_training


def test_every_phase_of_the_step_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench_training, "PHASE_STEPS", 1)
    monkeypatch.setattr(
        bench_training, "best_ms", lambda function, at_least=0: 1000 * bench_training._seconds(function)
    )
    measured = [
        measurement
        for network in ("recnet", "dcnet")
        for measurement in bench_training._phases(network, "smoke", "cpu", tmp_path)
    ]
    names = [measurement.name for measurement in measured]
    for phase in ("forward", "render", "backward", "optimizer"):
        for network in ("recnet", "dcnet"):
            assert f"training_phase_ms {phase} ({network}, smoke, 32 px, batch 4)" in names
    assert "recnet_step_render_share (recnet, smoke, 32 px, batch 4)" in names
    assert all(measurement.value > 0 for measurement in measured)
