"""The trainings of the cascade by name: how each is built, which batches it uses, which network it produces.

``upstream`` maps the parts of finished stages (``run.cascade.roles``) to local folders or URIs: ``prepare`` (clip
shards), ``recnet``, ``synthesis`` and ``films`` (pair shards), ``pair_clips``, ``etnet``. In the second round, what
fits the faces in the part of ``recnet`` is a RecAugNet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from jr2net.config import Config, OptimizerConfig
from jr2net.config.stages import first_round, training_section
from jr2net.data.clips import ClipLoader, ClipSource
from jr2net.data.mixture import MixedLoader, MixedPairLoader
from jr2net.data.pairs import PairLoader
from jr2net.data.scenes import SceneLoader
from jr2net.data.sets import pair_clips, stage_clips, training_clips, validation_clips
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.networks.checkpoint import CheckpointError, begin_from, load_network, save_network
from jr2net.networks.dcnet import DCNet, condition_names
from jr2net.networks.detector import Detector
from jr2net.networks.discriminator import PatchDiscriminator
from jr2net.networks.etnet import ETNet
from jr2net.networks.flow3d.network import Flow3D
from jr2net.networks.model_card import CLIPS, DEPENDS_ON_DATA, LICENSE, STUDIO
from jr2net.networks.recaugnet import RecAugNet
from jr2net.networks.recnet import RecNet
from jr2net.networks.vgg import VGG19Features
from jr2net.networks.weights import load_embedder
from jr2net.run.labelled import labelled_loader
from jr2net.run.pretrained import check_pretrained
from jr2net.training.dcnet import DCNetTraining
from jr2net.training.detector import DetectorTraining
from jr2net.training.etnet import ETNetTraining
from jr2net.training.flow3d import Flow3DTraining
from jr2net.training.recnet import RecNetTraining
from jr2net.training.training import Batch, Training

N = TypeVar("N", bound=nn.Module)
Upstream = Mapping[str, str | Path]
Device = torch.device | str

VALIDATION_SAMPLES = 256
"""Number of samples that a training is validated on, rounded up to whole batches; a few people are used repeatedly."""


@dataclass(frozen=True)
class TrainingSpec:
    """One training of the cascade.

    build         makes the training at step 0
    loader        makes the loader of the training data, or, if held_back, of the validation data; other keyword
                  arguments as of ``ClipLoader`` and ``PairLoader``
    jitter        augmentation strength of the loader
    network       the network that the finished training produces
    augmentation  further arguments of the training data's loader
    """

    build: Callable[[Config, FaceModel, Upstream, Device], Training]
    loader: Callable[..., ClipLoader | PairLoader | MixedLoader | MixedPairLoader | SceneLoader]
    jitter: Callable[[Config], float]
    network: Callable[[Training], nn.Module]
    augmentation: Callable[[Config], dict[str, float]] = lambda config: {}


def build(stage: str, config: Config, model: FaceModel, upstream: Upstream, device: Device = "cpu") -> Training:
    """The training of one network, at step 0. Initial weights depend on ``config.seed`` alone.

    Raises ValueError for an unknown stage, CheckpointError where an upstream network cannot be loaded, ConfigError
    where a pretrained file is missing.
    """
    if first_round(stage) not in TRAININGS:
        raise ValueError(f"no training is called {stage!r}; there are {', '.join(TRAININGS)}")
    check_pretrained(config)
    torch.manual_seed(config.seed)
    return TRAININGS[first_round(stage)].build(config, model, upstream, device)


def batches(
    stage: str,
    config: Config,
    upstream: Upstream,
    rank: int = 0,
    world: int = 1,
    start_step: int = 0,
    device: Device = "cpu",
) -> Iterator[Batch]:
    """This rank's part of every global batch from ``start_step`` on; global batches depend on seed and step alone.

    They are made on the worker's cores, but for the one that trains, and copied to a GPU ahead of their use.
    """
    training = TRAININGS[first_round(stage)]
    loader = training.loader(
        config,
        upstream,
        seed=config.seed,
        batch_size=_batch_size(config, stage),
        size=config.image_size,
        rank=rank,
        world=world,
        start_step=start_step,
        jitter=training.jitter(config),
        **training.augmentation(config),
        threads=max(1, int(config.scaling.cpus_per_worker) - 1),
        device=device,
    )
    return iter(loader)


def validation_batches(
    stage: str, config: Config, upstream: Upstream, rank: int = 0, world: int = 1
) -> Callable[[], Iterator[Batch]]:
    """Each call gives this rank's part of the same batches of people that ``data.validation`` holds back, framed as
    they are stored."""
    training, batch_size = TRAININGS[first_round(stage)], _batch_size(config, stage)
    loader = training.loader(
        config,
        upstream,
        held_back=True,
        seed=config.seed,
        batch_size=batch_size,
        size=config.image_size,
        rank=rank,
        world=world,
        jitter=0.0,
    )

    def once() -> Iterator[Batch]:
        with closing(iter(loader)) as stream:  # type: ignore[type-var]
            yield from islice(stream, -(-VALIDATION_SAMPLES // batch_size))

    return once


def save(
    stage: str, training: Training, config: Config, model: FaceModel, trained_from: Mapping[str, str], folder: Path
) -> None:
    """Writes the trained network, its description and its card. ``trained_from``: stage -> digest."""
    seen_through = {"image_size": config.image_size, "focal_ratio": config.face.focal_ratio}
    in_studio = config.data.clips is None and config.face.model == "procedural"
    license, data = (LICENSE, STUDIO) if in_studio else (DEPENDS_ON_DATA, CLIPS)
    network = TRAININGS[first_round(stage)].network(training)
    save_network(network, folder, seen_through, model.digest, dict(trained_from), license, data)


def _batch_size(config: Config, stage: str) -> int:
    return getattr(config, training_section(config, stage)).optimizer.batch_size


def perceptual_features(
    vgg19: str | None, recnet: RecNet | RecAugNet, device: Device
) -> Callable[[Tensor], list[Tensor]]:
    """Feature extractor of the perceptual loss (Eq. 4): VGG-19 if a weight file is given, else RecNet's backbone."""
    if vgg19 is not None:
        return VGG19Features(vgg19).to(device).eval().requires_grad_(False)
    return (recnet.recnet if isinstance(recnet, RecAugNet) else recnet).features


