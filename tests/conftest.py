"""Shared by every test: one torch thread, and where the real ground lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)

REAL_GROUND = Path(os.environ.get("JR2NET_REAL_GROUND", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def real_ground() -> Path:
    """Folder with ``assets/`` (face models) and ``data/`` (real clips); tests that need it skip where it is absent."""
    if not (REAL_GROUND / "assets").is_dir():
        pytest.skip(f"no real ground: {REAL_GROUND}/assets does not exist (set JR2NET_REAL_GROUND)")
    return REAL_GROUND
