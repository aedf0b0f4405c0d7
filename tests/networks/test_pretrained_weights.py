"""Pretrained files are read from a folder or a bucket."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from jr2net import storage
from jr2net.networks.weights import WeightsError, load_embedder, read_weights


def embedder_file() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Flatten()), buffer)
    return buffer.getvalue()


def test_files_in_a_bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    weights, buffer = {"conv1.weight": torch.arange(6.0)}, io.BytesIO()
    torch.save(weights, buffer)
    storage.write_bytes("s3://bucket/weights/resnet.pth", buffer.getvalue())
    storage.write_bytes("s3://bucket/weights/resnet.safetensors", safetensors.torch.save(weights))
    storage.write_bytes("s3://bucket/weights/embedder.pt", embedder_file())
    for name in ("resnet.pth", "resnet.safetensors"):
        assert torch.equal(read_weights(f"s3://bucket/weights/{name}")["conv1.weight"], weights["conv1.weight"])
    assert load_embedder("s3://bucket/weights/embedder.pt")(torch.zeros(2, 3, 4, 4)).shape == (2, 48)
    with pytest.raises(WeightsError, match=r"s3://bucket/weights/absent\.pth: no such weight file"):
        read_weights("s3://bucket/weights/absent.pth")


def test_embedders_are_frozen_and_checked(tmp_path: Path) -> None:
    torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(48, 2))).save(tmp_path / "embedder.pt")
    embedder = load_embedder(tmp_path / "embedder.pt")
    assert not embedder.training and not any(p.requires_grad for p in embedder.parameters())
    (tmp_path / "broken.pt").write_bytes(b"not a module")
    with pytest.raises(WeightsError, match=r"broken\.pt: is not a TorchScript module"):
        load_embedder(tmp_path / "broken.pt")
    with pytest.raises(WeightsError, match=r"absent\.pt: no such weight file"):
        load_embedder(tmp_path / "absent.pt")
