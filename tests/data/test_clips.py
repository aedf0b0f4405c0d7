from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from blob_clips import BLOB, SIDE, blob_centre, make_row

from jr2net.data.clips import ClipLoader, ClipSource
from jr2net.data.shards import write_clips
from jr2net.face.landmarks import LANDMARK_MIRROR
from jr2net.storage.parquet import ShardError

MIRRORED_BLOB = LANDMARK_MIRROR.index(BLOB)


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) if isinstance(one[name], torch.Tensor) else one[name] == other[name]
        for name in one
    )


@pytest.fixture(scope="module")
def source(clip_folder: Path) -> ClipSource:
    return ClipSource(str(clip_folder))


def test_source_lists_rows_frames_and_identities(source: ClipSource) -> None:
    assert len(source) == 8 and source.frame_count == 21
    assert source.identities == [f"person-{n}" for n in range(7)]
    assert source.read(6).clip_id == "clip-6"


def test_frames_are_loaded_with_their_landmarks(source: ClipSource) -> None:
    image, landmarks = source.load_frame(6, 2, width=64)
    assert image.shape == (64, 64, 3)
    assert landmarks == pytest.approx(source.read(6).landmarks[2] / 2)
    assert blob_centre(image[..., 0].astype(float)) == pytest.approx(landmarks[BLOB], abs=0.1)
    assert source.load_frame(6, 2)[0].shape == (SIDE, SIDE, 3)


def test_split_holds_out_whole_identities(source: ClipSource) -> None:
    training, held_out = source.split(3)
    assert len(held_out.identities) == 2
    assert not set(training.identities) & set(held_out.identities)
    assert len(training) + len(held_out) == len(source)
    again = ClipSource(sorted({row.shard for row in source.rows}, reverse=True)).split(3)[1]
    assert again.identities == held_out.identities


def test_split_with_one_identity_raises(tmp_path: Path) -> None:
    write_clips(str(tmp_path / "one.parquet"), [make_row(1, 2)])
    with pytest.raises(ShardError, match="needs at least two, found 1"):
        ClipSource(str(tmp_path)).split(7)


def test_sources_can_be_pickled(source: ClipSource) -> None:
    copy = pickle.loads(pickle.dumps(source.split(3)[0]))
    assert list(copy.rows) == list(source.split(3)[0].rows) and copy.read(0).clip_id == copy.rows[0].clip_id


def test_batches_have_the_documented_shapes(source: ClipSource) -> None:
    batch = ClipLoader(source, seed=0, batch_size=5, size=48).batch(0)
    for role in ("source", "driving"):
        assert batch[f"{role}_image"].shape == (5, 3, 48, 48) and batch[f"{role}_image"].dtype == torch.float32
        assert batch[f"{role}_landmarks"].shape == (5, 68, 2)
        assert batch[f"{role}_image"].min() >= 0 and batch[f"{role}_image"].max() <= 1
    assert len(batch["sample_id"]) == 5


def test_a_pair_may_span_the_rows_of_its_clip(tmp_path: Path) -> None:
    """Rows split a clip into runs; the frames of a pair may come from different rows."""
    whole = make_row(0, 6)
    runs = [
        replace(whole, frame=whole.frame[part], images=whole.images[part], landmarks=whole.landmarks[part])
        for part in (slice(0, 2), slice(2, 6))
    ]
    write_clips(str(tmp_path / "a.parquet"), [runs[0], make_row(1, 3)])
    write_clips(str(tmp_path / "b.parquet"), [runs[1]])
    loader = ClipLoader(ClipSource(str(tmp_path)), seed=0, batch_size=9, size=32)
    names = [name.split("/") for step in range(100) for name in loader.batch(step)["sample_id"]]
    drawn = {(int(source), int(driving)) for clip, source, driving in names if clip == "clip-0"}
    numbers = [int(number) for number in whole.frame]
    assert drawn == {(source, driving) for source in numbers for driving in numbers if source != driving}
    assert {clip for clip, _, _ in names} == {"clip-0", "clip-1"}


@pytest.mark.parametrize("jitter", [0.0, 0.1, 0.15])
@pytest.mark.parametrize("size", [40, 64, 128])
def test_landmarks_stay_on_their_pixels(source: ClipSource, size: int, jitter: float) -> None:
    """Through shrinking, shift, scale, roll and mirror the blob stays on landmark 36, or 45 in a mirrored image."""
    loader = ClipLoader(source, seed=1, batch_size=21, size=size, jitter=jitter)
    batch, mirrors = loader.batch(0), []
    for role in ("source", "driving"):
        for image, landmarks in zip(batch[f"{role}_image"].numpy(), batch[f"{role}_landmarks"].numpy()):
            centre = blob_centre(image[0])
            distance = np.linalg.norm(landmarks[[BLOB, MIRRORED_BLOB]] - centre, axis=1)
            assert distance.min() < 0.15
            mirrors.append(distance.argmin())
    assert 0 < np.mean(mirrors) < 1
    assert mirrors[:21] == mirrors[21:], "both frames of a pair are mirrored or none"


