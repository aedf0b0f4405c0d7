"""TensorBoard's files: one in a folder; in a bucket one object per write, which TensorBoard reads like one file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from faulty_s3 import FaultyS3, faulty_s3

from jr2net import storage
from jr2net.training.board import Board
from jr2net.training.log import Record

WRITES, STEPS = 10, 20


def records(first: int) -> list[Record]:
    return [
        {
            "step": step,
            "losses": {"landmark": 1 / step},
            "learning_rate": 1e-3,
            "images_per_second": 5.0,
            "seconds": {"data": 0.1},
        }
        for step in range(first, first + STEPS)
    ]


def write(folder: str, first: int) -> None:
    """As a process that begins, or resumes, with step ``first``."""
    board = Board(folder, first)
    for number in range(WRITES):
        board.write(records(first + number * STEPS), {first + number * STEPS: torch.zeros(3, 8, 8)})
    board.finish()


@pytest.fixture
def proxy(s3_server: str, monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with faulty_s3(s3_server, rate=0.0) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        yield server


def test_a_bucket_gets_one_object_per_write(proxy: FaultyS3, tmp_path: Path) -> None:
    write("s3://bucket/recnet", 1)
    write(str(tmp_path), 1)
    sizes = storage.file_sizes("s3://bucket/recnet/tensorboard")
    assert len(sizes) == WRITES == proxy.requests["PUT"]
    (file,) = (tmp_path / "tensorboard").iterdir()
    assert sum(sizes.values()) < file.stat().st_size + 200 * WRITES  # each has a header
    assert list(sizes) == sorted(sizes) == sorted(sizes, key=lambda name: name.rpartition(".")[2])


def test_tensorboard_reads_the_bucket_and_every_step_once(
    proxy: FaultyS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

    monkeypatch.setenv("S3_ENDPOINT", proxy.endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    first = "s3://bucket/resumed"
    write(first, 1)
    write(first, 101)  # resumed from step 100: half of the steps again
    shown = EventMultiplexer()
    shown.AddRunsFromDirectory(first)
    shown.Reload()
    (run,) = shown.Runs()
    assert [event.step for event in shown.Tensors(run, "loss/landmark")] == list(range(1, 101 + WRITES * STEPS))[-300:]
