"""What a run achieved: ``report.json`` for programs, ``report.html`` for people."""
