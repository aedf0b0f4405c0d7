"""Defects of a dense 3D flow: where it folds space, and how far from its start the way there and back ends."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.networks.flow3d.geometry import voxel_centres, warp_volume
from jr2net.render.scene import Scene
from jr2net.render.view_synthesis import synthesize_view


@runtime_checkable
class HasFlows(Protocol):
    """A reenactor that warps a volume, and can say how (see ``render.scene``)."""

    def flows(self, scene: Scene, back: Tensor) -> tuple[Tensor, Tensor]: ...


def flow_defects(network: nn.Module, model: FaceModel, camera: Camera, scene: Scene) -> dict[str, Tensor]:
    """``folded_voxels`` (``folded``) of the flow to the driving view and ``cycle_px`` (``cycle_error``), both (B,).

    Empty for a network that warps no volume.
    """
    if not isinstance(network, HasFlows):
        return {}
    there, back = flows(network, model, camera, scene)
    return {"folded_voxels": folded(there), "cycle_px": cycle_error(there, back) * camera.size / 2}


def flows(network: HasFlows, model: FaceModel, camera: Camera, scene: Scene) -> tuple[Tensor, Tensor]:
    """Flows (B, 3, D, h, w) to the driving view and, from the volume that was warped there, back to the source view."""
    back = synthesize_view(scene.driving, scene.source, model.faces, scene.source_image, camera)
    return network.flows(scene, back.position)


def folded(flow: Tensor) -> Tensor:
    """(B,): fraction of the voxels at which p ↦ p + flow(p) turns space inside out: its Jacobian's determinant is ≤ 0.

    flow (B, 3, D, h, w): see ``networks.flow3d.geometry``. Differences are forward ones, between neighbours.
    """
    size = (flow.shape[2], flow.shape[3], flow.shape[4])
    position = flow.double() + voxel_centres(size, flow.device)
    here = position[..., :-1, :-1, :-1]
    along = position[..., :-1, :-1, 1:], position[..., :-1, 1:, :-1], position[..., 1:, :-1, :-1]
    jacobian = torch.stack([neighbour - here for neighbour in along], dim=-1).permute(0, 2, 3, 4, 1, 5)
    return (torch.linalg.det(jacobian) <= 0).double().flatten(1).mean(1)


def cycle_error(there: Tensor, back: Tensor) -> Tensor:
    """(B,): mean distance in x and y, as coordinates, between a voxel and where ``back`` and then ``there`` take it.

    Both (B, 3, D, h, w). Voxels that ``back`` takes out of the volume are not counted; NaN if there are no others.
    """
    size = (back.shape[2], back.shape[3], back.shape[4])
    inside = ((voxel_centres(size, back.device) + back).abs() <= 1).all(1)
    distance = (back + warp_volume(there, back))[:, :2].square().sum(1).sqrt()
    return torch.where(inside, distance, 0).flatten(1).sum(1) / inside.flatten(1).sum(1)
