"""Stages that make mattes and the comparison of reenactors, on a real Ray cluster, with untrained networks."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch

from jobs import mattes
from jobs.compare import absolute, load_reenactor, named_folders
from jr2net.config import load, shipped_config
from jr2net.data import sets
from jr2net.data.mattes import read_matte_group
from jr2net.data.shards import read_clips, write_clips
from jr2net.face.model import FaceModel
from jr2net.images.segmentation import SegmenterError, load_segmenter
from jr2net.networks.checkpoint import CheckpointError, save_network
from jr2net.networks.dcnet import DCNet
from jr2net.networks.recnet import RecNet
from jr2net.run.manifest import read_manifest
from jr2net.settings import ConfigError
from jr2net.studio.film import film_people

SETTINGS = ("reenactor=flow3d", "evaluation.turned=true", "data.studio.people=4")


@pytest.fixture(scope="module")
def prepared(submit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose stages filmed the turned set and all mattes."""
    storage = tmp_path_factory.mktemp("runs") / "judge"
    for job in ("jobs/prepare.py", "jobs/mattes.py"):
        status, log = submit(job, f"storage={storage}", *SETTINGS)
        assert status == 0, log
    return storage


def save_networks(folder: Path, model: FaceModel) -> None:
    """Untrained networks of the smoke configuration: ``reader``, and DCNets ``seed0`` and ``seed1``."""
    config = load(shipped_config("smoke"))
    seen_through = {"image_size": config.image_size, "focal_ratio": config.face.focal_ratio}
    torch.manual_seed(0)
    reader = RecNet(model.sizes, config.recnet.backbone)
    torch.nn.init.normal_(reader.expression.linear.weight, std=0.05)
    save_network(reader, folder / "reader", seen_through, model.digest, {})
    for seed in range(2):
        torch.manual_seed(seed)
        dcnet = DCNet(config.dcnet)
        torch.nn.init.normal_(dcnet.output.weight, std=0.02)
        save_network(dcnet, folder / f"seed{seed}", seen_through, model.digest, {})


@pytest.mark.drill
def test_the_stages_film_mattes_and_the_turned_set(prepared: Path) -> None:
    contents = json.loads((prepared / "prepare" / "clips.json").read_text())
    assert {name: sum(shard["identities"] for shard in shards.values()) for name, shards in contents.items()} == {
        "train": 4,
        "natural": 4,
        "large": 4,
        "turned": 4,
    }
    config = load(shipped_config("smoke"), list(SETTINGS))
    for clips in sets.test_clips(config, str(prepared / "prepare"), str(prepared / "mattes")).values():
        assert all(clips.read_mattes(row) is not None for row in range(len(clips)))


@pytest.mark.drill
def test_reenactors_are_compared(prepared: Path, submit, procedural_model: FaceModel, tmp_path: Path) -> None:
    save_networks(tmp_path, procedural_model)
    reenactors = [f"--reenactor={name}={tmp_path / folder}" for name, folder in
                  (("dcnet", "seed0"), ("dcnet", "seed1"), ("other", "seed1"))]  # fmt: skip
    job = ["jobs/compare.py", *reenactors, f"--reconstructor={tmp_path / 'reader'}", f"storage={prepared}", *SETTINGS]
    status, log = submit(*job)
    assert status == 0, log
    (document,) = (prepared / "comparison").glob("*.json")
    result = json.loads(document.read_text())
    assert set(result["sets"]) == {"natural", "large", "turned"}
    assert {"l1_revealed", "l1_turned", "expression_gap", "seconds"} <= set(result["sets"]["turned"]["dcnet"])
    assert result["sets"]["turned"]["dcnet"]["seeds"] == 2 and result["sets"]["turned"]["dcnet"]["std"]["l1"] > 0
    assert result["ratios"]["turned"]["other"]["dcnet"]["l1"] > 0 and len(result["weights"]["dcnet"]) == 2
    markdown = document.with_suffix(".md").read_text()
    assert "## Turned heads, 30° to 60°" in markdown and "other / dcnet" in markdown
    assert all(line in log for line in markdown.splitlines())


