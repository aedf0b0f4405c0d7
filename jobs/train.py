"""Stages ``recnet``, ``dcnet``, ``flow3d``, ``etnet`` and ``recaugnet``: Ray Train runs that share one training loop.

python jobs/train.py recnet --config configs/laptop.yaml [key=value …]
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.exceptions import RayActorError
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.train.v2.api.exceptions import WorkerGroupError
from torch import nn

from jobs.command_line import main
from jobs.progress import Progress
from jobs.stage import run_stage
from jr2net import storage
from jr2net.config import Config
from jr2net.errors import UserError
from jr2net.face.load import load_face_model
from jr2net.process import tune_malloc, use_threads
from jr2net.run.cascade import NETWORK_FILES, NETWORKS, Run, upstream
from jr2net.run.trainings import batches, build, save, validation_batches
from jr2net.training import Divergence, Training
from jr2net.training import best as best_weights
from jr2net.training.best import Best
from jr2net.training.state import StateWriter, newest_step, read_state
from jr2net.training.validation import validate
from jr2net.training.workers import broadcast_int, distribute


def train(run: Run, stage: str) -> list[str]:
    """Trains one network on the cluster, resuming from the newest saved state, and writes its weights.

    Lost workers are restarted, up to ``scaling.max_failures`` times without a newer state. A UserError (data, settings,
    divergence) is not retried, nor is an error that recurs at the same step.
    """
    settings = {"config": run.config.model_dump(mode="json"), "stage": stage, "digests": run.digests(stage)}
    failures, last_error, last_step = 0, "", newest_step(run.folder(stage))
    while True:
        try:
            trainer(run, stage, settings).fit()
            return list(NETWORK_FILES)
        except WorkerGroupError as error:
            causes = [_cause(failure) for failure in error.worker_failures.values()]
            for cause in causes:
                if isinstance(cause, UserError):
                    raise cause from None
            worker_lost = any(isinstance(cause, RayActorError) for cause in causes)
            step = newest_step(run.folder(stage))
            no_progress = step == last_step
            failures = failures + 1 if no_progress else 1
            same_error = no_progress and not worker_lost and str(causes[0]) == last_error
            if failures > run.config.scaling.max_failures or same_error:
                raise
            last_step, last_error = step, str(causes[0])
            print(f"[{stage}] a worker failed ({last_error}); resuming from the newest saved state", flush=True)


def trainer(run: Run, stage: str, settings: dict[str, Any]) -> TorchTrainer:
    """The Ray Train run of one stage; Ray schedules and monitors the workers.

    Checkpoints are written by ``jr2net.training.state``, not by Ray: Ray rewrites one index file in place, and a kill
    during that write would lose all checkpoints.
    """
    scaling = run.config.scaling
    filesystem, path = storage.open_filesystem(run.folder(stage))
    resources = {"CPU": scaling.cpus_per_worker} | ({"GPU": 1.0} if scaling.gpu else {})
    return TorchTrainer(
        train_loop_per_worker,
        train_loop_config=settings,
        torch_config=TorchConfig(backend="nccl" if scaling.gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=scaling.elastic or scaling.workers,  # type: ignore[arg-type]
            use_gpu=scaling.gpu,
            resources_per_worker=resources | scaling.resources_per_worker,
            elastic_resize_monitor_interval_s=scaling.elastic_check_s,  # type: ignore[call-arg]
        ),
        run_config=RunConfig(
            name="ray",
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=0),
            logging_config=LoggingConfig(log_level="ERROR"),  # type: ignore[call-arg]
        ),
    )


def train_loop_per_worker(settings: dict[str, Any]) -> None:
    """Entry point of every Ray Train worker."""
    try:
        train_steps(settings)
    except UserError:
        logging.disable()  # the driver prints the error once; suppress the workers' tracebacks
        raise


def train_steps(settings: dict[str, Any]) -> None:
    """Trains on this worker's part of each global batch; saves states, logs and sample images."""
    config, stage = Config.model_validate(settings["config"]), settings["stage"]
    scaling, folder = config.scaling, storage.join(config.storage, stage)
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    tune_malloc()
    use_threads(max(1, int(scaling.cpus_per_worker)))
    logging.getLogger().setLevel(logging.WARNING)  # Ray Train logs every report of every worker
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")

    with ExitStack() as stack:
        model = load_face_model(config.face)
        needed = {name: _upstream(stack, storage.join(config.storage, name), name) for name in upstream(config, stage)}
        training = build(stage, config, model, needed, get_device())
        training.accumulate, training.bf16 = scaling.accumulate, scaling.bf16
        best = Best(scaling.best) if scaling.best else None
        restore(training, folder, rank, best)
        training.wrap(partial(_wrapped, compiled=scaling.compile))

        def weights(name: str) -> Path:
            """Writes the current network to a temporary folder."""
            temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"jr2net-{name}-")))
            save(stage, training, config, model, settings["digests"], temporary)
            return temporary

        states, progress = StateWriter(folder, scaling.keep_states), Progress(stage, training, rank, folder)
        held_back = validation_batches(stage, config, needed, rank, world) if best else None
        stream = batches(stage, config, needed, rank, world, training.step_number, training.device)
        for batch in stack.enter_context(closing(stream)):  # type: ignore[type-var]
            if training.step_number >= training.steps:
                break
            training.phases.end("data")
            torch.manual_seed(config.seed + training.step_number * world + rank)
            try:
                losses = training.step(batch)
            except Divergence as error:
                states.finish()
                raise type(error)(f"{error}. {_saved_state_message(folder)}") from None
            states.confirm()
            progress.log_step(losses)
            step = training.step_number
            if scaling.pictures_every and step % scaling.pictures_every == 0:
                progress.save_images(batch)
            improved = False
            if held_back and best and step % scaling.checkpoint_every == 0:
                validation = validate(training, held_back())
                progress.log_validation(validation)
                improved = best.improves(validation)
            if step % scaling.log_every == 0 or step % scaling.checkpoint_every == 0:
                progress.write()
            if step % scaling.checkpoint_every == 0:
                if best and improved and rank == 0:
                    best_weights.keep(folder, weights("best"), best, step)
                if rank == 0:
                    states.take(step, training.state_dict() | {"best": best.value if best else None})
                training.phases.end("report")

        progress.write()
        states.finish()
        if rank == 0:
            storage.upload_folder(weights("finished"), folder)


def restore(training: Training, folder: str, rank: int, best: Best | None) -> None:
    """Loads the newest saved state; all workers load the one that rank 0 finds."""
    step = broadcast_int(newest_step(folder) if rank == 0 else None, training.device)
    if step is not None:
        state = read_state(folder, step, training.device)
        training.load_state_dict(state)
        if best:
            best.value = state["best"]


def _wrapped(network: nn.Module, compiled: bool) -> nn.Module:
    return distribute(torch.compile(network) if compiled else network)  # type: ignore[arg-type]


def _saved_state_message(folder: str) -> str:
    step = newest_step(folder)
    return "No state was saved yet" if step is None else f"The state of step {step} is kept in {folder}/state"


def _upstream(stack: ExitStack, uri: str, stage: str) -> str:
    """Where a worker reads an upstream stage: networks from a local copy, data from storage."""
    if stage not in NETWORKS:
        return uri
    return str(stack.enter_context(storage.local_copy(uri, NETWORK_FILES)))


def _cause(error: BaseException) -> BaseException:
    """The exception that a worker raised, unwrapped from Ray's errors."""
    names = ("_base_exc", "cause", "health_check_failure")
    inner = next((found for name in names if (found := getattr(error, name, None)) is not None), None)
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
