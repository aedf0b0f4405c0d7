"""What travels between the host and a device so that neither waits for the other: constant numbers, batches.

And whether a device still computes at all.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


class DeviceError(RuntimeError):
    """A device that does not compute any more: only another process, or another device, can go on."""


def check_device(device: torch.device) -> None:
    """Raises DeviceError unless a small calculation succeeds. After most errors of CUDA all later calls fail too."""
    try:
        total = float(torch.arange(1000, dtype=torch.float32, device=device).sum().cpu())
    except Exception as error:
        raise DeviceError(f"{device} is broken: {' '.join(str(error).split())[:200]}") from None
    if total != 499_500:
        raise DeviceError(f"{device} is broken: 0 + 1 + … + 999 is {total} there")


def check_finite(values: Tensor, what: str) -> None:
    """Raises FloatingPointError if a number is infinite or none. Waits for the device.

    Finite weights make finite numbers of any image: other ones come from a broken device, or from broken weights.
    """
    if not bool(values.isfinite().all()):
        raise FloatingPointError(f"{what} has numbers that are not finite; its device or its weights are broken")


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
