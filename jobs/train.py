"""Stages ``recnet``, ``dcnet``, ``etnet`` and ``recaugnet``: each a Ray Train run, all from the one loop below.

python jobs/train.py recnet --config configs/laptop.yaml [key=value …]
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.train.v2.api.exceptions import WorkerGroupError

from jobs.command_line import USER_ERRORS, main
from jobs.memory import keep_freed_memory
from jobs.progress import Progress
from jobs.stage import run_stage
from jr2net import storage
from jr2net.cascade import NETWORK_FILES, NETWORKS, UPSTREAM, Run
from jr2net.config import Config
from jr2net.face.load import load_face_model
from jr2net.training import Training, batches, build, save
from jr2net.training.workers import distribute


def train(run: Run, stage: str) -> list[str]:
    """Trains one network on the cluster, from its last saved state if there is one; leaves its weights.

    A worker that fails is started again, ``scaling.max_failures`` times. An error in the data, the settings or the
    numbers is not worth another attempt, nor is one that comes back.
    """
    settings = {"config": run.config.model_dump(mode="json"), "stage": stage, "digests": run.digests(stage)}
    attempts, last = run.config.scaling.max_failures + 1, ""
    for attempt in range(attempts):
        try:
            trainer(run, stage, settings).fit()
            break
        except WorkerGroupError as error:
            causes = [_cause(failure) for failure in error.worker_failures.values()]
            for cause in causes:
                if isinstance(cause, USER_ERRORS):
                    raise cause from None
            if attempt + 1 == attempts or str(causes[0]) == last:
                raise
            last = str(causes[0])
            print(f"[{stage}] a worker failed ({last}); going on from the last saved state", flush=True)
    return list(NETWORK_FILES)


def trainer(run: Run, stage: str, settings: dict[str, Any]) -> TorchTrainer:
    scaling = run.config.scaling
    filesystem, path = storage.open_filesystem(run.folder(stage))
    resources = {"CPU": scaling.cpus_per_worker} | ({"GPU": 1.0} if scaling.gpu else {})
    return TorchTrainer(
        loop,
        train_loop_config=settings,
        torch_config=TorchConfig(backend="nccl" if scaling.gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=scaling.workers, use_gpu=scaling.gpu, resources_per_worker=resources),
        run_config=RunConfig(
            name="state",
            storage_path=path,
            storage_filesystem=filesystem,
            checkpoint_config=CheckpointConfig(num_to_keep=2),
            failure_config=FailureConfig(max_failures=0),
            logging_config=LoggingConfig(log_level="ERROR"),  # type: ignore[call-arg]
        ),
    )


def loop(settings: dict[str, Any]) -> None:
    """What Ray Train calls on every worker."""
    try:
        take_steps(settings)
    except USER_ERRORS:
        logging.disable()  # the driver says it once; no traceback from every worker beside it
        raise


def take_steps(settings: dict[str, Any]) -> None:
    """Step after step on this worker's part of each global batch, saving the state now and then."""
    config, stage = Config.model_validate(settings["config"]), settings["stage"]
    folder = storage.join(config.storage, stage)
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    keep_freed_memory()
    torch.set_num_threads(max(1, int(config.scaling.cpus_per_worker)))
    logging.getLogger().setLevel(logging.WARNING)  # Ray Train tells of every report of every worker
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")

    with ExitStack() as stack:
        model = load_face_model(config.face)
        upstream = {name: _upstream(stack, storage.join(config.storage, name), name) for name in UPSTREAM[stage]}
        training = build(stage, config, model, upstream, get_device())
        restore(training)
        training.wrap(distribute)

        progress = Progress(stage, training, rank, folder)
        for batch in batches(stage, config, upstream, rank, world, training.step_number):
            if training.step_number >= training.steps:
                break
            training.phases.end("data")
            torch.manual_seed(config.seed + training.step_number * world + rank)
            progress.stepped(training.step(batch))
            if training.step_number % config.scaling.checkpoint_every == 0:
                save_state(training, rank, progress)

        progress.write()
        if rank == 0:
            with tempfile.TemporaryDirectory() as temporary:
                save(stage, training, config, model, settings["digests"], Path(temporary))
                storage.upload_folder(Path(temporary), folder)


def save_state(training: Training, rank: int, progress: Progress) -> None:
    """Everything that restores the run exactly, kept by Ray Train in ``state/`` of the stage's folder."""
    progress.write()
    with tempfile.TemporaryDirectory() as temporary:
        checkpoint = None
        if rank == 0:
            torch.save(training.state_dict(), Path(temporary, "state.pt"))
            checkpoint = Checkpoint.from_directory(temporary)
        ray.train.report({"step": training.step_number}, checkpoint=checkpoint)
    training.phases.end("report")


def restore(training: Training) -> None:
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            state = torch.load(Path(folder, "state.pt"), map_location=training.device, weights_only=True)
        training.load_state_dict(state)


def _upstream(stack: ExitStack, uri: str, stage: str) -> str:
    """Where a worker reads an earlier stage: networks from a local folder, data from where they lie."""
    if stage not in NETWORKS:
        return uri
    return str(stack.enter_context(storage.local_copy(uri, NETWORK_FILES)))


def _cause(error: BaseException) -> BaseException:
    """The exception that a worker raised, without what Ray wraps around it."""
    inner = getattr(error, "_base_exc", None) or getattr(error, "cause", None)
    return _cause(inner) if isinstance(inner, BaseException) else error


def _network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("network", choices=NETWORKS)


if __name__ == "__main__":
    sys.exit(
        main(
            __doc__,
            lambda run, options: run_stage(run, options.network, partial(train, stage=options.network)),
            extend=_network,
        )
    )
