"""The cascade's four trainings by name: what each is built from, what it reads, what it leaves behind.

``upstream`` maps the name of every finished stage to its local folder: ``prepare`` (clip shards or ``split.json``),
``recnet``, ``dcnet``, ``synthesis`` (pair shards), ``etnet``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import nn

from jr2net.config import BackboneConfig, Config, OptimizerConfig
from jr2net.data.clips import ClipLoader
from jr2net.data.pairs import PairLoader
from jr2net.data.sets import training_clips
from jr2net.face.model import FaceModel
from jr2net.networks.checkpoint import load_network, save_network
from jr2net.networks.dcnet import DCNet
from jr2net.networks.discriminator import PatchDiscriminator
from jr2net.networks.etnet import ETNet
from jr2net.networks.recaugnet import RecAugNet
from jr2net.networks.recnet import BackbonePerception, RecNet
from jr2net.networks.vgg import VGG19Features
from jr2net.reconstruction import camera
from jr2net.training.dcnet import DCNetTraining
from jr2net.training.etnet import ETNetTraining
from jr2net.training.recnet import RecNetTraining
from jr2net.training.training import Batch, Training

TRAININGS = ("recnet", "dcnet", "etnet", "recaugnet")

Upstream = Mapping[str, str | Path]


def build(
    stage: str, config: Config, model: FaceModel, upstream: Upstream, device: torch.device | str = "cpu"
) -> Training:
    """The training of one network, at step 0. Initial weights depend on ``config.seed`` alone."""
    torch.manual_seed(config.seed)
    if stage == "recnet":
        network = RecNet(model.sizes, config.recnet.backbone)
        return _recnet_training(network, config, model, config.recnet.optimizer, device)
    if stage == "dcnet":
        recnet = load_network(upstream["recnet"], model)
        discriminator = PatchDiscriminator(config.dcnet.width)
        return DCNetTraining(
            DCNet(config.dcnet),
            discriminator,
            recnet,
            perception(config, recnet),
            model,
            camera(config),
            config.dcnet,
            device,
        )
    if stage == "etnet":
        return ETNetTraining(ETNet(config.etnet.backbone), config.etnet.optimizer, device)
    if stage == "recaugnet":
        network = RecAugNet(load_network(upstream["recnet"], model), load_network(upstream["etnet"], model))
        return _recnet_training(network, config, model, config.recaugnet.optimizer, device)
    raise ValueError(f"no training is called {stage!r}; there are {', '.join(TRAININGS)}")


def batches(
    stage: str, config: Config, upstream: Upstream, rank: int = 0, world: int = 1, start_step: int = 0
) -> Iterator[Batch]:
    """A worker's part of every global batch from ``start_step`` on; its content depends on seed and step alone."""
    size = config.image_size
    if stage == "etnet":
        return iter(
            PairLoader(
                upstream["synthesis"],
                config.seed,
                config.etnet.optimizer.batch_size,
                rank,
                world,
                start_step,
                size,
                config.etnet.jitter,
            )
        )
    clips = training_clips(config, upstream["prepare"])
    optimizer: OptimizerConfig = getattr(config, stage).optimizer
    jitter = config.dcnet.jitter if stage == "dcnet" else config.recnet.jitter
    return iter(
        ClipLoader(
            clips,
            config.seed,
            optimizer.batch_size,
            rank,
            world,
            start_step,
            size,
            jitter,
            paired_augmentation=stage == "dcnet",
        )
    )


def save(
    stage: str, training: Training, config: Config, model: FaceModel, trained_from: Mapping[str, str], folder: Path
) -> None:
    """Writes ``model.safetensors`` and ``model.json``. ``trained_from`` maps stages to their digests."""
    network, architecture = finished(stage, training, config)
    save_network(network, folder, architecture, model.digest, dict(trained_from))


def finished(stage: str, training: Training, config: Config) -> tuple[nn.Module, dict[str, object]]:
    """What a stage leaves behind, and its architecture: DCNet's moving average, RecAugNet's RecNet."""
    size = {"image_size": config.image_size, "focal_ratio": config.face.focal_ratio}
    backbone: BackboneConfig = (config.etnet if stage == "etnet" else config.recnet).backbone
    if stage == "dcnet":
        assert isinstance(training, DCNetTraining)
        return training.average, size | config.dcnet.model_dump(include={"width", "scales", "context_scales", "blocks"})
    network = training.networks["etnet" if stage == "etnet" else "recnet"]
    return network, size | {"backbone": backbone.model_dump(include={"layers", "width"})}


def perception(config: Config, recnet: nn.Module) -> nn.Module:
    """Features of the perceptual loss (Eq. 4): VGG-19 where a weight file is given, else RecNet's own backbone."""
    if config.dcnet.vgg19 is not None:
        return VGG19Features(config.dcnet.vgg19)
    return BackbonePerception(recnet)


def _recnet_training(
    network: nn.Module, config: Config, model: FaceModel, optimizer: OptimizerConfig, device: torch.device | str
) -> RecNetTraining:
    embedder = torch.jit.load(config.recnet.embedder).eval() if config.recnet.embedder else None
    return RecNetTraining(
        network,
        model,
        camera(config),
        optimizer,
        config.recnet.loss,
        device,
        exchange=config.recnet.exchange_identity,
        embedder=embedder,
    )
