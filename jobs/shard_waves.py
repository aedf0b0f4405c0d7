"""Making the shards of a dataset on the cluster: Ray Data with a pool of actors, wave after wave.

One execution of Ray Data cannot make any number of shards: it needs every block beforehand, 5.5 KiB and a millisecond
of the driver each, and keeps 2.5 KiB of statistics of every finished task. Half a million shards of one task each would
take 4 GB; streamed blocks (``repartition(target_num_rows_per_block=1)``) save the former alone. So there are waves of
some thousand shards. Between two waves actors wait for the last shards and are started anew, and some 3 MiB of the
driver's memory stay with Ray: waves are not short.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import ray
from ray.data import ActorPoolStrategy

from jobs.pair_actor import PairActor, SynthesisInputs
from jobs.synthesis_progress import SynthesisProgress
from jr2net.config import ScalingConfig
from jr2net.run.cascade import Run
from jr2net.synthesis.shards import shard_label

FORWARDED_ENV = ("AWS_MAX_ATTEMPTS", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION")
"""Environment variables that actors get from the driver; credentials come from their machines."""

WAVE, SHARDS_PER_SLOT = 1 << 14, 64
"""Shards of a wave, or more, so that each of the shards that are made at one time stands for that many."""

MAX_CONSECUTIVE_FAILURES = 10
"""After so many consecutive failed shards the job stops: storage is full or unreachable. After so many broken devices
per actor, without a shard in between, it stops too."""

MAX_BROKEN_DEVICES = 3
"""A shard at which so many devices broke has failed."""


class Outcomes:
    """What has become of the shards.

    failed: shard -> reason; again: shards that are to be given to other actors.
    """

    def __init__(self, progress: SynthesisProgress, max_actors: int) -> None:
        self.progress, self.max_broken = progress, MAX_CONSECUTIVE_FAILURES * max_actors
        self.failed: dict[int, str] = {}
        self.again: list[int] = []
        self._broken_at: Counter[int] = Counter()
        self._failures = self._broken = 0

    def add(self, row: dict[str, Any]) -> None:
        """Counts the outcome of a shard, as an actor returns it."""
        index, error = int(row["shard"]), row["error"]
        if not error:
            self._failures = self._broken = 0
            self._broken_at.pop(index, None)
            rejected, seconds = json.loads(row["rejected"]), json.loads(row["seconds"])
            self.progress.add(row["planned"], row["pairs"], rejected, seconds)
            return
        if row["device_broken"]:
            self._broken += 1
            self._broken_at[index] += 1
            if self._broken_at[index] < MAX_BROKEN_DEVICES:
                self.again.append(index)
                print(f"[synthesis] {shard_label(index)} is made on another actor: {error}", flush=True)
                if self._broken == self.max_broken:
                    self.failed[index] = error
                return
        self.failed[index] = error
        self._failures += 1
        print(f"[synthesis] {shard_label(index)} failed: {error}", flush=True)

    @property
    def hopeless(self) -> bool:
        """Whether so many failed in a row that the others will too."""
        return self._failures >= MAX_CONSECUTIVE_FAILURES or self._broken >= self.max_broken


def make_shards(
    run: Run,
    inputs: SynthesisInputs,
    missing: np.ndarray,
    progress: SynthesisProgress,
    actor: Any = PairActor,
    stage: str = "synthesis",
) -> dict[int, str]:
    """Makes the missing shards on the cluster; returns the failed ones with the reasons.

    actor: class of the actors; benchmarks and tests use a stub.
    """
    outcomes = Outcomes(progress, run.config.scaling.synthesis_actors)
    size = wave_size(run.config.scaling)
    begun = 0
    while (begun < len(missing) or outcomes.again) and not outcomes.hopeless:
        wave, outcomes.again = outcomes.again, []
        new = missing[begun : begun + max(0, size - len(wave))].tolist()
        begun += len(new)
        for row in make_wave(run, inputs, wave + new, actor, stage):
            outcomes.add(row)
            if outcomes.hopeless:
                break
    return outcomes.failed


def wave_size(scaling: ScalingConfig) -> int:
    return max(WAVE, SHARDS_PER_SLOT * scaling.synthesis_actors * shards_at_once(scaling))


def shards_at_once(scaling: ScalingConfig) -> int:
    """How many shards an actor works on at one time."""
    return scaling.shards_per_actor or (3 if scaling.gpus_per_actor > 0 else 1)


def make_wave(
    run: Run, inputs: SynthesisInputs, wave: Sequence[int], actor: Any, stage: str = "synthesis"
) -> Iterator[dict[str, Any]]:
    """Yields the outcomes of some shards, each of which is a task of its own.

    The pool begins with the fewest actors and grows while shards wait. Ray repeats the task of an actor that died.
    """
    scaling = run.config.scaling
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    max_actors = min(scaling.synthesis_actors, len(wave))
    min_actors = min(scaling.synthesis_actors_min, max_actors)
    outcomes = ray.data.from_items([{"shard": index} for index in wave], override_num_blocks=len(wave)).map(
        actor,
        fn_constructor_args=[run.config, run.folders(stage), run.folder(stage), inputs],
        compute=ActorPoolStrategy(
            min_size=min_actors,
            max_size=max_actors,
            initial_size=min_actors,
            max_concurrent_calls_per_actor=shards_at_once(scaling),
            enable_true_multi_threading=True,
        ),
        num_cpus=scaling.actor_cpus,
        num_gpus=scaling.gpus_per_actor,
        runtime_env={"env_vars": {name: os.environ[name] for name in FORWARDED_ENV if name in os.environ}},
    )
    yield from outcomes.iter_rows()
