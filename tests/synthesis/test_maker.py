"""Shards are pure functions of their index; unusable sources and rejected pairs are counted by reason."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from darkening_maker import SIZE, DarkeningGenerator, MakeMaker

from jr2net.config import load
from jr2net.data.clips import ClipSource
from jr2net.data.pairs import encode_pair_shard
from jr2net.data.shards import read_clips, write_clips
from jr2net.data.sources import ClipFrames, SourceImage
from jr2net.device import DeviceError, check_device
from jr2net.face.parameters import FaceParameters
from jr2net.storage import StorageError
from jr2net.synthesis import maker
from jr2net.synthesis.gates import COLUMNS
from jr2net.synthesis.load import source_folder
from jr2net.synthesis.pair_generator import GeneratedPairs, in_halves


def test_a_shard_always_has_the_same_bytes(make_maker: MakeMaker) -> None:
    maker = make_maker()
    first = encode_pair_shard("a", maker.shard(1).pairs)
    maker.shard(2)
    assert encode_pair_shard("b", maker.shard(1).pairs) == first == encode_pair_shard("c", make_maker().shard(1).pairs)


def test_threads_share_a_maker(make_maker: MakeMaker) -> None:
    maker, result = make_maker(pairs=40, pairs_per_shard=4), {}
    threads = [threading.Thread(target=lambda i=i: result.update({i: maker.shard(i)})) for i in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = make_maker(pairs=40, pairs_per_shard=4)
    for index in range(10):
        assert encode_pair_shard("a", result[index].pairs) == encode_pair_shard("a", alone.shard(index).pairs)


def test_a_source_is_reconstructed_once(make_maker: MakeMaker) -> None:
    generator = DarkeningGenerator()
    result = make_maker(generator=generator, pairs=48, pairs_per_shard=48, pairs_per_source=8).shard(0)
    assert len(result.pairs) == 48 and generator.reconstructed == 6
    assert result.licenses == {"CC0": 48}


def test_an_unreadable_source_is_quarantined(make_maker: MakeMaker, clips: str) -> None:
    rows = list(read_clips(clips))
    rows[1] = replace(rows[1], images=(b"not an image", rows[1].images[1]))
    damaged = clips.replace("clips.", "damaged.")
    write_clips(damaged, rows)
    sources = ClipFrames(ClipSource(damaged), SIZE)
    result = make_maker(sources=sources, pairs=12, pairs_per_shard=12, pairs_per_source=2).shard(0)
    assert len(result.pairs) == 10 and result.rejected == {"source": 2}
    (name, reason), *others = result.quarantined.items()
    assert name == "person 1/clip 1/0" and not others
    assert "not a square JPEG or PNG" in reason and str(Path(damaged).parent) not in reason


def test_frames_that_a_shard_has_lost_are_quarantined(make_maker: MakeMaker, clips: str) -> None:
    sources = ClipFrames(ClipSource(clips), SIZE)
    write_clips(clips, list(read_clips(clips))[:2])
    result = make_maker(sources=sources, pairs=6, pairs_per_shard=6).shard(0)
    assert len(result.pairs) == 4 and result.rejected == {"source": 2} and not result.unexpected
    assert sorted(result.quarantined) == ["person 2/clip 2/0", "person 2/clip 2/1"]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("score_covisible", 0.1, "covisible"),
        ("score_identity", 0.0, "identity"),
        ("score_expression", -0.9, "expression"),
        ("score_saturation", 0.95, "saturation"),
        ("score_identity", float("nan"), "not_finite"),
    ],
)
def test_pairs_that_fail_a_gate_are_rejected_and_counted(
    make_maker: MakeMaker, column: str, value: float, reason: str
) -> None:
    scores = dict.fromkeys(COLUMNS, 0.5) | {column: value}
    result = make_maker(generator=DarkeningGenerator(scores=scores)).shard(0)
    assert result.pairs == [] and result.rejected[reason] == result.planned == 4


def test_scores_are_columns(make_maker: MakeMaker) -> None:
    assert all(set(pair.scores) == set(COLUMNS) for pair in make_maker().shard(0).pairs)


def test_reenactment_uses_pose_and_light_of_driving_clips(make_maker: MakeMaker, clips: str) -> None:
    driving = ClipFrames(ClipSource(clips), SIZE)
    reenacted, plain = make_maker(driving=driving).shard(0), make_maker().shard(0)
    assert len(reenacted.pairs) == 4
    others = {pair.pair_id: pair for pair in plain.pairs}
    assert any(pair.image != others[pair.pair_id].image for pair in reenacted.pairs)
    for pair in reenacted.pairs:
        np.testing.assert_array_equal(pair.expression, others[pair.pair_id].expression)


def test_a_batch_too_large_for_the_gpu_is_split() -> None:
    batch_sizes = []

    def work(images: torch.Tensor, faces: FaceParameters) -> torch.Tensor:
        assert len(images) == len(faces)
        if len(images) > 2:
            raise torch.cuda.OutOfMemoryError("out of memory")
        batch_sizes.append(len(images))
        return images

    faces = FaceParameters(*(torch.zeros(7, 3) for _ in range(6)))
    images = torch.arange(7)
    assert torch.equal(torch.cat(in_halves(work, images, faces)), images)
    assert batch_sizes == [1, 2, 2, 2]


def test_a_single_image_too_large_for_the_gpu_raises() -> None:
    def work(images: torch.Tensor) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("out of memory")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        in_halves(work, torch.zeros(4))


@dataclass
class FaultyGenerator(DarkeningGenerator):
    """Raises for some pairs, by how much of their expression; and, once its device is broken, for ever."""

    poison: float = 2.0
    dark: float = -1.0
    breaks_after: int | None = None
    calls: int = 0

    def check(self) -> None:
        if self.broken:
            raise DeviceError("cuda:0 is broken: an illegal memory access was encountered")

    @property
    def broken(self) -> bool:
        return self.breaks_after is not None and self.calls > self.breaks_after

    def reconstruct(self, images: torch.Tensor) -> FaceParameters:
        if (images.mean((1, 2, 3)) < self.dark).any():
            raise ValueError("a face\nwithout light")
        return super().reconstruct(images)

    def generate(self, images, faces, source_index, target, stopwatch=None) -> GeneratedPairs:
        self.calls += 1
        if self.broken or (target.expression.mean(1) > self.poison).any():
            raise RuntimeError("index 9 is out of bounds")
        return super().generate(images, faces, source_index, target, stopwatch)


def test_a_pair_that_raises_is_quarantined_with_its_reason(make_maker: MakeMaker) -> None:
    sizes = {"pairs": 12, "pairs_per_shard": 12}
    planned = make_maker(**sizes).plan.shard(0)
    worst = max(planned, key=lambda pair: pair.expression.mean())
    poison = sorted(pair.expression.mean() for pair in planned)[-2] + 1e-6
    result = make_maker(generator=FaultyGenerator(poison=poison), **sizes).shard(0)
    assert result.rejected["error"] == 1 and len(result.pairs) == 11
    assert result.quarantined == {f"pair {worst.pair_id}": "RuntimeError: index 9 is out of bounds"}
    others = {pair.pair_id: pair.image for pair in make_maker(**sizes).shard(0).pairs}
    assert all(pair.image == others[pair.pair_id] for pair in result.pairs)


def test_a_source_that_cannot_be_reconstructed_is_quarantined(make_maker: MakeMaker, clips: str) -> None:
    sources = ClipFrames(ClipSource(clips), SIZE)
    light = sorted(sources.read(number).image.mean() / 255 for number in range(6))
    generator = FaultyGenerator(dark=(light[0] + light[1]) / 2)
    result = make_maker(generator=generator, pairs=12, pairs_per_shard=12, pairs_per_source=2).shard(0)
    assert result.rejected == {"source": 2} and len(result.pairs) == 10
    assert list(result.quarantined.values()) == ["ValueError: a face without light"]


def test_any_exception_of_a_source_sets_it_aside_but_one_of_the_storage_or_the_memory(
    make_maker: MakeMaker, clips: str
) -> None:
    class Odd(ClipFrames):
        error: Exception = IndexError("picture 7")

        def read(self, number: int) -> SourceImage:
            if number == 3:
                raise self.error
            return super().read(number)

    sources = Odd(ClipSource(clips), SIZE)
    result = make_maker(sources=sources, pairs=6, pairs_per_shard=6).shard(0)
    assert result.rejected == {"source": 1}
    assert result.quarantined == {"person 1/clip 1/1": "IndexError: picture 7"}
    for sources.error in (StorageError("s3://bucket: no response"), MemoryError()):
        with pytest.raises(type(sources.error)):
            make_maker(sources=sources, pairs=6, pairs_per_shard=6).shard(0)


@pytest.mark.parametrize("step", ["reconstruct", "generate", "encode"])
def test_a_shard_whose_pairs_all_raise_is_not_made(
    make_maker: MakeMaker, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def broken(*args: object) -> None:
        raise ImportError("libjpeg.so.8: no such file")

    generator = DarkeningGenerator()
    if step == "encode":
        monkeypatch.setattr(maker, "encode_jpeg", broken)
    else:
        monkeypatch.setattr(generator, step, broken)
    with pytest.raises(maker.ShardFailure, match=r"shard 0: 4 of 4 pairs raised .* ImportError: libjpeg"):
        make_maker(generator=generator).shard(0)


def test_a_shard_of_many_exceptions_is_not_made(make_maker: MakeMaker) -> None:
    sizes = {"pairs": 40, "pairs_per_shard": 40}
    strengths = sorted(pair.expression.mean() for pair in make_maker(**sizes).plan.shard(0))
    few, many = (FaultyGenerator(poison=strengths[-1 - count] + 1e-6) for count in (2, 3))
    assert make_maker(generator=few, **sizes).shard(0).rejected["error"] == 2
    with pytest.raises(maker.ShardFailure, match="shard 0: 3 of 40 pairs"):
        make_maker(generator=many, **sizes).shard(0)


def test_lack_of_memory_is_no_pairs_fault(make_maker: MakeMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise MemoryError

    monkeypatch.setattr(maker, "encode_jpeg", full)
    with pytest.raises(MemoryError):
        make_maker().shard(0)


def test_people_of_a_bucket_with_options_are_the_sources() -> None:
    config = load(Path(__file__).parents[2] / "configs" / "smoke.yaml", [])
    uri = source_folder(config, "s3://bucket/run/prepare?endpoint_override=http://localhost:9000")
    assert uri == "s3://bucket/run/prepare/train?endpoint_override=http://localhost:9000"


def test_a_broken_device_is_no_pairs_fault(make_maker: MakeMaker) -> None:
    with pytest.raises(DeviceError, match="illegal memory access"):
        make_maker(generator=FaultyGenerator(breaks_after=1)).shard(0)


def test_a_device_that_computes_passes() -> None:
    check_device(torch.device("cpu"))
    with pytest.raises(DeviceError, match="cuda:93 is broken: "):
        check_device(torch.device("cuda:93"))