def _load(kind: type[N], folder: str | Path, model: FaceModel) -> N:
    """Loads an upstream network. Raises CheckpointError where it is not a ``kind``."""
    network = load_network(folder, model)
    if not isinstance(network, kind):
        raise CheckpointError(f"{folder}: holds a {type(network).__name__}, expected a {kind.__name__}")
    return network


def _load_reconstruction(folder: str | Path, model: FaceModel) -> RecNet | RecAugNet:
    """Loads the network that fits the faces: RecNet, or RecAugNet in the second round. Raises CheckpointError."""
    network = load_network(folder, model)
    return network if isinstance(network, RecAugNet) else _load(RecNet, folder, model)


def _build_recnet(
    config: Config, model: FaceModel, upstream: Upstream, device: Device, expression: float = 0.0
) -> Training:
    network, settings = RecNet(model.sizes, config.recnet.backbone), config.recnet
    return _recnet_training(
        network, config, model, settings.optimizer, device, settings.photometric_from, expression=expression
    )


def _build_baseline(config: Config, model: FaceModel, upstream: Upstream, device: Device) -> Training:
    return _build_recnet(config, model, upstream, device, config.baseline.expression)


def _build_dcnet(config: Config, model: FaceModel, upstream: Upstream, device: Device) -> Training:
    recnet = _load_reconstruction(upstream["recnet"], model)
    discriminator = PatchDiscriminator(config.dcnet.width, conditions=condition_names(config.dcnet))
    dcnet = DCNet(config.dcnet)
    if config.dcnet.start is not None:
        begin_from(dcnet, config.dcnet.start, model, "dcnet.start")
    return DCNetTraining(
        dcnet,
        discriminator,
        recnet,
        perceptual_features(config.dcnet.vgg19, recnet, device),
        model,
        Camera.from_config(config),
        config.dcnet,
        device,
    )


def _build_flow3d(config: Config, model: FaceModel, upstream: Upstream, device: Device) -> Training:
    recnet = _load_reconstruction(upstream["recnet"], model)
    return Flow3DTraining(
        Flow3D(config.flow3d, config.face.focal_ratio),
        PatchDiscriminator(config.flow3d.discriminator_width),
        recnet,
        perceptual_features(config.flow3d.vgg19, recnet, device),
        model,
        Camera.from_config(config),
        config.flow3d,
        device,
    )


def _new_etnet(config: Config, model: FaceModel, upstream: Upstream) -> ETNet:
    """ETNet as its training starts."""
    etnet = ETNet(config.etnet.backbone, keypoints=config.etnet.keypoints)
    seen_alike = {"side": config.recnet.backbone.side}  # the same layers read images of any side
    if config.etnet.from_recnet and config.etnet.backbone.model_copy(update=seen_alike) == config.recnet.backbone:
        etnet.backbone.load_state_dict(_load(RecNet, upstream["recnet"], model).backbone.state_dict())
    return etnet


def _build_etnet(config: Config, model: FaceModel, upstream: Upstream, device: Device) -> Training:
    etnet = _new_etnet(config, model, upstream)
    return ETNetTraining(etnet, config.etnet.optimizer, device, config.etnet.squared_until, config.etnet.average)


def _build_recaugnet(config: Config, model: FaceModel, upstream: Upstream, device: Device) -> Training:
    recnet, etnet = _load(RecNet, upstream["recnet"], model), _load(ETNet, upstream["etnet"], model)
    network = RecAugNet(recnet, etnet, config.recaugnet.train_etnet)
    return _recnet_training(network, config, model, config.recaugnet.optimizer, device)


def _build_reccopynet(config: Config, model: FaceModel, upstream: Upstream, device: Device) -> Training:
    recnet, etnet = _load(RecNet, upstream["recnet"], model), _new_etnet(config, model, upstream)
    optimizer = config.reccopynet.optimizer or config.recaugnet.optimizer
    return _recnet_training(RecAugNet(recnet, etnet, train_etnet=True), config, model, optimizer, device)


