"""The Ray actor of synthesis: holds the networks and writes shards by their numbers."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from ray.util import metrics

from jobs.prepare import CHECKS
from jr2net import storage
from jr2net.config import Config
from jr2net.data.pairs import encode_pair_shard
from jr2net.data.source_list import SourceList, list_sources
from jr2net.device import DeviceError, check_device
from jr2net.errors import UserError
from jr2net.expressions.tracks import Captures, read_captures
from jr2net.face.load import load_face_model
from jr2net.images.face_detector import load_face_detector
from jr2net.process import tune_malloc, use_threads
from jr2net.run.cascade import NETWORK_FILES, NETWORKS, Run
from jr2net.run.manifest import read_inputs
from jr2net.storage.parquet import ShardError
from jr2net.synthesis import dataset, shards
from jr2net.synthesis.load import captures_digest, load_pair_maker, source_folder, validation_maker
from jr2net.synthesis.maker import PairMaker
from jr2net.synthesis.people import without_held_out
from jr2net.synthesis.preview import contact_sheet, encode_sheet


@dataclass(frozen=True)
class SynthesisInputs:
    """Sources and captures of a dataset, listed once by the driver and shared by all actors.

    grown_from: of the dataset, see ``synthesis/plan.py``. driving: the clips of ``synthesis.driving``, if it is used.
    """

    sources: SourceList
    captures: Captures
    grown_from: tuple[int, ...] = ()
    driving: SourceList | None = None

    @property
    def tracks(self) -> list[Any]:
        return self.captures.tracks

    def to_json(self) -> bytes:
        """Content of ``sources.json``."""
        tree = self.sources.tree | {
            "digest": self.sources.digest,
            "captures": {
                "digest": captures_digest(self.tracks),
                "frames": {track.name: len(track) for track in self.tracks},
                "clamped": {track.name: track.clamped for track in self.tracks if track.clamped},
                "damaged": self.captures.damaged,
            },
        }
        return (json.dumps(tree, indent=1, sort_keys=True) + "\n").encode()


def load_inputs(run: Run, stage: str = "synthesis") -> SynthesisInputs:
    """Lists the sources and reads the captures. Raises ShardError, TrackError or DetectorError if they are unusable.

    The indices of clips that ``prepare`` has not indexed are kept beside what it found in others.
    """
    settings, kept = run.config.synthesis, storage.join(run.config.storage, CHECKS)
    if settings.sources is None:
        sources = list_sources(source_folder(run.config, run.folder("prepare")), prepared=True)
    else:
        sources = list_other_sources(run, settings.sources, kept)
    driving = list_driving(settings.driving, kept) if settings.reenact and settings.driving is not None else None
    if sources.kind == "photos" and settings.face_detector:
        load_face_detector()  # fails early if it is not installed
    captures = read_captures(settings.captures) if settings.captures else Captures([], {})
    for name, reason in {**sources.damaged, **captures.damaged}.items():
        print(f"[synthesis] skipped: {name}: {reason}", flush=True)
    for track in captures.tracks:
        for note in track.notes:
            print(f"[synthesis] {track.name}: {note}", flush=True)
    grown_from = (read_inputs(run.folder(stage)) or {}).get("grown_from", ())
    return SynthesisInputs(sources, captures, dataset.cuts(settings, grown_from), driving)


def list_other_sources(run: Run, uri: str, kept: str) -> SourceList:
    """The clips or photos that ``synthesis.sources`` names, without the people who are tested or validated on."""
    sources = list_sources(uri, kept)
    if sources.kind == "clips":
        sources = without_held_out(run.config, run.folder("prepare"), uri, sources)
    if sources.left_out:
        print(
            f"[synthesis] {len(sources.left_out)} identities of synthesis.sources are tested or validated on: their "
            "images are not used",
            flush=True,
        )
    return sources


def list_driving(uri: str, kept: str) -> SourceList:
    """The clips that ``synthesis.driving`` names. Raises ShardError where they are none, or a shard is damaged."""
    driving = list_sources(uri, kept)
    if driving.kind != "clips":
        raise ShardError(f"synthesis.driving: {uri} holds no clip shards (.parquet); give a folder of them")
    for name, reason in driving.damaged.items():
        raise ShardError(f"synthesis.driving: {name}: {reason}")
    return driving


class PairActor:
    """Maps {"shard": index} to the outcome of that shard; thread-safe.

    A shard that is there is never made again. An actor whose device is broken gives up the shard that it is at, and
    ends when it is given another one: Ray starts it anew and repeats that one. The networks are loaded at the first
    shard, since Ray replaces no actor that fails to start again.
    """

    def __init__(self, config: Config, folders: dict[str, str], folder: str, inputs: SynthesisInputs) -> None:
        use_threads(1)  # more threads gain nothing, and bytes must not depend on their number
        tune_malloc()
        self.config, self.folders, self.folder, self.inputs = config, folders, folder, inputs
        self.is_broken = False
        self._maker: PairMaker | None = None
        self._loading = threading.Lock()
        self.pairs = metrics.Counter("jr2net_synthesis_pairs", "pairs written")
        self.rejected = metrics.Counter("jr2net_synthesis_rejected", "pairs left out", tag_keys=("reason",))
        self.failed = metrics.Counter("jr2net_synthesis_failed_shards", "shards that could not be written")
        self.seconds = metrics.Counter("jr2net_synthesis_seconds", "time spent", tag_keys=("phase",))

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        if self.is_broken:
            self.end_process()
        index = int(row["shard"])
        outcome = {"shard": index, "planned": 0, "pairs": 0, "rejected": "{}", "seconds": "{}"}
        outcome |= {"error": "", "device_broken": False}
        seconds: dict[str, float] = {}
        try:
            manifest = shards.finished_shard(self.folder, index)
            if manifest is None:
                result = self.maker.shard(index)
                with result.seconds("write"):
                    manifest = shards.write_shard(self.folder, index, result)
                seconds = result.seconds
                self._count(manifest, seconds)
        except DeviceError as error:
            self.is_broken = True
            return outcome | {"error": _one_line(error), "device_broken": True}
        except (UserError, MemoryError, torch.cuda.OutOfMemoryError) as error:
            self.failed.inc()
            return outcome | {"error": _one_line(error)}
        return outcome | {
            "planned": manifest["planned"],
            "pairs": manifest["pairs"],
            "rejected": json.dumps(manifest["rejected"]),
            "seconds": json.dumps(seconds),
        }

    @property
    def maker(self) -> PairMaker:
        """Raises DeviceError where the device is the reason why the networks cannot be loaded."""
        with self._loading:
            if self._maker is None:
                try:
                    self._maker = self._load(self.config, self.inputs)
                except UserError:
                    raise
                except Exception:
                    check_device(torch.device(self._device))
                    raise
            return self._maker

    def end_process(self) -> None:
        os._exit(1)  # at once, as no library of a broken device can be trusted to end

    def _count(self, manifest: dict[str, Any], seconds: dict[str, float]) -> None:
        if manifest["pairs"]:
            self.pairs.inc(manifest["pairs"])
        for reason, count in manifest["rejected"].items():
            self.rejected.inc(count, {"reason": reason})
        for phase, spent in seconds.items():
            self.seconds.inc(max(spent, 1e-9), {"phase": phase})

    def measure(self, pairs: int) -> dict[str, Any]:
        """Time and size in bytes of a sample of pairs; writes nothing."""
        tree = self.config.model_dump()
        tree["synthesis"] |= {"pairs": 2 * pairs, "pairs_per_shard": pairs}
        maker = self._load(Config.model_validate(tree), replace(self.inputs, grown_from=()))
        maker.shard(0)  # warms up
        start = time.perf_counter()
        result = maker.shard(1)
        with result.seconds("encode"):
            content = encode_pair_shard("sample", result.pairs) if result.pairs else b""
        return {
            "planned": result.planned,
            "pairs": len(result.pairs),
            "bytes": len(content),
            "seconds": time.perf_counter() - start,
            "phases": dict(result.seconds),
        }

    def write_validation(self) -> None:
        """Writes the pairs to validate on. Raises ShardError where none is left."""
        maker = validation_maker(self.maker, self.config, self.folders["prepare"])
        dataset.write_validation(self.folder, maker.shard(0))

    def preview(self) -> bytes:
        """A contact sheet as PNG."""
        return encode_sheet(contact_sheet(self.maker, self.config.seed))

    @property
    def _device(self) -> str:
        return "cuda" if self.config.scaling.gpus_per_actor > 0 else "cpu"

    def _load(self, config: Config, inputs: SynthesisInputs) -> PairMaker:
        model = load_face_model(config.face)
        with ExitStack() as stack:
            local_folders = {name: uri for name, uri in self.folders.items() if name not in NETWORKS}
            for name in set(self.folders) - set(local_folders):
                local_folders[name] = str(stack.enter_context(storage.local_copy(self.folders[name], NETWORK_FILES)))
            return load_pair_maker(
                config,
                model,
                local_folders,
                inputs.sources,
                inputs.tracks,
                self._device,
                inputs.grown_from,
                inputs.driving,
            )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
