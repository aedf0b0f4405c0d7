"""Freed memory is kept for what comes next: fresh pages cost a tenth of a small training step and half of a pasting."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # glibc's malloc.h


def keep_freed_memory(most: int = 2**31 - 1) -> None:
    """Tells glibc's malloc, where that is in use, to keep up to ``most`` bytes, in blocks of up to half as many.

    For processes that do one thing again and again: each step, batch or picture asks for the same blocks as the one
    before, and the process stays as large as the largest made it.

    It holds for the main thread. Others have heaps of at most 64 MiB of their own, unless ``MALLOC_ARENA_MAX=1`` was in
    the environment when the process started, as it is of Ray's workers (``jobs/ray_settings.py``).
    """
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        for parameter, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, most // 2), (_TRIM_THRESHOLD, most)):
            library.mallopt(parameter, value)
