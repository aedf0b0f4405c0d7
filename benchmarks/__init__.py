"""How fast things are: ``python -m benchmarks`` runs every ``bench_*.py`` and keeps the figures in results.json."""
