"""The actor of synthesis: holds the networks, turns shard numbers into shards in the storage."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import torch
from ray.util import metrics

from jr2net import storage
from jr2net.config import Config
from jr2net.data.pairs import encode_pair_shard
from jr2net.data.sources import SourceList, list_sources
from jr2net.expressions.tracks import Captures, read_captures
from jr2net.face.load import load_face_model
from jr2net.images.face_detector import load_face_detector
from jr2net.process import tune_malloc, use_threads
from jr2net.run.cascade import NETWORK_FILES, NETWORKS, Run
from jr2net.storage import StorageError
from jr2net.storage.parquet import ShardError
from jr2net.synthesis import dataset
from jr2net.synthesis.maker import PairMaker, captures_digest, load_pair_maker, source_folder
from jr2net.synthesis.preview import contact_sheet, encode_sheet


@dataclass(frozen=True)
class Work:
    """What pairs are made from, fixed once by the driver: every actor draws from the same."""

    sources: SourceList
    captures: Captures

    @property
    def tracks(self) -> list[Any]:
        return self.captures.tracks

    def to_json(self) -> bytes:
        tree = asdict(self.sources) | {
            "digest": self.sources.digest,
            "captures": {
                "digest": captures_digest(self.tracks),
                "frames": {track.name: len(track) for track in self.tracks},
                "clamped": {track.name: track.clamped for track in self.tracks if track.clamped},
                "damaged": self.captures.damaged,
            },
        }
        return (json.dumps(tree, indent=1, sort_keys=True) + "\n").encode()


def work_of(run: Run) -> Work:
    """Lists the sources and reads the captures. Raises errors that name what cannot be used at all."""
    settings = run.config.synthesis
    sources = list_sources(source_folder(run.config, run.folder("prepare")))
    if sources.kind == "photos" and settings.face_detector:
        load_face_detector()  # its absence is told before anything starts
    captures = read_captures(settings.captures) if settings.captures else Captures([], {})
    for name, reason in {**sources.damaged, **captures.damaged}.items():
        print(f"[synthesis] set aside: {name}: {reason}", flush=True)
    for track in captures.tracks:
        if track.clamped:
            print(f"[synthesis] {track.name}: {track.clamped} coefficients outside [0, 1] were clamped", flush=True)
    return Work(sources, captures)


class PairActor:
    """{"shard": index} to what became of it. Several threads may call it: they take turns at the networks."""

    def __init__(self, config: Config, folders: dict[str, str], folder: str, work: Work) -> None:
        use_threads(1)  # a second one gains nothing here, and bytes must not depend on their number
        tune_malloc()
        self.config, self.folders, self.folder, self.work = config, folders, folder, work
        self.maker = self._load(config)
        self.pairs = metrics.Counter("jr2net_synthesis_pairs", "pairs written")
        self.rejected = metrics.Counter("jr2net_synthesis_rejected", "pairs left out", tag_keys=("reason",))
        self.failed = metrics.Counter("jr2net_synthesis_failed_shards", "shards that could not be written")
        self.seconds = metrics.Counter("jr2net_synthesis_seconds", "time spent", tag_keys=("phase",))

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        index = int(row["shard"])
        answer = {"shard": index, "planned": 0, "pairs": 0, "rejected": "{}", "seconds": "{}", "error": ""}
        try:
            made = self.maker.shard(index)
            with made.seconds("write"):
                manifest = dataset.write_shard(self.folder, index, made)
        except (StorageError, ShardError, torch.cuda.OutOfMemoryError) as error:
            self.failed.inc()
            return answer | {"error": " ".join(str(error).split())}
        if made.pairs:
            self.pairs.inc(len(made.pairs))
        for reason, count in manifest["rejected"].items():
            self.rejected.inc(count, {"reason": reason})
        for phase, seconds in made.seconds.items():
            self.seconds.inc(max(seconds, 1e-9), {"phase": phase})
        return answer | {
            "planned": made.planned,
            "pairs": len(made.pairs),
            "rejected": json.dumps(manifest["rejected"]),
            "seconds": json.dumps(made.seconds),
        }

    def measure(self, pairs: int) -> dict[str, Any]:
        """How long a sample takes, and its size in bytes; nothing is written."""
        tree = self.config.model_dump()
        tree["synthesis"] |= {"pairs": 2 * pairs, "pairs_per_shard": pairs}
        maker = self._load(Config.model_validate(tree))
        maker.shard(0)  # warms up
        start = time.perf_counter()
        made = maker.shard(1)
        with made.seconds("encode"):
            content = encode_pair_shard("sample", made.pairs) if made.pairs else b""
        return {
            "planned": made.planned,
            "pairs": len(made.pairs),
            "bytes": len(content),
            "seconds": time.perf_counter() - start,
            "phases": dict(made.seconds),
        }

    def preview(self) -> bytes:
        """A contact sheet as PNG."""
        return encode_sheet(contact_sheet(self.maker, self.config.seed))

    def _load(self, config: Config) -> PairMaker:
        device = "cuda" if config.scaling.gpus_per_actor > 0 else "cpu"
        model = load_face_model(config.face)
        with ExitStack() as stack:
            places = {name: uri for name, uri in self.folders.items() if name not in NETWORKS}
            for name in set(self.folders) - set(places):
                places[name] = str(stack.enter_context(storage.local_copy(self.folders[name], NETWORK_FILES)))
            return load_pair_maker(config, model, places, self.work.sources, self.work.tracks, device)
