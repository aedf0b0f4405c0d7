"""Stages ``recnet``, ``dcnet``, ``etnet`` and ``recaugnet``: each a Ray Train run, all from the one loop below.

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
from jr2net.run.cascade import NETWORK_FILES, NETWORKS, UPSTREAM, Run
from jr2net.run.trainings import batches, build, save
from jr2net.training import Divergence, Training
from jr2net.training import best as best_weights
from jr2net.training.best import Best
from jr2net.training.state import StateWriter, newest_step, read_state
from jr2net.training.workers import broadcast_int, distribute


def train(run: Run, stage: str) -> list[str]:
    """Trains one network on the cluster, from its last saved state if there is one; leaves its weights.

    A worker that is lost is started again, ``scaling.max_failures`` times without a step forward. An error in the data,
    the settings or the numbers is not worth another attempt, nor is one that comes back at the same place.
    """
    settings = {"config": run.config.model_dump(mode="json"), "stage": stage, "digests": run.digests(stage)}
    failures, last, reached = 0, "", newest_step(run.folder(stage))
    while True:
        try:
            trainer(run, stage, settings).fit()
            return list(NETWORK_FILES)
        except WorkerGroupError as error:
            causes = [_cause(failure) for failure in error.worker_failures.values()]
            for cause in causes:
                if isinstance(cause, UserError):
                    raise cause from None
            step, lost = newest_step(run.folder(stage)), any(isinstance(cause, RayActorError) for cause in causes)
            stuck = step == reached
            failures = failures + 1 if stuck else 1
            if failures > run.config.scaling.max_failures or (stuck and not lost and str(causes[0]) == last):
                raise
            reached, last = step, str(causes[0])
            print(f"[{stage}] a worker failed ({last}); going on from the last saved state", flush=True)


def trainer(run: Run, stage: str, settings: dict[str, Any]) -> TorchTrainer:
    """Ray places the workers and watches them. States are stored by ``jr2net.training.state``: what Ray knows of
    checkpoints is one file rewritten in place, and a kill at the wrong moment would lose them all."""
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
    """What Ray Train calls on every worker."""
    try:
        train_steps(settings)
    except UserError:
        logging.disable()  # the driver says it once; no traceback from every worker beside it
        raise


def train_steps(settings: dict[str, Any]) -> None:
    """Step after step on this worker's part of each global batch, saving the state now and then."""
    config, stage = Config.model_validate(settings["config"]), settings["stage"]
    scaling, folder = config.scaling, storage.join(config.storage, stage)
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    tune_malloc()
    use_threads(max(1, int(scaling.cpus_per_worker)))
    logging.getLogger().setLevel(logging.WARNING)  # Ray Train tells of every report of every worker
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")

    with ExitStack() as stack:
        model = load_face_model(config.face)
        upstream = {name: _upstream(stack, storage.join(config.storage, name), name) for name in UPSTREAM[stage]}
        training = build(stage, config, model, upstream, get_device())
        training.accumulate, training.bf16 = scaling.accumulate, scaling.bf16
        best = Best(scaling.best) if scaling.best else None
        restore(training, folder, rank, best)
        training.wrap(partial(_wrapped, compiled=scaling.compile))

        def weights(place: str) -> Path:
            """The network as it stands, as the files that are its result."""
            temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"jr2net-{place}-")))
            save(stage, training, config, model, settings["digests"], temporary)
            return temporary

        states, progress = StateWriter(folder, scaling.keep_states), Progress(stage, training, rank, folder)
        stream = batches(stage, config, upstream, rank, world, training.step_number)
        for batch in stack.enter_context(closing(stream)):  # type: ignore[type-var]
            if training.step_number >= training.steps:
                break
            training.phases.end("data")
            torch.manual_seed(config.seed + training.step_number * world + rank)
            try:
                losses = training.step(batch)
            except Divergence as error:
                states.finish()
                raise type(error)(f"{error}. {_kept(folder)}") from None
            states.confirm()
            progress.stepped(losses)
            step = training.step_number
            if scaling.pictures_every and step % scaling.pictures_every == 0:
                progress.picture(batch)
            if step % scaling.log_every == 0 or step % scaling.checkpoint_every == 0:
                progress.write()
            if step % scaling.checkpoint_every == 0:
                if best and best.improves(progress.recent) and rank == 0:
                    best_weights.keep(folder, weights("best"), best, step)
                progress.recent = []
                if rank == 0:
                    states.take(step, training.state_dict() | {"best": best.value if best else None})
                training.phases.end("report")

        progress.write()
        states.finish()
        if rank == 0:
            storage.upload_folder(weights("finished"), folder)


def restore(training: Training, folder: str, rank: int, best: Best | None) -> None:
    """Puts the training where its newest state has it; all workers where the first one found it."""
    step = broadcast_int(newest_step(folder) if rank == 0 else None, training.device)
    if step is not None:
        state = read_state(folder, step, training.device)
        training.load_state_dict(state)
        if best:
            best.value = state["best"]


def _wrapped(network: nn.Module, compiled: bool) -> nn.Module:
    return distribute(torch.compile(network) if compiled else network)  # type: ignore[arg-type]


def _kept(folder: str) -> str:
    step = newest_step(folder)
    return "No state was saved yet" if step is None else f"The state of step {step} is kept in {folder}/state"


def _upstream(stack: ExitStack, uri: str, stage: str) -> str:
    """Where a worker reads an earlier stage: networks from a local folder, data from where they lie."""
    if stage not in NETWORKS:
        return uri
    return str(stack.enter_context(storage.local_copy(uri, NETWORK_FILES)))


def _cause(error: BaseException) -> BaseException:
    """The exception that a worker raised, without what Ray wraps around it."""
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
