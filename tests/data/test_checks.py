"""Shards are checked once; of a set that grows only what is new is read, and of that a sample of the images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from blob_clips import make_row
from faulty_s3 import FaultyS3, faulty_s3

from jr2net import storage
from jr2net.data import checks, shards
from jr2net.data.checks import SAMPLE_GROUPS, SAMPLE_IMAGES, check_shard, count_contents
from jr2net.data.clips import ClipSource
from jr2net.data.index import index_shard, join_indices
from jr2net.data.shards import find_shards, write_clips
from jr2net.images.clip import ClipRow
from jr2net.storage.parquet import ShardError

CLIPS, FRAMES = 40, 4
SAMPLE = SAMPLE_GROUPS * SAMPLE_IMAGES


def noise_row(number: int) -> ClipRow:
    """A clip of noise, 12 kB an image."""
    rng = np.random.default_rng(number)
    images = [cv2.imencode(".png", rng.integers(0, 255, (64, 64, 3), np.uint8))[1].tobytes() for _ in range(FRAMES)]
    return replace(make_row(number, FRAMES), images=tuple(images))


def write_shard(folder: str, number: int, clips: int = CLIPS) -> str:
    uri = storage.join(folder, f"part-{number:03d}.parquet")
    write_clips(uri, [noise_row(1000 * number + clip) for clip in range(clips)])
    return uri


def check_all(folder: str, kept: str, every_image: bool = False) -> list[dict[str, int]]:
    found = find_shards(folder)
    return [count_contents(check_shard(uri, version, kept, every_image)) for uri, version in found.items()]


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "ROW_GROUP_BYTES", 1 << 17)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[bytes]:
    """Counts how often each image is decoded."""
    counts: Counter[bytes] = Counter()
    decode = checks.decode_image

    def count(image: bytes) -> np.ndarray | None:
        counts[image] += 1
        return decode(image)

    monkeypatch.setattr(checks, "decode_image", count)
    return counts


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    """An S3 server that counts what is read."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "test")
    with faulty_s3(s3_server, rate=0.0) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


def test_of_three_shards_and_one_more_only_that_one_is_read(s3: FaultyS3, decoded: Counter[bytes]) -> None:
    clips, kept = "s3://bucket/clips", "s3://bucket/run/checks"
    for number in range(3):
        write_shard(clips, number)
    first = check_all(clips, kept)
    assert first == 3 * [{"identities": CLIPS, "clips": CLIPS, "frames": CLIPS * FRAMES}]
    assert decoded.total() == len(decoded) == 3 * SAMPLE

    write_shard(clips, 3)
    sizes = list(storage.file_sizes(clips).values())
    assert min(sizes) > 1_900_000
    for counted in (decoded, s3.gets, s3.sent):
        counted.clear()
    assert check_all(clips, kept) == [*first, first[0]]
    assert decoded.total() == SAMPLE, "one image in ten of the new shard, and none of the others"
    read = Counter(path for path in s3.gets.elements() if path.endswith(".parquet"))
    assert set(read) == {"/bucket/clips/part-003.parquet"}
    assert s3.sent["GET"] < 0.5 * sizes[3] < 0.13 * sum(sizes)

    decoded.clear()
    s3.gets.clear()
    check_all(clips, kept)
    assert not decoded and not any(path.endswith(".parquet") for path in s3.gets)


