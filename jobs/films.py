"""Stage ``films``: the studio films people with their coefficients, for ETNet; runs with ``etnet.films`` have it.

python jobs/films.py --config configs/release.yaml [key=value …]
"""

from __future__ import annotations

import sys

import ray

from jobs.command_line import main
from jobs.stage import run_stage
from jobs.tasks import on_cpu_machines, wait_for_all
from jr2net import storage
from jr2net.config import Config
from jr2net.data.films import encode_films, index_films
from jr2net.data.pair_index import INDEX
from jr2net.data.pairs import VALIDATION_SHARD, read_pairs
from jr2net.face.model import FaceModel
from jr2net.process import use_threads
from jr2net.run.cascade import Run
from jr2net.studio.film import film_people

VALIDATION_PEOPLE = 100
"""People of the shard that validates, filmed where the run holds people back (``data.validation``)."""


def film(run: Run) -> list[str]:
    """Writes pair shards of the films, and their index; returns their paths below the stage's folder."""
    folder, settings, model = run.folder("films"), run.config.films, ray.put(run.model)
    firsts = range(0, settings.people, settings.people_per_shard)
    planned = {f"people-{n:07d}.parquet": (n, min(settings.people_per_shard, settings.people - n)) for n in firsts}
    held_back = {VALIDATION_SHARD: (settings.people, VALIDATION_PEOPLE)} if run.config.data.validation else {}
    task = on_cpu_machines(film_shard, run.config.scaling)
    tasks = [
        task.remote(model, run.config, storage.join(folder, name), name, *people)
        for name, people in (planned | held_back).items()
    ]
    shards = wait_for_all(tasks, "films", "filmed", run.seconds_after)
    index_films(shards[: len(planned)], folder).write(storage.join(folder, INDEX))
    return [INDEX, *planned, *held_back]


@ray.remote
def film_shard(model: FaceModel, config: Config, uri: str, name: str, first: int, count: int) -> tuple[str, int, int]:
    """Name, pairs and bytes of a shard, filmed unless it exists: a shard that is there is complete and the same."""
    use_threads(1)
    if storage.exists(uri):
        return name, sum(1 for _ in read_pairs(uri)), len(storage.read_bytes(uri))
    films = config.films
    studio = config.data.studio.model_copy(update={"test_frames": films.frames, "variety": films.variety})
    rows = film_people(model, studio, config.seed, first, count, "labelled", config.image_size, manners=films.manners)
    content, pairs = encode_films(uri, rows)
    storage.write_bytes(uri, content)
    return name, pairs, len(content)


if __name__ == "__main__":
    sys.exit(main(__doc__, lambda run, options: run_stage(run, "films", film)))
