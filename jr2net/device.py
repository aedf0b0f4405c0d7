"""What travels between the host and a device so that neither waits for the other: constant numbers, batches."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def to_device(value: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device. Copies to a GPU are from pinned memory, so that the host goes on meanwhile."""
    if value.device.type != "cpu" or device.type in ("cpu", "mps"):
        return value.to(device)
    return value.pin_memory().to(device, non_blocking=True)


def constant(values: tuple[float, ...], like: Tensor) -> Tensor:
    """Numbers (N,) with the dtype and on the device of ``like``; not to be changed in place.

    They are copied to a GPU once: for every copy the host waits until the GPU has done all that it was asked for.
    """
    if like.device.type == "cpu" or torch.compiler.is_compiling() or torch.compiler.is_exporting():
        return like.new_tensor(values)
    return _on_device(values, like.dtype, like.device)


@lru_cache(maxsize=64)
def _on_device(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # what is made in inference mode cannot be used in training later on
        return torch.tensor(values, dtype=dtype, device=device)
