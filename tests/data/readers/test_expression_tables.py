"""Labelled images in every form, and tables of another system's answers on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from jr2net.config import StudioConfig
from jr2net.data.pairs import Pair, encode_pair_shard
from jr2net.data.readers.answers import read_answers
from jr2net.data.readers.expressions import LabelledImages, read_labelled
from jr2net.data.readers.problems import DatasetError
from jr2net.data.shards import write_clips
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.model import FaceModel
from jr2net.images.arrays import encode_jpeg
from jr2net.images.clip import ClipRow
from jr2net.storage import join, write_bytes
from jr2net.studio.film import film_people

RNG = np.random.default_rng(0)
COUNT = 6
TRUTH = RNG.uniform(0, 1, (COUNT, len(ARKIT_NAMES)))
IMAGES = [encode_jpeg(np.full((16, 16, 3), 40 * number, np.uint8)) for number in range(COUNT)]
PEOPLE = ["a", "a", "a", "b", "b", "b"]


def write(path: Path, **columns: object) -> str:
    pq.write_table(pa.table(dict(columns)), path)
    return str(path)


def rigs(path: Path, truth: np.ndarray = TRUTH, images: list[bytes] = IMAGES) -> str:
    return write(
        path,
        identity=PEOPLE,
        kind=["take"] * 5 + ["neutral"],
        name=[f"take_{number}" for number in range(COUNT)],
        image=images,
        landmarks=[[1.0] * 136] * COUNT,
        expression=list(truth),
        other=list(1 - TRUTH),
    )


def clips(folder: Path) -> str:
    rows = [
        ClipRow(
            clip_id="clip",
            identity=name,
            fps=10.0,
            frame=np.array([0, 3, 6], np.int32),
            images=tuple(IMAGES[first : first + 3]),
            landmarks=np.zeros((3, 68, 2), np.float32),
        )
        for name, first in (("a", 0), ("b", 3))
    ]
    write_clips(str(folder / "clips.parquet"), rows)
    return str(folder)


def test_a_table_with_images_holds_exact_truth_and_other_systems(tmp_path: Path) -> None:
    labelled = read_labelled(rigs(tmp_path / "rigs.parquet"))
    assert labelled.source == "exact" and list(labelled.answers) == ["other"]
    np.testing.assert_allclose(labelled.truth, TRUTH)
    np.testing.assert_allclose(labelled.answers["other"], 1 - TRUTH)
    assert list(labelled.identity) == PEOPLE and labelled.kind[5] == "neutral" and not labelled.clips
    assert labelled.image(2)[0, 0, 0] == pytest.approx(80, abs=2)


def test_a_table_without_images_is_joined_with_its_clips(tmp_path: Path) -> None:
    table = write(
        tmp_path / "tracking.parquet",
        identity=PEOPLE,
        clip_id=["clip"] * COUNT,
        frame=[6, 3, 0] * 2,
        tracker=list(TRUTH),
    )
    labelled = read_labelled(table, clips(tmp_path / "footage"))
    assert labelled.source == "tracker" and not labelled.answers
    assert [labelled.image(number)[0, 0, 0] // 10 for number in (0, 2, 5)] == [8, 0, 12]
    assert [(numbers.tolist(), rate) for numbers, rate in labelled.clips] == [([2, 1, 0], 10.0), ([5, 4, 3], 10.0)]
    with pytest.raises(DatasetError, match=r"1 of 6 frames are not in .*footage, e\.g\. frame 7 of clip 'clip' of 'a'"):
        frames = [7, 3, 0, 6, 3, 0]
        table = write(
            tmp_path / "b.parquet", identity=PEOPLE, clip_id=["clip"] * COUNT, frame=frames, tracker=list(TRUTH)
        )
        read_labelled(table, str(tmp_path / "footage"))
    with pytest.raises(DatasetError, match="no ground truth"):
        read_labelled(str(tmp_path / "footage"))


def test_pair_shards_are_labelled(tmp_path: Path) -> None:
    pairs = [
        Pair(f"{number:032x}", image, truth.astype(np.float32), f"{person}/clip/{number}", "track", number)
        for number, (image, truth, person) in enumerate(zip(IMAGES, TRUTH, PEOPLE))
    ]
    (tmp_path / "part.parquet").write_bytes(encode_pair_shard("part", pairs))
    labelled = read_labelled(str(tmp_path))
    np.testing.assert_allclose(labelled.truth, TRUTH, atol=1e-6)
    assert list(labelled.identity) == PEOPLE and labelled.image(1)[0, 0, 0] == pytest.approx(40, abs=2)
    assert len(read_labelled(str(tmp_path), limit=4)) == 4


def test_filmed_clips_are_labelled(procedural_model: FaceModel, tmp_path: Path) -> None:
    write_clips(str(tmp_path / "a.parquet"), film_people(procedural_model, StudioConfig(), 0, 0, 2, "natural", 32))
    labelled = read_labelled(str(tmp_path))
    assert labelled.source == "exact" and labelled.image(0).shape == (32, 32, 3)
    assert len(labelled) == 6 and all(rate == 25 for _, rate in labelled.clips)


def test_of_several_tables_one_has_to_be_chosen(tmp_path: Path) -> None:
    for name in ("a", "b"):
        rigs(tmp_path / f"{name}.parquet")
    with pytest.raises(DatasetError, match=r"holds 2 tables \(a\.parquet, b\.parquet\); give one of the files"):
        read_labelled(str(tmp_path))
    assert len(read_labelled(str(tmp_path / "b.parquet"))) == COUNT


@pytest.fixture
def labelled(tmp_path: Path) -> LabelledImages:
    return read_labelled(rigs(tmp_path / "rigs.parquet"))


def test_answers_are_found_by_name_in_any_order(labelled: LabelledImages, tmp_path: Path) -> None:
    order = [3, 0, 1, 5, 4, 2]
    columns = {name: TRUTH[order, index] for index, name in enumerate(ARKIT_NAMES)}
    names = [f"take_{number}" for number in order]
    pa_csv.write_csv(pa.table({"name": names, **columns}), tmp_path / "predictions.csv")
    np.testing.assert_allclose(read_answers(str(tmp_path), labelled), TRUTH)
    pa_csv.write_csv(pa.table(columns), tmp_path / "other.csv")
    np.testing.assert_allclose(read_answers(str(tmp_path / "other.csv"), labelled), TRUTH[order])
    lists = write(tmp_path / "lists.parquet", identity=PEOPLE, name=labelled.keys["name"], expression=list(TRUTH))
    np.testing.assert_allclose(read_answers(lists, labelled), TRUTH)


def test_answers_may_lie_in_a_bucket_with_options(
    labelled: LabelledImages, tmp_path: Path, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    columns = {name: TRUTH[:, index] for index, name in enumerate(ARKIT_NAMES)}
    pa_csv.write_csv(pa.table(columns), tmp_path / "predictions.csv")
    folder = f"s3://bucket/answers?endpoint_override={s3_server}"
    uri = join(folder, "predictions.csv")
    write_bytes(uri, (tmp_path / "predictions.csv").read_bytes())
    for given in (folder, uri):
        np.testing.assert_allclose(read_answers(given, labelled), TRUTH)


def test_bad_answers_and_tables_are_named(labelled: LabelledImages, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds neither predictions\.parquet nor"):
        read_answers(str(tmp_path), labelled)
    short = write(tmp_path / "short.parquet", expression=list(TRUTH[:4]))
    with pytest.raises(DatasetError, match=r"short\.parquet: has 4 rows for 6 images; .*identity, name"):
        read_answers(short, labelled)
    lacking = write(tmp_path / "lacking.parquet", name=["take_0"] * 1, expression=list(TRUTH[:1]))
    with pytest.raises(DatasetError, match=r"5 of 6 images have no row, e\.g\. name = take_1"):
        read_answers(lacking, labelled)
    pa_csv.write_csv(pa.table(dict.fromkeys(ARKIT_NAMES[1:], TRUTH[:, 0])), tmp_path / "fifty.csv")
    with pytest.raises(DatasetError, match="eyeBlinkLeft missing"):
        read_answers(str(tmp_path / "fifty.csv"), labelled)
    (tmp_path / "page.csv").write_text("<!doctype html><html>quota</html>")
    with pytest.raises(DatasetError, match=r"page\.csv: is a web page"):
        read_answers(str(tmp_path / "page.csv"), labelled)
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "rigs.parquet").read_bytes()[:-40])
    with pytest.raises(DatasetError, match=r"cut\.parquet: not a readable \.parquet"):
        read_answers(str(tmp_path / "cut.parquet"), labelled)
    with pytest.raises(DatasetError, match="row 0: has 50 coefficients"):
        read_labelled(rigs(tmp_path / "fifty.parquet", TRUTH[:, 1:]))
    broken = TRUTH.copy()
    broken[2, 3] = np.nan
    with pytest.raises(DatasetError, match="row 2: has values that are no numbers"):
        read_labelled(rigs(tmp_path / "nan.parquet", broken))
    damaged = read_labelled(rigs(tmp_path / "image.parquet", images=[b"x", *IMAGES[1:]]))
    with pytest.raises(DatasetError, match="row 0: image is not a square"):
        damaged.image(0)
    with pytest.raises(DatasetError, match="has no labelled images"):
        read_labelled(write(tmp_path / "nothing.parquet", number=[1]))


def test_the_published_tables_are_read_as_they_are(real_ground: Path) -> None:
    folder = real_ground / "data/tracking"
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist")
    exact, weak = (read_labelled(str(folder / f"{name}.parquet")) for name in ("rigs", "real"))
    assert len(exact) == 148 and exact.source == "exact" and list(exact.answers) == ["mediapipe"]
    assert set(exact.kind) == {"take", "only", "neutral"} and exact.image(0).shape == (256, 256, 3)
    assert len(weak) == 3269 and weak.source == "mediapipe" and weak.image(100).shape == (256, 256, 3)
    assert len(weak.clips) > 50 and all(rate > 0 for _, rate in weak.clips)
