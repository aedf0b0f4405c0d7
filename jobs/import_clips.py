"""Turns a dataset into clip shards on the cluster, and trains on them if a configuration is given.

python jobs/import_clips.py FOLDER -o SHARDS [options of `jr2net data import`]
    --actors N            shards that are worked on at a time (default: the cluster's CPUs)
    --config FILE [key=value …]    afterwards, run the cascade of this configuration on the shards

Ray Data streams the shards to actors. What is finished is not made again: an interrupted job goes on where it was.
"""

from __future__ import annotations

import argparse
import logging
import os
import pickle
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.data import ActorPoolStrategy

from jobs import cascade, prepare
from jobs.command_line import main as run_job
from jobs.command_line import root_message
from jobs.ray_settings import connect
from jobs.shard_waves import FORWARDED_ENV
from jr2net import storage
from jr2net.cli.data import add_import_options
from jr2net.data.importing.options import plan_import
from jr2net.data.importing.plan import Plan, Shard
from jr2net.data.importing.run import Execute, Tell, run_import, summary, work_on
from jr2net.data.importing.work import Importer
from jr2net.errors import StorageError, UserError
from jr2net.process import use_threads
from jr2net.settings import ConfigError


class ShardActor:
    """Imports or finishes one shard after the other."""

    def __init__(self, plan: Plan, left_out: frozenset[str] | None) -> None:
        use_threads(1)
        self.importer, self.left_out = Importer(plan), left_out

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        shard = pickle.loads(row["shard"])
        try:
            frames = work_on(self.importer, shard, self.left_out)
        except UserError as error:
            return {"units": 0, "frames": 0, "error": f"{shard.name}: {error}"}
        return {"units": len(shard.units), "frames": frames, "error": ""}


def on_the_cluster(actors: int, actor: Any = ShardActor) -> Execute:
    """Ray Data with a pool of actors; Ray repeats the shard of an actor that died. actor: their class."""

    def execute(plan: Plan, shards: Sequence[Shard], left_out: frozenset[str] | None, tell: Tell) -> None:
        if not shards:
            return
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        items = [{"shard": pickle.dumps(shard)} for shard in shards]
        outcomes = ray.data.from_items(items, override_num_blocks=len(items)).map(
            actor,
            fn_constructor_args=[replace(plan, shards=(), problems=()), left_out],
            compute=ActorPoolStrategy(min_size=1, max_size=min(actors, len(items))),
            num_cpus=1,
            runtime_env={"env_vars": {name: os.environ[name] for name in FORWARDED_ENV if name in os.environ}},
        )
        for row in outcomes.iter_rows():
            if row["error"]:
                raise StorageError(row["error"])
            tell(int(row["units"]), int(row["frames"]))

    return execute


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_import_options(parser)
    parser.add_argument("--actors", type=int, metavar="N", help="shards that are worked on at a time (default: CPUs)")
    parser.add_argument("--config", metavar="FILE", help="a file of configs/, to train on the shards afterwards")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings of the configuration")
    parser.add_argument("--relative-to", metavar="FOLDER", help="base of relative paths (default: working directory)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Imports, then runs the cascade if asked to; returns the exit status."""
    options = build_parser().parse_intermixed_args(arguments)
    try:
        for name in ("folder", "output"):
            setattr(options, name, _absolute(name, getattr(options, name), options.relative_to))
        plan = plan_import(options)
        chosen = any(setting.startswith("data.clips=") for setting in options.overrides)
        sets: list[str] = []
        if options.config is not None and not chosen:
            _sets_of(plan, {shard.part for shard in plan.shards})  # raises now what it would raise after the import
        storage.check_writable(plan.output)
        connect()
        actors = options.actors or max(1, int(ray.cluster_resources().get("CPU", 1)))
        report = run_import(plan, on_the_cluster(actors), lambda line: print(line, flush=True))
        print("\n".join(f"[import] {line}" for line in summary(plan, report)), flush=True)
        if options.config is not None and not chosen and report["clips"]:
            sets, unused = _sets_of(plan, {name.rpartition("/")[0] for name in report["shards"]})
            print("\n".join(f"[import] {line}" for line in [f"trained on: {' '.join(sets)}", *unused]), flush=True)
    except UserError as error:
        print(f"error: {root_message(error)}", file=sys.stderr, flush=True)
        return 1
    if options.config is None or not report["clips"]:
        return 0 if report["clips"] else 1
    base = ["--relative-to", options.relative_to] if options.relative_to else []
    settings = [*sets, *options.overrides]
    return run_job(
        cascade.__doc__, cascade.cascade, ["--config", options.config, *settings, *base], prepare.add_options
    )


def _sets_of(plan: Plan, parts: set[str]) -> tuple[list[str], list[str]]:
    """The settings that name the shards, and lines on those that they leave out; parts: those that have shards.

    A set of one part is trained on; of an official split, ``train`` is, and ``test`` is tested on. Raises ConfigError
    where nothing can be trained on.
    """
    split = {shard.part for shard in plan.shards}
    training = next(iter(split)) if len(split) == 1 else "train"
    if training not in parts:
        found = ", ".join(sorted(part or "no part" for part in parts))
        raise ConfigError(
            f"data.clips: nothing can be trained on, since {plan.folder} has no clips of the part {training!r} "
            f"(found: {found}): add them, or give data.clips=FOLDER"
        )
    tests = {"test"} & (parts - {training})
    folders = {part: storage.join(plan.output, part) if part else plan.output for part in parts}
    settings = [f"data.clips={folders[training]}", *(f"data.test_clips={folders[part]}" for part in tests)]
    unused = [f"not used: {part or 'clips of no part'}" for part in sorted(parts - {training} - tests)]
    return settings, unused


def _absolute(field: str, path: str, base: str | None) -> str:
    """Raises ConfigError for a relative path in a submitted job, which runs in a copy of the working directory."""
    if storage.is_remote(path) or Path(path).expanduser().is_absolute():
        return path
    if base is None and "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        raise ConfigError(f"{field} = {path!r} is a relative path: give an absolute one or s3://…")
    return str(Path(base or ".", path).resolve())


if __name__ == "__main__":
    sys.exit(main())
