"""How many threads this process computes with. More work is done by more processes, not by more threads in one."""

from __future__ import annotations

import cv2
import torch


def use_threads(count: int = 1) -> None:
    """Of torch and of OpenCV, whose second thread doubles the cost of a picture as small as a crop and gains nothing.

    Processes that share a machine's cores (workers, actors, replicas) get in each other's way otherwise.
    """
    torch.set_num_threads(count)
    cv2.setNumThreads(count)
