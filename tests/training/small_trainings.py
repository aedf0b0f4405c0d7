"""Trainings of all four networks so small that a step takes milliseconds, and batches for them."""

from __future__ import annotations

from pathlib import Path

import torch

from jr2net.config import BackboneConfig, Config, load
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.networks.dcnet import DCNet
from jr2net.networks.discriminator import PatchDiscriminator
from jr2net.networks.etnet import ETNet
from jr2net.networks.recaugnet import RecAugNet
from jr2net.networks.recnet import RecNet
from jr2net.render.renderer import landmarks_2d, render
from jr2net.training import Training
from jr2net.training.dcnet import DCNetTraining
from jr2net.training.etnet import ETNetTraining
from jr2net.training.recnet import RecNetTraining

NETWORKS = ("recnet", "dcnet", "etnet", "recaugnet")
BACKBONE = BackboneConfig(layers=10, width=8)


def configuration(samples: int, steps: int = 8) -> Config:
    """samples: of a global batch. DCNet's second half of the steps is adversarial."""
    optimizer = f"{{steps: {steps}, batch_size: {samples}, learning_rate: 0.002}}"
    overrides = [f"{network}.optimizer={optimizer}" for network in NETWORKS]
    overrides += ["image_size=32", "dcnet.adversarial_from=0.5", "dcnet.width=8", "dcnet.scales=2"]
    return load(Path(__file__).parents[2] / "configs" / "laptop.yaml", [*overrides, "recnet.photometric_from=0"])


def training(network: str, model: FaceModel, samples: int, steps: int = 8) -> Training:
    """A training at step 0, the same in every process."""
    config = configuration(samples, steps)
    torch.manual_seed(0)
    recnet = RecNet(model.sizes, BACKBONE)
    if network == "recnet":
        return RecNetTraining(recnet, model, Camera.from_config(config), config.recnet.optimizer, config.recnet.loss)
    if network == "dcnet":
        judge, dcnet = PatchDiscriminator(8), DCNet(config.dcnet)
        # Untrained, it reads the source at its pixels' centres, where bilinear reading has two derivatives.
        torch.nn.init.normal_(dcnet.motion.weight, std=0.1)
        return DCNetTraining(dcnet, judge, recnet, recnet.features, model, Camera.from_config(config), config.dcnet)
    if network == "etnet":
        return ETNetTraining(ETNet(BACKBONE), config.etnet.optimizer)
    augmented = RecAugNet(recnet, ETNet(BACKBONE))
    return RecNetTraining(augmented, model, Camera.from_config(config), config.recaugnet.optimizer, config.recnet.loss)


def batch(model: FaceModel, samples: int) -> dict:
    """Two noisy pictures each of ``samples`` faces, and what every training reads of them."""
    generator = torch.Generator().manual_seed(1)
    view = Camera.from_config(configuration(samples))
    made: dict = {
        "sample_id": [f"sample-{i}" for i in range(samples)],
        "expression": torch.rand(samples, 51, generator=generator),
    }
    faces = model.neutral(samples).replace(identity=torch.randn(samples, model.sizes["identity"], generator=generator))
    for role in ("source", "driving"):
        face = faces.replace(expression=0.3 * torch.rand(samples, 51, generator=generator))
        picture = render(model, face, view)
        # Where pictures were equal, the sign of a difference would be that of a rounding.
        noise = 0.2 * torch.rand(picture.image.shape, generator=generator)
        made[f"{role}_image"] = (picture.image + noise).clamp(0, 1)
        made[f"{role}_landmarks"] = landmarks_2d(model, face, view)
    made["image"] = made["source_image"]
    return made


def share(batch: dict, rank: int, world: int) -> dict:
    """What worker ``rank`` of ``world`` gets of a global batch."""
    size = len(batch["sample_id"])
    first, last = size * rank // world, size * (rank + 1) // world
    part = {k: v[first:last] if isinstance(v, torch.Tensor | list) else v for k, v in batch.items()}
    return part | {"offset": first}


def weights(training: Training) -> dict[str, torch.Tensor]:
    """A copy of every parameter of every network, ``network.parameter`` -> value, with DCNet's moving average."""
    networks = dict(training.networks)
    if isinstance(training, DCNetTraining):
        networks["average"] = training.average
    return {f"{name}.{key}": v.clone() for name, network in networks.items() for key, v in network.state_dict().items()}
