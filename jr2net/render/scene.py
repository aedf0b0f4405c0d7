"""A reenactor's input and output, whichever reenactor it is.

``network(scene: Scene) -> Generated`` generates images. ``network.encode(source_image)`` computes what depends on the
source images alone, once for each portrait: ``network(scene, code)`` then generates the same images in less time. A
network that gains nothing by it returns None. A network that warps a volume may have ``flows(scene, back)``, its flows
there and back, which evaluation measures (``evaluation.flow``). Nothing but trainings and checkpoints knows more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.render.conditions import Conditions
from jr2net.render.renderer import Rendering, render
from jr2net.render.view_synthesis import View, head_motion_warp, synthesize_view


@dataclass(frozen=True)
class Scene:
    """A reenactor's input for a batch of B (source, driving) pairs.

    source_image               (B, 3, S, S) in [0, 1]
    source, driving            the two renderings; driving has the source's identity and albedo
    view                       the source image warped into the driving view (Eq. 2), with the co-visible mask
    conditions                 inputs of DCNet's modulation
    source_face, driving_face  the parameters of the two renderings
    matte                      (B, 1, S, S) in [0, 1]: 1 where the source image shows the person; None where unknown
    """

    source_image: Tensor
    source: Rendering
    driving: Rendering
    view: View
    conditions: Conditions
    source_face: FaceParameters
    driving_face: FaceParameters
    matte: Tensor | None = None

    def warp_only(self) -> Tensor:
        """The WarpOnly baseline (B, 3, S, S): the warped source where co-visible, the copied source elsewhere."""
        return torch.lerp(self.source_image, self.view.image, self.view.covisible)


@dataclass(frozen=True)
class Generated:
    """A reenactor's output for a scene.

    picture   (B, 3, S, S) in [0, 1]
    kept      (B, 1, S, S) in [0, 1]: 1 where the picture is the source image, unchanged to the bit
    position  (B, S, S, 2): where the network sampled the source image for each pixel, in pixels, before it corrected
              the colours; None: it draws all pixels. Compositing moves the photo's fine detail alike.
    """

    picture: Tensor
    kept: Tensor
    position: Tensor | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> Generated:
        """The same with ``function`` applied to all tensors."""
        position = None if self.position is None else function(self.position)
        return Generated(function(self.picture), function(self.kept), position)


def recombine(source: FaceParameters, driving: FaceParameters, pose: bool = True, light: bool = True) -> FaceParameters:
    """The source's identity and albedo with the driving frame's expression and, optionally, its pose and light.

    ``pose=False, light=False`` is the paper's expression-specific generation.
    """
    changes = {"expression": driving.expression}
    if pose:
        changes |= {"rotation": driving.rotation, "translation": driving.translation}
    if light:
        changes |= {"light": driving.light}
    return source.replace(**changes)


@torch.no_grad()
def set_scene(
    model: FaceModel,
    camera: Camera,
    source_image: Tensor,
    source: FaceParameters,
    driving: FaceParameters,
    matte: Tensor | None = None,
    rendering: Rendering | None = None,
) -> Scene:
    """Renders both faces and warps the source into the driving view.

    source_image (B, 3, S, S) in [0, 1]; source: the parameters of its face; driving: the parameters of the face to
    generate, usually from ``recombine``; matte (B, 1, S, S) of the source image; rendering: of ``source``, where it
    exists already.
    """
    source_rendering = rendering if rendering is not None else render(model, source, camera)
    driving_rendering = render(model, driving, camera)
    view = synthesize_view(source_rendering, driving_rendering, model.faces, source_image, camera)
    conditions = Conditions(
        normal=driving_rendering.normal,
        light=driving_rendering.light,
        covisible=view.covisible,
        warped_image=view.image,
        mask=driving_rendering.mask,
        head_warped=head_motion_warp(source_rendering, driving_rendering, source_image, camera),
        rendered=(driving_rendering.image * exposure(source_image, source_rendering)).clamp(0, 1),
    )
    return Scene(source_image, source_rendering, driving_rendering, view, conditions, source, driving, matte)


def exposure(image: Tensor, rendering: Rendering) -> Tensor:
    """(B, 3, 1, 1): factor from the mean colour of the rendered face to that of the face in the image (B, 3, S, S).

    RecNet's albedo and light do not explain the colours of a face completely; rendered pixels next to pixels of the
    image must match them.
    """
    observed, rendered = ((x * rendering.mask).sum((2, 3), keepdim=True) for x in (image, rendering.image))
    return (observed / rendered.clamp(min=1e-3)).clamp(0.25, 4.0)
