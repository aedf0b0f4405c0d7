"""Published weight files: name -> tensor. Nothing in them is executed."""

from __future__ import annotations

import pickle
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from jr2net.errors import UserError


class WeightsError(UserError, ValueError):
    """A weight file that cannot be used; the message names the file, the parameter and the remedy."""


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """A ``.safetensors`` file, or a ``.pth`` file that holds nothing but tensors by name."""
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such weight file; download torchvision's, or leave the field empty") from None
    except (OSError, RuntimeError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path}: cannot be read as weights ({error}); download the file again") from None
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise WeightsError(f"{path}: expected tensors by name (a state dict); save the network's `state_dict()` alone")
    return weights
