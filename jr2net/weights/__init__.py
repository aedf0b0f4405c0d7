"""The weights that ship with it: ``recaugnet``, ``dcnet`` and ``flow3d``. ``make weights`` copies them from a run."""
