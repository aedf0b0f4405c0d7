"""The faulty proxy injects every fault, and storage through it still works."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
import torch
from faulty_s3 import FAULTS, faulty_s3
from moto.server import ThreadedMotoServer

from jr2net import storage
from jr2net.training.state import StateWriter, newest_step, read_state, saved_steps

CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    boto3.client("s3", endpoint_url=endpoint, **CREDENTIALS).create_bucket(Bucket="bad-day")
    yield endpoint
    server.stop()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "6")


@pytest.mark.parametrize("fault", FAULTS)
def test_files_survive_every_fault(server: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty_s3(server, rate=0.3, faults=[fault], seed=1) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        contents = {f"s3://bad-day/{fault}/{i}": bytes([i]) * (50_000 * i + 1) for i in range(4)}
        for uri, content in contents.items():
            storage.write_bytes(uri, content)
        assert {uri: storage.read_bytes(uri) for uri in contents} == contents
        assert storage.list_files(f"s3://bad-day/{fault}") == ["0", "1", "2", "3"]
        assert proxy.failed and set(proxy.failed) <= {fault, "lost"}
        assert proxy.requests.total() < 60  # no retry storm


def test_training_states_survive_all_faults(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty_s3(server, rate=0.2, seed=2) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        writer = StateWriter("s3://bad-day/recnet", keep=2)
        for step in (10, 20, 30):
            writer.take(step, {"step": step, "weight": torch.full((5000,), float(step))})
            writer.confirm()
        writer.finish()
        assert saved_steps("s3://bad-day/recnet/state") == [20, 30]
        assert newest_step("s3://bad-day/recnet") == 30
        assert read_state("s3://bad-day/recnet", 30, "cpu")["weight"].unique().tolist() == [30.0]
        assert proxy.failed


def test_a_server_that_always_fails_raises(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    with faulty_s3(server, rate=1.0, faults=["503"]) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        with pytest.raises(storage.StorageError, match="s3://bad-day/x: cannot be read"):
            storage.read_bytes("s3://bad-day/x")
        assert proxy.requests.total() <= 4
