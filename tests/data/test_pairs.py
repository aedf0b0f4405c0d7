from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from blob_clips import blob_centre, blob_image

from jr2net.data.pairs import (
    Pair,
    PairLoader,
    PairSource,
    encode_pair_shard,
    make_pair_id,
    pair_rng,
    read_description,
    read_pairs,
)
from jr2net.face.arkit import ARKIT_NAMES, MIRROR_ORDER
from jr2net.storage import write_bytes
from jr2net.storage.parquet import ShardError


def write_pairs(path: str, pairs: Sequence[Pair]) -> None:
    write_bytes(path, encode_pair_shard(path, pairs))


def make_pair(number: int) -> Pair:
    rng = np.random.default_rng(number)
    return Pair(
        pair_id=make_pair_id("person", number),
        image=blob_image(np.array([40.0, 60.0])),
        expression=rng.random(51).astype(np.float32),
        source_id="person/10",
        track="sampler",
        frame=number,
        scores={"score": 0.5, "score_landmarks": number / 10},
    )


@pytest.fixture(scope="module")
def pair_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    write_pairs(str(folder / "pairs-00000.parquet"), [make_pair(n) for n in range(70)])
    write_pairs(str(folder / "pairs-00001.parquet"), [make_pair(n) for n in range(70, 80)])
    return folder


def test_pairs_are_read_in_the_order_of_their_ids(pair_folder: Path) -> None:
    written = sorted((make_pair(n) for n in range(70)), key=lambda pair: pair.pair_id)
    for one, other in zip(written, read_pairs(str(pair_folder / "pairs-00000.parquet")), strict=True):
        assert np.array_equal(one.expression, other.expression)
        assert other.scores == pytest.approx(one.scores)
        assert replace(one, expression=0, scores={}) == replace(other, expression=0, scores={})


def test_bytes_do_not_depend_on_the_order_of_arrival(tmp_path: Path) -> None:
    pairs = [make_pair(n) for n in range(9)]
    write_pairs(str(tmp_path / "a"), pairs)
    write_pairs(str(tmp_path / "b"), pairs[::-1])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_ids_are_pinned_and_seed_generators() -> None:
    assert make_pair_id("a", 1) != make_pair_id("a1") != make_pair_id("a", "1")
    assert pair_rng(make_pair_id("a")).random() == pair_rng(make_pair_id("a")).random()


def test_coefficients_are_ordered_by_name(pair_folder: Path, tmp_path: Path) -> None:
    table = pq.read_table(pair_folder / "pairs-00001.parquet")
    values = np.array(table["expression"].to_pylist(), np.float32)[:, ::-1]
    reordered = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 51)
    table = table.set_column(2, "expression", reordered)
    path = str(tmp_path / "reordered.parquet")
    pq.write_table(table.replace_schema_metadata({"expression_names": json.dumps(ARKIT_NAMES[::-1])}), path)
    for one, other in zip(read_pairs(path), read_pairs(str(pair_folder / "pairs-00001.parquet"))):
        assert np.array_equal(one.expression, other.expression)
    pq.write_table(table.replace_schema_metadata({"expression_names": json.dumps(["smile", *ARKIT_NAMES[1:]])}), path)
    with pytest.raises(ShardError, match="differ from the 51 ARKit shapes in eyeBlinkLeft, smile"):
        next(read_pairs(path))


def test_images_may_be_plain_bytes(pair_folder: Path, tmp_path: Path) -> None:
    table = pq.read_table(pair_folder / "pairs-00001.parquet")
    assert table.schema.field("image").type == pa.struct({"bytes": pa.binary(), "path": pa.string()})
    images = pa.array([image["bytes"] for image in table["image"].to_pylist()])
    path = str(tmp_path / "plain.parquet")
    pq.write_table(table.set_column(1, "image", images), path)
    for one, other in zip(read_pairs(path), read_pairs(str(pair_folder / "pairs-00001.parquet")), strict=True):
        assert one.image == other.image and one.pair_id == other.pair_id


def test_shards_in_folders_of_a_dataset_are_found(pair_folder: Path, tmp_path: Path) -> None:
    for number, spread in enumerate(("3f", "a0")):
        write_pairs(str(tmp_path / "pairs" / spread / f"pairs-{number}.parquet"), [make_pair(number)])
    assert len(PairSource(str(tmp_path))) == 2


def test_a_damaged_description_raises(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(ShardError, match=r"dataset\.json: not JSON"):
        read_description(str(tmp_path))


def test_batches_have_the_documented_content(pair_folder: Path) -> None:
    source = PairSource(str(pair_folder))
    assert len(source) == 80
    settings = {"seed": 1, "batch_size": 16, "size": 64}
    whole = [PairLoader(source, **settings).batch(step) for step in range(6)]
    assert whole[0]["image"].shape == (16, 3, 64, 64) and whole[0]["expression"].shape == (16, 51)
    assert len({name for batch in whole[:5] for name in batch["pair_id"]}) == 80
    stream = iter(PairLoader(str(pair_folder), **settings, start_step=5, rank=1, world=2))
    batch = next(stream)
    stream.close()
    assert torch.equal(batch["image"], whole[5]["image"][8:]) and batch["pair_id"] == whole[5]["pair_id"][8:]


def test_mirrored_images_have_mirrored_expressions(pair_folder: Path) -> None:
    source = PairSource(str(pair_folder))
    truth = {pair.pair_id: torch.from_numpy(pair.expression) for pair in map(source.read, range(80))}
    batch = PairLoader(source, seed=0, batch_size=40, size=64, jitter=0.0).batch(0)
    sides = []
    for image, expression, name in zip(batch["image"], batch["expression"], batch["pair_id"]):
        left = blob_centre(image[0].numpy())[0] < 32  # as written, the blob lies left of the middle
        sides.append(left)
        assert torch.equal(expression, truth[name] if left else truth[name][list(MIRROR_ORDER)])
    assert 0 < np.mean(sides) < 1


def test_invalid_pairs_raise(tmp_path: Path) -> None:
    path, pair = str(tmp_path / "pairs.parquet"), make_pair(0)
    for pairs, message in (
        ([], "at least one pair"),
        ([pair, pair], "occurs twice"),
        ([replace(pair, expression=np.zeros(52, np.float32))], "not 51 finite numbers"),
        ([replace(pair, expression=np.full(51, np.nan, np.float32))], "not 51 finite numbers"),
        ([replace(pair, scores={"loss": 1.0})], "scores"),
        ([pair, replace(make_pair(1), scores={})], "scores"),
    ):
        with pytest.raises(ShardError, match=message):
            write_pairs(path, pairs)
    assert not list(tmp_path.iterdir())


def test_broken_images_raise_with_the_pair(tmp_path: Path) -> None:
    path = str(tmp_path / "pairs.parquet")
    write_pairs(path, [replace(make_pair(0), image=b"not an image")])
    with pytest.raises(ShardError, match=r"pairs\.parquet: pair [0-9a-f]{32}: image is not a square JPEG"):
        PairLoader(path, seed=0, batch_size=1, size=32).batch(0)
