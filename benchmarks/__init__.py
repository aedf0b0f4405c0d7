"""Benchmarks: ``python -m benchmarks`` runs every ``bench_*.py`` and records the measurements in results.json."""
