"""The cascade's four trainings by name: what each is built from, what it reads, what it leaves behind.

``upstream`` maps the name of every finished stage to its local folder: ``prepare`` (clip shards or ``split.json``),
``recnet``, ``dcnet``, ``synthesis`` (pair shards), ``etnet``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from jr2net.config import Config, OptimizerConfig
from jr2net.data.clips import ClipLoader
from jr2net.data.pairs import PairLoader
from jr2net.data.sets import training_clips
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.networks.checkpoint import CheckpointError, load_network, save_network
from jr2net.networks.dcnet import DCNet
from jr2net.networks.discriminator import PatchDiscriminator
from jr2net.networks.etnet import ETNet
from jr2net.networks.recaugnet import RecAugNet
from jr2net.networks.recnet import RecNet
from jr2net.networks.vgg import VGG19Features
from jr2net.training.dcnet import DCNetTraining
from jr2net.training.etnet import ETNetTraining
from jr2net.training.recnet import RecNetTraining
from jr2net.training.training import Batch, Training

TRAININGS = ("recnet", "dcnet", "etnet", "recaugnet")

N = TypeVar("N", bound=nn.Module)
Upstream = Mapping[str, str | Path]


def build(
    stage: str, config: Config, model: FaceModel, upstream: Upstream, device: torch.device | str = "cpu"
) -> Training:
    """The training of one network, at step 0. Initial weights depend on ``config.seed`` alone."""
    torch.manual_seed(config.seed)
    if stage == "recnet":
        network = RecNet(model.sizes, config.recnet.backbone)
        return _recnet_training(network, config, model, config.recnet.optimizer, device, config.recnet.photometric_from)
    if stage == "dcnet":
        recnet = _load(RecNet, upstream["recnet"], model)
        discriminator = PatchDiscriminator(config.dcnet.width)
        return DCNetTraining(
            DCNet(config.dcnet),
            discriminator,
            recnet,
            perception(config, recnet, device),
            model,
            Camera.from_config(config),
            config.dcnet,
            device,
        )
    if stage == "etnet":
        tracker = ETNet(config.etnet.backbone)
        if config.etnet.from_recnet and config.etnet.backbone == config.recnet.backbone:
            tracker.backbone.load_state_dict(_load(RecNet, upstream["recnet"], model).backbone.state_dict())
        return ETNetTraining(tracker, config.etnet.optimizer, device, config.etnet.squared_until)
    if stage == "recaugnet":
        augmented = RecAugNet(_load(RecNet, upstream["recnet"], model), _load(ETNet, upstream["etnet"], model))
        return _recnet_training(augmented, config, model, config.recaugnet.optimizer, device)
    raise ValueError(f"no training is called {stage!r}; there are {', '.join(TRAININGS)}")


def batches(
    stage: str, config: Config, upstream: Upstream, rank: int = 0, world: int = 1, start_step: int = 0
) -> Iterator[Batch]:
    """A worker's part of every global batch from ``start_step`` on; its content depends on seed and step alone."""
    place = {"seed": config.seed, "size": config.image_size, "rank": rank, "world": world, "start_step": start_step}
    settings = getattr(config, stage)
    place["batch_size"] = settings.optimizer.batch_size
    if stage == "etnet":
        return iter(PairLoader(str(upstream["synthesis"]), jitter=settings.jitter, **place))
    clips = training_clips(config, str(upstream["prepare"]))
    jitter = config.dcnet.jitter if stage == "dcnet" else config.recnet.jitter
    return iter(ClipLoader(clips, jitter=jitter, paired_augmentation=stage == "dcnet", **place))


def save(
    stage: str, training: Training, config: Config, model: FaceModel, trained_from: Mapping[str, str], folder: Path
) -> None:
    """Writes the finished network: ``model.safetensors`` and ``model.json``. ``trained_from``: stage -> digest."""
    seen_through = {"image_size": config.image_size, "focal_ratio": config.face.focal_ratio}
    save_network(finished(stage, training), folder, seen_through, model.digest, dict(trained_from))


def finished(stage: str, training: Training) -> nn.Module:
    """What a stage leaves behind; of DCNet that is the generator's moving average."""
    if isinstance(training, DCNetTraining):
        return training.average
    return training.networks["etnet" if stage == "etnet" else "recnet"]


def perception(config: Config, recnet: RecNet, device: torch.device | str) -> Callable[[Tensor], list[Tensor]]:
    """Features of the perceptual loss (Eq. 4): VGG-19 where a weight file is given, else RecNet's own backbone."""
    if config.dcnet.vgg19 is not None:
        return VGG19Features(config.dcnet.vgg19).to(device).eval().requires_grad_(False)
    return recnet.features


def _load(kind: type[N], folder: str | Path, model: FaceModel) -> N:
    network = load_network(folder, model)
    if not isinstance(network, kind):
        raise CheckpointError(f"{folder}: holds a {type(network).__name__}, expected a {kind.__name__}")
    return network


def _recnet_training(
    network: nn.Module,
    config: Config,
    model: FaceModel,
    optimizer: OptimizerConfig,
    device: torch.device | str,
    photometric_from: float = 0.0,
) -> RecNetTraining:
    embedder = torch.jit.load(config.recnet.embedder).eval() if config.recnet.embedder else None
    return RecNetTraining(
        network,
        model,
        Camera.from_config(config),
        optimizer,
        config.recnet.loss,
        device,
        exchange=config.recnet.exchange_identity,
        photometric_from=photometric_from,
        embedder=embedder,
    )
