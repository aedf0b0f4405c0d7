"""Pretrained weight files: name -> tensor. Loading executes no code from the file."""

from __future__ import annotations

import pickle
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from jr2net.errors import UserError


class WeightsError(UserError, ValueError):
    """An invalid weight file; the message names the file, the parameter and the remedy."""


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Loads a ``.safetensors`` file, or a ``.pth`` file with a plain state dict. Raises WeightsError."""
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
        raise WeightsError(f"{path}: expected a state dict (name -> tensor); save only the network's `state_dict()`")
    return weights
