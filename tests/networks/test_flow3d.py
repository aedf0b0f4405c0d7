"""Flow3D: shapes, initial output, pixels that are kept, cached source codes, sizes, parameter counts."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from flow3d_scenes import faces, network, perturb, scene
from torch import nn

from jr2net.config import Flow3DConfig, load
from jr2net.networks.flow3d.geometry import dilate, warp_volume
from jr2net.networks.flow3d.network import Flow3D, ImageSizeError, compose, premultiplied
from jr2net.networks.flow3d.refine import Foreground

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("prior", ["none", "pose", "mesh"])
@pytest.mark.parametrize("side", [32, 64, 96])
def test_output_shape_and_range_at_every_size(side: int, prior: str) -> None:
    flow3d = network(prior=prior)
    perturb(flow3d)
    for matte in (True, False):
        generated = flow3d(scene(2, side, matte=matte))
        assert generated.picture.shape == (2, 3, side, side)
        assert generated.kept.shape == (2, 1, side, side)
        for tensor in (generated.picture, generated.kept):
            assert tensor.min() >= 0 and tensor.max() <= 1


def test_the_papers_size_can_be_built() -> None:
    config = load(CONFIGS / "paper-flow3d.yaml")
    with torch.device("meta"):
        flow3d = Flow3D(config.flow3d)
        for side in (64, 96, config.image_size):
            assert flow3d(scene(1, side, "meta")).picture.shape == (1, 3, side, side)
        assert flow3d.encode(scene(1, 256, "meta").source_image).volume.shape == (1, 32, 16, 64, 64)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("laptop", {"lift": 0.035, "flow": 0.247, "refine": 0.330, "inpaint": 0.180}),
        ("paper-flow3d", {"lift": 0.84, "flow": 24.4, "refine": 78.6, "inpaint": 7.5}),
    ],
)
def test_parameter_counts(settings: str, expected: dict[str, float]) -> None:
    """In millions."""
    with torch.device("meta"):
        flow3d = Flow3D(load(CONFIGS / f"{settings}.yaml").flow3d)
    modules = dict(flow3d.named_children()) | dict(flow3d.warping.named_children())
    for name, count in expected.items():
        assert sum(p.numel() for p in modules[name].parameters()) / 1e6 == pytest.approx(count, rel=0.02), name


@pytest.mark.parametrize("matte", [True, False])
def test_every_tensor_is_made_on_the_device_of_the_inputs(matte: bool) -> None:
    """Forward and backward off the CPU; operations on tensors of two devices raise."""
    with torch.device("meta"):
        flow3d = Flow3D(Flow3DConfig(prior="pose"))
    with pytest.raises(RuntimeError):
        torch.ones(2) + torch.ones(2, device="meta")
    flow3d(scene(2, 64, "meta", matte)).picture.sum().backward()
    assert flow3d.warping.lift.encoder[0][0].weight.grad is not None


def test_initial_flow_is_the_identity() -> None:
    flow3d = network()
    inputs = scene(2, 64)
    code = flow3d.encode(inputs.source_image, inputs.matte)
    source, driving = (flow3d.coefficients(face) for face in (inputs.source_face, inputs.driving_face))
    warped = flow3d.warping.warp(code.foreground, code.volume, source, driving)
    assert not warped.flow.any()
    torch.testing.assert_close(warp_volume(code.volume, warped.flow), code.volume, rtol=0, atol=1e-5)
    torch.testing.assert_close(warped.texture, code.foreground, rtol=0, atol=1e-5)


@pytest.mark.parametrize("prior", ["none", "pose", "mesh"])
def test_positions_say_where_the_source_was_sampled(prior: str) -> None:
    flow3d, inputs = network(prior=prior), scene(2, 64)
    nn.init.uniform_(flow3d.warping.flow.output.bias, 0.05, 0.1)
    code = flow3d.encode(inputs.source_image, inputs.matte)
    coefficients = [flow3d.coefficients(face) for face in (inputs.source_face, inputs.driving_face)]
    motion = flow3d.prior(inputs.source_face, inputs.driving_face, inputs.driving, inputs.view.position)
    warped = flow3d.warping.warp(code.foreground, code.volume, *coefficients, motion)
    position = flow3d(inputs).position
    sampled = nn.functional.grid_sample(
        code.foreground, position * (2 / 64) - 1, padding_mode="border", align_corners=False
    )
    torch.testing.assert_close(sampled, warped.texture, rtol=0, atol=1e-4)


def test_without_a_shortcut_there_are_no_positions() -> None:
    assert network(shortcut=False)(scene(1, 64)).position is None


def test_flow_may_be_negative_and_is_not_bounded() -> None:
    flow3d = network()
    nn.init.constant_(flow3d.warping.flow.output.bias, -3.0)
    flow = flow3d.warping.flow(torch.zeros(1, 4, 4, 8, 8), *torch.zeros(2, 1, 57))
    assert (flow == -3).all()


def test_flow_depends_on_pose_and_expression_but_not_on_identity() -> None:
    flow3d = network()
    perturb(flow3d)
    inputs = scene(1, 32)
    reference = flow3d(inputs).picture
    face = inputs.driving_face
    for name in ("expression", "rotation", "translation"):
        changed = replace(inputs, driving_face=face.replace(**{name: getattr(face, name) * 1.2 + 0.1}))
        assert not torch.equal(flow3d(changed).picture, reference), name
    for name in ("identity", "albedo", "light"):
        changed = replace(inputs, driving_face=face.replace(**{name: getattr(face, name) + 1}))
        assert torch.equal(flow3d(changed).picture, reference), name


def test_with_the_mesh_as_prior_the_face_is_the_source_s_own_where_it_shows_it_and_rendered_elsewhere() -> None:
    flow3d, inputs = network(), scene(1, 64)
    covisible = inputs.conditions.mask.clone()
    covisible[..., :32] = 0  # the source hides one half of the face
    conditions = replace(inputs.conditions, covisible=covisible)
    code = flow3d.encode(inputs.source_image, torch.ones(1, 1, 64, 64))
    coefficients = [flow3d.coefficients(face) for face in (inputs.source_face, inputs.driving_face)]
    warped = flow3d.warping.warp(code.foreground, code.volume, *coefficients)
    foreground = flow3d.refine(warped, code.foreground, conditions)
    face, shown = (mask.expand(-1, 3, -1, -1) > 0 for mask in (conditions.mask, covisible))
    torch.testing.assert_close(foreground.colour[shown], warped.texture[:, :3][shown])
    hidden = face & ~shown
    torch.testing.assert_close(foreground.colour[hidden], conditions.rendered[hidden])
    assert (foreground.matte[conditions.mask > 0] == 1).all()


def test_without_a_shortcut_all_colours_come_from_the_volume() -> None:
    inputs = scene(1, 64)
    for shortcut in (True, False):
        flow3d = network(shortcut=shortcut)
        perturb(flow3d)
        code = flow3d.encode(inputs.source_image, inputs.matte)
        coefficients = [flow3d.coefficients(face) for face in (inputs.source_face, inputs.driving_face)]
        warped = flow3d.warping.warp(code.foreground, code.volume, *coefficients)
        other = replace(warped, texture=1 - warped.texture)
        a, b = (flow3d.refine(w, code.foreground, inputs.conditions).colour for w in (warped, other))
        assert torch.equal(a, b) is not shortcut


def test_without_a_separate_background_the_whole_image_is_drawn() -> None:
    flow3d = network(separate_background=False)
    perturb(flow3d)
    inputs = scene(1, 64)
    generated = flow3d(inputs)
    assert not generated.kept.any()
    assert torch.equal(flow3d(replace(inputs, matte=None)).picture, generated.picture)


def test_where_kept_is_one_the_source_is_copied_to_the_bit() -> None:
    flow3d = network()
    perturb(flow3d)
    inputs = scene(2, 64)
    generated = flow3d(inputs)
    kept = generated.kept == 1
    assert 0.1 < kept.float().mean() < 0.9  # the background, without the person
    assert torch.equal(generated.picture[kept.expand(-1, 3, -1, -1)], inputs.source_image[kept.expand(-1, 3, -1, -1)])
    assert not generated.kept[dilate(inputs.matte, 0) > 0].any()


def test_the_composition_is_that_of_the_paper() -> None:
    inputs = scene(1, 32)
    code = network().encode(inputs.source_image, inputs.matte)
    generator = torch.Generator().manual_seed(0)
    colour, matte = (torch.rand(1, channels, 32, 32, generator=generator) for channels in (3, 1))
    hole, image = code.hole, inputs.source_image
    expected = matte * colour + (1 - matte) * ((1 - hole) * image + hole * code.background)
    generated = compose(image, code, Foreground(colour, matte))
    torch.testing.assert_close(generated.picture, expected)
    torch.testing.assert_close(generated.kept, (1 - matte) * (1 - hole))


def test_initial_background_continues_the_surroundings() -> None:
    """Inpainting starts from a smooth fill: a plain background stays plain, whoever stands before it."""
    inputs = scene(1, 64)
    plain = torch.where(inputs.matte > 0, inputs.source_image, torch.tensor(0.3))
    background = network().encode(plain, inputs.matte).background
    torch.testing.assert_close(background, torch.full_like(background, 0.3), rtol=0, atol=1e-4)


def twofold(maps: Any) -> Any:
    """A dataclass of tensors with its batch repeated."""
    return replace(maps, **{field.name: torch.cat([getattr(maps, field.name)] * 2) for field in fields(maps)})


def test_a_code_can_be_kept_for_a_portrait() -> None:
    flow3d = network()
    perturb(flow3d)
    inputs = scene(1, 32)
    code = flow3d.encode(inputs.source_image, inputs.matte)
    assert torch.equal(flow3d(inputs, code).picture, flow3d(inputs).picture)
    twice = code.take(torch.tensor([0, 0]))
    repeated = replace(
        inputs,
        source_image=inputs.source_image.repeat(2, 1, 1, 1),
        driving=twofold(inputs.driving),
        view=twofold(inputs.view),
        conditions=inputs.conditions.concatenate(inputs.conditions),
        source_face=inputs.source_face[torch.tensor([0, 0])],
        driving_face=faces(2, 7),
    )
    pictures = flow3d(repeated, twice).picture
    alone = replace(inputs, driving_face=faces(2, 7)[1])
    torch.testing.assert_close(pictures[1:], flow3d(alone, code).picture, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(50, 50), (40, 40), (16, 16), (64, 48)])
def test_odd_sizes_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ImageSizeError, match=rf"{shape[1]} × {shape[0]} pixels: .* multiple of 16, at least 32"):
        network().encode(torch.rand(1, 3, *shape))


def test_every_parameter_has_a_gradient() -> None:
    flow3d = network(flow_blocks=1)
    perturb(flow3d)
    inputs = scene(2, 64)
    predicted = flow3d(inputs).picture.square().sum() + flow3d.matte(inputs.source_image).sum()
    predicted.backward()
    for name, parameter in flow3d.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_mattes_reach_zero_and_one() -> None:
    flow3d = network()
    for bias, value in ((-6.0, 0.0), (6.0, 1.0)):
        nn.init.constant_(flow3d.matte.network.output.bias, bias)
        assert (flow3d.matte(torch.rand(1, 3, 32, 32)) == value).all()


def test_premultiplied_foreground() -> None:
    image, matte = torch.full((1, 3, 2, 2), 0.5), torch.full((1, 1, 2, 2), 0.5)
    assert premultiplied(image, matte)[0, :, 0, 0].tolist() == [0.25, 0.25, 0.25, 0.5]
