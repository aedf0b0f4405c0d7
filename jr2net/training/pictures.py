"""Sample images that show the progress of a training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def grid(rows: Sequence[Tensor]) -> Tensor:
    """Tiles rows of images, each (B, 3, S, S) in [0, 1], into one image (3, rows · S, B · S)."""
    return torch.cat([torch.cat(list(row), dim=-1) for row in rows], dim=-2).clamp(0, 1)
