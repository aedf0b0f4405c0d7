"""Labelled films of the studio as pairs, alone and mixed with synthesised ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jr2net.config import StudioConfig
from jr2net.data.films import encode_films, film_pairs, index_films
from jr2net.data.mixture import MixedPairLoader
from jr2net.data.pair_index import INDEX
from jr2net.data.pairs import PairLoader, PairSource, encode_pair_shard
from jr2net.face.model import FaceModel
from jr2net.images.clip import ClipRow
from jr2net.studio.film import film_people

SETTINGS = {"seed": 0, "size": 32, "jitter": 0.1}


@pytest.fixture(scope="module")
def people(procedural_model: FaceModel) -> list[ClipRow]:
    studio = StudioConfig(test_frames=2)
    return list(film_people(procedural_model, studio, 0, 0, 6, "labelled", 32, large=0.5))


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
    def strength(large: float) -> float:
        rows = film_people(procedural_model, StudioConfig(test_frames=2), 0, 0, 12, "labelled", 32, large=large)
        return float(np.mean([pair.expression.sum() for pair in film_pairs(rows)]))

    assert strength(1.0) > 1.5 * strength(0.0)


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
