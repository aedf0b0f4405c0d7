"""A run of the loading benchmark with small data; no measured value is checked."""

from __future__ import annotations

import pytest

from benchmarks import bench_loading


def test_every_network_is_loaded_from_both(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"VOXCELEB2": 4000, "BILLION": 400_000, "SECONDS": 0.1, "TURNS": 1, "WARM_UP_STEPS": 1}
    small |= {"CLIP_SHARDS": 3, "CLIPS": 4, "FRAMES": 40, "PAIR_SHARDS": 2, "PAIRS": 160, "SHUFFLE_BYTES": 1 << 20}
    for name, value in small.items():
        monkeypatch.setattr(bench_loading, name, value)
    monkeypatch.setattr(bench_loading, "BATCH", {"recnet": 4, "dcnet": 4, "etnet": 4})
    measured = {measurement.name: measurement.value for measurement in bench_loading.measure()}
    for network, step_s in bench_loading.STEP_S.items():
        for case in ("loader alone", f"steps of {step_s:g} s"):
            assert measured[f"train_s3_delayed_vs_local ({network}, {case})"] > 0
    assert measured["recnet_read_amplification"] > 0.9
    for name in ("213 M frames", "1e9 pairs"):
        assert measured[f"index_open_s ({name})"] > 0 and measured[f"index_file_mb ({name})"] > 0