def test_pairs_are_of_one_clip_and_every_frame_is_a_source_once(source: ClipSource) -> None:
    loader = ClipLoader(source, seed=2, batch_size=7, size=32)
    names = [name.split("/") for step in range(3) for name in loader.batch(step)["sample_id"]]
    clips = [source.read(row) for row in range(len(source))]
    expected = {(clip.clip_id, str(frame)) for clip in clips for frame in clip.frame}
    assert {(clip, frame) for clip, frame, _ in names} == expected and len(names) == len(expected)
    lengths = {clip.clip_id: clip.frame for clip in clips}
    for clip, frame, driving in names:
        assert int(driving) in lengths[clip] and (driving != frame or len(lengths[clip]) == 1)


def test_clips_of_one_frame_use_it_twice_with_different_crops(source: ClipSource) -> None:
    loader = ClipLoader(source, seed=2, batch_size=21, size=32)
    batch = loader.batch(0)
    alone = [i for i, name in enumerate(batch["sample_id"]) if name.split("/")[1] == name.split("/")[2]]
    assert alone and all(not torch.equal(batch["source_image"][i], batch["driving_image"][i]) for i in alone)


def test_paired_augmentation_crops_both_frames_alike(source: ClipSource) -> None:
    loader = ClipLoader(source, seed=2, batch_size=21, size=32, paired_augmentation=True)
    batch = loader.batch(0)
    alone = [i for i, name in enumerate(batch["sample_id"]) if name.split("/")[1] == name.split("/")[2]]
    assert all(torch.equal(batch["source_image"][i], batch["driving_image"][i]) for i in alone)


def test_batches_depend_on_seed_and_step_alone(source: ClipSource) -> None:
    settings = {"seed": 5, "batch_size": 6, "size": 32}
    whole = [ClipLoader(source, **settings).batch(step) for step in range(6)]
    stream = iter(ClipLoader(source, **settings, start_step=2))
    assert all(same(next(stream), whole[step]) for step in (2, 3, 4, 5))
    stream.close()
    uncached = ClipLoader(
        ClipSource(str(Path(source.rows[0].shard).parent), cache_bytes=0), **settings, decoded_bytes=0
    )
    assert same(uncached.batch(5), whole[5])
    for world in (2, 3):
        parts = [ClipLoader(source, **settings, rank=rank, world=world).batch(4) for rank in range(world)]
        assert torch.equal(torch.cat([part["driving_image"] for part in parts]), whole[4]["driving_image"])
        assert [name for part in parts for name in part["sample_id"]] == whole[4]["sample_id"]
    assert not same(ClipLoader(source, seed=6, batch_size=6, size=32).batch(0), whole[0])


def test_augmentation_differs_between_epochs(source: ClipSource) -> None:
    loader = ClipLoader(source, seed=0, batch_size=21, size=32)
    first, second = (dict(zip(batch["sample_id"], batch["source_image"])) for batch in map(loader.batch, (0, 1)))
    common = first.keys() & second.keys()
    assert common and all(not torch.equal(first[name], second[name]) for name in common)


def test_undetected_landmarks_stay_undetected(tmp_path: Path) -> None:
    row = make_row(3, 2)
    row.landmarks[:, 48:] = np.nan
    write_clips(str(tmp_path / "clips.parquet"), [row])
    landmarks = ClipLoader(ClipSource(str(tmp_path)), seed=0, batch_size=4, size=32).batch(0)["source_landmarks"]
    assert landmarks[:, 48:].isnan().all() and not landmarks[:, :48].isnan().any()


def test_broken_images_raise_with_clip_and_frame(tmp_path: Path) -> None:
    row = make_row(3, 2)
    write_clips(str(tmp_path / "clips.parquet"), [replace(row, images=(row.images[0], b"not an image"))])
    stream = iter(ClipLoader(ClipSource(str(tmp_path)), seed=0, batch_size=2, size=32))
    with pytest.raises(ShardError, match=r"clips\.parquet: clip 'clip-3', frame 12: image is not a square JPEG"):
        next(stream)


def test_deleted_shards_raise_with_their_name(tmp_path: Path, clip_folder: Path) -> None:
    shutil.copytree(clip_folder, tmp_path / "clips")
    source = ClipSource(str(tmp_path / "clips"))
    (tmp_path / "clips" / "clips-00000.parquet").unlink()
    with pytest.raises(ShardError, match=r"clips-00000\.parquet: no such shard"):
        source.read(0)
