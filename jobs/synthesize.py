"""Stage ``synthesis``: mass-produces pairs with RecNet and the reenactor, and verifies what was made.

python jobs/synthesize.py --config configs/laptop.yaml [key=value …]
    --estimate [--actors N --price P]   measure a short sample; print pairs/s, bytes, hours and cost of the dataset
    --verify                            read a finished dataset and verify it
    --preview FILE                      every shape at 0, 0.5 and 1 on six sources, as a PNG
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

import numpy as np
import ray

from jobs.command_line import main
from jobs.pair_actor import PairActor, SynthesisInputs, load_inputs
from jobs.shard_waves import make_shards
from jobs.stage import run_stage
from jobs.synthesis_progress import SynthesisProgress
from jobs.tasks import on_cpu_machines
from jr2net import storage
from jr2net.config import ScalingConfig
from jr2net.data.pair_index import INDEX
from jr2net.data.pairs import DESCRIPTION, VALIDATION_SHARD, read_description
from jr2net.run.cascade import Run, StageError
from jr2net.synthesis import dataset, shards, verify
from jr2net.synthesis.load import pair_digests
from jr2net.synthesis.people import write_people

S3_ATTEMPTS = "12"
"""Attempts per request. With exponential backoff they span about a minute, enough for a server to restart."""

PROBLEMS = 10
"""Problems of a dataset that a message names; the others are counted."""

CHECKED_TOGETHER = 16
"""Shards that a task of the verification reads."""


def synthesize(run: Run, stage: str = "synthesis") -> list[str]:
    """Writes the missing shards, then ``dataset.json``, which marks the dataset as complete; and pairs to validate on.

    stage: that of the first round or of the second. Raises StageError where shards could not be written.
    """
    os.environ.setdefault("AWS_MAX_ATTEMPTS", S3_ATTEMPTS)
    folder, settings = run.folder(stage), run.config.synthesis
    inputs = load_inputs(run, stage)
    write_sources(folder, settings.sources, inputs)
    missing = shards.missing_shards(folder, settings, inputs.grown_from)
    planned = dataset.planned_in(settings, missing, inputs.grown_from)
    progress = SynthesisProgress(folder, settings.pairs, planned, run.seconds_after)
    failed = make_shards(run, inputs, missing, progress, stage=stage) if len(missing) else {}
    missing = shards.missing_shards(folder, settings, inputs.grown_from) if failed else missing[:0]
    if len(missing):  # else another job has made those that failed here
        raise StageError(incomplete_message(folder, failed, missing))
    progress.finish()
    digests = pair_digests(run.config, run.model, run.folders(stage), inputs.sources, inputs.tracks)
    description = dataset.finish(folder, settings, run.config.seed, digests, run.config.image_size, inputs.grown_from)
    storage.remove_unfinished(folder)
    print(f"[synthesis] {summary(description)}", flush=True)
    if run.config.data.validation is None:
        return [DESCRIPTION, INDEX]
    if not storage.exists(storage.join(folder, VALIDATION_SHARD)):
        ray.get(start_actor(run, stage).write_validation.remote())
    return [DESCRIPTION, INDEX, VALIDATION_SHARD]


def write_sources(folder: str, uri: str | None, inputs: SynthesisInputs) -> None:
    """Writes what the pairs are made from, and of clips other than the training clips, whom they show.

    uri: ``synthesis.sources``. Raises StageError where the folder has pairs that were made from something else.
    """
    described, content = storage.join(folder, dataset.SOURCES), inputs.to_json()
    if not storage.put_once(described, content) and storage.read_bytes(described) != content:
        raise StageError(
            f"{described}: the pairs that are there were made from other sources, captures or people: restore these, "
            f"or give --redo {storage.base_name(folder)}, which deletes the pairs"
        )
    if uri is not None and inputs.sources.kind == "clips":
        write_people(folder, uri, inputs.sources)


def incomplete_message(folder: str, failed: dict[int, str], missing: np.ndarray) -> str:
    """Error message of a job that did not complete its dataset."""
    reasons = Counter(failed.values())
    names = ", ".join(shards.shard_label(int(index)) for index in missing[:5]) + (" …" if len(missing) > 5 else "")
    causes = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3))
    return (
        f"{folder}: {len(missing)} shards are missing: {names}. Failed: {causes}. Finished shards are kept: "
        "remove the cause and start the job again"
    )


def summary(description: dict[str, Any]) -> str:
    """One-line summary of a complete dataset."""
    rejected = ", ".join(f"{count} {reason}" for reason, count in description["rejected"].items()) or "none"
    found = description["shards"]  # earlier versions listed them
    return (
        f"{description['pairs']} of {description['planned']} pairs in "
        f"{found if isinstance(found, int) else len(found)} shards; rejected: "
        f"{rejected}; unusable sources: {len(description['quarantined']) + len(description['sources']['damaged'])}"
    )


def estimate(run: Run, options: argparse.Namespace) -> None:
    """Measures a sample on one actor with the job's resources; prints time, size and cost of the dataset."""
    scaling, settings = run.config.scaling, run.config.synthesis
    sample: dict[str, Any] = ray.get(start_actor(run).measure.remote(options.sample))
    actors = options.actors or scaling.synthesis_actors
    pairs_per_second = sample["pairs"] / sample["seconds"]
    hours = settings.pairs / (sample["planned"] / sample["seconds"]) / actors / 3600
    size = settings.pairs * sample["bytes"] / sample["planned"]
    print(f"sample: {sample['pairs']} of {sample['planned']} pairs kept, {sample['seconds']:.1f} s on one actor")
    for phase, seconds in sorted(sample["phases"].items(), key=lambda item: -item[1]):
        print(f"  {phase:<12} {1000 * seconds / sample['planned']:8.2f} ms a pair")
    print(f"pairs per second: {pairs_per_second:.1f} an actor, {pairs_per_second * actors:.1f} on {actors} actors")
    print(f"{settings.pairs} pairs: {size / 1e9:.2f} GB, {hours:.2f} hours on {actors} actors")
    if options.price is not None:
        print(f"cost: {hours * actors * options.price:.2f} at {options.price} per actor and hour")


