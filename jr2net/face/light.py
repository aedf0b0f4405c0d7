"""Illumination: nine spherical-harmonic basis functions per colour channel (Ramamoorthi and Hanrahan 2001).

Light axes are the camera's with y and z flipped: x to the right of the image, y up, z towards the camera. They do not
rotate with the head.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SH_BASES = 9

# Real SH normalisation constants, bands 0 to 2.
_BAND0 = 0.5 / math.sqrt(math.pi)
_BAND1 = math.sqrt(3) / (2 * math.sqrt(math.pi))
_BAND2 = math.sqrt(15) / (2 * math.sqrt(math.pi))
_BAND2_ZZ = math.sqrt(5) / (4 * math.sqrt(math.pi))


def spherical_harmonics(normal: Tensor) -> Tensor:
    """Basis functions H_b of unit normals (..., 3) -> (..., 9), in the order 1, y, z, x, xy, yz, 3z²-1, xz, x²-y²."""
    x, y, z = normal.unbind(-1)
    return torch.stack(
        [
            torch.full_like(x, _BAND0),
            _BAND1 * y,
            _BAND1 * z,
            _BAND1 * x,
            _BAND2 * x * y,
            _BAND2 * y * z,
            _BAND2_ZZ * (3 * z * z - 1),
            _BAND2 * x * z,
            0.5 * _BAND2 * (x * x - y * y),
        ],
        -1,
    )


def irradiance(normal: Tensor, light: Tensor) -> Tensor:
    """Σ_b θ_b H_b(n): normals (B, ..., 3) and light (B, 9, 3) to the light map (B, ..., 3)."""
    basis = spherical_harmonics(normal)
    return (basis.flatten(1, -2) @ light).view(*normal.shape[:-1], 3)


def shade(albedo: Tensor, normal: Tensor, light: Tensor) -> Tensor:
    """albedo · Σ_b θ_b H_b(n) (the paper's illumination model); all (B, ..., 3), light (B, 9, 3)."""
    return albedo * irradiance(normal, light)


def ambient(intensity: float, device: torch.device | str = "cpu") -> Tensor:
    """Uniform white light (9, 3) with irradiance ``intensity`` on every normal."""
    light = torch.zeros(SH_BASES, 3, device=device)
    light[0] = intensity / _BAND0
    return light
