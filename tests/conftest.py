"""Shared fixtures: real data, an S3 server, face models."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from jobs.ray_settings import SERVE_SETTINGS
from jr2net.config import FaceConfig
from jr2net.face.load import load_face_model
from jr2net.face.model import FaceModel
from jr2net.process import use_threads

use_threads(1)
os.environ.update(SERVE_SETTINGS)  # before Ray Serve, which reads them when it is imported

REAL_GROUND = Path(os.environ.get("JR2NET_REAL_GROUND", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def real_ground() -> Path:
    """Folder with ``assets/`` (face models) and ``data/`` (real clips); tests that need it skip where it is absent."""
    if not (REAL_GROUND / "assets").is_dir():
        pytest.skip(f"no real data: {REAL_GROUND}/assets does not exist (set JR2NET_REAL_GROUND)")
    return REAL_GROUND


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """Endpoint of an S3 server in this process, with the bucket ``bucket``."""
    import boto3  # not at the top: most tests need neither
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    credentials = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=endpoint, **credentials).create_bucket(Bucket="bucket")
    yield endpoint
    server.stop()


@pytest.fixture(scope="session")
def procedural_model() -> FaceModel:
    """The procedural face model, the default of every configuration."""
    return load_face_model(FaceConfig())


@pytest.fixture(scope="session")
def toy_model() -> FaceModel:
    """A dome of 12 x 12 vertices with 4 identity, 51 expression and 3 albedo bases: enough to render and to train."""
    side = 12
    v, u = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    mean = torch.stack([70 * u, -90 * v, 50 * (1 - 0.5 * (u**2 + v**2))], -1).view(-1, 3)
    corner = torch.arange(side * (side - 1)).view(side - 1, side)[:, :-1].reshape(-1)
    down, right = corner + side, corner + 1
    faces = torch.cat([torch.stack([corner, down, right], 1), torch.stack([right, down, down + 1], 1)])
    generator = torch.Generator().manual_seed(0)
    count = side * side

    def smooth(bases: int, size: float) -> torch.Tensor:
        """Displacements that vary slowly over the dome, so that triangles keep facing outwards."""
        waves = torch.cat([torch.ones(1, count), torch.sin(mean.T / 60), torch.cos(mean.T / 40)])
        return size * torch.einsum("bkc,kn->bnc", torch.randn(bases, len(waves), 3, generator=generator), waves) / 2

    return FaceModel(
        mean=mean,
        faces=faces,
        identity_basis=smooth(4, 4.0),
        expression_basis=smooth(51, 3.0),
        albedo_mean=torch.full((count, 3), 0.5),
        albedo_basis=smooth(3, 0.1),
        landmarks=torch.linspace(0, count - 1, 68).long(),
        labels=torch.zeros(count, dtype=torch.long),
        label_names=("skin",),
        mirror=torch.arange(count).view(side, side).flip(1).reshape(-1),
        uv=torch.stack([(u + 1) / 2, (v + 1) / 2], -1).view(-1, 2),
        name="toy",
    )
