"""Synthesis on a GPU that only pretends: it mixes no devices, and a batch is read twice, its images and its scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from darkening_maker import SIZE, MakeMaker

from jr2net.config import BackboneConfig, DCNetConfig
from jr2net.data.clips import ClipSource
from jr2net.data.sources import ClipFrames
from jr2net.face.model import FaceModel
from jr2net.images.arrays import decode_image
from jr2net.inference.messages import ModelInfo
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor
from jr2net.networks.dcnet import DCNet
from jr2net.networks.etnet import ETNet
from jr2net.networks.recnet import RecNet
from jr2net.synthesis.pair_generator import PairGenerator
from tests.pretended_gpu import pretended_gpu

RECNET, DCNET = (ModelInfo(kind, "", SIZE, 5.0) for kind in ("recnet", "dcnet"))
BACKBONE = BackboneConfig(layers=10, width=8)
OPTIMIZER = {"steps": 1, "batch_size": 1, "learning_rate": 1e-3}


def pair_generator(model: FaceModel, device: torch.device | str, reader: bool) -> PairGenerator:
    torch.manual_seed(0)
    recnet = RecNet(model.sizes, BACKBONE).eval().to(device)
    dcnet = DCNet(DCNetConfig.model_validate({"width": 8, "scales": 2, "blocks": 1, "optimizer": OPTIMIZER}))
    model = model.to(device)
    reenactor = Reenactor(dcnet.eval().to(device), model, DCNET, Reconstructor(recnet, model, RECNET))
    return PairGenerator(reenactor, ETNet(BACKBONE).eval().to(device) if reader else None)


@pytest.mark.parametrize("reenact", [False, True])
def test_a_shard_is_the_one_of_a_cpu(
    reenact: bool, make_maker: MakeMaker, clips: str, toy_model: FaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``reenact``, pose and light come from driving images, and a reader scores the expressions."""
    driving = ClipFrames(ClipSource(clips), SIZE) if reenact else None
    settings = {"pairs": 4, "pairs_per_shard": 4, "batch_size": 2, "reenact": reenact, "jpeg_quality": 95}
    expected = make_maker(generator=pair_generator(toy_model, "cpu", reenact), driving=driving, **settings).shard(0)
    with pretended_gpu() as gpu:
        generator, batches = pair_generator(toy_model, gpu.device, reenact), []
        generate = generator.generate
        monkeypatch.setattr(PairGenerator, "generate", lambda _, *given: batches.append(1) or generate(*given))
        maker = make_maker(generator=generator, driving=driving, **settings)
        maker.shard(0)  # constants are uploaded once
        gpu.traffic.clear(), batches.clear()
        shard = maker.shard(0)
        assert gpu.count("read") == 2 * len(batches) > 0, gpu.places("read")
        assert not gpu.count("upload"), gpu.places("upload")
    assert [(pair.pair_id, pair.source_id) for pair in shard.pairs] == [
        (pair.pair_id, pair.source_id) for pair in expected.pairs
    ]
    assert shard.rejected == expected.rejected
    for pair, other in zip(shard.pairs, expected.pairs, strict=True):
        assert np.array_equal(pair.expression, other.expression)
        assert pair.scores == pytest.approx(other.scores, rel=1e-3, abs=1e-3)
        image, expected_image = (decode_image(each.image).astype(int) for each in (pair, other))
        assert np.abs(image - expected_image).max() <= 8
