"""Reenactors side by side: regions, pairs that turn, the table on untrained networks, averages over seeds."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from jr2net.config import BackboneConfig, DCNetConfig, OptimizerConfig, StudioConfig
from jr2net.data.clips import ClipSource
from jr2net.data.evaluation_frames import same_identity_pairs, turned_pairs
from jr2net.data.shards import read_clips, write_clips
from jr2net.evaluation.metrics.images import kept_violations, l1, l1_face, masked_error
from jr2net.evaluation.reenactors import ComparisonError, average_seeds, reenactment_table
from jr2net.evaluation.regions import region_masks
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.inference.messages import ModelInfo
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor
from jr2net.networks.dcnet import DCNet
from jr2net.networks.recnet import RecNet
from jr2net.render.scene import Generated, Scene, set_scene
from jr2net.report.comparison import comparison_markdown, error_ratios
from jr2net.report.result import to_json
from jr2net.storage.parquet import ShardError
from jr2net.studio.film import film_people

SIZE = 32
PEOPLE = 6


@pytest.fixture(scope="module")
def turned(procedural_model: FaceModel, tmp_path_factory: pytest.TempPathFactory) -> ClipSource:
    """Six people who turn their heads, with mattes and ground truth."""
    path = str(tmp_path_factory.mktemp("turned") / "people.parquet")
    write_clips(path, film_people(procedural_model, StudioConfig(), 0, 0, PEOPLE, "turned", SIZE, mattes=True))
    return ClipSource(path)


@pytest.fixture(scope="module")
def reader(procedural_model: FaceModel) -> Reconstructor:
    torch.manual_seed(0)
    recnet = RecNet(procedural_model.sizes, BackboneConfig(layers=10, width=8))
    for head in (recnet.identity, recnet.albedo, recnet.expression.linear, recnet.rotation):
        torch.nn.init.normal_(head.weight, std=0.05)
    return Reconstructor(recnet.eval(), procedural_model, ModelInfo("recnet", "digest", SIZE, 5.0))


def dcnet(model: FaceModel, seed: int) -> Reenactor:
    torch.manual_seed(seed)
    optimizer = OptimizerConfig(steps=1, batch_size=1, learning_rate=1e-3)
    network = DCNet(DCNetConfig(width=8, scales=2, blocks=1, optimizer=optimizer)).eval()
    torch.nn.init.normal_(network.output.weight, std=0.02)
    return Reenactor(network, model, ModelInfo("dcnet", f"digest {seed}", SIZE, 5.0))


@dataclass
class Keeper:
    """Keeps the left half of the source; paints the right half in one brightness. ``lies``: it keeps all it paints."""

    model: FaceModel
    lies: bool = False
    camera: Camera = field(default_factory=lambda: Camera.default(SIZE))
    network: torch.nn.Module = field(default_factory=torch.nn.Identity)

    def generate(self, images: Tensor, source: FaceParameters, driving: FaceParameters) -> tuple[Generated, Scene]:
        scene = set_scene(self.model, self.camera, images, source, driving)
        picture, kept = images.clone(), torch.ones_like(images[:, :1])
        picture[..., SIZE // 2 :] = 0.123
        kept[..., SIZE // 2 :] = float(self.lies)
        return Generated(picture, kept), scene


def test_regions_of_a_constructed_example() -> None:
    """Left to right: background of both, person in the source only, person in both, background in the source only."""
    source, driving = (torch.tensor(row).view(1, 1, 1, 5) for row in ([0, 1, 1, 0, 0.5], [0, 0, 1, 1, 0.0]))
    face = torch.tensor([0, 0, 1.0, 1.0, 0]).view(1, 1, 1, 5)
    masks = {name: mask.flatten().tolist() for name, mask in region_masks(face, source, driving).items()}
    assert masks == {
        "whole": [1, 1, 1, 1, 1],
        "face": [0, 0, 1, 1, 0],
        "outside": [1, 1, 0, 0, 1],
        "background": [1, 0, 0, 0, 0],
        "revealed": [0, 1, 0, 0, 0],
    }
    assert set(region_masks(face)) == set(region_masks(face, source, None)) == {"whole", "face", "outside"}


def test_masked_errors_are_means_over_pixels() -> None:
    generated, target = torch.rand(2, 3, 4, 4, generator=torch.manual_seed(0)), torch.zeros(2, 3, 4, 4)
    mask = torch.zeros(2, 1, 4, 4)
    mask[0, 0, :2], mask[1, 0, 0, 0] = 1, 1
    error, area = masked_error(generated, target, mask)
    assert area.tolist() == [24, 3]
    assert error[1] == pytest.approx(float(generated[1, :, 0, 0].sum()))
    assert torch.equal(l1_face(generated, target, mask), error / area)
    error, area = masked_error(generated, target, torch.ones_like(mask))
    torch.testing.assert_close(error / area, l1(generated, target))


def test_kept_pixels_are_the_sources_bits() -> None:
    source = torch.rand(1, 3, 4, 4, generator=torch.manual_seed(0))
    generated, kept = source.clone(), torch.ones(1, 1, 4, 4)
    assert kept_violations(generated, source, kept) == 0
    generated[0, 1, 2, 2] = torch.nextafter(generated[0, 1, 2, 2], torch.tensor(2.0))
    generated[0, :, 0, 0] += 0.5
    assert kept_violations(generated, source, kept) == 2
    kept[0, 0, 0, 0] = 0.999
    assert kept_violations(generated, source, kept) == 1


def test_turned_pairs_are_fixed_and_turn(turned: ClipSource) -> None:
    pairs = turned_pairs(turned, 18, seed=3)
    assert len(pairs) == 18 and pairs == turned_pairs(turned, 18, seed=3) and pairs != turned_pairs(turned, 18, seed=4)
    assert len(set(pairs)) == 18, "three frames have four pairs that turn, in both directions"
    for one, other in pairs:
        truth = turned.read(one.row).truth
        assert one.row == other.row and truth is not None
        assert 30 <= abs(np.degrees(truth.rotation[one.frame, 1] - truth.rotation[other.frame, 1])) <= 60
    assert {one.row for one, _ in pairs[:PEOPLE]} == set(range(PEOPLE))
    assert turned_pairs(turned, 40, seed=3)[:18] == pairs


def test_clips_that_do_not_turn_raise(turned: ClipSource, tmp_path: Path) -> None:
    rows = [replace(row, truth=None) for row in read_clips(turned.rows[0].shard)]
    write_clips(str(tmp_path / "clips.parquet"), rows)
    with pytest.raises(ShardError, match=r"no clip turns by 30° to 60°; set evaluation\.turned"):
        turned_pairs(ClipSource(str(tmp_path)), 4, seed=0)


def test_the_table_has_every_region_of_every_method(
    turned: ClipSource, reader: Reconstructor, procedural_model: FaceModel
) -> None:
    reenactors = {"dcnet": dcnet(procedural_model, 0), "keeper": Keeper(procedural_model)}
    table = json.loads(to_json(reenactment_table(reenactors, turned, turned_pairs(turned, 20, 0), reader)))
    measured = {"l1", "l1_face", "l1_outside", "l1_background", "l1_revealed", "l1_turned"}
    measured |= {"efl_px", "expression_mae", "expression_gap"}
    assert set(table["CopySource"]) == set(table["WarpOnly"]) == measured
    assert set(table["dcnet"]) == set(table["keeper"]) == measured | {"seconds", "kept", "kept_changed"}
    assert all(math.isfinite(value) for method in (*reenactors, "CopySource") for value in table[method].values())
    assert table["pairs"] == 20 and table["turned_pixels"] == 1 and 0 < table["revealed_pixels"] < 0.1
    assert table["WarpOnly"]["l1_outside"] == pytest.approx(table["CopySource"]["l1_outside"])
    assert table["CopySource"]["l1_background"] < 0.1 < table["CopySource"]["l1_revealed"]
    assert table["dcnet"]["seconds"] > 0 and table["dcnet"]["kept"] == 0
    assert (table["keeper"]["kept"], table["keeper"]["kept_changed"]) == (0.5, 0)
    face, outside = table["face_pixels"], table["outside_pixels"]
    parts = face * table["keeper"]["l1_face"] + outside * table["keeper"]["l1_outside"]
    assert parts == pytest.approx(table["keeper"]["l1"], rel=1e-4)


def test_a_reenactor_that_lies_about_what_it_keeps_is_found(
    turned: ClipSource, reader: Reconstructor, procedural_model: FaceModel
) -> None:
    pairs = turned_pairs(turned, 3, 0)
    table = reenactment_table({"liar": Keeper(procedural_model, lies=True)}, turned, pairs, reader)
    assert table["liar"]["kept"] == 1 and table["liar"]["kept_changed"] > 0.9 * 3 * SIZE * SIZE / 2


def test_clips_without_mattes_and_truth_have_the_other_metrics(
    turned: ClipSource, reader: Reconstructor, procedural_model: FaceModel, tmp_path: Path
) -> None:
    rows = [replace(row, truth=None, matte=None) for row in read_clips(turned.rows[0].shard)]
    write_clips(str(tmp_path / "clips.parquet"), rows)
    clips = ClipSource(str(tmp_path))
    table = reenactment_table({"dcnet": dcnet(procedural_model, 0)}, clips, same_identity_pairs(clips, 4, 0), reader)
    assert not {"l1_background", "l1_revealed", "expression_mae"} & set(table["dcnet"])
    assert {"l1_face", "expression_gap"} <= set(table["dcnet"])
    assert "l1_revealed" not in comparison_markdown({"held_out": table})


def test_networks_of_another_camera_cannot_be_compared(
    turned: ClipSource, reader: Reconstructor, procedural_model: FaceModel
) -> None:
    other = Keeper(procedural_model, camera=Camera.default(64))
    with pytest.raises(ComparisonError, match="other: was trained for images of 64 pixels"):
        reenactment_table({"other": other}, turned, turned_pairs(turned, 3, 0), reader)
    with pytest.raises(ComparisonError, match="at least one"):
        reenactment_table({}, turned, turned_pairs(turned, 3, 0), reader)


def test_seeds_are_averaged_and_compared() -> None:
    table = {
        "pairs": 4,
        "CopySource": {"l1": 0.08, "efl_px": 4.0},
        "dcnet 0": {"l1": 0.03, "kept": 0.0},
        "dcnet 1": {"l1": 0.05, "kept": 0.0},
        "flow3d 0": {"l1": 0.02, "kept": 0.4},
    }
    joined = average_seeds(table, {"dcnet": ["dcnet 0", "dcnet 1"], "flow3d": ["flow3d 0"]})
    assert list(joined) == ["pairs", "CopySource", "dcnet", "flow3d"]
    assert joined["dcnet"]["l1"] == pytest.approx(0.04) and joined["dcnet"]["seeds"] == 2
    assert joined["dcnet"]["std"]["l1"] == pytest.approx(0.01 * 2**0.5)
    assert "std" not in joined["flow3d"]
    ratios = error_ratios({name: values for name, values in joined.items() if isinstance(values, dict)})
    assert ratios["flow3d"]["dcnet"]["l1"] == pytest.approx(0.5)
    assert ratios["flow3d"]["CopySource"]["l1"] == pytest.approx(0.25)
    assert "kept" not in ratios["dcnet"]["CopySource"] and "dcnet" not in ratios["dcnet"]
    lines = comparison_markdown({"natural": joined}).splitlines()
    assert lines[0] == "## Natural expressions" and lines[2] == "pairs: 4"
    assert lines[4] == "|  | CopySource | dcnet | flow3d | dcnet / CopySource | flow3d / CopySource | flow3d / dcnet |"
    assert "| L1 | 0.0800 | 0.0400 ± 0.0141 | 0.0200 | 0.50 × | 0.25 × | 0.50 × |" in lines
    assert "| EFL, as RecAugNet reads it (px) | 4.00 | – | – | – | – | – |" in lines
