"""What a user calls to make a photo act: (source, driving) in, picture out. Figure 3 of the paper, top to bottom."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.render.scene import recombine, set_scene


@dataclass(frozen=True)
class Reenactor:
    """RecNet and DCNet beside the face model and camera they were made for."""

    recnet: nn.Module
    dcnet: nn.Module
    model: FaceModel
    camera: Camera

    @torch.inference_mode()
    def express(self, source_image: Tensor, expression: Tensor) -> Tensor:
        """Expression-specific generation: the source with ARKit coefficients (B, 51), all else kept."""
        source = self.recnet(source_image)
        scene = set_scene(self.model, self.camera, source_image, source, source.replace(expression=expression))
        return self.dcnet(scene)

    @torch.inference_mode()
    def reenact(self, source_image: Tensor, driving_image: Tensor, pose: bool = True, light: bool = True) -> Tensor:
        """The source with the driving picture's expression and, by switch, its pose and light."""
        source, driving = self.recnet(source_image), self.recnet(driving_image)
        scene = set_scene(self.model, self.camera, source_image, source, recombine(source, driving, pose, light))
        return self.dcnet(scene)
