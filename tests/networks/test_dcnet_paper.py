"""DCNet's generator ``paper``, and the conditions of both generators in the ablations of Table 5."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_scenes import first_of, perturb, scene
from torch import Tensor, nn

from jr2net.config import DCNetConfig
from jr2net.networks.dcnet import DCNet, condition_names, warp_features
from jr2net.networks.dcnet_paper import PaperDCNet
from jr2net.networks.dcnet_warp import WarpDCNet
from jr2net.networks.discriminator import PatchDiscriminator
from jr2net.networks.encoders import ContextEncoder
from jr2net.networks.modulation import ModulatedBlock
from jr2net.render.conditions import CHANNELS
from jr2net.render.scene import Scene

OPTIMIZER = {"steps": 1, "batch_size": 1, "learning_rate": 1e-3}
TABLE_5 = {
    "Ours-R": {"conditions": "rendered", "warped_image": False},
    "Ours-P": {"conditions": "dense", "warped_image": False},
    "Ours-L": {"conditions": "no_light", "warped_image": True},
    "Ours": {"conditions": "dense", "warped_image": True},
}
CONDITIONS = {
    ("paper", "Ours-R"): ("rendered",),
    ("paper", "Ours-P"): ("normal", "light", "covisible"),
    ("paper", "Ours-L"): ("normal", "covisible", "warped_image"),
    ("paper", "Ours"): ("normal", "light", "covisible", "warped_image"),
    ("warp", "Ours-R"): ("mask", "rendered"),
    ("warp", "Ours-P"): ("normal", "light", "covisible", "mask", "rendered"),
    ("warp", "Ours-L"): ("normal", "covisible", "warped_image", "mask", "head_warped"),
    ("warp", "Ours"): tuple(CHANNELS),
}


def config(generator: str = "paper", **settings: object) -> DCNetConfig:
    values = {"width": 8, "scales": 3, "context_scales": 2, "blocks": 1, "optimizer": OPTIMIZER} | settings
    return DCNetConfig.model_validate(values | {"generator": generator})


def network(generator: str = "paper", **settings: object) -> DCNet:
    torch.manual_seed(0)
    return DCNet(config(generator, **settings))


@pytest.mark.parametrize(
    ("side", "scales", "context_scales", "blocks"), [(64, 3, 2, 2), (48, 3, 1, 1), (64, 1, 0, 1), (112, 4, 3, 1)]
)
def test_output_shape_and_range_at_every_size(side: int, scales: int, context_scales: int, blocks: int) -> None:
    dcnet = network(scales=scales, context_scales=context_scales, blocks=blocks)
    assert isinstance(dcnet, PaperDCNet)
    generated = dcnet(scene(2, side))
    assert generated.picture.shape == (2, 3, side, side)
    assert generated.picture.min() >= 0 and generated.picture.max() <= 1
    assert generated.kept.shape == (2, 1, side, side) and not generated.kept.any()


def test_every_parameter_has_a_gradient() -> None:
    dcnet = network(blocks=2)
    dcnet(scene(2, 64)).picture.square().sum().backward()
    for name, parameter in dcnet.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_every_scale_is_modulated_by_ten_channels() -> None:
    dcnet = network()
    assert [encoder.convolution.in_channels for encoder in dcnet.conditions] == [10, 10, 10, 10]
    sides: list[int] = []
    for module in dcnet.modules():
        if isinstance(module, ModulatedBlock):
            module.register_forward_hook(lambda block, inputs, output: sides.append(output.shape[-1]))
    dcnet(scene(1, 64))
    assert sides == [8, 16, 32, 64]


def test_warped_features_outside_the_driving_face_are_zero() -> None:
    inputs = scene(2, 64)
    features = torch.ones(2, 5, 8, 8)
    warped = warp_features(features, inputs.view.position, 64)
    assert (warped[..., 2:6, 2:6] == 1).all()
    warped[..., 2:6, 2:6] = 0
    assert not warped.any()


def test_texture_of_the_generator_is_zero_outside_the_faces() -> None:
    """What ``join`` receives: texture channels, then those of the context."""
    dcnet, received = network(), []
    dcnet.join.register_forward_pre_hook(lambda join, inputs: received.append(inputs[0]))
    dcnet(scene(1, 64))
    texture = received[0][:, : -dcnet.context.channels]
    assert texture[..., 2:6, 2:6].any()
    texture = texture.clone()
    texture[..., 2:6, 2:6] = 0
    assert not texture.any()


def without_features(dcnet: DCNet) -> DCNet:
    """Cuts the encoders off from the generator."""
    nn.init.zeros_(dcnet.join.weight)
    return dcnet


def test_source_image_reaches_the_output_only_through_the_encoders_and_the_conditions() -> None:
    dcnet, inputs = network(), scene(1, 64)
    other = replace(inputs, source_image=1 - inputs.source_image)
    assert not torch.equal(dcnet(inputs).picture, dcnet(other).picture)
    without_features(dcnet)
    assert torch.equal(dcnet(inputs).picture, dcnet(other).picture)


def test_maps_that_the_paper_does_not_have_are_not_used() -> None:
    dcnet, inputs = network(), scene(1, 64)
    changed = {name: torch.rand_like(getattr(inputs.conditions, name)) for name in ("mask", "head_warped", "rendered")}
    other = replace(inputs, conditions=replace(inputs.conditions, **changed))
    assert torch.equal(dcnet(inputs).picture, dcnet(other).picture)


def test_context_has_more_down_samplings_and_dilated_convolutions() -> None:
    context = network().context
    assert isinstance(context, ContextEncoder)
    assert [convolution[0].dilation for convolution in context.dilated] == [(2, 2), (4, 4)]
    coarse: list[int] = []
    context.far.register_forward_hook(lambda module, inputs, output: coarse.append(output.shape[-1]))
    features = context(torch.rand(1, 3, 64, 64), (8, 8))
    assert coarse == [2] and features.shape == (1, context.channels, 8, 8) == (1, 32, 8, 8)


def test_output_does_not_depend_on_the_batch() -> None:
    dcnet, inputs = network(), scene(3, 64)
    torch.testing.assert_close(dcnet(inputs).picture[:1], dcnet(first_of(inputs)).picture, rtol=1e-4, atol=1e-5)


def test_network_of_the_papers_size_can_be_built() -> None:
    with torch.device("meta"):
        dcnet = network(width=64, blocks=2)
        assert dcnet(scene(1, 256, "meta")).picture.shape == (1, 3, 256, 256)
    assert 8.5e6 < sum(p.numel() for p in dcnet.parameters()) < 9.5e6


@pytest.mark.parametrize("row", TABLE_5)
@pytest.mark.parametrize("generator", ["paper", "warp"])
def test_ablations_of_table_5(generator: str, row: str) -> None:
    """Generator and discriminator see the documented conditions and nothing else."""
    settings = config(generator, **TABLE_5[row])
    names = condition_names(settings)
    assert names == CONDITIONS[generator, row]
    torch.manual_seed(0)
    dcnet, discriminator = DCNet(settings), PatchDiscriminator(8, conditions=names)
    perturb(dcnet)
    channels = sum(CHANNELS[name] for name in names)
    assert discriminator.convolutions[0].in_channels == 3 + channels
    extra = 0 if generator == "paper" else 3  # the source image; at the finest scale also the warped source
    finest = extra + (3 if generator == "warp" and settings.warped_image else 0)
    inputs = [encoder.convolution.in_channels for encoder in dcnet.conditions]
    assert inputs == [channels + finest, *[channels + extra] * 3]

    original = scene(1, 64)
    for name in CHANNELS:
        changed = change(original, name)
        logits = (discriminator(s.source_image, s.conditions) for s in (original, changed))
        assert torch.equal(*logits) == (name not in names), name
        pictures = (dcnet(s).picture for s in (original, changed))
        # The generator ``warp`` draws the warped source whatever its conditions are, which needs the two masks.
        fills = name in ("covisible", "rendered") and generator == "warp" and row != "Ours-L"
        uses = name in names or (generator == "warp" and name == "mask") or fills
        assert torch.equal(*pictures) == (not uses), name


def change(inputs: Scene, name: str) -> Scene:
    value: Tensor = getattr(inputs.conditions, name)
    return replace(inputs, conditions=replace(inputs.conditions, **{name: 1 - value}))


def test_rendered_conditions_with_the_warped_image_keep_the_covisible_mask() -> None:
    assert condition_names(config(conditions="rendered")) == ("covisible", "warped_image", "rendered")


def test_settings_name_the_generator() -> None:
    assert isinstance(network("warp"), WarpDCNet) and isinstance(network("paper"), PaperDCNet)
    assert DCNet.kind == PaperDCNet.kind == WarpDCNet.kind == "dcnet"
    sizes = {"width": 8, "scales": 3, "context_scales": 2, "blocks": 1}
    assert network("warp").architecture == sizes  # as checkpoints were before there was a second generator
    assert network("paper").architecture == sizes | {"generator": "paper"}
    ablated = network("paper", **TABLE_5["Ours-R"])
    assert ablated.architecture == sizes | {"generator": "paper", "conditions": "rendered", "warped_image": False}


def test_losses_of_the_papers_generator_default_to_the_paper() -> None:
    assert (config("paper").adversarial_from, config("paper").loss.face_emphasis) == (0, 0)
    assert (config("warp").adversarial_from, config("warp").loss.face_emphasis) == (0.5, 1)
    given = config("paper", adversarial_from=0.3, loss={"l1": 3, "face_emphasis": 2})
    assert (given.adversarial_from, given.loss.l1, given.loss.face_emphasis) == (0.3, 3, 2)
