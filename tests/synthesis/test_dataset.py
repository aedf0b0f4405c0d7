"""Datasets: write-once shards, verification, and access from common tools."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from darkening_maker import SETTINGS, DarkeningGenerator, MakeMaker

from jr2net.data.pairs import PairSource, read_description
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.storage import StorageError
from jr2net.synthesis import dataset, verify
from jr2net.synthesis.gates import COLUMNS

DIGESTS = {"recnet": "abc"}


@pytest.fixture
def finished(make_maker: MakeMaker, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / dataset.SOURCES).write_text("{}")
    for index in (2, 0, 1):
        dataset.write_shard(str(folder), index, make_maker().shard(index))
    dataset.finish(str(folder), SETTINGS, 0, DIGESTS)
    return folder


def problems(folder: Path) -> list[str]:
    description = read_description(str(folder))
    found = verify.check_objects(str(folder), description) + verify.check_counts(description)
    for index in range(verify.shards_planned(description)):
        found += verify.check_shard(str(folder), index, description)
    return found


def test_a_finished_dataset_describes_itself(finished: Path) -> None:
    description = read_description(str(finished))
    assert description["pairs"] == description["planned"] == 10
    assert description["rejected"] == {} and description["quarantined"] == {}
    assert description["licenses"] == {"CC0": 10}
    assert description["columns"][-4:] == list(COLUMNS)
    assert all(sum(row) == 10 for row in description["histograms"]["counts"].values())
    assert len(PairSource(str(finished))) == 10
    assert problems(finished) == []


def test_missing_shards_are_those_without_a_manifest(finished: Path) -> None:
    assert dataset.missing_shards(str(finished), SETTINGS).tolist() == []
    (finished / dataset.manifest_name(1)).unlink()
    assert dataset.missing_shards(str(finished), SETTINGS).tolist() == [1]
    more = SETTINGS.model_copy(update={"pairs": 17})
    assert dataset.missing_shards(str(finished), more).tolist() == [1, 3, 4]


def test_a_shard_without_manifest_is_written_again_with_equal_bytes(finished: Path, make_maker: MakeMaker) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    (finished / dataset.manifest_name(1)).unlink()
    dataset.write_shard(str(finished), 1, make_maker().shard(1))
    assert before == {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}


def test_a_different_shard_is_not_overwritten(finished: Path, make_maker: MakeMaker) -> None:
    with pytest.raises(StorageError, match=r"pairs-000001\.parquet: exists with other content"):
        dataset.write_shard(str(finished), 1, make_maker(seed=1).shard(1))


def test_shards_of_rejected_pairs_have_a_manifest_only(make_maker: MakeMaker, tmp_path: Path) -> None:
    scores = dict.fromkeys(COLUMNS, 0.5) | {"score_saturation": 1.0}
    for index in range(3):
        dataset.write_shard(str(tmp_path), index, make_maker(generator=DarkeningGenerator(scores=scores)).shard(index))
    (tmp_path / dataset.SOURCES).write_text("{}")
    description = dataset.finish(str(tmp_path), SETTINGS, 0, DIGESTS)
    assert description["pairs"] == 0 and description["rejected"] == {"saturation": 10}
    assert not (tmp_path / dataset.PAIRS).exists()
    assert problems(tmp_path) == []


@pytest.mark.parametrize("damage", ["shard", "missing", "stray", "count", "swapped"])
def test_verification_names_what_is_wrong(finished: Path, damage: str) -> None:
    shard, other = (finished / dataset.shard_name(index) for index in (0, 1))
    if damage == "shard":
        content = bytearray(shard.read_bytes())
        content[100] ^= 1
        shard.write_bytes(content)
        expected = r"pairs-000000\.parquet: its checksum"
    elif damage == "missing":
        other.unlink()
        expected = r"pairs-000001\.parquet: is missing"
    elif damage == "stray":
        shutil.copy(shard, shard.with_name("pairs-000009.parquet"))
        expected = r"pairs-000009\.parquet: belongs to no shard"
    elif damage == "count":
        description = json.loads((finished / "dataset.json").read_text())
        (finished / "dataset.json").write_text(json.dumps(description | {"pairs": 11}))
        expected = r"dataset\.json: 11 pairs and 0 rejected of 10 planned"
    else:
        shard.write_bytes(other.read_bytes())
        expected = r"pairs-000000\.parquet: its checksum"
    assert any(re.search(expected, problem) for problem in problems(finished)), problems(finished)


def test_histograms_count_every_value(make_maker: MakeMaker) -> None:
    pairs = make_maker().shard(0).pairs
    counts = dataset.histograms(pairs)
    jaw = ARKIT_NAMES.index("jawOpen")
    wanted = np.histogram([pair.expression[jaw] for pair in pairs], dataset.BINS, (0, 1))[0]
    assert counts.shape == (51, dataset.BINS) and counts[jaw].tolist() == wanted.tolist()


def test_shards_are_spread_over_prefixes() -> None:
    assert len({dataset.shard_name(index).split("/")[1] for index in range(500)}) > 200


def test_hugging_face_datasets_reads_the_shards(finished: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the test extra's `datasets` is not installed")
    pattern = f"{finished}/{dataset.PAIRS}/**/*.parquet"
    loaded = datasets.load_dataset("parquet", data_files=pattern, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == 10 and len(loaded[0]["expression"]) == 51
    assert loaded[0]["image"][:2] == b"\xff\xd8"


def test_pandas_reads_the_shards(finished: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="the test extra's `pandas` is not installed")
    frame = pandas.read_parquet(finished / dataset.PAIRS)
    assert len(frame) == 10 and frame["pair_id"].is_unique
    assert np.stack(frame["expression"]).shape == (10, 51)
    assert frame["score_identity"].tolist() == [0.5] * 10


def test_duckdb_reads_the_shards(finished: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="the test extra's `duckdb` is not installed")
    jaw = ARKIT_NAMES.index("jawOpen") + 1  # SQL counts from 1
    query = f"select count(*), max(expression[{jaw}]) from '{finished}/{dataset.PAIRS}/*/*.parquet'"
    ((count, largest),) = duckdb.sql(query).fetchall()
    assert count == 10 and 0 <= largest <= 1
