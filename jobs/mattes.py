"""Stage ``mattes``: where the clips show a person, filmed in the studio or segmented; the reenactor flow3d needs it.

python jobs/mattes.py --config configs/flow3d.yaml [key=value …]
"""

from __future__ import annotations

import sys
from functools import cache

import ray

from jobs.command_line import main
from jobs.prepare import Film, planned_films
from jobs.stage import run_stage
from jobs.tasks import on_cpu_machines, wait_for_all
from jr2net import storage
from jr2net.config import Config
from jr2net.data.mattes import matte_shard, segmented, write_mattes
from jr2net.data.sets import sets_with_mattes
from jr2net.data.shards import list_shards
from jr2net.face.model import FaceModel
from jr2net.images.segmentation import load_segmenter
from jr2net.process import use_threads
from jr2net.run.cascade import Run
from jr2net.studio.film import film_people


def make_mattes(run: Run) -> list[str]:
    """Writes a matte shard for every clip shard of every set; returns their paths below the stage's folder.

    Raises SegmenterError where real clips are to be segmented and the model is not installed.
    """
    folder, prepare = run.folder("mattes"), run.folder("prepare")
    films = {storage.join(prepare, film.name): film for film in planned_films(run.config)}
    model, tasks, outputs = ray.put(run.model), [], []
    film, segment = (on_cpu_machines(task, run.config.scaling) for task in (film_mattes, segment_shard))
    for name, uri in sets_with_mattes(run.config, prepare).items():
        for shard in list_shards(uri):
            target = matte_shard(storage.join(folder, name), shard)
            if run.config.data.clips is None:
                tasks.append(film.remote(model, run.config, shard, target, films[shard]))
            else:
                tasks.append(segment.remote(shard, target))
            outputs.append(storage.relative_path(target, folder))
    wait_for_all(tasks, "mattes", "made", run.seconds_after)
    return outputs


@ray.remote
def film_mattes(model: FaceModel, config: Config, shard: str, target: str, film: Film) -> None:
    """Films the people of one shard again, for their mattes, unless these exist: writes are atomic."""
    use_threads(1)
    if storage.exists(target):
        return
    rows = film_people(
        model, config.data.studio, config.seed, film.first, film.count, film.kind, config.image_size, mattes=True
    )
    mattes = {(row.identity, row.clip_id, tuple(row.frame)): row.matte or () for row in rows}
    write_mattes(shard, target, lambda row: mattes[row.identity, row.clip_id, tuple(row.frame)])


@ray.remote
def segment_shard(shard: str, target: str) -> None:
    """Segments the images of one shard unless that is done; clips with mattes of their own need no model for it."""
    use_threads(1)
    segmenter = cache(load_segmenter)
    if not storage.exists(target):
        write_mattes(shard, target, segmented(shard, lambda image: segmenter()(image)))


if __name__ == "__main__":
    sys.exit(main(__doc__, lambda run, options: run_stage(run, "mattes", make_mattes)))
