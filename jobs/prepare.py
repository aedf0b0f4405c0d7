"""Stage ``prepare``: films synthetic people, or checks the real clips of the configuration.

python jobs/prepare.py --config configs/laptop.yaml [key=value …]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import ray

from jobs.command_line import main
from jobs.stage import run_stage
from jobs.tasks import wait_for_all
from jr2net import storage
from jr2net.config import Config
from jr2net.data.index import ClipIndex, index_shard, join_indices
from jr2net.data.sets import LEFT_OUT, index_name, shared_identities, studio_kinds
from jr2net.data.shards import list_shards, read_clips, write_clips
from jr2net.face.model import FaceModel
from jr2net.images.arrays import decode_image
from jr2net.process import use_threads
from jr2net.run.cascade import Run
from jr2net.storage.parquet import ShardError
from jr2net.studio.film import Kind, film_people


def prepare(run: Run) -> list[str]:
    """Writes the studio's shards, if it films, and of every set the index and, in ``clips.json``, the contents."""
    data, folder = run.config.data, run.folder("prepare")
    films = list(planned_films(run.config)) if data.clips is None else []
    if films:
        model = ray.put(run.model)
        tasks = [film_shard.remote(model, run.config, storage.join(folder, film.name), film) for film in films]
        wait_for_all(tasks, "prepare", "filmed")

    sets: dict[str, str] = {film.kind: storage.join(folder, film.kind) for film in films}
    given = {name: uri for name in ("clips", "test_clips") if (uri := getattr(data, name)) is not None}
    contents, indices = {}, []
    for name, uri in (sets | given).items():
        contents[name], index = check_clips(uri)
        indices.append(index_name(name))
        index.write(storage.join(folder, indices[-1]))
    storage.write_bytes(storage.join(folder, "clips.json"), json.dumps(contents, indent=1).encode())
    return ["clips.json", *indices, *(film.name for film in films), *leave_out(run)]


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


def check_clips(uri: str) -> tuple[dict[str, dict[str, object]], ClipIndex]:
    """Decodes every image of every shard of a set; returns the contents by shard name, and the index of the set.

    Raises ShardError.
    """
    shards = list_shards(uri)
    found = wait_for_all([describe_shard.remote(shard) for shard in shards], "prepare", f"checked in {uri}")
    contents = {shard.rpartition("/")[2]: content for shard, (content, _) in zip(shards, found, strict=True)}
    names = [shard.removeprefix(uri).strip("/") for shard in shards]
    return contents, join_indices(names, [rows for _, rows in found], uri)


@ray.remote
def describe_shard(uri: str) -> tuple[dict[str, object], pa.Table]:
    """Numbers of identities, clips and frames of a shard, and the index of its rows.

    Raises ShardError for an image that cannot be decoded.
    """
    rows = index_shard(uri)
    identities: set[str] = set()
    clips: set[tuple[str, str]] = set()
    frames = 0
    for row in read_clips(uri):
        for number, image in zip(row.frame, row.images, strict=True):
            if decode_image(image) is None:
                raise ShardError(
                    f"{uri}: clip {row.clip_id!r}, frame {number}: image is not a square JPEG or PNG; "
                    "remove the shard or write it again"
                )
        identities.add(row.identity)
        clips.add((row.identity, row.clip_id))
        frames += len(row.images)
    return {"identities": len(identities), "clips": len(clips), "frames": frames}, rows


if __name__ == "__main__":
    sys.exit(main(__doc__, lambda run, options: run_stage(run, "prepare", prepare)))
