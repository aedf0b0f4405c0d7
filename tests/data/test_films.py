"""Labelled films of the studio as pairs, alone and mixed with synthesised ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jr2net.config import StudioConfig
from jr2net.config.studio import Manner
from jr2net.data.caricature import caricature
from jr2net.data.films import encode_films, film_pairs, index_films
from jr2net.data.mixture import MixedPairLoader
from jr2net.data.pair_index import INDEX
from jr2net.data.pairs import PairLoader, PairSource, encode_pair_shard
from jr2net.face.landmarks import LEFT_EYE, RIGHT_EYE
from jr2net.face.model import FaceModel
from jr2net.images.clip import ClipRow
from jr2net.storage.parquet import ShardError
from jr2net.studio.film import film_people

SETTINGS = {"seed": 0, "size": 32, "jitter": 0.1}


@pytest.fixture(scope="module")
def people(procedural_model: FaceModel) -> list[ClipRow]:
    studio = StudioConfig(test_frames=2)
    return list(film_people(procedural_model, studio, 0, 0, 6, "labelled", 32, manners={"large": 1, "natural": 1}))


@pytest.fixture
def films(people: list[ClipRow], tmp_path: Path) -> str:
    """A folder of two shards of films and their index."""
    folder, shards = tmp_path / "films", []
    folder.mkdir()
    for name, rows in (("a.parquet", people[:4]), ("b.parquet", people[4:])):
        content, count = encode_films(name, rows)
        (folder / name).write_bytes(content)
        shards.append((name, count, len(content)))
    index_films(shards, str(folder)).write(str(folder / INDEX))
    return str(folder)


@pytest.fixture
def pairs(people: list[ClipRow], tmp_path: Path) -> str:
    """A folder of synthesised pairs, told by coefficients of one half."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    made = [replace(pair, expression=np.full(51, 0.5, np.float32)) for pair in film_pairs(people)]
    (folder / "pairs.parquet").write_bytes(encode_pair_shard("pairs", made))
    return str(folder)


def test_a_film_is_a_pair_with_the_coefficients_that_were_acted(people: list[ClipRow], films: str) -> None:
    source = PairSource(films)
    truth = {pair.pair_id: pair for pair in film_pairs(people)}
    assert len(source) == len(truth) == 12
    for number in range(12):
        pair = source.read(number)
        assert pair.image == truth[pair.pair_id].image and pair.source_id == truth[pair.pair_id].source_id
        np.testing.assert_array_equal(pair.expression, truth[pair.pair_id].expression)
    assert {pair.source_id for pair in truth.values()} == {row.identity for row in people}


def test_some_people_act_strongly(procedural_model: FaceModel) -> None:
    def strength(manner: Manner) -> float:
        rows = film_people(procedural_model, StudioConfig(test_frames=2), 0, 0, 12, "labelled", 32, manners={manner: 1})
        return float(np.mean([pair.expression.max() for pair in film_pairs(rows)]))

    assert strength("large") > strength("natural") + 0.15


def test_films_know_where_landmarks_and_irises_are(people: list[ClipRow], films: str) -> None:
    pair = PairSource(films).read(0)
    assert pair.keypoints is not None and pair.keypoints.shape == (70, 2)
    for eye, iris in ((RIGHT_EYE, 68), (LEFT_EYE, 69)):
        low, high = pair.keypoints[eye].min(0), pair.keypoints[eye].max(0)
        assert low[0] < pair.keypoints[iris, 0] < high[0]
    row = next(row for row in people if row.identity == pair.source_id)
    frame = row.frame.tolist().index(pair.frame)
    detected = row.landmarks[frame] / 32
    assert np.abs(pair.keypoints[:68] - detected).max() < 0.15  # the simulated detector is not exact