def verify_dataset(run: Run) -> None:
    """Reads and verifies a finished dataset. Raises StageError that lists the problems."""
    folder = run.folder("synthesis")
    description = read_description(folder)
    listing = verify.Listing(folder, description)
    found = chain(
        verify.check_objects(folder, description, listing),
        verify.check_counts(description, listing),
        verify.check_files(folder, description),
        check_shards(folder, description, listing, run.config.scaling),
    )
    if problems := list(islice(found, PROBLEMS)):
        others = sum(1 for _ in found)
        more = f" … and {others} more" if others else ""
        raise StageError(f"{folder}: {len(problems) + others} problems: " + "; ".join(problems) + more)
    print(f"verified: {summary(description)}; every id, checksum and image is correct")


def check_shards(
    folder: str, description: dict[str, Any], listing: verify.Listing, scaling: ScalingConfig
) -> Iterator[str]:
    """Problems of all shards, checked on the cluster; few tasks are waiting at any time."""
    task, shared = on_cpu_machines(check, scaling), ray.put(description)
    most = 4 * max(1, int(ray.cluster_resources().get("CPU", 1)))
    waiting: list[ray.ObjectRef] = []
    for batch in listing.batches(CHECKED_TOGETHER):
        if len(waiting) == most:
            done, waiting = ray.wait(waiting)
            yield from ray.get(done[0])
        waiting.append(task.remote(folder, batch, shared))
    for task in waiting:
        yield from ray.get(task)


@ray.remote
def check(folder: str, batch: list[verify.Shard], description: dict[str, Any]) -> list[str]:
    """Problems of some shards."""
    return [problem for shard in batch for problem in verify.check_shard(folder, shard, description)]


def start_actor(run: Run, stage: str = "synthesis") -> Any:
    """Starts one actor with the resources of the job's actors."""
    scaling = run.config.scaling
    actor: Any = ray.remote(num_cpus=scaling.actor_cpus, num_gpus=scaling.gpus_per_actor)(PairActor)
    return actor.remote(run.config, run.folders(stage), run.folder(stage), load_inputs(run, stage))


def preview(run: Run, uri: str) -> None:
    """Writes a contact sheet to ``uri``."""
    sheet: bytes = ray.get(start_actor(run).preview.remote())
    storage.write_bytes(uri, sheet)
    print(f"contact sheet: {uri}")


def work(run: Run, options: argparse.Namespace) -> None:
    if options.estimate:
        estimate(run, options)
    elif options.verify:
        verify_dataset(run)
    elif options.preview:
        preview(run, options.preview)
    else:
        run_stage(run, "synthesis", synthesize)


def extend(parser: argparse.ArgumentParser) -> None:
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--estimate", action="store_true", help="measure a sample, print time and cost, write nothing")
    mode.add_argument("--verify", action="store_true", help="verify a finished dataset")
    mode.add_argument("--preview", metavar="FILE", help="write a contact sheet (PNG)")
    parser.add_argument("--sample", type=int, default=128, help="pairs that --estimate makes")
    parser.add_argument("--actors", type=int, help="number of actors that --estimate assumes")
    parser.add_argument("--price", type=float, help="price per actor and hour, for --estimate")


if __name__ == "__main__":
    sys.exit(main(__doc__, work, extend=extend))
