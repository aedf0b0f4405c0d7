"""How fast things are: ``python -m benchmarks`` runs every ``bench_*.py`` here and keeps the figures in results.json."""