def test_clips_whose_server_only_their_uri_names(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    options = f"?endpoint_override={s3_server.removeprefix('http://')}&scheme=http&region=us-east-1"
    folder, run = f"s3://bucket/named{options}", f"s3://bucket/named-run{options}"
    uri = write_shard(folder, 0, clips=3)
    assert uri == f"s3://bucket/named/part-000.parquet{options}" == next(iter(find_shards(folder)))
    assert check_all(folder, storage.join(run, "checks"))[0]["clips"] == 3
    index = join_indices([storage.relative_path(uri, folder)], [index_shard(uri)], folder)
    index.write(storage.join(run, "index", "clips.arrow"))
    source = ClipSource(folder, index=storage.join(run, "index", "clips.arrow"))
    assert source.rows[0].shard == uri and source.load_frame(0, 0)[0].shape == (64, 64, 3)


def test_a_shard_that_changes_is_checked_again(tmp_path: Path, decoded: Counter[bytes]) -> None:
    clips, kept = str(tmp_path / "clips"), str(tmp_path / "checks")
    for number in range(2):
        write_shard(clips, number)
    check_all(clips, kept)
    decoded.clear()
    os.utime(write_shard(clips, 1), ns=(0, 0))  # as large as before
    check_all(clips, kept)
    assert decoded.total() == SAMPLE
    write_shard(clips, 1, clips=3)
    assert check_all(clips, kept)[1] == {"identities": 3, "clips": 3, "frames": 3 * FRAMES}


def test_the_sample_is_fixed_and_has_both_ends(tmp_path: Path, decoded: Counter[bytes]) -> None:
    uri = write_shard(str(tmp_path), 0)
    check_shard(uri, "1", str(tmp_path / "checks"))
    sample = set(decoded)
    check_shard(uri, "2", str(tmp_path / "checks"))
    assert set(decoded) == sample and set(decoded.values()) == {2}
    ends = [
        rows
        for group, rows in enumerate(shards.read_groups(uri))
        if group in (0, index_shard(uri)["group"][-1].as_py())
    ]
    for rows in ends:
        assert len(sample & {image for row in rows for image in row.images}) == SAMPLE_IMAGES


def test_every_image_is_decoded_if_asked_for(tmp_path: Path, decoded: Counter[bytes]) -> None:
    clips, kept = str(tmp_path / "clips"), str(tmp_path / "checks")
    write_shard(clips, 0)
    sampled = check_all(clips, kept)
    decoded.clear()
    assert check_all(clips, kept, every_image=True) == sampled
    assert decoded.total() == len(decoded) == CLIPS * FRAMES
    decoded.clear()
    assert check_all(clips, kept, every_image=True) == check_all(clips, kept) == sampled and not decoded


def test_a_damaged_image_is_found(tmp_path: Path) -> None:
    """Of a small shard all images are in the sample; of a large one it takes a check of all. Nothing is kept of it."""
    rows = [noise_row(0), replace(noise_row(1), images=(*noise_row(1).images[:3], b"no image"))]
    write_clips(str(tmp_path / "small" / "a.parquet"), rows[1:])
    write_clips(str(tmp_path / "large" / "a.parquet"), [noise_row(clip) for clip in range(2, 30)] + rows)
    for name, every_image in (("small", False), ("large", True)):
        with pytest.raises(ShardError, match=r"a\.parquet: clip 'clip-1', frame 16: image is not a square JPEG or PNG"):
            check_all(str(tmp_path / name), str(tmp_path / "checks"), every_image)
    assert not storage.exists(str(tmp_path / "checks"))


def test_checks_that_cannot_be_read_are_made_again(tmp_path: Path, decoded: Counter[bytes]) -> None:
    clips, kept = str(tmp_path / "clips"), tmp_path / "checks"
    write_shard(clips, 0)
    expected = check_all(clips, str(kept))
    (file,) = kept.iterdir()
    assert file.name.startswith("part-000-")
    file.write_bytes(file.read_bytes()[:100])
    assert check_all(clips, str(kept)) == check_all(clips, str(kept)) == expected
    assert decoded.total() == 2 * SAMPLE


def test_kept_rows_are_those_of_the_shard(tmp_path: Path) -> None:
    uri = write_shard(str(tmp_path), 0, clips=5)
    for _ in range(2):
        rows = check_shard(uri, "1", str(tmp_path / "checks"))
        assert rows.equals(index_shard(uri), check_metadata=True)
    assert join_indices(["a"], [rows]).encode() == join_indices(["a"], [index_shard(uri)]).encode()


def test_clips_of_two_people_with_one_id_are_two(tmp_path: Path) -> None:
    write_clips(str(tmp_path / "a.parquet"), [replace(make_row(number, 3), clip_id="00001") for number in range(3)])
    assert check_all(str(tmp_path), str(tmp_path / "checks")) == [{"identities": 3, "clips": 3, "frames": 9}]
    assert len(set(join_indices(["a"], [index_shard(str(tmp_path / "a.parquet"))]).clip)) == 3
