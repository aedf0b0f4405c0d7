"""Compares trained reenactors on the test sets of a run: ``comparison/<digest>.json`` and ``.md`` in its storage.

python jobs/compare.py --config configs/laptop.yaml --reenactor dcnet=FOLDER --reenactor flow3d=FOLDER [key=value …]

FOLDER is a network's folder, or that of a run with the stage NAME; several folders of one name are one reenactor
trained with several seeds, shown as mean and standard deviation. Only the stage ``prepare`` of the run has to be
finished. Background is measured where the stage ``mattes`` is finished too, wide turns where the studio filmed them
(``evaluation.turned=true``). To compare without preparing a trained run again, prepare another storage and give
``--reconstructor``.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import ray

from jobs.command_line import main
from jr2net import storage
from jr2net.data.evaluation_frames import same_identity_pairs, turned_pairs
from jr2net.data.sets import test_clips
from jr2net.evaluation.judges import Judges
from jr2net.evaluation.reenactors import BASELINES, average_seeds, reenactment_table
from jr2net.face.model import FaceModel
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor
from jr2net.inference.weights import REENACTMENT, checkpoint_folder
from jr2net.process import use_threads
from jr2net.report.comparison import comparison_markdown, error_ratios
from jr2net.report.result import to_json
from jr2net.run.cascade import Run
from jr2net.run.manifest import read_manifest
from jr2net.settings import ConfigError, digest

Folders = dict[str, list[str]]
"""Name of a reenactor -> folders of its networks, one per seed."""


def compare(run: Run, options: argparse.Namespace) -> None:
    """Compares on one worker of the cluster, then writes and prints the tables. Raises ConfigError."""
    folders = named_folders(options.reenactor, options.relative_to)
    reconstructor = absolute(options.reconstructor or run.folder("recaugnet"), options.relative_to)
    prepared, mattes = run.finished_manifest("prepare").digest, read_manifest(run.folder("mattes"))
    scaling = run.config.scaling
    task = measure.options(num_cpus=scaling.cpus_per_worker, num_gpus=float(scaling.gpu))
    result = ray.get(task.remote(run, ray.put(run.model), folders, reconstructor)) | {
        "prepare": prepared,
        "mattes": mattes.digest if mattes is not None else None,
    }
    markdown = comparison_markdown(result["sets"])
    inputs = {name: result[name] for name in ("weights", "reconstructor", "prepare", "mattes", "pairs", "seed")}
    inputs |= {name: sorted(result[name]) for name in ("sets", "not_measured")}
    name = storage.join(run.config.storage, "comparison", digest(inputs)[:12])
    storage.write_bytes(f"{name}.json", to_json(result).encode())
    storage.write_bytes(f"{name}.md", markdown.encode())
    print(markdown, flush=True)
    print(f"[compare] the tables are {name}.md and {name}.json", flush=True)
    for broken in (
        f"{method} on {kind}: {int(count)} pixels that it claims to keep are not the source's"
        for kind, table in result["sets"].items()
        for method, metrics in table.items()
        if isinstance(metrics, dict) and (count := metrics.get("kept_changed", 0)) > 0
    ):
        print(f"[compare] warning: {broken}", flush=True)


def mattes_of(run: Run) -> str | None:
    """The folder of the stage ``mattes`` where it is finished."""
    folder = run.folder("mattes")
    return folder if read_manifest(folder) is not None else None


@ray.remote
def measure(run: Run, model: FaceModel, folders: Folders, reconstructor: str) -> dict[str, Any]:
    """Tables of all test sets, with the weights that they were measured with."""
    config = run.config
    use_threads(max(1, int(config.scaling.cpus_per_worker)))
    device = "cuda" if config.scaling.gpu else "cpu"
    reader = Reconstructor.load(reconstructor, face_model=model.to(device), device=device)
    judges = Judges.load(config.evaluation.inception, device=device)
    seeds = {
        f"{name} {number}": load_reenactor(name, folder, model, device)
        for name, given in folders.items()
        for number, folder in enumerate(given)
    }
    groups = {name: [f"{name} {number}" for number in range(len(given))] for name, given in folders.items()}
    sets = {}
    for kind, clips in test_clips(config, run.folder("prepare"), mattes_of(run)).items():
        print(f"[compare] {kind}: {', '.join(folders)}", flush=True)
        choose = turned_pairs if kind == "turned" else same_identity_pairs
        pairs = choose(clips, config.evaluation.pairs, config.seed)
        sets[kind] = average_seeds(reenactment_table(seeds, clips, pairs, reader, judges=judges), groups)
    return {
        "sets": sets,
        "ratios": {kind: error_ratios({k: v for k, v in t.items() if isinstance(v, dict)}) for kind, t in sets.items()},
        "weights": {name: [seeds[member].info.digest for member in members] for name, members in groups.items()},
        "reconstructor": reader.info.digest,
        "not_measured": {figure: why for figure, why in judges.missing.items() if figure != "csim"},
        "pairs": config.evaluation.pairs,
        "seed": config.seed,
    }


def load_reenactor(name: str, folder: str, model: FaceModel, device: str) -> Reenactor:
    """The network in a folder, or in that of a run's stage ``name``. Raises CheckpointError where ``name`` is that of
    one reenactor and the network another."""
    kind: Any = name if name in REENACTMENT else None
    return Reenactor.load_network(checkpoint_folder(folder, (name,)), model, device, reenactor=kind)


def named_folders(given: list[str], base: str | None) -> Folders:
    """``["dcnet=a", "dcnet=b", "flow3d=c"]`` by name. Raises ConfigError for an entry without a name or a folder."""
    folders: Folders = {}
    for entry in given:
        name, _, folder = entry.partition("=")
        if not name or not folder or name in BASELINES:
            raise ConfigError(f"--reenactor {entry!r}: write NAME=FOLDER, e.g. dcnet=runs/laptop/dcnet")
        folders.setdefault(name, []).append(absolute(folder, base))
    return folders


def absolute(folder: str, base: str | None) -> str:
    """A folder or URI that workers anywhere can use, as ``command_line.resolve_paths`` has it. Raises ConfigError."""
    if "://" in folder or Path(folder).is_absolute():
        return folder
    if base is None and "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        raise ConfigError(
            f"{folder!r} is a relative path, and this job runs in a temporary copy of your folder: give an absolute "
            "path or s3://…, or add --relative-to FOLDER"
        )
    return str(Path(base or ".", folder).absolute())


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reenactor", action="append", required=True, metavar="NAME=FOLDER", help="may be repeated")
    parser.add_argument(
        "--reconstructor", metavar="FOLDER", help="network that fits and reads faces; default: the run's"
    )


if __name__ == "__main__":
    sys.exit(main(__doc__, compare, extend=add_options))
