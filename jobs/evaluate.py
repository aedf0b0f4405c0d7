"""Stage ``evaluation``: evaluates the trained networks and writes ``report.json`` and ``report.html``, and
``samples.parquet`` (what was measured of every frame and pair) and ``images.parquet`` (the images), with which runs are
compared. Results of ``evaluation.protocols`` lie in ``protocols/NAME``.

python jobs/evaluate.py --config configs/laptop.yaml [key=value …]

The parts of an evaluation are spread over the cluster by Ray Data. Which worker measures which part, and how many there
are, changes nothing in the report.
"""

from __future__ import annotations

import json
import logging
import pickle
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import ray
import torch
from ray.data import ActorPoolStrategy

from jobs.command_line import main
from jobs.stage import run_stage
from jr2net import storage
from jr2net.config import Config
from jr2net.data.pairs import read_description
from jr2net.errors import UserError
from jr2net.evaluation import Bench, Evaluation
from jr2net.evaluation.bench import Measurement
from jr2net.evaluation.protocols.markdown import write_result
from jr2net.evaluation.samples import SAMPLES, write_samples
from jr2net.process import use_threads
from jr2net.report.curves import training_log
from jr2net.report.html import write_report
from jr2net.report.images import IMAGES, write_grids
from jr2net.run.cascade import NETWORK_FILES, Run, networks, upstream
from jr2net.run.environment import machine, versions
from jr2net.training.log import read_log


def evaluate(run: Run) -> list[str]:
    """Evaluates on the workers of the cluster and writes the report into the stage's folder."""
    evaluation = Evaluation(run.config, run.folder("prepare"))
    measured, machines = measure(run, evaluation.parts)
    found, folder = evaluation.report(measured), run.folder("evaluation")
    curves = [training_log(name, read_log(run.folder(name))) for name in networks(run.config)]
    write_samples(storage.join(folder, SAMPLES), found.samples)
    result = found.metrics | provenance(run) | {"machine": machines[0]}
    write_report(folder, result, found.grids, curves, found.protocols)
    write_grids(storage.join(folder, IMAGES), found.grids)
    for name, measured_by in found.protocols.items():
        write_result(measured_by, storage.join(folder, "protocols", name))
    return ["report.json", "report.html", SAMPLES, IMAGES]


def measure(run: Run, parts: Sequence[Measurement]) -> tuple[list[Any], list[Any]]:
    """What each part measures, in their order, and the machine of each. Raises the UserError of a part."""
    scaling = run.config.scaling
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    workers = min(scaling.elastic[1] if scaling.elastic else scaling.workers, len(parts))
    results = ray.data.from_items([{"part": number} for number in range(len(parts))], override_num_blocks=len(parts))
    rows = results.map(
        EvaluationActor,  # type: ignore[arg-type]
        fn_constructor_args=[run.config, list(parts)],
        compute=ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
        num_cpus=scaling.cpus_per_worker,
        num_gpus=float(scaling.gpu),
    )
    found: dict[int, Any] = {}
    for row in rows.iter_rows():
        found[row["part"]] = pickle.loads(row["found"])
        if isinstance(error := found[row["part"]][0], UserError):
            raise error
    measured, machines = zip(*(found[number] for number in range(len(parts))))
    return list(measured), list(machines)


class EvaluationActor:
    """Maps {"part": number} to what the part measures, or the UserError that ends it, and the machine, pickled."""

    def __init__(self, config: Config, parts: Sequence[Measurement]) -> None:
        use_threads(max(1, int(config.scaling.cpus_per_worker)))
        self.run, self.parts = Run(config), parts
        self._bench: Bench | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            if self._bench is None:
                self._bench = load_bench(self.run)
            with torch.inference_mode():
                found = self.parts[row["part"]](self._bench)
        except UserError as error:
            found = error
        return {"part": row["part"], "found": pickle.dumps((found, machine()))}


def load_bench(run: Run) -> Bench:
    """Loads the networks of a run, from local copies, and opens its sets."""
    with ExitStack() as stack:
        folders = run.folders("evaluation")
        for name in networks(run.config):
            folders[name] = str(stack.enter_context(storage.local_copy(folders[name], NETWORK_FILES)))
        return Bench.load(run.config, run.model, folders, "cuda" if run.config.scaling.gpu else "cpu")


def provenance(run: Run) -> dict[str, Any]:
    """Metadata of the report: duration and digest of each stage, versions, configuration."""
    stages = {name: run.finished_manifest(name) for name in upstream(run.config, "evaluation")}
    return {
        "synthesis": synthesis_summary(run.folder("synthesis")),
        "stages": {name: {"seconds": manifest.seconds} for name, manifest in stages.items()},
        "digests": {name: manifest.digest for name, manifest in stages.items()},
        "versions": versions(),
        "config": run.config.model_dump(mode="json"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def synthesis_summary(folder: str) -> dict[str, float]:
    """Number of pairs of the dataset, and throughput of the attempt that finished it."""
    throughput = json.loads(storage.read_bytes(storage.join(folder, "throughput.json")))
    return {
        "pairs": read_description(folder)["pairs"],
        "pairs_per_second": throughput["pairs"] / max(throughput["seconds"], 1e-9),
    }


if __name__ == "__main__":
    sys.exit(main(__doc__, lambda run, options: run_stage(run, "evaluation", evaluate)))