def test_a_mirrored_image_has_mirrored_keypoints(films: str) -> None:
    """Of 40 samples, some are mirrored: the first eye stays on the left half of the image in all of them."""
    batch = PairLoader(films, batch_size=40, **{**SETTINGS, "jitter": 0.0}).batch(0)
    points = batch["keypoints"]
    assert points.shape == (40, 70, 2) and (points[:, RIGHT_EYE, 0].mean(1) < points[:, LEFT_EYE, 0].mean(1)).all()
    assert (points[:, 68, 0] < points[:, 69, 0]).all()


def test_pairs_without_keypoints_have_none_in_a_batch(people: list[ClipRow], tmp_path: Path) -> None:
    made = [replace(pair, keypoints=None) for pair in film_pairs(people)]
    (tmp_path / "pairs.parquet").write_bytes(encode_pair_shard("pairs", made))
    batch = PairLoader(str(tmp_path / "pairs.parquet"), batch_size=3, **SETTINGS).batch(0)
    assert batch["keypoints"].isnan().all()
    with pytest.raises(ShardError, match="some pairs have keypoints"):
        encode_pair_shard("mixed", [made[0], *film_pairs(people)[1:]])


def test_degradation_changes_images_but_not_what_they_show(films: str) -> None:
    plain = PairLoader(films, batch_size=8, **SETTINGS).batch(0)
    degraded = PairLoader(films, batch_size=8, degradation=1.0, **SETTINGS).batch(0)
    assert plain["pair_id"] == degraded["pair_id"]
    assert not torch.equal(plain["image"], degraded["image"])
    assert torch.equal(plain["expression"], degraded["expression"])
    assert torch.equal(plain["keypoints"], degraded["keypoints"])


def test_a_batch_has_so_many_films(films: str, pairs: str) -> None:
    batch = MixedPairLoader({pairs: 2, films: 3}, **SETTINGS).batch(1)
    assert batch["image"].shape == (5, 3, 32, 32) and len(batch["pair_id"]) == 5
    is_pair = (batch["expression"] == 0.5).all(1)
    assert is_pair.tolist() == [True, True, False, False, False]


def test_the_workers_parts_make_the_global_batch_of_films_and_pairs(films: str, pairs: str) -> None:
    def at(rank: int, world: int) -> dict:
        return MixedPairLoader({pairs: 2, films: 4}, rank=rank, world=world, **SETTINGS).batch(2)

    whole, parts = at(0, 1), [at(rank, 2) for rank in range(2)]
    assert sorted(whole["pair_id"]) == sorted(parts[0]["pair_id"] + parts[1]["pair_id"])
    joined = torch.cat([part["image"] for part in parts])
    assert torch.equal(whole["image"].sum((1, 2, 3)).sort().values, joined.sum((1, 2, 3)).sort().values)


def test_films_alone_are_read_as_pairs_are(films: str) -> None:
    batches = iter(PairLoader(films, batch_size=4, **SETTINGS))
    first = next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert torch.equal(first["image"], PairLoader(films, batch_size=4, **SETTINGS).batch(0)["image"])


def test_a_caricature_moves_keypoints_with_what_they_are_on() -> None:
    """Red dots on a grey image are found where the keypoints went."""
    rng = np.random.default_rng(0)
    points = rng.uniform(20, 108, (70, 2))
    points[48:68] = (64, 90)
    for iris, at in ((68, (45, 50)), (69, (83, 50)), (30, (64, 68))):
        points[iris] = at
    for number in range(8):
        image = np.full((128, 128, 3), 90, np.uint8)
        x, y = np.round(points[number]).astype(int)
        image[y - 1 : y + 2, x - 1 : x + 2] = (255, 0, 0)
        at = points.copy()
        at[number] = (x, y)
        bent, moved = caricature(image, at, np.random.default_rng(number))
        weight = np.clip(bent[..., 0].astype(float) - bent[..., 1], 0, None)
        rows, columns = np.mgrid[0:128, 0:128]
        found = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
        assert np.abs(found - moved[number]).max() < 0.7
