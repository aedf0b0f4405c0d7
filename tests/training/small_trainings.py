"""Tiny trainings of all networks, with steps of a few milliseconds, and batches for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from jr2net.config import BackboneConfig, Config, load
from jr2net.face.camera import Camera
from jr2net.face.landmarks import KEYPOINTS
from jr2net.face.model import FaceModel
from jr2net.networks.dcnet import DCNet, condition_names
from jr2net.networks.dcnet_warp import WarpDCNet
from jr2net.networks.discriminator import PatchDiscriminator
from jr2net.networks.etnet import ETNet
from jr2net.networks.flow3d.network import Flow3D
from jr2net.networks.recaugnet import RecAugNet
from jr2net.networks.recnet import RecNet
from jr2net.render.renderer import landmarks_2d, render
from jr2net.training import Training
from jr2net.training.dcnet import DCNetTraining
from jr2net.training.etnet import ETNetTraining
from jr2net.training.flow3d import Flow3DTraining
from jr2net.training.recnet import RecNetTraining
from jr2net.training.reenactment import ReenactorTraining

SECTIONS = ("recnet", "dcnet", "flow3d", "etnet", "recaugnet")
NETWORKS = (*SECTIONS, "dcnet-paper", "etnet-keypoints")
BACKBONE = BackboneConfig(layers=10, width=8)


def configuration(samples: int, steps: int = 8, generator: str = "warp") -> Config:
    """samples: global batch size. Of DCNet's steps the second half is adversarial, with ``paper`` all of them.

    The quarters of flow3d's steps are phase A1, A2, A2 with adversarial training, and B.
    """
    optimizer = f"{{steps: {steps}, batch_size: {samples}, learning_rate: 0.002, warmup: 0}}"
    overrides = [f"{network}.optimizer={optimizer}" for network in SECTIONS]
    overrides += ["image_size=32", "dcnet.width=8", "dcnet.scales=2", f"dcnet.generator={generator}"]
    overrides += [f"dcnet.adversarial_from={0 if generator == 'paper' else 0.5}"]
    overrides += ["flow3d.refine_from=0.25", "flow3d.adversarial_from=0.5", "flow3d.inpaint_from=0.75"]
    overrides += ["flow3d.channels=4", "flow3d.depth=4", "flow3d.lift_width=4", "flow3d.flow_widths=[4, 8, 8]"]
    overrides += ["flow3d.flow_code=8", "flow3d.projection_width=8", "flow3d.refine_widths=[8, 8, 8, 16]"]
    overrides += ["flow3d.refine_blocks=1", "flow3d.inpaint_widths=[8, 8]", "flow3d.matte_widths=[8, 8]"]
    overrides += [
        "flow3d.source_learning_rate=0.003",
        "flow3d.loss={style: 1, feature_matching: 1}",
    ]
    return load(Path(__file__).parents[2] / "configs" / "laptop.yaml", [*overrides, "recnet.photometric_from=0"])


def training(
    network: str,
    model: FaceModel,
    samples: int,
    steps: int = 8,
    device: torch.device | str = "cpu",
    **flow3d: Any,
) -> Training:
    """A training at step 0, identical in every process; flow3d: settings of that section."""
    config = configuration(samples, steps, "paper" if network == "dcnet-paper" else "warp")
    torch.manual_seed(0)
    recnet, camera = RecNet(model.sizes, BACKBONE), Camera.from_config(config)
    if network == "recnet":
        return RecNetTraining(recnet, model, camera, config.recnet.optimizer, config.recnet.loss, device)
    if network in ("dcnet", "dcnet-paper"):
        discriminator = PatchDiscriminator(8, conditions=condition_names(config.dcnet))
        dcnet = DCNet(config.dcnet)
        if isinstance(dcnet, WarpDCNet):
            # Zero-initialised, it samples the source at pixel centres, where bilinear sampling is not differentiable.
            torch.nn.init.normal_(dcnet.motion.weight, std=0.1)
        return DCNetTraining(dcnet, discriminator, recnet, recnet.features, model, camera, config.dcnet, device)
    if network == "flow3d":
        settings = config.flow3d.model_copy(update=flow3d)
        discriminator, reenactor = PatchDiscriminator(8), Flow3D(settings)
        torch.nn.init.normal_(reenactor.warping.flow.output.weight, std=0.1)  # as above
        return Flow3DTraining(reenactor, discriminator, recnet, recnet.features, model, camera, settings, device)
    if network == "etnet":
        return ETNetTraining(ETNet(BACKBONE), config.etnet.optimizer, device)
    if network == "etnet-keypoints":
        tracker = ETNet(BACKBONE.model_copy(update={"points": KEYPOINTS}), keypoints=True)
        return ETNetTraining(tracker, config.etnet.optimizer, device, squared_until=1.0, decay=0.9)
    augmented = RecAugNet(recnet, ETNet(BACKBONE), train_etnet=network == "recaugnet-etnet")
    return RecNetTraining(augmented, model, camera, config.recaugnet.optimizer, config.recnet.loss, device)


def batch(model: FaceModel, samples: int) -> dict:
    """A batch for every training: two noisy renderings of each of ``samples`` faces."""
    generator = torch.Generator().manual_seed(1)
    camera = Camera.from_config(configuration(samples))
    result: dict = {
        "sample_id": [f"sample-{i}" for i in range(samples)],
        "expression": torch.rand(samples, 51, generator=generator),
    }
    faces = model.neutral(samples).replace(identity=torch.randn(samples, model.sizes["identity"], generator=generator))
    for role in ("source", "driving"):
        face = faces.replace(expression=0.3 * torch.rand(samples, 51, generator=generator))
        rendering = render(model, face, camera)
        # Where images are equal, rounding would decide the sign of the L1 gradient.
        noise = 0.2 * torch.rand(rendering.image.shape, generator=generator)
        result[f"{role}_image"] = (rendering.image + noise).clamp(0, 1)
        result[f"{role}_landmarks"] = landmarks_2d(model, face, camera)
        result[f"{role}_matte"] = rendering.mask
    result["image"] = result["source_image"]
    irises = torch.full((samples, 2, 2), torch.nan)
    result["keypoints"] = torch.cat([result["source_landmarks"], irises], 1)
    return result


def local_batch(batch: dict, rank: int, world: int) -> dict:
    """The part of a global batch for worker ``rank`` of ``world``."""
    size = len(batch["sample_id"])
    first, last = size * rank // world, size * (rank + 1) // world
    local = {k: v[first:last] if isinstance(v, torch.Tensor | list) else v for k, v in batch.items()}
    return local | {"offset": first}


def weights(training: Training) -> dict[str, torch.Tensor]:
    """A copy of every parameter of every network, ``network.parameter`` -> value, with a reenactor's moving average."""
    networks = dict(training.networks)
    if isinstance(training, ReenactorTraining):
        networks["average"] = training.average
    if isinstance(training, ETNetTraining):
        networks["trained"] = training.trained
    return {f"{name}.{key}": v.clone() for name, network in networks.items() for key, v in network.state_dict().items()}
