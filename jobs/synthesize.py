"""Stage ``synthesis``: a Ray Data pipeline whose actors hold RecNet and DCNet and write pair shards to the storage.

python jobs/synthesize.py --config configs/laptop.yaml [key=value …]
    --estimate [--actors N --price P]   measure a short sample; pairs/s, bytes, hours and cost of the asked size
    --verify                            read a finished dataset again and prove it
    --preview FILE                      every shape at 0, 0.5 and 1 on six sources, as a PNG
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections import Counter
from typing import Any

import numpy as np
import ray
from ray.data import ActorPoolStrategy

from jobs.command_line import main
from jobs.pair_actor import PairActor, Work, work_of
from jobs.stage import run_stage
from jobs.synthesis_progress import SynthesisProgress
from jr2net import storage
from jr2net.data.pairs import DESCRIPTION, read_description
from jr2net.run.cascade import Run, StageError
from jr2net.synthesis import dataset, verify
from jr2net.synthesis.maker import pair_digests

S3_ATTEMPTS = "12"
"""How often a failing request is made: with growing pauses about a minute, in which a server comes back."""

PASSED_ON = ("AWS_MAX_ATTEMPTS", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION")
"""Variables that an actor has from the driver; credentials it has from its machine."""

MOST_BLOCKS = 4096
"""Of the list of missing shards: a bound on what the driver keeps of work that waits."""

STOP_AFTER = 10
"""So many failed shards in a row mean that the storage is full or gone, not that a request was unlucky."""


def synthesize(run: Run) -> list[str]:
    """Writes the shards that are missing, then ``dataset.json``, which says that the dataset is complete."""
    os.environ.setdefault("AWS_MAX_ATTEMPTS", S3_ATTEMPTS)
    folder, settings = run.folder("synthesis"), run.config.synthesis
    storage.remove_unfinished(folder)
    work = work_of(run)
    storage.put_once_or_same(storage.join(folder, dataset.SOURCES), work.to_json())
    missing = dataset.missing_shards(folder, settings)
    progress = SynthesisProgress(folder, settings.pairs, dataset.planned_in(settings, missing.tolist()))
    failed = make_shards(run, work, missing, progress) if len(missing) else {}
    progress.finish()
    if failed:
        raise StageError(what_is_missing(folder, failed, dataset.missing_shards(folder, settings)))
    digests = pair_digests(run.config, run.model, run.folders("synthesis"), work.sources, work.tracks)
    description = dataset.finish(folder, settings, run.config.seed, digests, run.config.image_size)
    print(f"[synthesis] {summary(description)}", flush=True)
    return [DESCRIPTION]


def make_shards(
    run: Run, work: Work, missing: np.ndarray, progress: SynthesisProgress, actor: Any = PairActor
) -> dict[int, str]:
    """Makes the missing shards on the cluster; those that could not be made, with the reason.

    actor: what makes them; benchmarks put a simpler one in its place.
    """
    scaling = run.config.scaling
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    most = min(scaling.synthesis_actors, len(missing))
    results = ray.data.from_items(
        [{"shard": int(index)} for index in missing], override_num_blocks=min(len(missing), MOST_BLOCKS)
    ).map(
        actor,
        fn_constructor_args=[run.config, run.folders("synthesis"), run.folder("synthesis"), work],
        compute=ActorPoolStrategy(
            min_size=min(scaling.synthesis_actors_min, most),
            max_size=most,
            initial_size=most,
            max_concurrent_calls_per_actor=scaling.shards_per_actor or (3 if scaling.gpus_per_actor > 0 else 1),
            enable_true_multi_threading=True,
        ),
        num_cpus=scaling.cpus_per_worker,
        num_gpus=scaling.gpus_per_actor,
        runtime_env={"env_vars": {name: os.environ[name] for name in PASSED_ON if name in os.environ}},
    )
    failed: dict[int, str] = {}
    in_a_row = 0
    for row in results.iter_rows():
        if row["error"]:
            failed[row["shard"]] = row["error"]
            in_a_row += 1
            print(f"[synthesis] {dataset.shard_name(row['shard'])} failed: {row['error']}", flush=True)
            if in_a_row == STOP_AFTER:
                break
        else:
            in_a_row = 0
            progress.add(row["planned"], row["pairs"], json.loads(row["rejected"]), json.loads(row["seconds"]))
    return failed


def what_is_missing(folder: str, failed: dict[int, str], missing: np.ndarray) -> str:
    """What a job says that could not make everything."""
    reasons = Counter(failed.values())
    names = ", ".join(dataset.shard_name(int(index)) for index in missing[:5]) + (" …" if len(missing) > 5 else "")
    told = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3))
    return (
        f"{folder}: {len(missing)} shards are missing: {names}. Failed: {told}. What is there is kept: remove the "
        "cause and start the job again"
    )


def summary(description: dict[str, Any]) -> str:
    """One line about a complete dataset."""
    rejected = ", ".join(f"{count} {reason}" for reason, count in description["rejected"].items()) or "none"
    return (
        f"{description['pairs']} of {description['planned']} pairs in {len(description['shards'])} shards; rejected: "
        f"{rejected}; sources set aside: {len(description['quarantined']) + len(description['sources']['damaged'])}"
    )


def estimate(run: Run, options: argparse.Namespace) -> None:
    """Measures a sample on one actor as the job would place it, and prints what the asked size takes."""
    scaling, settings = run.config.scaling, run.config.synthesis
    sample: dict[str, Any] = ray.get(lone_actor(run).measure.remote(options.sample))
    actors = options.actors or scaling.synthesis_actors
    pace = sample["pairs"] / sample["seconds"]
    hours = settings.pairs / (sample["planned"] / sample["seconds"]) / actors / 3600
    size = settings.pairs * sample["bytes"] / sample["planned"]
    print(f"sample: {sample['pairs']} of {sample['planned']} pairs kept, {sample['seconds']:.1f} s on one actor")
    for phase, seconds in sorted(sample["phases"].items(), key=lambda item: -item[1]):
        print(f"  {phase:<12} {1000 * seconds / sample['planned']:8.2f} ms a pair")
    print(f"pairs per second: {pace:.1f} an actor, {pace * actors:.1f} on {actors} actors")
    print(f"{settings.pairs} pairs: {size / 1e9:.2f} GB, {hours:.2f} hours on {actors} actors")
    if options.price is not None:
        print(f"cost: {hours * actors * options.price:.2f} at {options.price} per actor and hour")


def prove(run: Run) -> None:
    """Reads a dataset again. Raises StageError that says what is wrong with it."""
    folder = run.folder("synthesis")
    description = read_description(folder)
    problems = verify.check_objects(folder, description) + verify.check_counts(description)
    problems += verify.check_card(folder, description)
    shards = list(range(verify.shards_planned(description)))
    told = ray.put(description)
    for found in ray.get([check.remote(folder, shards[at : at + 16], told) for at in range(0, len(shards), 16)]):
        problems += found
    if problems:
        more = f" … and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise StageError(f"{folder}: {len(problems)} problems: " + "; ".join(problems[:10]) + more)
    print(f"verified: {summary(description)}; every id, checksum and picture is as it should be")


@ray.remote
def check(folder: str, indices: list[int], description: dict[str, Any]) -> list[str]:
    return [problem for index in indices for problem in verify.check_shard(folder, index, description)]


def lone_actor(run: Run) -> Any:
    """One actor, placed as those of the job are."""
    scaling = run.config.scaling
    actor: Any = ray.remote(num_cpus=scaling.cpus_per_worker, num_gpus=scaling.gpus_per_actor)(PairActor)
    return actor.remote(run.config, run.folders("synthesis"), run.folder("synthesis"), work_of(run))


def preview(run: Run, place: str) -> None:
    sheet: bytes = ray.get(lone_actor(run).preview.remote())
    storage.write_bytes(place, sheet)
    print(f"contact sheet: {place}")


def work(run: Run, options: argparse.Namespace) -> None:
    if options.estimate:
        estimate(run, options)
    elif options.verify:
        prove(run)
    elif options.preview:
        preview(run, options.preview)
    else:
        run_stage(run, "synthesis", synthesize)


def extend(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--estimate", action="store_true", help="measure a sample, tell time and cost, write nothing")
    what.add_argument("--verify", action="store_true", help="prove a finished dataset")
    what.add_argument("--preview", metavar="FILE", help="write a contact sheet (PNG)")
    parser.add_argument("--sample", type=int, default=128, help="pairs that --estimate makes")
    parser.add_argument("--actors", type=int, help="actors of the fleet that --estimate reckons with")
    parser.add_argument("--price", type=float, help="price of an actor's hour, for --estimate")


if __name__ == "__main__":
    sys.exit(main(__doc__, work, extend=extend))
