"""Training: time by phase of a step, overhead of the job, scaling from one to two workers, and cost of checkpoints.

All measurements use untrained networks, which are as fast as trained ones, and synthetic people from the studio. The
phases are measured on the CUDA device if there is one; on a CPU, the paper's sizes use a smaller batch.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import fmean, median

import ray
import torch
import torch.distributed
import torch.multiprocessing

from benchmarks.results import Measurement, best_ms
from jobs.prepare import prepare
from jobs.ray_settings import connect
from jobs.stage import run_stage
from jobs.train import train
from jr2net import storage
from jr2net.config import Config, load
from jr2net.face.load import load_face_model
from jr2net.face.model import FaceModel
from jr2net.process import tune_malloc, use_threads
from jr2net.render.renderer import render
from jr2net.run.cascade import Run
from jr2net.run.trainings import batches, build, save
from jr2net.training import Training, losses
from jr2net.training.log import read_log
from jr2net.training.recnet import RecNetTraining, detach_geometry
from jr2net.training.state import pack
from jr2net.training.workers import distribute

CONFIGS = Path(__file__).parents[1] / "configs"
JOBS = {"laptop": {"recnet": 600, "dcnet": 80}, "paper": {"recnet": 12, "dcnet": 8}}
"""Steps of the timed jobs, by size and network."""
WARM_UP_STEPS = {"laptop": 20, "paper": 2}  # of a job, not counted
PHASE_STEPS = 8
PAPER_BATCH_ON_CPU = 4
SIZES = ("laptop", "paper")


def measure() -> Iterator[Measurement]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tune_malloc()
    with tempfile.TemporaryDirectory(prefix="jr2net-bench-") as temporary:
        for size in SIZES:
            for network in ("recnet", "dcnet"):
                yield from _phases(network, size, device, Path(temporary))
        for mode in ("bf16", "compile"):
            if device == "cpu":
                print(f"{mode} gains and memory at the paper's sizes: not measured, no CUDA device")
        yield from _jobs(Path(temporary, "run"))


def load_config(size: str, storage_path: Path, *overrides: str) -> Config:
    people = 30 if size == "paper" else 200  # large images take longer to render, and few steps need few people
    studio = f"{{people: {people}, frames: 3, test_people: 2, test_frames: 2, people_per_shard: 10, variety: 0.35}}"
    common = [
        f"storage={storage_path}",
        "face={model: procedural}",
        f"data={{studio: {studio}}}",
        "require_pretrained=false",
    ]
    return load(CONFIGS / f"{size}.yaml", [*common, *overrides])


# Phases of a step


def _phases(network: str, size: str, device: str, folder: Path) -> Iterator[Measurement]:
    """Milliseconds of every phase in the fastest of several steps, and the fraction of rendering in RecNet's."""
    config = load_config(size, folder)
    batch_size = getattr(config, network).optimizer.batch_size
    if size == "paper" and device == "cpu":
        batch_size = PAPER_BATCH_ON_CPU
    model = load_face_model(config.face)
    training = _build_untrained(network, config, model, device, folder)
    batch = _random_batch(config.image_size, batch_size)
    training.step_number = training.steps - 1  # at the last step every loss term is active
    case = f"({network}, {size}, {config.image_size} px, batch {batch_size})"
    timings = []
    for step in range(PHASE_STEPS + 1):
        training.phases.take()
        training.step(batch)
        if device == "cuda":
            torch.cuda.synchronize()
        training.phases.end("forward")
        training.step_number = training.steps - 1
        if step:  # the first one is the warm-up
            timings.append(training.phases.take())
    fastest = min(timings, key=lambda seconds: sum(seconds.values()))
    for phase, seconds in fastest.items():
        yield Measurement(f"training_phase_ms {phase} {case}", 1000 * seconds, "ms")
    step_ms = best_ms(partial(_repeat, training, batch), at_least=3)
    yield Measurement(f"training_step_ms {case}", step_ms, "ms")
    yield Measurement(f"training_images_per_second {case}", 1000 * batch_size / step_ms, "images/s")
    if isinstance(training, RecNetTraining):
        fraction = _render_ms(training, batch) / step_ms
        yield Measurement(f"recnet_step_render_share {case}", fraction, "of the step, backward included")
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        _repeat(training, batch)
        yield Measurement(f"training_memory {case}", torch.cuda.max_memory_allocated() / 2**30, "GiB")
        training.bf16 = True
        yield Measurement(f"bf16_gain {case}", step_ms / best_ms(partial(_repeat, training, batch)), "times faster")
        training.bf16 = False
        training.wrap(torch.compile)  # type: ignore[arg-type]
        yield Measurement(f"compile_gain {case}", step_ms / best_ms(partial(_repeat, training, batch)), "times faster")


def _repeat(training: Training, batch: dict) -> None:
    training.step(batch)
    training.step_number = training.steps - 1


def _render_ms(training: RecNetTraining, batch: dict) -> float:
    """Milliseconds of rendering in one step, forward and backward to the gradients of the parameters."""
    images = torch.cat([batch["source_image"], batch["driving_image"]]).to(training.device)
    with torch.no_grad():
        parameters = training.networks["recnet"](images)
    leaves = parameters.map(lambda value: value.clone().requires_grad_())

    def forward_backward() -> object:
        seen = leaves if training.loss.photometric_geometry else detach_geometry(leaves)
        rendering = render(training.model, seen, training.camera)
        loss = losses.photometric(rendering.image, images, rendering.mask)
        return torch.autograd.grad(loss, list(leaves.state().values()), allow_unused=True)

    return best_ms(forward_backward, at_least=3)


