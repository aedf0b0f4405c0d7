"""Pretrained files, local or ``s3://…``: weights (name -> tensor; loading executes no code) and face embedders."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from jr2net import storage
from jr2net.errors import UserError

N = TypeVar("N", bound=nn.Module)


class WeightsError(UserError, ValueError):
    """An invalid weight file; the message names the file, the parameter and the remedy."""


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Loads a ``.safetensors`` file, or a ``.pth`` file with a plain state dict. Raises WeightsError."""
    content = _read(path)
    try:
        if storage.base_name(str(path)).endswith(".safetensors"):
            return safetensors.torch.load(content)
        weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path}: cannot be read as weights ({error}); download the file again") from None
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise WeightsError(f"{path}: expected a state dict (name -> tensor); save only the network's `state_dict()`")
    return weights


def load_embedder(path: str | Path, device: torch.device | str = "cpu") -> nn.Module:
    """A frozen TorchScript face embedder: image (B, 3, S, S) in [0, 1] to embedding (B, C). Raises WeightsError."""
    content = _read(path)
    try:
        embedder = torch.jit.load(io.BytesIO(content), device)
    except RuntimeError as error:
        raise WeightsError(f"{path}: is not a TorchScript module ({error}); save it with `torch.jit.save`") from None
    return freeze(embedder)


def freeze(network: N) -> N:
    """A network in evaluation mode whose parameters need no gradients, TorchScript or not; changes it in place."""
    for parameter in network.eval().parameters():
        parameter.requires_grad_(False)
    return network


def _read(path: str | Path) -> bytes:
    if not storage.exists(str(path)):
        raise WeightsError(f"{path}: no such weight file; download it, or leave the field empty")
    try:
        return storage.read_bytes(str(path))
    except storage.StorageError as error:
        raise WeightsError(str(error)) from None
