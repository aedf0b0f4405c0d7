"""All stages that train a network, e.g. ``recnet``, ``dcnet``, ``etnet``: Ray Train runs that share one training loop.

python jobs/train.py recnet --config configs/laptop.yaml [key=value …]
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.train import Checkpoint, CheckpointUploadMode, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.train.v2.api.callback import RayTrainCallback
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError
from torch import nn

from jobs.command_line import main
from jobs.machines import demand
from jobs.notices import Notices, Request, StateBeforeResize, StopAtSignal, ended
from jobs.progress import Progress, wants_workers
from jobs.stage import run_stage
from jr2net import storage
from jr2net.config import Config
from jr2net.errors import UserError
from jr2net.face.load import load_face_model
from jr2net.process import tune_malloc, use_threads
from jr2net.run.cascade import NETWORK_FILES, NETWORKS, Run, upstream
from jr2net.run.trainings import batches, build, save, validation_batches
from jr2net.synthesis.people import check_people
from jr2net.training import Divergence, Training
from jr2net.training import best as best_weights
from jr2net.training.best import Best
from jr2net.training.state import StateWriter, newest_step, read_newest, unpack
from jr2net.training.validation import validate
from jr2net.training.workers import broadcast_bytes, distribute


def train(run: Run, stage: str, callbacks: Sequence[RayTrainCallback] = ()) -> list[str]:
    """Trains one network on the cluster, resuming from the newest saved state, and writes its weights.

    callbacks: of Ray Train, e.g. Tune's ``TuneReportCallback``. Failed workers are restarted, up to
    ``scaling.max_failures`` times without a newer state, and as often as announced machines leave. A
    UserError (data, settings, divergence) is not retried. Raises LeakError where pairs show people who are tested on.
    """
    for dataset in {"synthesis", "synthesis_2"}.intersection(upstream(run.config, stage)):
        check_people(run.config, run.folder("prepare"), run.folder(dataset))
    settings: dict[str, Any] = {
        "config": run.config.model_dump(mode="json"),
        "stage": stage,
        "digests": run.digests(stage),
        "after": run.seconds_after,
    }
    with wants_workers(stage, run.config.scaling.least_workers):
        _fit(run, stage, settings, callbacks)
    return list(NETWORK_FILES)


def _fit(run: Run, stage: str, settings: dict[str, Any], callbacks: Sequence[RayTrainCallback]) -> None:
    """Until the training has taken its last step, through stops and failures."""
    failures, last_step = 0, newest_step(run.folder(stage))
    while True:
        try:
            stopped_at = trainer(run, stage, settings, callbacks).fit().return_value  # type: ignore[attr-defined]
            if stopped_at is None:
                return
            print(f"[{stage}] goes on from step {stopped_at} on the machines that stay", flush=True)
        except (WorkerGroupError, ControllerError) as error:
            causes = [_cause(failure) for failure in _failures(error)]
            for cause in causes:
                if isinstance(cause, UserError):
                    raise cause from None
            step = newest_step(run.folder(stage))
            failures = failures + 1 if step == last_step else 1
            if failures > run.config.scaling.max_failures:
                raise
            last_step = step
            print(f"[{stage}] a worker failed ({causes[0]}); resuming from the newest saved state", flush=True)


def trainer(run: Run, stage: str, settings: dict[str, Any], callbacks: Sequence[RayTrainCallback]) -> TorchTrainer:
    """The Ray Train run of one stage; Ray schedules and monitors the workers.

    Checkpoints are written by ``jr2net.training.state``, not by Ray: Ray rewrites one index file in place, and a kill
    during that write would lose all checkpoints. For the same reason every attempt has a name of its own.
    """
    scaling = run.config.scaling
    filesystem, path = storage.open_filesystem(storage.join(run.folder(stage), "ray"))
    return TorchTrainer(
        train_loop_per_worker,  # type: ignore[arg-type]
        train_loop_config=settings,
        torch_config=TorchConfig(backend="nccl" if scaling.gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=scaling.elastic or scaling.workers,  # type: ignore[arg-type]
            use_gpu=scaling.gpu,
            resources_per_worker=dict(demand(run.config, stage).resources),
            elastic_resize_monitor_interval_s=scaling.elastic_check_s,  # type: ignore[call-arg]
        ),
        run_config=RunConfig(
            name=f"{time.time_ns():x}",
            storage_path=path,
            storage_filesystem=filesystem,
            callbacks=[StopAtSignal(), StateBeforeResize(), *callbacks],  # type: ignore[list-item]
            failure_config=FailureConfig(max_failures=0),
            logging_config=LoggingConfig(log_level="ERROR"),  # type: ignore[call-arg]
        ),
    )


def train_loop_per_worker(settings: dict[str, Any]) -> int | None:
    """Entry point of every Ray Train worker. Returns the step at which it was asked to stop, None if it finished."""
    try:
        return train_steps(settings)
    except UserError:
        logging.disable()  # the driver prints the error once; suppress the workers' tracebacks
        raise
    finally:
        ended()


def train_steps(settings: dict[str, Any]) -> int | None:
    """Trains on this worker's part of each global batch; saves states, logs and sample images.

    Returns the step of the state with which it stopped before the end, None if it finished.
    """
    config, stage = Config.model_validate(settings["config"]), settings["stage"]
    scaling, run = config.scaling, Run(config)
    folder = run.folder(stage)
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    tune_malloc()
    use_threads(max(1, int(scaling.cpus_per_worker)))
    logging.getLogger().setLevel(logging.WARNING)  # Ray Train logs every report of every worker
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")

    with ExitStack() as stack:
        model = load_face_model(config.face)
        needed = {role: _upstream(stack, uri, role) for role, uri in run.folders(stage).items()}
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

        states = StateWriter(folder, scaling.keep_states)
        progress = stack.enter_context(closing(Progress(stage, training, rank, folder, settings["after"])))
        notices = Notices(rank, scaling.checkpoint_every_s)
        held_back = validation_batches(stage, config, needed, rank, world) if best else None
        stream = batches(stage, config, needed, rank, world, training.step_number, training.device)
        for batch in stack.enter_context(closing(stream)):  # type: ignore[type-var]
            if training.step_number >= training.steps:
                break
            training.phases.end("data")
            torch.manual_seed(config.seed + training.step_number * world + rank)
            notices.ask()
            try:
                losses = training.step(batch)
            except Divergence as error:
                states.finish()
                raise type(error)(f"{error}. {_saved_state_message(folder)}") from None
            states.confirm()
            progress.log_step(losses)
            request, step = notices.answer(), training.step_number
            if scaling.pictures_every and step % scaling.pictures_every == 0:
                progress.save_images(batch)
            if held_back and best and step % scaling.checkpoint_every == 0:
                validation = validate(training, held_back())
                progress.log_validation(validation)
                if best.improves(validation) and rank == 0:
                    best_weights.keep(folder, weights("best"), best, step)
            due = step % scaling.checkpoint_every == 0 or request >= Request.SAVE
            if due or step % scaling.log_every == 0:
                progress.write()
                report(progress)
            if not due:
                continue
            notices.saved()
            progress.saved()
            stop = request == Request.STOP and step < training.steps
            if rank == 0:
                keep = states.store if stop else states.take
                keep(step, training.state_dict() | {"best": best.state() if best else None})
            training.phases.end("report")
            if stop:
                progress.finish(f"stops at step {step}, with its state saved")
                return step

        progress.write()
        states.finish()
        progress.finish()
        if rank == 0:
            storage.upload_folder(weights("finished"), folder)
        report(progress, finished=folder if rank == 0 else None)
    return None


def report(progress: Progress, finished: str | None = None) -> None:
    """Gives Ray the newest numbers of the log, for its dashboard, Tune and ``Result``. Every worker must call it.

    finished: for the last report, the folder of the network. Ray's ``Result`` has the numbers of a report with a
    checkpoint alone: this one is a file that names the folder. The others do not wait for the storage.
    """
    if finished is None:
        ray.train.report(progress.metrics, checkpoint_upload_mode=CheckpointUploadMode.ASYNC)
        return
    with tempfile.TemporaryDirectory(prefix="jr2net-report-") as temporary:
        Path(temporary, "network.json").write_text(json.dumps({"folder": finished}) + "\n")
        ray.train.report(progress.metrics, Checkpoint.from_directory(temporary))


def restore(training: Training, folder: str, rank: int, best: Best | None) -> None:
    """Loads the newest saved state. Worker 0 alone reads it, and sends it to the others."""
    content = broadcast_bytes(read_newest(folder) if rank == 0 else None, training.device)
    if content is not None:
        state = unpack(content, training.device)
        training.load_state_dict(state)
        if best:
            best.restore(state["best"])


def _wrapped(network: nn.Module, compiled: bool) -> nn.Module:
    return distribute(torch.compile(network) if compiled else network)  # type: ignore[arg-type]


def _saved_state_message(folder: str) -> str:
    step = newest_step(folder)
    return (
        "No state was saved yet"
        if step is None
        else f"The state of step {step} is kept in {storage.join(folder, 'state')}"
    )


def _upstream(stack: ExitStack, uri: str, role: str) -> str:
    """Where a worker reads an upstream stage: networks from a local copy, data from storage."""
    if role not in NETWORKS:
        return uri
    return str(stack.enter_context(storage.local_copy(uri, NETWORK_FILES)))


def _failures(error: WorkerGroupError | ControllerError) -> list[Exception]:
    return [error.controller_failure] if isinstance(error, ControllerError) else list(error.worker_failures.values())


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
