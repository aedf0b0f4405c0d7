"""The weights that ship with the package: ``recaugnet`` and ``dcnet``, as ``make weights`` copied them from a run."""
