"""How long a training sample or a pair takes: measured here with untrained networks, or taken from a finished run."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jr2net import storage
from jr2net.config import Config
from jr2net.data.shards import write_clips
from jr2net.data.source_list import list_sources
from jr2net.face.load import load_face_model
from jr2net.face.model import FaceModel
from jr2net.images.arrays import encode_jpeg
from jr2net.images.clip import ClipRow
from jr2net.run.cascade import NETWORKS, Run, stages, upstream
from jr2net.run.environment import machine
from jr2net.run.manifest import read_manifest
from jr2net.run.trainings import build, save
from jr2net.synthesis.load import load_pair_maker
from jr2net.training import Training
from jr2net.training.log import read_log
from jr2net.training.state import pack

PAIRS = "synthesis"
"""The stage whose unit of work is a pair; that of a training is a sample of its batch."""

EVALUATION = "evaluation"
"""The stage whose unit of work is all of it."""

MEASURABLE = ("recnet", "dcnet", "flow3d", "etnet", "recaugnet", PAIRS)
"""The stages that can be measured without data; others have to be taken from a finished run."""

_SETTLED = 0.1  # the first steps of a training, which compile and fill caches, are left out


@dataclass(frozen=True)
class Pace:
    """A measurement of one stage.

    seconds  of one device for one unit of work
    device   ``cpu``, for one core, or the GPU's name
    source   where it was measured
    bytes    size of a training's state; 0: not known, or no training
    """

    stage: str
    seconds: float
    device: str
    source: str
    bytes: float = 0.0


def measured(config: Config, batch: int, steps: int = 2) -> Iterator[Pace]:
    """Measures the trainings of the run and its synthesis (MEASURABLE), on the GPU if there is one, else on one core.

    batch: samples or pairs of a step. steps: of which the fastest counts, on a CPU by the process's own time.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    source = f"{batch} at a time on {name if device.type == 'cuda' else machine()['processor']}"
    tree = config.model_dump()
    tree["data"] |= {"clips": None, "test_clips": None}
    config, model = Config.model_validate(tree), load_face_model(config.face)
    with tempfile.TemporaryDirectory(prefix="jr2net-pace-") as temporary:
        for stage in stages(config):
            if stage not in MEASURABLE or (stage == "etnet" and config.etnet.keypoints):
                continue
            folders = {used: str(Path(temporary, used)) for used in upstream(config, stage)}
            if stage in NETWORKS:
                training = build(stage, config, model, folders, device)
                Path(temporary, stage).mkdir()
                save(stage, training, config, model, {}, Path(temporary, stage))
                samples = _samples(config, batch)
                training.step_number = training.steps - 1  # at the last step every term of the loss is active
                seconds = _fastest(partial(_step, training, samples), steps, device)
                yield Pace(stage, seconds / batch, name, source, len(pack(training.state_dict())))
            else:
                yield _pairs(config, model, folders, batch, steps, device, name, source)


def of_run(folder: str, config: Config) -> Iterator[Pace]:
    """What a finished run with these sizes took. folder: its storage, whatever the configuration's is.

    Raises StorageError where a manifest is damaged.
    """
    run = Run(config.model_copy(update={"storage": folder}))
    device = f"{config.scaling.workers} x GPU" if config.scaling.gpu else "cpu"
    for stage in stages(config):
        if stage in NETWORKS and (records := read_log(run.folder(stage))):
            settled = records[int(_SETTLED * len(records)) :]
            seconds = sum(sum(record["seconds"].values()) for record in settled) / len(settled)
            images = [record["images_per_second"] * sum(record["seconds"].values()) for record in settled]
            batch = max(1.0, sum(images) / len(images))
            yield Pace(stage, seconds / batch * config.scaling.workers, device, folder)
        elif stage == PAIRS and read_manifest(run.folder(stage)) is not None:
            made = json.loads(storage.read_bytes(storage.join(run.folder(stage), "throughput.json")))
            yield Pace(stage, sum(made["phases"].values()) / max(1, made["pairs"]), device, folder)
        elif stage == EVALUATION and (manifest := read_manifest(run.folder(stage))) is not None:
            yield Pace(stage, manifest.seconds * config.scaling.workers, device, folder)


def _samples(config: Config, count: int) -> dict[str, Any]:
    """A batch of noise, with all that any training asks for."""
    generator, size = torch.Generator().manual_seed(0), config.image_size
    batch: dict[str, Any] = {"sample_id": [str(index) for index in range(count)]}
    batch["image"] = torch.rand(count, 3, size, size, generator=generator)
    batch["expression"] = torch.rand(count, 51, generator=generator)
    for role in ("source", "driving"):
        batch[f"{role}_image"] = torch.rand(count, 3, size, size, generator=generator)
        batch[f"{role}_matte"] = torch.rand(count, 1, size, size, generator=generator)
        batch[f"{role}_landmarks"] = size * torch.rand(count, 68, 2, generator=generator)
    return batch


def _step(training: Training, samples: dict[str, Any]) -> None:
    training.step(samples)
    training.step_number = training.steps - 1


def _pairs(
    config: Config,
    model: FaceModel,
    folders: dict[str, str],
    count: int,
    steps: int,
    device: torch.device,
    name: str,
    source: str,
) -> Pace:
    rng, size = np.random.default_rng(0), config.image_size
    picture = encode_jpeg(rng.integers(0, 255, (size // 8, size // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1))
    points = np.zeros((count, 68, 2), np.float32)
    frames = np.arange(count, dtype=np.int32)
    row = ClipRow(
        clip_id="clip", identity="person", fps=25.0, frame=frames, images=(picture,) * count, landmarks=points
    )
    write_clips(f"{folders['prepare']}/train/people.parquet", [row])
    changes = {"pairs": count * (steps + 1), "pairs_per_shard": count, "batch_size": count}
    tree = config.model_dump() | {"synthesis": config.synthesis.model_dump() | changes}
    small = Config.model_validate(tree)
    maker = load_pair_maker(
        small, model, folders, list_sources(storage.join(folders["prepare"], "train")), [], str(device)
    )
    shards = iter(range(steps + 1))
    seconds = _fastest(lambda: maker.shard(next(shards)), steps, device)
    return Pace(PAIRS, seconds / count, name, source)


def _fastest(work: Callable[[], object], times: int, device: torch.device) -> float:
    """Seconds of the fastest of several calls, after one that warms up."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    found = []
    for _ in range(times + 1):
        start = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        found.append(clock() - start)
    return min(found[1:])
