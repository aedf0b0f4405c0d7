"""JR2Net: joint monocular 3D face reconstruction and reenactment.

The library. Pure PyTorch: nothing in this package imports Ray. ``jobs/`` and ``serve/`` place it on machines.
"""
