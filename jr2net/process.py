"""How a process uses the machine: how many threads compute, and whether freed memory is kept."""

from __future__ import annotations

import ctypes
import sys

import cv2
import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # glibc's malloc.h


def use_threads(count: int = 1) -> None:
    """Sets the number of threads of torch and of OpenCV.

    Processes that share a machine's cores (workers, actors, replicas) slow each other down with more than one each.
    OpenCV's second thread doubles the CPU time of an image as small as a crop and gains nothing.
    """
    torch.set_num_threads(count)
    cv2.setNumThreads(count)


def tune_malloc(most: int = 2**31 - 1) -> None:
    """Tells glibc's malloc, where that is in use, to keep up to ``most`` freed bytes, in blocks of up to half as many.

    For processes that do one thing again and again: each step, batch or image asks for the same blocks as the one
    before, and fresh pages cost a tenth of a small training step and half of pasting an image. The process stays as
    large as its largest step made it.

    It holds for the main thread. Other threads have heaps of at most 64 MiB of their own, unless ``MALLOC_ARENA_MAX=1``
    was in the environment when the process started, as it is for Ray's workers (``jobs/ray_settings.py``).
    """
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        for parameter, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, most // 2), (_TRIM_THRESHOLD, most)):
            library.mallopt(parameter, value)
