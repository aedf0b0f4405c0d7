"""Sources: numbered frames of clips or faces of photos; those that cannot be used raise with the reason."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from blob_clips import make_row

from jr2net.data.shards import write_clips
from jr2net.data.source_list import list_sources
from jr2net.data.sources import SourceError, open_sources
from jr2net.images.face_detector import DetectorError, Face, load_face_detector
from jr2net.storage.open_shards import OpenShards
from jr2net.storage.parquet import ShardError

SIZE = 32


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    wide = np.full((40, 80, 3), 200, np.uint8)
    cv2.imwrite(str(folder / "a.jpg"), wide)
    cv2.imwrite(str(folder / "more" / "b.png"), wide[:, :40])
    (folder / "c.jpg").write_bytes(b"not an image")
    (folder / "notes.txt").write_text("not a photo")
    return folder


def test_frames_of_clips_are_numbered(tmp_path: Path) -> None:
    write_clips(str(tmp_path / "a.parquet"), [make_row(0, 2), make_row(1, 3)])
    sources = open_sources(str(tmp_path), list_sources(str(tmp_path)), SIZE)
    assert [sources.name(n) for n in range(len(sources))] == [
        "person-0/clip-0/10", "person-0/clip-0/12",
        "person-1/clip-1/10", "person-1/clip-1/12", "person-1/clip-1/14",
    ]  # fmt: skip
    image = sources.read(3)
    assert image.source_id == "person-1/clip-1/12" and image.image.shape == (SIZE, SIZE, 3)


def test_frames_of_a_shard_that_has_become_shorter_keep_their_names(tmp_path: Path) -> None:
    uri = str(tmp_path / "a.parquet")
    write_clips(uri, [make_row(0, 3), make_row(1, 3)])
    sources = open_sources(uri, list_sources(uri), SIZE)
    write_clips(uri, [make_row(0, 1)])
    assert sources.name(2) == "person-0/clip-0/12" and sources.name(4) == "person-1/clip-1/11"


def test_frames_that_a_shard_has_lost_cannot_be_used(tmp_path: Path) -> None:
    uri = str(tmp_path / "a.parquet")
    write_clips(uri, [make_row(0, 3), make_row(1, 3)])
    sources = open_sources(uri, list_sources(uri), SIZE)
    write_clips(uri, [make_row(0, 1)])
    assert sources.read(0).source_id == "person-0/clip-0/10"
    for number, clip in ((2, "clip-0"), (4, "clip-1")):
        with pytest.raises(SourceError, match=rf"^a\.parquet: clip '{clip}' has lost frames; .*prepare the data"):
            sources.read(number)


def test_requests_that_fail_set_no_image_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = str(tmp_path / "a.parquet")
    write_clips(uri, [make_row(0, 3), make_row(1, 3)])
    sources = open_sources(uri, list_sources(uri), SIZE)
    expected = sources.read(4)

    def timeout(self: OpenShards, uri: str, first: int, last: int) -> None:
        raise ShardError(f"{uri}: row groups {first} to {last} are damaged (timeout)")

    monkeypatch.setattr(OpenShards, "read", timeout)
    again = open_sources(uri, list_sources(uri), SIZE)
    found = again.read(4)
    assert found.source_id == expected.source_id and (found.image == expected.image).all()


def test_a_shard_with_a_damaged_index_is_skipped(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_clips(str(tmp_path / f"{name}.parquet"), [make_row(0, 2)])
    damaged = tmp_path / "a.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    listed = list_sources(str(tmp_path))
    assert list(listed.files) == ["b.parquet"]
    assert "not a readable Parquet file" in listed.damaged["a.parquet"]
    assert str(tmp_path) not in listed.damaged["a.parquet"]
    assert len(open_sources(str(tmp_path), listed, SIZE)) == 2
    (tmp_path / "b.parquet").unlink()
    with pytest.raises(ShardError, match="none of 1 shards can be read"):
        list_sources(str(tmp_path))


def test_a_source_may_be_a_single_shard(tmp_path: Path) -> None:
    write_clips(str(tmp_path / "a.parquet"), [make_row(0, 2)])
    uri = str(tmp_path / "a.parquet")
    assert len(open_sources(uri, list_sources(uri), SIZE)) == 2


def test_the_digest_of_a_list_depends_on_its_files(photos: Path) -> None:
    listed = list_sources(str(photos))
    assert list_sources(str(photos)).digest == listed.digest
    (photos / "d.jpg").write_bytes(b"x")
    assert list_sources(str(photos)).digest != listed.digest


def test_faces_are_cropped_from_photos(photos: Path) -> None:
    def detector(image: np.ndarray) -> list[Face]:
        return [Face.from_box((10, 10, 30, 30))] if image.shape[1] == 80 else []

    sources = open_sources(str(photos), list_sources(str(photos)), SIZE, detector)
    assert [sources.name(n) for n in range(3)] == ["a.jpg", "c.jpg", "more/b.png"]
    assert sources.read(0).image.shape == (SIZE, SIZE, 3)
    with pytest.raises(SourceError, match="not a picture"):
        sources.read(1)
    with pytest.raises(SourceError, match="no face was found"):
        sources.read(2)


def test_without_a_detector_photos_must_be_crops(photos: Path) -> None:
    sources = open_sources(str(photos), list_sources(str(photos)), SIZE)
    assert sources.read(2).image.shape == (SIZE, SIZE, 3)
    with pytest.raises(SourceError, match="80 x 40 pixels, and without a face detector"):
        sources.read(0)


def test_a_folder_with_neither_raises(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"holds neither clip shards .* nor photos"):
        list_sources(str(tmp_path))


def test_faces_in_real_photos_are_found(real_ground: Path) -> None:
    try:
        detector = load_face_detector()
    except DetectorError as error:
        pytest.skip(str(error))
    raw = str(real_ground / "data" / "raw")
    sources = open_sources(raw, list_sources(raw), SIZE, detector)
    found = {}
    for number in range(len(sources)):
        try:
            found[sources.name(number)] = bool(sources.read(number).image.std() > 5)
        except SourceError as error:
            found[sources.name(number)] = str(error)
    assert sum(face is True for face in found.values()) >= 3, found
