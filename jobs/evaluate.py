"""Stage ``evaluation``: evaluates the trained networks and writes ``report.json`` and ``report.html``.

python jobs/evaluate.py --config configs/laptop.yaml [key=value …]
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import ray

from jobs.command_line import main
from jobs.stage import run_stage
from jr2net import storage
from jr2net.data.pairs import read_description
from jr2net.evaluation import evaluate as evaluate_networks
from jr2net.face.model import FaceModel
from jr2net.process import use_threads
from jr2net.report.curves import training_log
from jr2net.report.html import write_report
from jr2net.run.cascade import NETWORK_FILES, Run, networks, upstream
from jr2net.run.environment import machine, versions
from jr2net.training.log import read_log


def evaluate(run: Run) -> list[str]:
    """Evaluates on one worker of the cluster, which writes the report into the stage's folder."""
    scaling = run.config.scaling
    task = measure_and_report.options(num_cpus=scaling.cpus_per_worker, num_gpus=float(scaling.gpu))
    ray.get(task.remote(run, ray.put(run.model)))
    return ["report.json", "report.html"]


@ray.remote
def measure_and_report(run: Run, model: FaceModel) -> None:
    """Evaluates the networks of a run and writes its report."""
    use_threads(max(1, int(run.config.scaling.cpus_per_worker)))
    with ExitStack() as stack:
        folders = run.folders("evaluation")
        for name in networks(run.config):
            folders[name] = str(stack.enter_context(storage.local_copy(folders[name], NETWORK_FILES)))
        device = "cuda" if run.config.scaling.gpu else "cpu"
        result, grids = evaluate_networks(run.config, model, folders, device)
    curves = [training_log(name, read_log(run.folder(name))) for name in networks(run.config)]
    write_report(run.folder("evaluation"), result | provenance(run), grids, curves)


def provenance(run: Run) -> dict[str, Any]:
    """Metadata of the report: duration and digest of each stage, versions, machine, configuration."""
    stages = {name: run.finished_manifest(name) for name in upstream(run.config, "evaluation")}
    return {
        "synthesis": synthesis_summary(run.folder("synthesis")),
        "stages": {name: {"seconds": manifest.seconds} for name, manifest in stages.items()},
        "digests": {name: manifest.digest for name, manifest in stages.items()},
        "versions": versions(),
        "machine": machine(),
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
