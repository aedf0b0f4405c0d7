"""Stage ``prepare``: films synthetic people, or checks the real clips of the configuration.

python jobs/prepare.py --config configs/laptop.yaml [key=value …]
    --check all     decode every image of every shard, even if the stage is finished; default: a sample of each shard

What checks of shards found is kept in ``checks/`` of the run's storage: shards that did not change are not read again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import ray

from jobs.command_line import main
from jobs.stage import run_stage
from jobs.tasks import on_cpu_machines, wait_for_all
from jr2net import storage
from jr2net.config import Config
from jr2net.config.clip_sets import STAGES_WITH_SETS
from jr2net.data.checks import check_shard, count_contents
from jr2net.data.index import ClipIndex, changed_shards, join_indices, join_sets
from jr2net.data.sets import LEFT_OUT, index_name, shared_identities, stage_sets, studio_kinds
from jr2net.data.shards import find_shards, write_clips
from jr2net.face.model import FaceModel
from jr2net.process import use_threads
from jr2net.run.cascade import Run, StageError
from jr2net.run.inputs import first_names
from jr2net.studio.film import Kind, film_people

CHECKS = "checks"
"""Folder of the run's storage that keeps checks; ``--redo`` leaves it."""


def prepare(run: Run, every_image: bool = False) -> list[str]:
    """Writes the studio's shards, if it films, and of every set the index and, in ``clips.json``, the contents.

    every_image: whether all images are decoded, not a sample. Raises ShardError where a shard is damaged.
    """
    folder = run.folder("prepare")
    films = list(planned_films(run.config)) if run.config.data.clips is None else []
    if films:
        model = ray.put(run.model)
        task = on_cpu_machines(film_shard, run.config.scaling)
        tasks = [task.remote(model, run.config, storage.join(folder, film.name), film) for film in films]
        wait_for_all(tasks, "prepare", "filmed", run.seconds_after)

    contents, indices = {}, []
    for name, uri in clip_sets(run).items():
        contents[name], index = check_clips(run, uri, every_image)
        indices.append(index_name(name))
        index.write(storage.join(folder, indices[-1]))
    for stage in STAGES_WITH_SETS:
        if sets := stage_sets(run.config, stage):
            parts = [ClipIndex.open(storage.join(folder, index_name(name)), uri) for name, uri in sets.items()]
            indices.append(index_name(stage))
            join_sets(parts).write(storage.join(folder, indices[-1]))
    storage.write_bytes(storage.join(folder, "clips.json"), json.dumps(contents, indent=1).encode())
    return ["clips.json", *indices, *(film.name for film in films), *leave_out(run)]


def clip_sets(run: Run) -> dict[str, str]:
    """Folder or URI of every set of clips, those that the studio films and those that are given."""
    data, folder = run.config.data, run.folder("prepare")
    filmed = {film.kind: storage.join(folder, film.kind) for film in planned_films(run.config)}
    given = {"clips": data.clips, "test_clips": data.test_clips}
    for stage in STAGES_WITH_SETS:
        given |= stage_sets(run.config, stage)
    return (filmed if data.clips is None else {}) | {name: uri for name, uri in given.items() if uri is not None}


def leave_out(run: Run) -> list[str]:
    """Where clips and test clips are given, writes which identities both show: they are not trained on."""
    if run.config.data.clips is None or run.config.data.test_clips is None:
        return []
    folder = run.folder("prepare")
    shared = shared_identities(run.config, folder)
    if shared:
        print(
            f"[prepare] {len(shared)} identities are in the test clips too: they are left out of training", flush=True
        )
    storage.write_bytes(storage.join(folder, LEFT_OUT), json.dumps(shared, indent=1).encode())
    return [LEFT_OUT]


@dataclass(frozen=True)
class Film:
    """People ``first`` … ``first + count - 1`` of one kind, the content of one shard."""

    kind: Kind
    first: int
    count: int

    @property
    def name(self) -> str:
        return f"{self.kind}/people-{self.first:07d}.parquet"


def planned_films(config: Config) -> Iterator[Film]:
    """The studio's shards of all sets."""
    studio = config.data.studio
    for kind in studio_kinds(config):
        people = studio.people if kind == "train" else studio.test_people
        for first in range(0, people, studio.people_per_shard):
            yield Film(kind, first, min(studio.people_per_shard, people - first))


@ray.remote
def film_shard(model: FaceModel, config: Config, uri: str, film: Film) -> None:
    """Films one shard unless it exists. Writes are atomic and deterministic, so an existing shard is complete."""
    use_threads(1)
    if not storage.exists(uri):
        studio = config.data.studio
        mattes = film.kind == "turned"  # evaluation measures its backgrounds
        rows = film_people(model, studio, config.seed, film.first, film.count, film.kind, config.image_size, mattes)
        write_clips(uri, rows)


def check_clips(run: Run, uri: str, every_image: bool) -> tuple[dict[str, dict[str, int]], ClipIndex]:
    """Checks every shard of a set that was not checked yet; returns the contents by shard name, and the set's index.

    Raises ShardError.
    """
    shards, folder = find_shards(uri), storage.join(run.config.storage, CHECKS)
    task = on_cpu_machines(check, run.config.scaling)
    tasks = [task.remote(shard, version, folder, every_image) for shard, version in shards.items()]
    found = wait_for_all(tasks, "prepare", f"checked in {uri}")
    contents = {storage.base_name(shard): count_contents(rows) for shard, rows in zip(shards, found, strict=True)}
    names = [storage.relative_path(shard, uri) for shard in shards]
    return contents, join_indices(names, found, uri)


@ray.remote
def check(shard: str, version: str, folder: str, every_image: bool) -> pa.Table:
    """``check_shard`` on one core."""
    use_threads(1)
    return check_shard(shard, version, folder, every_image)


def check_again(run: Run) -> None:
    """Decodes all images of the sets of a finished stage.

    Raises ShardError where a shard is damaged, StageError where the shards are not those that the stage has seen.
    """
    folder = run.folder("prepare")
    for name, uri in clip_sets(run).items():
        _, index = check_clips(run, uri, every_image=True)
        if changed := changed_shards(ClipIndex.open(storage.join(folder, index_name(name)), uri), index):
            raise StageError(
                f"{uri}: shards were added, removed or changed since the stage prepare finished ({len(changed)}): "
                f"{first_names(changed)}; restore them, or give --redo prepare, which deletes all that was made from "
                "the clips"
            )


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--check",
        choices=("sample", "all"),
        default="sample",
        help="which images of the clips `prepare` decodes: a sample of each shard (default), or all",
    )


def work(run: Run, options: argparse.Namespace) -> None:
    """Runs the stage; with ``--check all`` all images are decoded though it may have been finished."""
    every_image = options.check == "all"
    if run_stage(run, "prepare", partial(prepare, every_image=every_image)) is None and every_image:
        check_again(run)


if __name__ == "__main__":
    sys.exit(main(__doc__, work, extend=add_options))
