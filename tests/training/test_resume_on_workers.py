"""What workers agree on: what to do after a step, and the state that they resume from, which one of them downloads."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from faulty_s3 import faulty_s3

from jr2net.training.state import StateWriter, read_newest, unpack
from jr2net.training.workers import Vote, broadcast_bytes

WORLD = 3


def worker(rank: int, port: int, folder: str, out: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    torch.distributed.init_process_group("gloo", rank=rank, world_size=WORLD)
    nothing = broadcast_bytes(read_newest(f"{folder}-other") if rank == 0 else None)
    content = broadcast_bytes(read_newest(folder) if rank == 0 else None)
    assert content is not None
    vote, results = Vote(), []
    for step in range(4):
        vote.cast(step if rank == step else 0)
        results.append(vote.result())
    torch.save((nothing, unpack(content, "cpu"), results), f"{out}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_one_worker_downloads_and_all_agree(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}.items():
        monkeypatch.setenv(name, value)
    state = {"step": 7, "weight": torch.arange(500_000.0)}
    with faulty_s3(s3_server, rate=0.0) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        writer = StateWriter("s3://bucket/recnet", 2)
        for step in (3, 7):
            writer.take(step, {**state, "step": step})
            writer.confirm()
        writer.finish()
        proxy.sent.clear()
        proxy.gets.clear()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        torch.multiprocessing.start_processes(
            worker, (port, "s3://bucket/recnet", str(tmp_path)), nprocs=WORLD, start_method="forkserver"
        )
        assert proxy.sent["GET"] < 1.1 * state["weight"].nbytes
        assert proxy.gets == {"/bucket/recnet/state/00000007.pt": 1}
    for rank in range(WORLD):
        nothing, found, results = torch.load(tmp_path / f"{rank}.pt")
        assert nothing is None
        assert found["step"] == 7 and torch.equal(found["weight"], state["weight"])
        assert results == [0, 1, 2, 0]  # worker 3 does not exist


def test_one_worker_agrees_with_itself() -> None:
    vote = Vote()
    vote.cast(2)
    assert vote.result() == 2
    assert broadcast_bytes(b"state") == b"state" and broadcast_bytes(None) is None
