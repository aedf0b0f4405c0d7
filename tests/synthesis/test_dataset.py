"""Datasets: write-once shards, verification, and access from common tools."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from darkening_maker import SETTINGS, SIZE, DarkeningGenerator, MakeMaker
from small_datasets import DIGESTS, SOURCES, contents, problems, shard_path, write_dataset

from jr2net import storage
from jr2net.data.pair_index import INDEX, PairIndex
from jr2net.data.pairs import VALIDATION_SHARD, PairSource, read_description
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.storage import StorageError
from jr2net.storage.parquet import ShardError
from jr2net.synthesis import card, dataset, shards
from jr2net.synthesis.gates import COLUMNS


@pytest.fixture
def finished(make_maker: MakeMaker, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    write_dataset(str(folder), make_maker)
    return folder


def card_header(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / card.CARD).read_text().split("---\n")[1])


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Hugging Face's library, offline and with a cache of its own."""
    library = pytest.importorskip("datasets", reason="the test extra's `datasets` is not installed")
    monkeypatch.setattr(library.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return library


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
    assert shards.missing_shards(str(finished), SETTINGS).tolist() == []
    (finished / shards.manifest_name(1)).unlink()
    assert shards.missing_shards(str(finished), SETTINGS).tolist() == [1]
    more = SETTINGS.model_copy(update={"pairs": 17})
    assert shards.missing_shards(str(finished), more).tolist() == [1, 3, 4]


def test_a_shard_without_manifest_is_written_again_with_equal_bytes(finished: Path, make_maker: MakeMaker) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    (finished / shards.manifest_name(1)).unlink()
    shards.write_shard(str(finished), 1, make_maker().shard(1))
    assert before == {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}


def test_a_different_shard_is_not_overwritten(finished: Path, make_maker: MakeMaker) -> None:
    before = contents(finished)
    with pytest.raises(StorageError, match=r"pairs-000001\.json: the shard that it names does not verify \(.*pair_ids"):
        shards.write_shard(str(finished), 1, make_maker(seed=1).shard(1))
    assert before.items() <= contents(finished).items()


def grow(folder: Path, make_maker: MakeMaker, pairs: int, grown_from: tuple[int, ...]) -> list[int]:
    """Makes the shards that a larger dataset lacks, as the job does; returns their numbers."""
    settings = SETTINGS.model_copy(update={"pairs": pairs})
    cuts = dataset.cuts(settings, grown_from)
    maker = make_maker(pairs=pairs)
    maker = replace(maker, plan=replace(maker.plan, grown_from=cuts))
    missing = shards.missing_shards(str(folder), settings, cuts).tolist()
    for index in missing:
        shards.write_shard(str(folder), index, maker.shard(index))
    dataset.finish(str(folder), settings, 0, DIGESTS, SIZE, cuts)
    return missing


def test_a_dataset_grows_by_its_missing_shards(finished: Path, make_maker: MakeMaker) -> None:
    before = contents(finished)
    assert grow(finished, make_maker, 17, (10,)) == [3, 4]
    description = read_description(str(finished))
    assert description["pairs"] == description["planned"] == 17 and description["grown_from"] == [10]
    assert problems(finished) == []
    assert grow(finished, make_maker, 23, (10, 17)) == [5, 6]
    after = contents(finished)
    assert {name for name in before if after[name] != before[name]} == {card.CARD, "dataset.json", INDEX}
    assert problems(finished) == []
    source = PairSource(str(finished))
    assert len({source.read(index).pair_id for index in range(len(source))}) == len(source) == 23


def test_pairs_to_validate_on_are_no_part_of_the_dataset(finished: Path, make_maker: MakeMaker) -> None:
    for folder in (finished, finished / "earlier" / "10"):  # as a dataset that grows keeps them
        dataset.write_validation(str(folder), make_maker(seed=1).shard(0))
    assert len(PairSource(str(finished / VALIDATION_SHARD))) == 4
    assert len(PairSource(str(finished))) == 10 and problems(finished) == []
    scores = dict.fromkeys(COLUMNS, 0.5) | {"score_saturation": 1.0}
    rejected = make_maker(generator=DarkeningGenerator(scores=scores)).shard(0)
    with pytest.raises(ShardError, match=r"none of 4 pairs to validate on is left \(4 saturation\)"):
        dataset.write_validation(str(finished), rejected)


def test_grown_from_full_shards_it_is_the_dataset_that_was_planned_so(make_maker: MakeMaker, tmp_path: Path) -> None:
    for name, sizes in (("grown", (4, 12, 18)), ("planned", (18,))):
        storage.write_bytes(f"{tmp_path}/{name}/{dataset.SOURCES}", json.dumps(SOURCES).encode())
        for step, pairs in enumerate(sizes):
            grow(tmp_path / name, make_maker, pairs, sizes[:step])
    assert contents(tmp_path / "grown") == contents(tmp_path / "planned")


def test_cuts_are_former_ends_within_a_shard() -> None:
    assert dataset.cuts(SETTINGS, [4, 8]) == ()
    assert dataset.cuts(SETTINGS, [4, 10, 14, 18, 19]) == (10, 19)


def test_the_description_of_another_dataset_is_not_replaced(finished: Path, make_maker: MakeMaker) -> None:
    before = contents(finished)
    larger = SETTINGS.model_copy(update={"pairs": 12})
    for settings, digests in ((larger, {"recnet": "abd"}), (SETTINGS.model_copy(update={"pairs": 8}), DIGESTS)):
        with pytest.raises(StorageError, match="exists with other content"):
            dataset.finish(str(finished), settings, 0, digests, SIZE)
    assert contents(finished) == before


def test_the_description_does_not_depend_on_placement(finished: Path) -> None:
    before = contents(finished)
    dataset.finish(str(finished), SETTINGS.model_copy(update={"batch_size": 7}), 0, DIGESTS, SIZE)
    assert contents(finished) == before
    assert set(read_description(str(finished))["settings"]).isdisjoint(dataset.PLACEMENT)


def test_shards_of_rejected_pairs_have_a_manifest_only(make_maker: MakeMaker, tmp_path: Path) -> None:
    scores = dict.fromkeys(COLUMNS, 0.5) | {"score_saturation": 1.0}
    for index in range(3):
        shards.write_shard(str(tmp_path), index, make_maker(generator=DarkeningGenerator(scores=scores)).shard(index))
    (tmp_path / dataset.SOURCES).write_text(json.dumps(SOURCES))
    description = dataset.finish(str(tmp_path), SETTINGS, 0, DIGESTS, SIZE)
    assert description["pairs"] == 0 and description["rejected"] == {"saturation": 10}
    assert not (tmp_path / shards.PAIRS).exists()
    assert card_header(tmp_path)["license"] == "unknown"
    assert problems(tmp_path) == []


@pytest.mark.parametrize(
    "damage", ["shard", "missing", "stray", "attempt", "manifest", "index", "count", "swapped", "card"]
)
def test_verification_names_what_is_wrong(finished: Path, damage: str) -> None:
    shard, other = (shard_path(finished, index) for index in (0, 1))
    if damage == "shard":
        content = bytearray(shard.read_bytes())
        content[100] ^= 1
        shard.write_bytes(content)
        expected = r"pairs-000000\.[0-9a-f]{16}\.parquet: its checksum"
    elif damage == "missing":
        other.unlink()
        expected = r"pairs-000001\.[0-9a-f]{16}\.parquet: is missing"
    elif damage == "stray":
        shutil.copy(shard, shard.with_name("pairs-000009.parquet"))
        expected = r"pairs-000009\.parquet: belongs to no shard"
    elif damage == "attempt":
        shutil.copy(shard, shard.with_name("pairs-000000.0123456789abcdef.parquet"))
        expected = r"pairs-000000\.0123456789abcdef\.parquet: belongs to no shard"
    elif damage == "manifest":
        (finished / shards.manifest_name(1)).unlink()
        expected = r"pairs-000001\.json: is missing"
    elif damage == "index":
        PairIndex.of(["pairs/0.parquet"], [10], [9], [10]).write(str(finished / INDEX))
        expected = r"index\.arrow: lists 1 shards, 1 of them none of the 3"
    elif damage == "count":
        description = json.loads((finished / "dataset.json").read_text())
        (finished / "dataset.json").write_text(json.dumps(description | {"pairs": 11}))
        expected = r"dataset\.json: 11 pairs and 0 rejected of 10 planned"
    elif damage == "card":
        with (finished / card.CARD).open("a") as stream:
            stream.write("Also known as the best faces.\n")
        expected = r"README\.md: its checksum is"
    else:
        shard.write_bytes(other.read_bytes())
        expected = r"pairs-000000\.[0-9a-f]{16}\.parquet: its checksum"
    assert any(re.search(expected, problem) for problem in problems(finished)), problems(finished)


def test_histograms_count_every_value(make_maker: MakeMaker) -> None:
    pairs = make_maker().shard(0).pairs
    counts = shards.histograms(pairs)
    jaw = ARKIT_NAMES.index("jawOpen")
    wanted = np.histogram([pair.expression[jaw] for pair in pairs], shards.BINS, (0, 1))[0]
    assert counts.shape == (51, shards.BINS) and counts[jaw].tolist() == wanted.tolist()


def test_shards_are_spread_over_prefixes() -> None:
    assert len({shards.manifest_name(index).split("/")[1] for index in range(500)}) > 200


def test_the_card_describes_the_dataset(finished: Path) -> None:
    header, text = card_header(finished), (finished / card.CARD).read_text()
    assert header["license"] == "cc0-1.0" and header["license_details"] == "CC0: 10 pairs"
    assert header["size_categories"] == ["n<1K"] and header["dataset_info"]["splits"][0]["num_examples"] == 10
    columns = [feature["name"] for feature in header["dataset_info"]["features"]]
    assert columns[:-4] == ["pair_id", "image", "expression", "source_id", "track", "frame"]
    assert columns[-4:] == sorted(COLUMNS)
    assert all(f"\n{number}. `{name}`\n" in text for number, name in enumerate(ARKIT_NAMES))
    assert all(f"| `{name}` |" in text for name in columns)
    assert "| recnet | `abc` |" in text and "| jpeg_quality | `95` |" in text and "Seed 0;" in text
    assert "\n| CC0 | 10 |\n" in text and "1 tracks, 7 frames" in text
    assert "Every image was generated by a neural network" in text
    assert read_description(str(finished))["settings"].keys().isdisjoint(dataset.LOCATIONS)


def test_licences_without_an_identifier_are_named(finished: Path) -> None:
    description = read_description(str(finished)) | {"licenses": {"A|B: only\nfor us": 4, "MIT": 3, "cc by 4.0": 3}}
    _, header, text = card.encode_card(description).decode().split("---\n", 2)
    parsed = yaml.safe_load(header)
    assert parsed["license"] == ["cc-by-4.0", "mit", "other"] and parsed["license_name"]
    assert parsed["license_details"] == "A|B: only\nfor us: 4 pairs; MIT: 3 pairs; cc by 4.0: 3 pairs"
    assert "| A\\|B: only for us | 4 |" in text


def test_size_categories_are_hugging_faces(finished: Path) -> None:
    description = read_description(str(finished))
    for pairs, category in ((999, "n<1K"), (1000, "1K<n<10K"), (999_999, "100K<n<1M"), (10**8, "100M<n<1B")):
        header = card.encode_card(description | {"pairs": pairs}).decode().split("---\n")[1]
        assert yaml.safe_load(header)["size_categories"] == [category]


def check_loaded(loaded: Any, datasets: Any) -> None:
    assert loaded.num_rows == 10 and len(set(loaded["pair_id"])) == 10
    assert loaded.features["image"] == datasets.Image()
    assert loaded.features["expression"] == datasets.Sequence(datasets.Value("float32"), length=len(ARKIT_NAMES))
    assert loaded[0]["image"].size == (SIZE, SIZE) and loaded[0]["image"].mode == "RGB"
    assert len(loaded[0]["expression"]) == 51


def test_hugging_face_datasets_loads_the_folder(finished: Path, datasets: Any) -> None:
    loaded = datasets.load_dataset(str(finished))
    assert list(loaded) == ["train"]
    check_loaded(loaded["train"], datasets)


def test_a_shard_alone_has_its_features(finished: Path, datasets: Any) -> None:
    files = f"{finished}/{shards.PAIRS}/*/*.parquet"
    check_loaded(datasets.load_dataset("parquet", data_files=files, split="train"), datasets)


def test_hugging_face_datasets_notices_a_missing_shard(finished: Path, datasets: Any) -> None:
    shard_path(finished, 1).unlink()
    with pytest.raises(Exception, match="num_examples=10"):
        datasets.load_dataset(str(finished))


def test_the_lines_of_the_card_open_the_dataset(finished: Path, datasets: Any) -> None:
    names = {name: pytest.importorskip(name) for name in ("pandas", "duckdb")} | {"datasets": datasets}
    block = (finished / card.CARD).read_text().split("```python\n")[1].split("```")[0]
    lines = [line.replace("FOLDER", str(finished)) for line in block.splitlines() if not line.startswith("ray.")]
    loaded, frame, relation = (eval(line, dict(names)) for line in lines)
    check_loaded(loaded, datasets)
    assert len(frame) == 10 and frame["pair_id"].is_unique and frame["image"][0]["bytes"][:2] == b"\xff\xd8"
    assert np.stack(frame["expression"]).shape == (10, 51) and frame["score_identity"].tolist() == [0.5] * 10
    rows = relation.fetchall()
    assert len(rows) == 10 and rows[0][1][:2] == b"\xff\xd8" and len(rows[0][2]) == 51


def test_duckdb_reads_the_shards(finished: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="the test extra's `duckdb` is not installed")
    jaw = ARKIT_NAMES.index("jawOpen") + 1  # SQL counts from 1
    query = f"select count(*), max(expression[{jaw}]) from '{finished}/{shards.PAIRS}/*/*.parquet'"
    ((count, largest),) = duckdb.sql(query).fetchall()
    assert count == 10 and 0 <= largest <= 1


def test_a_dataset_in_s3_is_the_same(
    finished: Path,
    make_maker: MakeMaker,
    s3_server: str,
    datasets: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pandas = pytest.importorskip("pandas", reason="the test extra's `pandas` is not installed")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    folder = "s3://bucket/run/synthesis"
    write_dataset(folder, make_maker)
    assert problems(folder) == []
    contents = {name: storage.read_bytes(f"{folder}/{name}") for name, _ in storage.iter_files(folder)}
    assert contents == {name: (finished / name).read_bytes() for name, _ in storage.iter_files(str(finished))}
    filesystem, path = storage.open_filesystem(f"{folder}/{shards.PAIRS}")
    assert len(pandas.read_parquet(path, filesystem=filesystem)) == 10
    for name, content in contents.items():
        storage.write_bytes(f"{tmp_path}/copy/{name}", content)
    check_loaded(datasets.load_dataset(f"{tmp_path}/copy", split="train"), datasets)
    storage.write_bytes(f"{folder}/{card.CARD}", b"---\n---\n")
    assert [problem.split(":")[0] for problem in problems(folder)] == [card.CARD]
