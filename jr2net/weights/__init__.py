"""The weights that ship with the package, ``recaugnet`` and ``dcnet``. ``make weights`` copies them from a run."""