def _build_untrained(network: str, config: Config, model: FaceModel, device: str, folder: Path) -> Training:
    if network == "recnet":
        return build("recnet", config, model, {}, device)
    recnet = folder / f"recnet-{config.image_size}"
    recnet.mkdir(exist_ok=True)
    save("recnet", build("recnet", config, model, {}), config, model, {}, recnet)
    return build(network, config, model, {"recnet": recnet}, device)


def _random_batch(size: int, samples: int) -> dict:
    generator = torch.Generator().manual_seed(0)
    batch: dict = {"sample_id": [str(i) for i in range(samples)]}
    for role in ("source", "driving"):
        batch[f"{role}_image"] = torch.rand(samples, 3, size, size, generator=generator)
        batch[f"{role}_landmarks"] = size * torch.rand(samples, 68, 2, generator=generator)
    return batch


# Jobs


def _jobs(folder: Path) -> Iterator[Measurement]:
    connect()
    try:
        for size, networks in JOBS.items():
            overrides = [f"{network}.optimizer.steps={steps}" for network, steps in networks.items()]
            if size == "paper":
                overrides += [f"{network}.optimizer.batch_size={PAPER_BATCH_ON_CPU}" for network in networks]
                overrides += ["scaling={workers: 2}"]
            run = Run(load_config(size, folder / size, *overrides))
            with contextlib.redirect_stdout(None):
                run_stage(run, "prepare", prepare)
            for network in networks:
                yield from _job(size, network, run)
    finally:
        ray.shutdown()


def _job(size: str, network: str, run: Run) -> Iterator[Measurement]:
    warm_up, case = WARM_UP_STEPS[size], f"({network}, {size})"
    bare_before = _bare_rate(network, run, warm_up)
    two_workers = _job_rate(network, run, 2, warm_up)
    bare_after = _bare_rate(network, run, warm_up)
    one_worker = _job_rate(network, run, 1, warm_up)
    yield Measurement(f"train_images_per_second {case}", two_workers, "images/s on 2 workers")
    peer = "the same steps in a bare loop, 2 processes"
    yield Measurement(f"train_job_vs_bare_loop {case}", two_workers / fmean([bare_before, bare_after]), "ratio", peer)
    yield Measurement(f"train_scaling_1_to_2 {case}", two_workers / one_worker, "times faster")
    yield _saving_cost(case, network, run, two_workers)


def _job_rate(network: str, run: Run, workers: int, warm_up: int) -> float:
    """Images per second of the job, including all phases, after its warm-up."""
    scaling = run.config.scaling.model_copy(update={"workers": workers})
    job = Run(run.config.model_copy(update={"scaling": scaling}))
    storage.empty_folder(job.folder(network))
    with contextlib.redirect_stdout(None):
        run_stage(job, network, partial(train, stage=network))
    records = read_log(job.folder(network))[warm_up:]
    seconds = sum(sum(record["seconds"].values()) for record in records)
    return len(records) * getattr(run.config, network).optimizer.batch_size / seconds


def _saving_cost(case: str, network: str, run: Run, rate: float) -> Measurement:
    """The time to copy the training state, relative to the time between two checkpoints.

    Writing it to storage is not counted: that happens while training continues.
    """
    config = run.config
    upstream = {name: run.folder(name) for name in ("prepare", "recnet")}
    training = build(network, config, run.model, upstream)
    training.step(next(iter(batches(network, config, upstream))))
    state = training.state_dict()
    seconds = median(_seconds(lambda: pack(state)) for _ in range(5))
    between = config.scaling.checkpoint_every * getattr(config, network).optimizer.batch_size / rate
    return Measurement(f"state_saving_share {case}", 100 * seconds / between, "% of the training time")


def _seconds(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _bare_rate(network: str, run: Run, warm_up: int) -> float:
    """Images per second of the same steps on two processes, without data loading, logging and checkpoints."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as temporary:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        out = Path(temporary, "rate.json")
        arguments = (network, run.config.model_dump(mode="json"), port, warm_up, str(out))
        torch.multiprocessing.start_processes(_bare_loop, arguments, nprocs=2, start_method="spawn")
        return json.loads(out.read_text())


def _bare_loop(rank: int, network: str, settings: dict, port: int, warm_up: int, out: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    use_threads(1)
    tune_malloc()
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    run = Run(Config.model_validate(settings))
    upstream = {name: run.folder(name) for name in ("prepare", "recnet")}
    training = build(network, run.config, run.model, upstream)
    training.wrap(distribute)
    stream = batches(network, run.config, upstream, rank, 2)
    cached = [next(stream) for _ in range(8)]
    stream.close()  # type: ignore[attr-defined]
    for step in range(training.steps):
        if step == warm_up:
            torch.distributed.barrier()
            start = time.perf_counter()
        training.step(cached[step % len(cached)])
    if rank == 0:
        images = (training.steps - warm_up) * training.settings.batch_size
        Path(out).write_text(json.dumps(images / (time.perf_counter() - start)))
    torch.distributed.destroy_process_group()
