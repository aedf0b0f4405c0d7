"""Stage ``synthesis``: a Ray Data pipeline whose actors hold RecNet and DCNet and write pair shards to the storage.

python jobs/synthesize.py --config configs/laptop.yaml [key=value …]
"""

from __future__ import annotations

import json
import logging
import sys
import time
from contextlib import ExitStack

import ray
import torch
from ray.data import ActorPoolStrategy

from jobs.command_line import main
from jobs.stage import run_stage
from jr2net import storage
from jr2net.cascade import NETWORK_FILES, NETWORKS, Run
from jr2net.config import Config
from jr2net.data.pairs import DESCRIPTION, write_description, write_pair_shard
from jr2net.face.load import load_face_model
from jr2net.report.html import duration
from jr2net.synthesis import load_pair_maker, shard_count, shard_name, shard_range


def synthesize(run: Run) -> list[str]:
    """Writes the shards that are missing, then ``dataset.json``, which says that the dataset is complete."""
    folder, settings, scaling = run.folder("synthesis"), run.config.synthesis, run.config.scaling
    there = set(storage.list_files(folder, ".parquet"))
    missing = [index for index in range(shard_count(settings)) if shard_name(index) not in there]
    start, made = time.monotonic(), 0
    if missing:
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        counts = ray.data.from_items([{"shard": index} for index in missing], override_num_blocks=len(missing)).map(
            ShardWriter,  # type: ignore[arg-type]  # Ray Data makes the actors of it
            fn_constructor_args=[run.config, run.folders("synthesis"), folder],
            compute=ActorPoolStrategy(size=min(scaling.synthesis_actors, len(missing))),
            num_cpus=scaling.cpus_per_worker,
            num_gpus=scaling.gpus_per_actor,
        )
        wanted = sum(last - first for first, last in (shard_range(settings, index) for index in missing))
        shown = start
        for row in counts.iter_rows():
            made += row["pairs"]
            now = time.monotonic()
            if now - shown > 10 or made == wanted:
                shown, pace = now, made / (now - start)
                left = duration((wanted - made) / pace)
                print(f"[synthesis] {made} of {wanted} pairs, {pace:.1f} pairs/s, time left {left}", flush=True)
        throughput = {"pairs": made, "seconds": time.monotonic() - start}
        storage.write_bytes(storage.join(folder, "throughput.json"), json.dumps(throughput).encode())
    digests = {"face_model": run.model.digest} | run.digests("synthesis")
    write_description(folder, digests, run.config.seed)
    return [DESCRIPTION]


class ShardWriter:
    """An actor of the pool: {"shard": index} to {"shard": index, "pairs": count}."""

    def __init__(self, config: Config, folders: dict[str, str], folder: str) -> None:
        torch.set_num_threads(max(1, int(config.scaling.cpus_per_worker)))
        device = "cuda" if config.scaling.gpus_per_actor > 0 else "cpu"
        model = load_face_model(config.face)
        with ExitStack() as stack:
            places = {name: folders[name] for name in folders if name not in NETWORKS}
            for name in set(folders) - set(places):
                places[name] = str(stack.enter_context(storage.local_copy(folders[name], NETWORK_FILES)))
            self.maker = load_pair_maker(config, model, places, device)
        self.folder = folder

    def __call__(self, row: dict[str, int]) -> dict[str, int]:
        pairs = self.maker.shard(row["shard"])
        write_pair_shard(storage.join(self.folder, shard_name(row["shard"])), pairs)
        return {"shard": row["shard"], "pairs": len(pairs)}


if __name__ == "__main__":
    sys.exit(main(__doc__, lambda run, options: run_stage(run, "synthesis", synthesize)))
