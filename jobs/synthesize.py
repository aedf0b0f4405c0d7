"""Stage ``synthesis``: a Ray Data pipeline whose actors hold RecNet and the reenactor and write pair shards to storage.

python jobs/synthesize.py --config configs/laptop.yaml [key=value …]
    --estimate [--actors N --price P]   measure a short sample; print pairs/s, bytes, hours and cost of the dataset
    --verify                            read a finished dataset and verify it
    --preview FILE                      every shape at 0, 0.5 and 1 on six sources, as a PNG
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

import numpy as np
import ray
from ray.data import ActorPoolStrategy

from jobs.command_line import main
from jobs.pair_actor import PairActor, SynthesisInputs, load_inputs
from jobs.stage import run_stage
from jobs.synthesis_progress import SynthesisProgress
from jr2net import storage
from jr2net.data.pair_index import INDEX
from jr2net.data.pairs import DESCRIPTION, VALIDATION_SHARD, read_description
from jr2net.run.cascade import Run, StageError
from jr2net.synthesis import dataset, shards, verify
from jr2net.synthesis.maker import pair_digests

S3_ATTEMPTS = "12"
"""Attempts per request. With exponential backoff they span about a minute, enough for a server to restart."""

FORWARDED_ENV = ("AWS_MAX_ATTEMPTS", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION")
"""Environment variables that actors get from the driver; credentials come from their machines."""

MAX_BLOCKS = 4096
"""Maximum number of blocks of the list of missing shards, which bounds the driver's memory."""

MAX_CONSECUTIVE_FAILURES = 10
"""After so many consecutive failed shards the job stops: storage is full or unreachable."""

PROBLEMS = 10
"""Problems of a dataset that a message names; the others are counted."""

CHECKED_TOGETHER = 16
"""Shards that a task of the verification reads."""


def synthesize(run: Run) -> list[str]:
    """Writes the missing shards, then ``dataset.json``, which marks the dataset as complete; and pairs to validate on.

    Raises StageError where shards could not be written.
    """
    os.environ.setdefault("AWS_MAX_ATTEMPTS", S3_ATTEMPTS)
    folder, settings = run.folder("synthesis"), run.config.synthesis
    storage.remove_unfinished(folder)
    inputs = load_inputs(run)
    storage.put_once_or_same(storage.join(folder, dataset.SOURCES), inputs.to_json())
    missing = shards.missing_shards(folder, settings, inputs.grown_from)
    planned = dataset.planned_in(settings, missing, inputs.grown_from)
    progress = SynthesisProgress(folder, settings.pairs, planned)
    failed = make_shards(run, inputs, missing, progress) if len(missing) else {}
    progress.finish()
    if failed:
        missing = shards.missing_shards(folder, settings, inputs.grown_from)
        raise StageError(incomplete_message(folder, failed, missing))
    digests = pair_digests(run.config, run.model, run.folders("synthesis"), inputs.sources, inputs.tracks)
    description = dataset.finish(folder, settings, run.config.seed, digests, run.config.image_size, inputs.grown_from)
    print(f"[synthesis] {summary(description)}", flush=True)
    if run.config.data.validation is None:
        return [DESCRIPTION, INDEX]
    if not storage.exists(storage.join(folder, VALIDATION_SHARD)):
        ray.get(start_actor(run).write_validation.remote())
    return [DESCRIPTION, INDEX, VALIDATION_SHARD]


def make_shards(
    run: Run, inputs: SynthesisInputs, missing: np.ndarray, progress: SynthesisProgress, actor: Any = PairActor
) -> dict[int, str]:
    """Makes the missing shards on the cluster; returns the failed ones with the reasons.

    actor: class of the actors; benchmarks use a stub.
    """
    scaling = run.config.scaling
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    max_actors = min(scaling.synthesis_actors, len(missing))
    results = ray.data.from_items(
        [{"shard": int(index)} for index in missing], override_num_blocks=min(len(missing), MAX_BLOCKS)
    ).map(
        actor,
        fn_constructor_args=[run.config, run.folders("synthesis"), run.folder("synthesis"), inputs],
        compute=ActorPoolStrategy(
            min_size=min(scaling.synthesis_actors_min, max_actors),
            max_size=max_actors,
            initial_size=max_actors,
            max_concurrent_calls_per_actor=scaling.shards_per_actor or (3 if scaling.gpus_per_actor > 0 else 1),
            enable_true_multi_threading=True,
        ),
        num_cpus=scaling.cpus_per_worker,
        num_gpus=scaling.gpus_per_actor,
        runtime_env={"env_vars": {name: os.environ[name] for name in FORWARDED_ENV if name in os.environ}},
    )
    failed: dict[int, str] = {}
    consecutive_failures = 0
    for row in results.iter_rows():
        if row["error"]:
            failed[row["shard"]] = row["error"]
            consecutive_failures += 1
            print(f"[synthesis] {shards.shard_label(row['shard'])} failed: {row['error']}", flush=True)
            if consecutive_failures == MAX_CONSECUTIVE_FAILURES:
                break
        else:
            consecutive_failures = 0
            progress.add(row["planned"], row["pairs"], json.loads(row["rejected"]), json.loads(row["seconds"]))
    return failed


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
        check_shards(folder, description, listing),
    )
    if problems := list(islice(found, PROBLEMS)):
        others = sum(1 for _ in found)
        more = f" … and {others} more" if others else ""
        raise StageError(f"{folder}: {len(problems) + others} problems: " + "; ".join(problems) + more)
    print(f"verified: {summary(description)}; every id, checksum and image is correct")


def check_shards(folder: str, description: dict[str, Any], listing: verify.Listing) -> Iterator[str]:
    """Problems of all shards, checked on the cluster; few tasks are waiting at any time."""
    shared = ray.put(description)
    most = 4 * max(1, int(ray.cluster_resources().get("CPU", 1)))
    waiting: list[ray.ObjectRef] = []
    for batch in listing.batches(CHECKED_TOGETHER):
        if len(waiting) == most:
            done, waiting = ray.wait(waiting)
            yield from ray.get(done[0])
        waiting.append(check.remote(folder, batch, shared))
    for task in waiting:
        yield from ray.get(task)


@ray.remote
def check(folder: str, batch: list[verify.Shard], description: dict[str, Any]) -> list[str]:
    """Problems of some shards."""
    return [problem for shard in batch for problem in verify.check_shard(folder, shard, description)]


def start_actor(run: Run) -> Any:
    """Starts one actor with the resources of the job's actors."""
    scaling = run.config.scaling
    actor: Any = ray.remote(num_cpus=scaling.cpus_per_worker, num_gpus=scaling.gpus_per_actor)(PairActor)
    return actor.remote(run.config, run.folders("synthesis"), run.folder("synthesis"), load_inputs(run))


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
