"""Averaging of gradients in shared memory, and the fallback if there is none."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import torch
import torch.distributed
import torch.multiprocessing

from jr2net.training import shared_gradients
from jr2net.training.shared_gradients import SharedGradients

WORKERS = 3


def worker(rank: int, port: int, folder: str, out: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    torch.distributed.init_process_group("gloo", rank=rank, world_size=WORKERS)
    shared = SharedGradients.open(7, Path(folder))
    means = []
    if shared is not None:
        for size in (7, 2, 5, 7):  # buckets have different sizes
            means.append(shared.average(torch.arange(size) * 10.0**rank))
    torch.save(means, f"{out}/{rank}.pt")
    torch.distributed.destroy_process_group()


def means_of_workers(folder: Path, out: Path) -> list[list[torch.Tensor]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.set_forkserver_preload(["jr2net.training"])
    torch.multiprocessing.start_processes(
        worker, (port, str(folder), str(out)), nprocs=WORKERS, start_method="forkserver"
    )
    return [torch.load(out / f"{rank}.pt") for rank in range(WORKERS)]


def test_every_worker_gets_the_mean(tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    folder.mkdir()
    for means in means_of_workers(folder, tmp_path):
        assert [len(mean) for mean in means] == [7, 2, 5, 7]
        for mean in means:
            torch.testing.assert_close(mean, torch.arange(len(mean)) * 37.0)
    assert not list(folder.iterdir())  # the file is unlinked once all workers have opened it


def test_missing_shared_memory_gives_none(tmp_path: Path) -> None:
    assert means_of_workers(tmp_path / "absent", tmp_path) == [[]] * WORKERS


def test_too_little_space_gives_none(tmp_path: Path) -> None:
    assert shared_gradients._reserve(1 << 60, tmp_path) is None
    assert not list(tmp_path.iterdir())