def _recnet_training(
    network: nn.Module,
    config: Config,
    model: FaceModel,
    optimizer: OptimizerConfig,
    device: Device,
    photometric_from: float = 0.0,
    expression: float = 0.0,
) -> RecNetTraining:
    embedder = load_embedder(config.recnet.embedder) if config.recnet.embedder else None
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
        expression=expression,
    )


def _clips(config: Config, upstream: Upstream, held_back: bool, stage: str = "recnet") -> ClipSource:
    prepare = str(upstream["prepare"])
    return validation_clips(config, prepare) if held_back else stage_clips(config, prepare, stage)


def _clip_loader(config: Config, upstream: Upstream, held_back: bool = False, **arguments: Any) -> ClipLoader:
    return ClipLoader(_clips(config, upstream, held_back), **arguments)


def _mixed_loader(
    section: str, config: Config, upstream: Upstream, held_back: bool = False, **arguments: Any
) -> ClipLoader | MixedLoader:
    """Clips and synthesised images; of the people that are held back, clips alone."""
    if held_back:
        return _clip_loader(config, upstream, held_back, **arguments)
    images = pair_clips(str(upstream["pair_clips"]))
    synthesised = getattr(config, section).pairs_in(arguments["batch_size"])
    return MixedLoader(_clips(config, upstream, held_back), images, synthesised=synthesised, **arguments)


def _aligned_clip_loader(config: Config, upstream: Upstream, held_back: bool = False, **arguments: Any) -> ClipLoader:
    """Two frames of each pair, which share their crop, so that their backgrounds stay aligned."""
    return ClipLoader(_clips(config, upstream, held_back, "dcnet").with_pairs(), paired_augmentation=True, **arguments)


def _matted_clip_loader(config: Config, upstream: Upstream, held_back: bool = False, **arguments: Any) -> ClipLoader:
    """As ``_aligned_clip_loader``, with the mattes of both frames."""
    of = validation_clips if held_back else training_clips
    clips = of(config, str(upstream["prepare"]), str(upstream["mattes"])).with_pairs()
    return ClipLoader(clips, paired_augmentation=True, mattes=True, **arguments)


def _build_detector(config: Config, model: FaceModel, upstream: Upstream, device: Device) -> Training:
    settings = config.detector
    network = Detector(settings.side, settings.widths)
    if settings.start is not None:
        begin_from(network, settings.start, model, "detector.start")
    return DetectorTraining(network, settings.optimizer, device)


def _scene_loader(config: Config, upstream: Upstream, size: int, jitter: float, **arguments: Any) -> SceneLoader:
    """Scenes of the detector's own side; what varies in them is drawn."""
    return SceneLoader(str(upstream["portraits"]), side=config.detector.side, **arguments)


TRAININGS = {
    "recnet": TrainingSpec(
        build=_build_recnet,
        loader=_clip_loader,
        jitter=lambda config: config.recnet.jitter,
        network=lambda training: training.networks["recnet"],
    ),
    "dcnet": TrainingSpec(
        build=_build_dcnet,
        loader=_aligned_clip_loader,
        jitter=lambda config: config.dcnet.jitter,
        network=attrgetter("average"),  # the generator's moving average
    ),
    "flow3d": TrainingSpec(
        build=_build_flow3d,
        loader=_matted_clip_loader,
        jitter=lambda config: config.flow3d.jitter,
        network=attrgetter("average"),
    ),
    "etnet": TrainingSpec(
        build=_build_etnet,
        loader=labelled_loader,
        jitter=lambda config: config.etnet.jitter,
        network=attrgetter("trained"),
        augmentation=lambda config: {
            "degradation": config.etnet.degradation,
            "caricature": config.etnet.caricature,
        },
    ),
    "recaugnet": TrainingSpec(
        build=_build_recaugnet,
        loader=_clip_loader,
        jitter=lambda config: config.recnet.jitter,
        network=lambda training: training.networks["recnet"],
    ),
    "reccopynet": TrainingSpec(
        build=_build_reccopynet,
        loader=_clip_loader,
        jitter=lambda config: config.recnet.jitter,
        network=lambda training: training.networks["recnet"],
    ),
    "recdatanet": TrainingSpec(
        build=_build_recnet,
        loader=partial(_mixed_loader, "recdatanet"),
        jitter=lambda config: config.recnet.jitter,
        network=lambda training: training.networks["recnet"],
    ),
    "baseline": TrainingSpec(
        build=_build_baseline,
        loader=partial(_mixed_loader, "baseline"),
        jitter=lambda config: config.recnet.jitter,
        network=lambda training: training.networks["recnet"],
    ),
    "detector": TrainingSpec(
        build=_build_detector,
        loader=_scene_loader,
        jitter=lambda config: 0.0,
        network=lambda training: training.networks["detector"],
    ),
}
"""The trainings by the names of their stages; those of the second round are those of the first."""
