"""Stage ``pair_clips``: synthesised images as clips with detected landmarks; RecDataNet and Baseline need it.

python jobs/pair_clips.py --config configs/laptop.yaml 'ablations=[recdatanet]' [key=value …]
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

import numpy as np
import pyarrow as pa
import ray

from jobs.command_line import main
from jobs.pair_actor import SynthesisInputs, load_inputs
from jobs.stage import run_stage
from jobs.tasks import on_cpu_machines, wait_for_all
from jr2net import storage
from jr2net.config import Config
from jr2net.data.index import index_shard, join_indices
from jr2net.data.sets import PAIR_CLIPS, index_name
from jr2net.data.shards import write_clips
from jr2net.face.load import load_face_model
from jr2net.images.face_detector import load_face_detector
from jr2net.process import use_threads
from jr2net.run.cascade import NETWORK_FILES, NETWORKS, Run
from jr2net.synthesis.load import load_pair_maker
from jr2net.synthesis.pair_clips import clips_of_shard, is_simulated
from jr2net.synthesis.plan import shard_count
from jr2net.synthesis.shards import shard_label

SHARDS_PER_TASK = 16


def make_pair_clips(run: Run) -> list[str]:
    """Writes a clip shard for every pair shard, and their index; returns their paths below the stage's folder.

    Raises DetectorError where no detector is installed and the images are not the studio's.
    """
    if not is_simulated(run.config):
        load_face_detector("mediapipe")  # fails early if it is not installed
    folder, inputs = run.folder("pair_clips"), load_inputs(run)
    numbers = np.arange(shard_count(run.config.synthesis, inputs.grown_from))
    shared = ray.put(inputs)
    parts = np.array_split(numbers, max(1, -(-len(numbers) // SHARDS_PER_TASK)))
    task = on_cpu_machines(make_shards, run.config.scaling)
    tasks = [task.remote(run.config, shared, part.tolist(), folder) for part in parts]
    found = [shard for part in wait_for_all(tasks, "pair_clips", "made", run.seconds_after) for shard in part]
    names, indices = [name for name, _ in found], [index for _, index in found]
    join_indices(names, indices, storage.join(folder, PAIR_CLIPS)).write(storage.join(folder, index_name(PAIR_CLIPS)))
    return [index_name(PAIR_CLIPS), *(f"{PAIR_CLIPS}/{name}" for name in names)]


@ray.remote
def make_shards(config: Config, inputs: SynthesisInputs, numbers: list[int], folder: str) -> list[tuple[str, pa.Table]]:
    """Name and index of each clip shard, written unless it exists; a shard without pairs has none."""
    use_threads(1)
    model, folders, found = load_face_model(config.face), Run(config).folders("pair_clips"), []
    detector = None if is_simulated(config) else load_face_detector("mediapipe")
    with ExitStack() as stack:
        for name in set(NETWORKS) & folders.keys():
            folders[name] = str(stack.enter_context(storage.local_copy(folders[name], NETWORK_FILES)))
        maker = load_pair_maker(
            config, model, folders, inputs.sources, inputs.tracks, "cpu", inputs.grown_from, inputs.driving
        )
    for number in numbers:
        name = f"{shard_label(number)}.parquet"
        uri = storage.join(folder, PAIR_CLIPS, name)
        if not storage.exists(uri):
            rows = clips_of_shard(folders["synthesis"], number, maker, config, detector)
            if not rows:
                continue
            write_clips(uri, rows)
        found.append((name, index_shard(uri)))
    return found


if __name__ == "__main__":
    sys.exit(main(__doc__, lambda run, options: run_stage(run, "pair_clips", make_pair_clips)))
