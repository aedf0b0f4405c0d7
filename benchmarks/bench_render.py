"""The renderer, forward and backward: at the sizes of training, and against PyTorch3D if it is installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import math
import os
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.results import Measurement, best_ms
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.face.model_file import read_model_file
from jr2net.face.parameters import FaceParameters
from jr2net.render.renderer import render

REAL_GROUND = Path(os.environ.get("JR2NET_REAL_GROUND", Path(__file__).parents[2] / "shared"))
MODELS = {"2.2k": ("ict_narrow_lo.npz", 2201), "12.7k": ("ict_narrow_full.npz", 12752)}
TRAINING_CASES = ((64, 32), (96, 32), (64, 64))  # (size, batch) of photometric training
PEER_CASES = (("2.2k", 64, 1), ("2.2k", 128, 1), ("2.2k", 64, 8), ("12.7k", 64, 1), ("12.7k", 128, 1))


def measure() -> Iterator[Measurement]:
    """Milliseconds of ``render(…).image`` and of its gradients with respect to all six parameters."""
    models = {label: _model(*source) for label, source in MODELS.items()}
    sizes = [*itertools.product((64, 128, 256), (1, 8))]
    trained = [("2.2k", case) for case in TRAINING_CASES]
    for label, (size, batch) in [*itertools.product(models, sizes), *trained]:
        yield Measurement(f"render_fwd_bwd_ms {_case(label, size, batch)}", _time(models[label], size, batch), "ms")
    for size, batch in TRAINING_CASES:
        forward = _time(models["2.2k"], size, batch, backward=False)
        yield Measurement(f"render_fwd_ms {_case('2.2k', size, batch)}", forward, "ms")

    if importlib.util.find_spec("pytorch3d") is None:
        print("PyTorch3D is not installed: skipping the comparison")
        return
    peer = f"PyTorch3D {_version()}, CPU"
    for label, size, batch in PEER_CASES:
        theirs = _time(models[label], size, batch, backend="pytorch3d", at_least=2)
        yield Measurement(f"render_fwd_bwd_ms of PyTorch3D {_case(label, size, batch)}", theirs, "ms", peer)
        ratio = theirs / _time(models[label], size, batch)
        yield Measurement(f"render_vs_pytorch3d_cpu {_case(label, size, batch)}", ratio, "times faster", peer)


def _case(label: str, size: int, batch: int) -> str:
    return f"({label} vertices, {size} px, batch {batch})"


def _version() -> str:
    try:
        return importlib.metadata.version("pytorch3d")
    except importlib.metadata.PackageNotFoundError:
        return importlib.import_module("pytorch3d").__version__


def _time(
    model: FaceModel, size: int, batch: int, backend: str = "torch", backward: bool = True, at_least: int = 5
) -> float:
    camera, face = Camera.default(size), _random_faces(model, batch)
    leaves = list(face.state().values())
    target = torch.full((batch, 3, size, size), 0.3)

    def forward() -> torch.Tensor:
        return render(model, face, camera, backend).image

    def forward_backward() -> object:
        return torch.autograd.grad(((forward() - target) ** 2).sum(), leaves)

    return best_ms(forward_backward if backward else forward, at_least)


def _random_faces(model: FaceModel, batch: int) -> FaceParameters:
    """Random faces with various shapes and poses; every parameter requires a gradient."""
    generator = torch.Generator().manual_seed(0)
    neutral = model.neutral(batch)
    spread = {"identity": 1.0, "expression": 0.1, "albedo": 1.0, "rotation": 0.25, "translation": 10.0, "light": 0.1}
    return FaceParameters(
        **{
            name: (value + spread[name] * torch.randn(value.shape, generator=generator)).requires_grad_()
            for name, value in neutral.state().items()
        }
    )


def _model(file: str, vertices: int) -> FaceModel:
    """The real face model if its file exists, else an ellipsoid with as many vertices and triangles."""
    path = REAL_GROUND / "assets" / file
    return read_model_file(path) if path.exists() else _ellipsoid(vertices)


def _ellipsoid(vertices: int) -> FaceModel:
    """A face-sized ellipsoid with random smooth bases of the paper's sizes."""
    columns = round(math.sqrt(2 * vertices))
    rows = math.ceil(vertices / columns)
    theta, phi = torch.linspace(0.01, math.pi - 0.01, rows)[:, None], 2 * math.pi * torch.arange(columns) / columns
    sphere = torch.stack(
        [theta.sin() * phi.cos(), theta.cos().expand(-1, columns), -theta.sin() * phi.sin()], -1
    ).reshape(-1, 3)
    corner = torch.arange((rows - 1) * columns)
    right = corner - corner % columns + (corner + 1) % columns
    faces = torch.cat(
        [torch.stack([corner, corner + columns, right], 1), torch.stack([right, corner + columns, right + columns], 1)]
    )
    generator = torch.Generator().manual_seed(0)

    def smooth(bases: int, scale: float) -> torch.Tensor:
        return scale * torch.einsum("bkc,nk->bnc", torch.randn(bases, 3, 3, generator=generator), sphere)

    count = len(sphere)
    return FaceModel(
        mean=sphere * torch.tensor([75.0, 95.0, 75.0]),
        faces=faces,
        identity_basis=smooth(80, 1.0),
        expression_basis=smooth(51, 3.0),
        albedo_mean=torch.full((count, 3), 0.5),
        albedo_basis=smooth(64, 0.02),
        landmarks=torch.linspace(0, count - 1, 68).long(),
        labels=torch.zeros(count, dtype=torch.long),
        label_names=("skin",),
        mirror=torch.arange(count),
        uv=torch.zeros(count, 2),
        name="egg",
    )
