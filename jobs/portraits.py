"""Stage ``portraits``: the studio films people for the face detector; runs with ``detector.train`` have it.

python jobs/portraits.py --config configs/detector.yaml [key=value …]
"""

from __future__ import annotations

import sys

import ray

from jobs.command_line import main
from jobs.stage import run_stage
from jobs.tasks import on_cpu_machines, wait_for_all
from jr2net import storage
from jr2net.config import Config, StudioConfig
from jr2net.config.studio import Manner
from jr2net.data.shards import write_clips
from jr2net.face.model import FaceModel
from jr2net.process import use_threads
from jr2net.run.cascade import Run
from jr2net.studio.film import film_people


def film_portraits(run: Run) -> list[str]:
    """Writes clip shards of people with exact landmarks and mattes; returns their paths below the stage's folder."""
    folder, settings, model = run.folder("portraits"), run.config.portraits, ray.put(run.model)
    firsts = range(0, settings.people, settings.people_per_shard)
    planned = {f"people-{n:07d}.parquet": (n, min(settings.people_per_shard, settings.people - n)) for n in firsts}
    task = on_cpu_machines(film_shard, run.config.scaling)
    tasks = [task.remote(model, run.config, storage.join(folder, name), *people) for name, people in planned.items()]
    wait_for_all(tasks, "portraits", "filmed", run.seconds_after)
    return list(planned)


@ray.remote
def film_shard(model: FaceModel, config: Config, uri: str, first: int, count: int) -> None:
    """Films one shard unless it exists: a shard that is there is complete and the same."""
    use_threads(1)
    if storage.exists(uri):
        return
    settings = config.portraits
    studio = StudioConfig(test_frames=settings.frames, detector_shrink=0.0, detector_noise=0.0)
    manners: dict[Manner, float] = {"large": settings.large, "natural": 1 - settings.large}
    rows = film_people(
        model, studio, config.seed, first, count, "labelled", settings.side, True, manners, settings.widest
    )
    write_clips(uri, rows)


if __name__ == "__main__":
    sys.exit(main(__doc__, lambda run, options: run_stage(run, "portraits", film_portraits)))
