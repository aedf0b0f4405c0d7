"""DCNet's default generator and its discriminator: shapes, initial output, range of the output, gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_scenes import first_of, perturb, scene
from torch import nn

from jr2net.config import DCNetConfig
from jr2net.networks.dcnet import DCNet, downsample_positions
from jr2net.networks.dcnet_warp import local_fraction
from jr2net.networks.discriminator import PatchDiscriminator
from jr2net.render.conditions import CONDITION_CHANNELS

OPTIMIZER = {"steps": 1, "batch_size": 1, "learning_rate": 1e-3}


def network(width: int = 8, scales: int = 3, context_scales: int = 2, blocks: int = 1) -> DCNet:
    torch.manual_seed(0)
    return DCNet(
        DCNetConfig(width=width, scales=scales, context_scales=context_scales, blocks=blocks, optimizer=OPTIMIZER)
    )


@pytest.mark.parametrize(
    ("side", "scales", "context_scales", "blocks"),
    [(64, 3, 2, 2), (96, 3, 2, 1), (48, 3, 2, 1), (64, 1, 0, 1), (64, 2, 1, 3), (112, 4, 3, 1)],
)
def test_output_shape_and_range_at_every_size(side: int, scales: int, context_scales: int, blocks: int) -> None:
    dcnet = network(8, scales, context_scales, blocks)
    perturb(dcnet)
    image = dcnet(scene(2, side)).picture
    assert image.shape == (2, 3, side, side)
    assert image.min() >= 0 and image.max() <= 1


def test_initial_output_is_the_warped_source_on_the_face_and_the_copied_source_elsewhere() -> None:
    """The face does not move; its half that is hidden in the source comes from the rendering."""
    inputs = scene(2, 64)
    image, conditions = network()(inputs).picture, inputs.conditions
    hidden = (conditions.mask * (1 - conditions.covisible)).bool()
    assert hidden.float().mean() == 0.125
    expected = torch.where(hidden, conditions.rendered, inputs.source_image)
    torch.testing.assert_close(image, expected, rtol=0, atol=1e-4)


def test_initial_output_keeps_the_background_when_the_head_moves() -> None:
    inputs = scene(2, 64)
    face, position = inputs.conditions.mask > 0, inputs.view.position
    moved = torch.where(face.permute(0, 2, 3, 1), position + torch.tensor([8.0, 0.0]), position)
    inputs = replace(inputs, view=replace(inputs.view, position=moved))
    image, source = network()(inputs).picture, inputs.source_image
    torch.testing.assert_close(image[..., 16:48, 16:32], source[..., 16:48, 24:40], rtol=0, atol=1e-4)
    assert (image - source)[..., :4, :4].abs().mean() < 0.5 * (image - source)[..., 14:16, 16:48].abs().mean()


@pytest.mark.parametrize("colour", [0.0, 1.0])
def test_generator_can_output_any_colour(colour: float) -> None:
    """Needed for the inside of the mouth and closed lids, which the source does not show."""
    dcnet = network()
    nn.init.constant_(dcnet.output.bias, -20.0 if colour == 0 else 20.0)
    assert (dcnet(scene(1, 64)).picture - colour).abs().max() < 1e-6


def test_positions_say_where_the_source_was_sampled() -> None:
    dcnet, inputs = network(), scene(1, 64)
    nn.init.normal_(dcnet.motion.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    generated = dcnet(inputs)
    grid = generated.position * (2 / 64) - 1
    sampled = nn.functional.grid_sample(inputs.source_image, grid, padding_mode="border", align_corners=False)
    drawn = inputs.conditions.mask * (1 - inputs.conditions.covisible)  # the rendering
    torch.testing.assert_close(generated.picture * (1 - drawn), sampled * (1 - drawn), rtol=0, atol=1e-5)
    assert not torch.equal(generated.position, network()(inputs).position)


def test_clamped_pixels_have_a_gradient() -> None:
    dcnet = network()
    nn.init.constant_(dcnet.output.bias, 40.0)
    dcnet(scene(1, 64)).picture.sum().backward()
    assert dcnet.output.bias.grad.min() > 0


def test_every_parameter_has_a_gradient() -> None:
    dcnet = network(blocks=2)
    perturb(dcnet)
    dcnet(scene(2, 64)).picture.square().sum().backward()
    for name, parameter in dcnet.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_texture_features_outside_the_face_are_zero() -> None:
    dcnet = network()
    inputs = scene(1, 64)
    source = inputs.source
    for features in dcnet.texture(inputs.source_image, source.light, source.normal, source.mask):
        side = features.shape[-1]
        assert not features[..., : side // 4, :].any()
        assert features[..., side // 2, side // 2].abs().sum() > 0


def test_downsampled_positions_are_means_over_the_face() -> None:
    position = scene(1, 64).view.position
    coarse = downsample_positions(position, (8, 8), 64)
    assert (coarse[0, 0, 0] == -64).all()
    torch.testing.assert_close(coarse[0, 4, 3], torch.tensor([28.0, 36.0]))  # (x, y) of the 8 x 8 pixels' middle


def test_local_fraction_equals_average_pooling_exactly() -> None:
    mask = (torch.rand(2, 1, 40, 56, generator=torch.Generator().manual_seed(5)) > 0.4).float()
    assert torch.equal(local_fraction(mask, 7), nn.functional.avg_pool2d(mask, 15, stride=1, padding=7))


def test_output_does_not_depend_on_the_batch() -> None:
    dcnet = network()
    perturb(dcnet)
    inputs = scene(3, 64)
    torch.testing.assert_close(dcnet(inputs).picture[:1], dcnet(first_of(inputs)).picture, rtol=1e-4, atol=1e-5)


def test_network_of_the_papers_size_can_be_built() -> None:
    with torch.device("meta"):
        dcnet = network(64)
        assert dcnet(scene(1, 256, "meta")).picture.shape == (1, 3, 256, 256)


def test_conditions_stack_and_concatenate() -> None:
    conditions = scene(2, 64).conditions
    assert conditions.stack().shape == (2, CONDITION_CHANNELS, 64, 64)
    twice = conditions.concatenate(conditions)
    assert torch.equal(twice[2:].stack(), conditions.stack())


@pytest.mark.parametrize("side", [64, 96, 256])
def test_discriminator_outputs_one_logit_per_patch(side: int) -> None:
    discriminator = PatchDiscriminator(8)
    inputs = scene(2, side)
    logits = discriminator(inputs.source_image, inputs.conditions)
    assert logits.shape == (2, 1, side // 8 - 2, side // 8 - 2)
    assert not list(discriminator.buffers())
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in discriminator.parameters())
