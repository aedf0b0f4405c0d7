"""The detector's training step: scores of cells near the centres of faces, and the faces' landmarks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from jr2net.config import OptimizerConfig
from jr2net.networks.detector import STRIDE, Detector, cell_centres
from jr2net.training.training import Batch, Training

_SPREAD, _LEAST_SPREAD = 0.12, 0.4
"""Standard deviation of the score around a face's centre: a fraction of the face's size, with some cells added."""

_HIDDEN, _SHOWN = 0.4, 0.75
"""Fraction of a face's landmarks with which its score is 0, and 1."""

_LANDMARKS = 8.0
"""Weight of the landmarks' distances, which are in sizes of the face."""


class DetectorTraining(Training):
    """Trains the detector on drawn scenes (``data.scenes``)."""

    def __init__(self, network: Detector, optimizer: OptimizerConfig, device: torch.device | str = "cpu") -> None:
        super().__init__({"detector": network}, optimizer, device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def step(self, batch: Batch) -> dict[str, float]:
        def losses_of(microbatch: Batch) -> dict[str, Tensor]:
            image = microbatch["image"].contiguous(memory_format=torch.channels_last)
            logit, landmarks = self.forward(self.wrapped["detector"], image)
            return detector_losses(logit, landmarks, microbatch)

        values = self.update([self.backward("detector", losses_of, self.microbatches(batch))])
        self.step_number += 1
        return values

    def validation_losses(self, batch: Batch) -> dict[str, Tensor]:
        network = self.networks["detector"].eval()
        logit, landmarks = self.forward(network, batch["image"])
        network.train()
        return detector_losses(logit, landmarks, batch)


def detector_losses(logit: Tensor, landmarks: Tensor, batch: Batch) -> dict[str, Tensor]:
    """The terms of a batch with ``landmarks`` (B, K, 68, 2) and ``visible`` (B, K) of its faces; logit (B, G, G) and
    landmarks (B, G, G, 68, 2) as predicted.

    The score is a quality focal loss (Li et al. 2020): its target is 1 at the centre of a face that is seen whole, less
    beside it, and less where a part of it is hidden.
    """
    truth, visible = batch["landmarks"], batch["visible"]
    near, size = nearness(truth, logit.shape[-1])
    near = near * (visible > 0)[..., None, None]
    shown = ((visible - _HIDDEN) / (_SHOWN - _HIDDEN)).clamp(0, 1)
    target, face = (near * shown[..., None, None]).max(1)
    focal = (target - logit.sigmoid()).square() * F.binary_cross_entropy_with_logits(logit, target, reduction="none")
    rows = torch.arange(len(face), device=face.device)[:, None, None]
    distance = (landmarks - truth[rows, face]).norm(dim=-1).mean(-1) / size[rows, face].clamp(min=1)
    weight = target * (target > 0.3)
    return {
        "score": focal.sum((1, 2)).mean(),
        "landmark": _LANDMARKS * (weight * distance).sum() / weight.sum().clamp(min=1),
    }


def nearness(landmarks: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """How near every cell is to the centre of every face (B, K, G, G), 1 at the nearest one; and the faces' sizes
    (B, K), the longest sides of their boxes, in pixels."""
    low, high = landmarks.amin(2), landmarks.amax(2)
    size = (high - low).amax(-1)
    centres = cell_centres(STRIDE * cells, landmarks.device)
    distance = (centres - ((low + high) / 2)[:, :, None, None]).norm(dim=-1)
    spread = (_SPREAD * size + _LEAST_SPREAD * STRIDE)[..., None, None]
    nearest = distance.amin((2, 3), keepdim=True)
    return torch.exp(-0.5 * ((distance.square() - nearest.square()) / spread.square())), size
