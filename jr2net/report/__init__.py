"""Reports of a run: ``report.json`` (machine-readable) and ``report.html``."""