@pytest.mark.drill
def test_mattes_of_given_clips_are_made_and_resumed(submit, procedural_model: FaceModel, tmp_path: Path) -> None:
    try:
        load_segmenter()
    except SegmenterError as error:
        pytest.skip(str(error))
    config = load(shipped_config("smoke"))
    for number in range(2):
        people = film_people(procedural_model, config.data.studio, 1, 3 * number, 3, "train", 64)
        write_clips(str(tmp_path / "clips" / f"clips-{number}.parquet"), people)
    digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "clips").iterdir()}
    given = [f"data.clips={tmp_path / 'clips'}", "reenactor=flow3d"]
    for job in ("jobs/prepare.py", "jobs/mattes.py"):
        status, log = submit(job, f"storage={tmp_path / 'run'}", *given)
        assert status == 0, log
    folder = tmp_path / "run" / "mattes"
    shards = sorted((folder / "clips").iterdir())
    manifest = read_manifest(str(folder))
    assert manifest is not None
    assert [f"clips/{path.name}" for path in shards] == sorted(manifest.outputs)
    config = load(shipped_config("smoke"), given)
    clips = sets.training_clips(config, str(tmp_path / "run" / "prepare"), str(folder))
    assert clips.load_matte(0, 0, 64).shape == (64, 64)
    assert digests == {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "clips").iterdir()}

    written = shards[0].stat().st_mtime_ns, shards[1].read_bytes()
    shards[1].unlink()
    for shard, matte in zip(sorted((tmp_path / "clips").iterdir()), shards):  # as a resumed stage does
        mattes.segment_shard._function(str(shard), str(matte))
    assert (shards[0].stat().st_mtime_ns, shards[1].read_bytes()) == written


def test_clips_with_mattes_of_their_own_need_no_segmentation_model(
    procedural_model: FaceModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise SegmenterError("no segmentation model is installed")

    monkeypatch.setattr(mattes, "load_segmenter", missing)
    studio = load(shipped_config("smoke")).data.studio
    for name, filmed in (("own", True), ("plain", False)):
        people = film_people(procedural_model, studio, 1, 0, 1, "train", 64, mattes=filmed)
        write_clips(str(tmp_path / f"{name}.parquet"), people)
    mattes.segment_shard._function(str(tmp_path / "own.parquet"), str(tmp_path / "mattes.parquet"))
    (row,) = read_clips(str(tmp_path / "own.parquet"))
    (copied,) = read_matte_group(str(tmp_path / "mattes.parquet"), 0)
    assert copied.matte == row.matte and len(copied.matte) == 2
    with pytest.raises(SegmenterError, match="no segmentation model"):
        mattes.segment_shard._function(str(tmp_path / "plain.parquet"), str(tmp_path / "others.parquet"))


def test_a_network_is_not_shown_under_the_name_of_another_reenactor(
    procedural_model: FaceModel, tmp_path: Path
) -> None:
    save_networks(tmp_path, procedural_model)
    for name in ("dcnet", "warp"):
        assert load_reenactor(name, str(tmp_path / "seed0"), procedural_model, "cpu").info.kind == "dcnet"
    with pytest.raises(CheckpointError, match="seed0: holds a dcnet; give the folder of a flow3d"):
        load_reenactor("flow3d", str(tmp_path / "seed0"), procedural_model, "cpu")


def test_folders_are_given_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    assert named_folders(["dcnet=/a", "flow3d=s3://b/c", "dcnet=d"], "/base") == {
        "dcnet": ["/a", "/base/d"],
        "flow3d": ["s3://b/c"],
    }
    for wrong in ("dcnet", "=folder", "dcnet=", "CopySource=folder"):
        with pytest.raises(ConfigError, match="write NAME=FOLDER"):
            named_folders([wrong], None)
    monkeypatch.setitem(os.environ, "RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(ConfigError, match="relative path"):
        absolute("runs/a", None)
