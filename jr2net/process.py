"""Process-wide settings: number of compute threads, and whether malloc keeps freed memory."""

from __future__ import annotations

import ctypes
import sys

import cv2
import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # glibc's malloc.h


def use_threads(count: int = 1) -> None:
    """Sets the number of threads of torch and of OpenCV.

    Processes that share the cores of a machine (workers, actors, replicas) slow each other down with more than one.
    OpenCV's second thread doubles the CPU time of an image as small as a crop and gains nothing.
    """
    torch.set_num_threads(count)
    cv2.setNumThreads(count)


def tune_malloc(most: int = 2**31 - 1) -> None:
    """Makes glibc's malloc keep up to ``most`` freed bytes, in blocks of up to half of that. No effect without glibc.

    For processes that repeat one operation: each step, batch or image allocates the same blocks as the one before, and
    new pages cost a tenth of a small training step and half of pasting an image. The process does not shrink below the
    size of its largest step.

    This applies to the main thread. Other threads use their own heaps of at most 64 MiB, unless ``MALLOC_ARENA_MAX=1``
    was set when the process started, as it is for Ray's workers (``jobs/ray_settings.py``).
    """
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        for parameter, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, most // 2), (_TRIM_THRESHOLD, most)):
            library.mallopt(parameter, value)
