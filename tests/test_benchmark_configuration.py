"""configs/benchmark.yaml: its size, its matrix, and every stage of its largest variant in miniature, without Ray."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from jr2net.config import Config, load
from jr2net.data.index import index_shard, join_indices
from jr2net.data.sets import PAIR_CLIPS, index_name, studio_kinds
from jr2net.data.shards import write_clips
from jr2net.data.source_list import list_sources
from jr2net.evaluation import evaluate
from jr2net.expressions.tracks import Track, write_track
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.run import manifest, matrix
from jr2net.run.cascade import NETWORK_FILES, NETWORKS, Run, stages
from jr2net.run.matrix import members
from jr2net.run.stage import begin
from jr2net.run.trainings import batches, build, save
from jr2net.studio.film import film_people
from jr2net.synthesis import dataset, shards
from jr2net.synthesis.load import load_pair_maker, pair_digests
from jr2net.synthesis.pair_clips import clips_of_shard

BENCHMARK = Path(__file__).parents[1] / "configs" / "benchmark.yaml"
SMALL = [
    "image_size=32",
    "data.studio={people: 6, frames: 2, test_people: 2, test_frames: 2}",
    "synthesis={pairs: 8, pairs_per_shard: 4, batch_size: 4}",
    "evaluation.pairs=2",
    "dcnet.width=8",
    "dcnet.scales=2",
    "dcnet.context_scales=1",
    "dcnet.blocks=1",
    *(f"{name}.backbone={{layers: 10, width: 8}}" for name in ("recnet", "etnet")),
    *(
        f"{name}.optimizer={{steps: 1, batch_size: 4, learning_rate: 1.0e-4}}"
        for name in ("recnet", "dcnet", "etnet", "recaugnet", "reccopynet")
    ),
]


def test_it_is_large_enough_to_tell() -> None:
    config = load(BENCHMARK)
    assert config.data.studio.people >= 5000 and config.data.studio.test_people >= 200
    assert config.reccopynet.optimizer is not None
    assert config.reccopynet.optimizer.steps == config.etnet.optimizer.steps + config.recaugnet.optimizer.steps


def test_its_matrix_has_the_papers_ablations_and_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "load_face_model", lambda face: SimpleNamespace(digest="f" * 64))
    runs = members(load(BENCHMARK))
    assert len(runs) == 3 * 8 and {member.seed for member in runs} == {0, 1, 2}
    configs = {member.variant: member.run.config for member in runs if member.seed == 0}
    assert {config.data.studio.detector_shrink for config in configs.values()} == {0, 0.25, 0.5, 0.75}
    conditions = {name: (c.dcnet.conditions, c.dcnet.warped_image) for name, c in configs.items() if "Ours" in name}
    assert conditions == {"Ours-R": ("rendered", False), "Ours-P": ("dense", False), "Ours-L": ("no_light", True)}
    assert set(configs["full"].ablations) == {"reccopynet", "recdatanet", "baseline"} and configs["full"].rounds == 2
    known = load(BENCHMARK).scaling.expected_minutes
    needed = {stage.removesuffix("_2") for config in configs.values() for stage in stages(config)}
    assert needed == set(known), "so that what is left can be forecast"


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The largest variant, in miniature."""
    folder = tmp_path_factory.mktemp("benchmark")
    strong = np.random.default_rng(0).random((8, len(ARKIT_NAMES))).astype(np.float32)
    write_track(str(folder / "take.parquet"), Track("take", strong, 30.0))
    captures = f"data.studio.captures={folder}/take.parquet"
    (member,) = members(load(BENCHMARK, [f"storage={folder}/runs", *SMALL, captures]), ["full"], [0])
    return member.run


def film(run: Run, stage: str) -> list[str]:
    config, names = run.config, []
    for kind in studio_kinds(config):
        people = config.data.studio.people if kind == "train" else config.data.studio.test_people
        names.append(f"{kind}/people.parquet")
        rows = film_people(run.model, config.data.studio, config.seed, 0, people, kind, config.image_size)
        write_clips(f"{run.folder(stage)}/{names[-1]}", rows)
    return names


def train(run: Run, stage: str) -> list[str]:
    """One step on the batches of the stage itself."""
    upstream = run.folders(stage)
    training = build(stage, run.config, run.model, upstream)
    with closing(batches(stage, run.config, upstream)) as stream:  # type: ignore[type-var]
        losses = training.step(next(stream))
    assert all(map(math.isfinite, losses.values())), losses
    save(stage, training, run.config, run.model, run.digests(stage), Path(run.folder(stage)))
    return list(NETWORK_FILES)


def synthesize(run: Run, stage: str) -> list[str]:
    folder, settings, folders = run.folder(stage), run.config.synthesis, run.folders(stage)
    listed = list_sources(f"{folders['prepare']}/train")
    maker = load_pair_maker(run.config, run.model, folders, listed)
    Path(folder, dataset.SOURCES).write_text(json.dumps(asdict(listed) | {"captures": {"frames": {}}}))
    for number in range(2):
        shards.write_shard(folder, number, maker.shard(number))
    digests = pair_digests(run.config, run.model, folders, listed, [])
    dataset.finish(folder, settings, run.config.seed, digests, run.config.image_size)
    return ["dataset.json"]


def detect(run: Run, stage: str) -> list[str]:
    folders, folder = run.folders(stage), run.folder(stage)
    maker = load_pair_maker(run.config, run.model, folders, list_sources(f"{folders['prepare']}/train"))
    names = [f"{number}.parquet" for number in range(2)]
    for number, name in enumerate(names):
        rows = clips_of_shard(folders["synthesis"], number, maker, run.config, None)
        write_clips(f"{folder}/{PAIR_CLIPS}/{name}", rows)
    found = [index_shard(f"{folder}/{PAIR_CLIPS}/{name}") for name in names]
    join_indices(names, found, f"{folder}/{PAIR_CLIPS}").write(f"{folder}/{index_name(PAIR_CLIPS)}")
    return [f"{PAIR_CLIPS}/{name}" for name in names]


def work(stage: str) -> Callable[[Run, str], list[str]]:
    if stage in NETWORKS:
        return train
    return {"prepare": film, "pair_clips": detect, "synthesis": synthesize, "synthesis_2": synthesize}[stage]


def test_every_stage_takes_a_step(full: Run) -> None:
    config: Config = full.config
    for stage in stages(config)[:-1]:
        record = begin(full, stage)
        assert record is not None
        manifest.finish(full.folder(stage), record, work(stage)(full, stage), 0.0)
        assert begin(full, stage) is None, "it is not made again"
    result = evaluate(config, full.model, full.folders("evaluation")).metrics
    networks = ("RecNet", "RecAugNet", "RecCopyNet", "RecDataNet", "Baseline", "RecAugNet 2")
    for name in ("natural", "large", "captured"):
        assert set(result["reconstruction"][name]) == {"meshes", "comparisons", "MeanFace", *networks}
    for name in ("same_identity", "cross_identity"):
        assert {"WarpOnly", "DCNet", "DCNet 2"} <= set(result["reenactment"][name])
