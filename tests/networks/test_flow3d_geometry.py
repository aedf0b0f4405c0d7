"""Coordinates and warps of flow3d: voxel centres, backward offsets, the head's rigid motion against the camera."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from flow3d_scenes import faces

from jr2net.config import FaceConfig
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.camera import Camera, rotation_matrix, to_camera
from jr2net.face.load import load_face_model
from jr2net.face.parameters import FaceParameters
from jr2net.networks.flow3d.geometry import (
    HALF_DEPTH,
    coefficients,
    dilate,
    head_motion,
    image_flow,
    surface_motion,
    voxel_centres,
    warp_image,
    warp_volume,
    with_surface,
)
from jr2net.render.scene import set_scene

CPU = torch.device("cpu")


def face(rotation: tuple[float, float, float], translation: tuple[float, float, float]) -> FaceParameters:
    return faces(1, 0).replace(rotation=torch.tensor([rotation]), translation=torch.tensor([translation]))


def test_voxel_centres_tile_the_volume() -> None:
    x, y, z = voxel_centres((2, 4, 5), CPU)[0]
    torch.testing.assert_close(x[0, 0], torch.tensor([-0.8, -0.4, 0.0, 0.4, 0.8]))
    torch.testing.assert_close(y[0, :, 0], torch.tensor([-0.75, -0.25, 0.25, 0.75]))
    torch.testing.assert_close(z[:, 0, 0], torch.tensor([-0.5, 0.5]))


@pytest.mark.parametrize(("axis", "dimension", "count"), [(0, 4, 6), (1, 3, 5), (2, 2, 4)])
def test_flows_are_backward_offsets(axis: int, dimension: int, count: int) -> None:
    volume = torch.rand(1, 2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    flow = torch.zeros(1, 3, 4, 5, 6)
    flow[:, axis] = 2 / count  # one voxel
    shifted = volume.narrow(dimension, 1, count - 1)
    torch.testing.assert_close(warp_volume(volume, flow).narrow(dimension, 0, count - 1), shifted, atol=1e-5, rtol=0)


def test_images_follow_the_visible_voxels() -> None:
    image = torch.rand(1, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    flow = torch.zeros(1, 3, 2, 8, 8)
    flow[:, 0, 1] = 2 * 3 / 32  # the far voxels move by three pixels
    near, far = (torch.tensor(weight).view(1, 2, 1, 1).expand(-1, -1, 8, 8) for weight in ((1.0, 0.0), (0.0, 1.0)))
    torch.testing.assert_close(warp_image(image, image_flow(flow, near)), image, atol=1e-5, rtol=0)
    moved = warp_image(image, image_flow(flow, far))
    torch.testing.assert_close(moved[..., :-3], image[..., 3:], atol=1e-5, rtol=0)


def test_the_prior_of_an_unmoved_head_is_zero() -> None:
    still = face((0.2, -0.4, 0.1), (5.0, -8.0, 1000.0))
    assert head_motion(still, still, 5.0, (4, 8, 8)).abs().max() < 1e-5


def test_the_prior_of_a_roll_turns_the_image() -> None:
    """A driving head rolled by 90 degrees counter-clockwise in the image: what is above it was at its right."""
    source, driving = face((0, 0, 0), (0, 0, 1080.0)), face((0, 0, math.pi / 2), (0, 0, 1080.0))
    flow = head_motion(source, driving, 5.0, (4, 8, 8))
    own = voxel_centres((4, 8, 8), CPU)
    there = own + flow
    torch.testing.assert_close(there[:, 0], -own[:, 1], atol=1e-5, rtol=0)  # x is what y was, which points down
    torch.testing.assert_close(there[:, 1], own[:, 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(there[:, 2], own[:, 2], atol=1e-5, rtol=0)


def test_the_prior_moves_voxels_as_the_camera_sees_the_mesh_move() -> None:
    """A point of the head's own space, seen at the driving pose, comes from where the source's camera sees it."""
    source, driving = face((0.3, -0.5, 0.2), (12.0, -5.0, 1050.0)), face((-0.2, 0.4, -0.1), (-9.0, 7.0, 1120.0))
    size, camera = (4, 8, 8), Camera.default(64)
    flow, own = head_motion(source, driving, 5.0, size), voxel_centres(size, CPU)
    origin = driving.translation[0]
    depth = origin[2] + HALF_DEPTH * own[0, 2]
    pixels = 32 * (own[0, :2].permute(1, 2, 3, 0) + 1)
    point = camera.unproject(pixels, depth).reshape(-1, 3)
    basis = to_camera(torch.eye(3)[None], driving.rotation, torch.zeros(1, 3))[0]  # rows: the head's axes
    shape = (point - origin) @ basis.T
    seen = to_camera(shape[None], source.rotation, source.translation)[0]
    expected = torch.cat([camera.project(seen) / 32 - 1, (seen[:, 2:] - source.translation[0, 2]) / HALF_DEPTH], dim=1)
    there = (own + flow)[0].permute(1, 2, 3, 0).reshape(-1, 3)
    torch.testing.assert_close(there, expected, atol=1e-4, rtol=1e-4)


def test_a_face_without_an_expression_of_its_own_adds_nothing_to_the_heads_motion() -> None:
    """Where mesh and head move alike, the surface's motion beside the head's is 0; an open jaw adds to it."""
    model, camera = load_face_model(FaceConfig()), Camera.default(64)
    neutral = model.neutral(1)
    pose = {"rotation": torch.tensor([[0.1, -0.2, 0.05]]), "translation": torch.tensor([[5.0, -4.0, 1050.0]])}
    source = neutral.replace(**pose)
    driving = neutral.replace(rotation=torch.tensor([[-0.1, 0.2, 0.0]]), translation=torch.tensor([[0.0, 6.0, 1100.0]]))
    image = torch.rand(1, 3, 64, 64)

    def motion(target: FaceParameters) -> torch.Tensor:
        scene = set_scene(model, camera, image, source, target)
        return surface_motion(scene.view.position, scene.driving, source, target, 5.0)[1]

    assert motion(driving).abs().max() < 1e-3
    expression = torch.zeros(1, 51)
    expression[:, ARKIT_NAMES.index("jawOpen")] = 0.8
    moved = motion(driving.replace(expression=expression))
    assert moved[:, 1].min() < -0.05  # the open chin's pixels come from above
    assert moved[:, 0].abs().mean() < moved[:, 1].abs().mean()


def test_a_surfaces_motion_is_added_at_all_depths() -> None:
    flow, motion = torch.zeros(2, 3, 4, 4, 4), torch.rand(2, 2, 16, 16)
    added = with_surface(flow, motion)
    torch.testing.assert_close(added[:, :2, 3], F.avg_pool2d(motion, 4))
    assert torch.equal(added[:, :, 0], added[:, :, 3])
    assert added[:, 2].abs().max() == 0


def test_the_body_follows_the_neck_and_does_not_turn_with_the_head() -> None:
    """Seen at a head that turns about the base of its neck: far below it nothing moves, the forehead does."""
    neck, size = torch.tensor([0.0, -130.0, -20.0]), (5, 32, 32)
    turned = face((0.0, 0.6, 0.0), (0.0, -60.0, 1080.0))
    flip = torch.tensor([1.0, -1.0, -1.0])
    origin = turned.translation[0] + flip * ((rotation_matrix(turned.rotation)[0] - torch.eye(3)) @ neck)
    still = face((0.0, 0.0, 0.0), tuple(origin.tolist()))
    flow = head_motion(still, turned, 5.0, size, body=True)
    below = flow[:, :2, :, -2:]  # at least 145 mm below the head's origin
    assert below.abs().max() < 1e-5
    assert flow[:, 0, 2, 8].abs().min() < 0.2 < flow[:, 0, 0, 8].abs().max()
    assert torch.equal(flow[:, :, :, :8], head_motion(still, turned, 5.0, size)[:, :, :, :8])


def test_coefficients_leave_identity_out() -> None:
    one = faces(2, 0)
    assert coefficients(one, 5.0).shape == (2, 57)
    assert coefficients(one, 5.0)[:, 54:].abs().max() < 1
    assert torch.equal(coefficients(one.replace(identity=one.identity + 1), 5.0), coefficients(one, 5.0))


def test_holes_are_binary_and_wider_than_the_matte() -> None:
    matte = torch.zeros(1, 1, 9, 9)
    matte[..., 4, 4], matte[..., 0, 0] = 0.3, 0.02
    hole = dilate(matte, 2)
    assert hole.sum() == 25 and hole[..., 2:7, 2:7].all()
