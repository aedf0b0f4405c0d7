"""Configuration: one YAML per way of running, validated strictly, every field documented where it is defined.

``load("configs/laptop.yaml", ["recnet.steps=100", "storage=s3://bucket/run"])`` gives a frozen ``Config``. An unknown
key is an error that names the file and suggests the key that was meant.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from jr2net.errors import UserError


class ConfigError(UserError, ValueError):
    """A configuration that cannot be used; the message names the file or override, the field and the remedy."""


ExpressionKind = Literal[
    "captured", "natural", "large", "random", "dense", "extreme", "sweep", "permuted", "interpolated"
]
"""Kinds of expressions that synthesis draws; ``jr2net/expressions/samplers.py`` says what each is."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FaceConfig(Section):
    """The morphable model and the camera through which it is seen."""

    model: str = Field(
        "procedural", description="'procedural', a model file (.npz), ICT-FaceKit's folder, or BFM 2009's .mat"
    )
    expression_file: str | None = Field(None, description="expression basis (.npz) that goes with BFM 2009's .mat")
    vertices: int | None = Field(None, ge=100, description="decimate an imported model to about this many vertices")
    focal_ratio: float = Field(5.0, gt=0.5, description="focal length over the crop's side")


class StudioConfig(Section):
    """The synthetic studio: how many people it films, and how."""

    people: int = Field(3000, ge=2, description="training identities")
    frames: int = Field(3, ge=1, description="frames filmed of each training identity")
    test_people: int = Field(100, ge=1, description="identities of each test set (natural, large), never trained on")
    test_frames: int = Field(3, ge=2, description="frames filmed of each test identity")
    variety: float = Field(
        1.0,
        ge=0,
        le=1,
        description="how far poses, lenses and recordings stray from a plain portrait; 1: like photographs",
    )
    people_per_shard: int = Field(250, ge=1, description="identities written to one Parquet shard")
    detector_shrink: float = Field(
        0.5, ge=0, le=1, description="how far the studio's landmark detector pulls large expressions towards neutral"
    )
    detector_noise: float = Field(0.01, ge=0, description="its noise, as a fraction of the face box")


class DataConfig(Section):
    """Where training and test pictures come from."""

    clips: str | None = Field(None, description="folder or URI of clip shards to train on; none: the studio films them")
    test_clips: str | None = Field(
        None, description="clip shards to test on; none: one identity in `hold_out` of `clips`"
    )
    hold_out: int = Field(7, ge=2, description="without test clips, one identity in this many is held out")
    studio: StudioConfig = StudioConfig()


class BackboneConfig(Section):
    """A residual network of He et al. 2016."""

    layers: Literal[10, 18, 34, 50] = Field(50, description="ResNet-10 (one block a stage), -18, -34 or -50")
    width: int = Field(64, ge=8, description="channels of the first stage; the paper's (and torchvision's) is 64")
    points: int = Field(
        0, ge=0, description="learnt points whose places join the pooled features; 0: pooled alone, as published"
    )
    weights: str | None = Field(None, description="torchvision weight file (.pth, .safetensors) to start from")


class OptimizerConfig(Section):
    """Adam and its schedule; a batch is global, whatever the number of workers."""

    steps: int = Field(..., ge=1, description="optimiser steps")
    batch_size: int = Field(..., ge=1, description="global batch size")
    learning_rate: float = Field(..., gt=0, description="Adam's rate after warm-up")
    warmup: int = Field(0, ge=0, description="steps of linear warm-up")
    decay: Literal["none", "cosine", "step"] = Field(
        "cosine", description="learning rate after warm-up; step: a fifth of it in the second half (Deep3D's)"
    )
    clip_gradient: float = Field(1.0, gt=0, description="gradient norm above which gradients are scaled down")


class RecNetLossConfig(Section):
    """Weights after Deep3DFaceReconstruction; landmark distances in pixels of a picture with side 224, squared."""

    photometric: float = Field(1.92, ge=0, description="colour distance over the visible skin")
    photometric_geometry: bool = Field(
        True,
        description="colour moves shape and pose too; false: albedo and light alone, the rest follows landmarks",
    )
    landmark: float = Field(1.6e-3, ge=0, description="squared distance of projected to detected landmarks")
    landmark_linear_from: float | None = Field(
        None,
        gt=0,
        description="distance (of 224 pixels) beyond which the loss grows linearly; none: squared, as published",
    )
    landmark_emphasis: float = Field(20.0, ge=1, description="factor on the inner mouth and the nose bridge")
    landmark_jaw: float = Field(1.0, ge=0, description="factor on the jaw line (points 0 to 16)")
    identity_feature: float = Field(0.2, ge=0, description="cosine distance of embeddings; needs `embedder`")
    regularization: float = Field(3e-4, ge=0, description="factor on the three below")
    regularization_identity: float = Field(1.0, ge=0, description="squared identity coefficients")
    regularization_expression: float = Field(0.8, ge=0, description="squared expression coefficients")
    regularization_albedo: float = Field(1.7e-2, ge=0, description="squared albedo coefficients")
    light_grey: float = Field(10.0, ge=0, description="light's distance from grey")
    albedo_variance: float = Field(5.0, ge=0, description="variance of the skin's albedo over the face")


class RecNetConfig(Section):
    backbone: BackboneConfig = BackboneConfig()
    optimizer: OptimizerConfig
    loss: RecNetLossConfig = RecNetLossConfig()
    photometric_from: float = Field(
        0.0, ge=0, lt=1, description="part of the steps that learns from landmarks alone, without rendering"
    )
    embedder: str | None = Field(None, description="TorchScript face embedder for the identity loss; none: off")
    exchange_identity: bool = Field(
        True, description="explain each frame with the identity of another frame of its clip half of the time"
    )
    jitter: float = Field(0.1, ge=0, le=0.5, description="augmentation: shift and scale of the crop")


class DCNetLossConfig(Section):
    l1: float = Field(10.0, ge=0, description="Eq. 3")
    perceptual: float = Field(10.0, ge=0, description="Eq. 4")
    adversarial: float = Field(1.0, ge=0, description="Eq. 5")
    face_emphasis: float = Field(1.0, ge=0, description="extra weight of Eq. 3 inside the driving face's mask")


class DCNetConfig(Section):
    width: int = Field(64, ge=8, description="channels at full resolution")
    scales: int = Field(3, ge=1, le=6, description="down-samplings of the texture encoder; the generator mirrors them")
    context_scales: int = Field(2, ge=0, le=4, description="further down-samplings of the context encoder")
    blocks: int = Field(2, ge=1, description="residual blocks at the coarsest scale of the generator")
    optimizer: OptimizerConfig
    discriminator_learning_rate: float = Field(4e-4, gt=0, description="the discriminator's own rate")
    adversarial_from: float = Field(
        0.5, ge=0, le=1, description="part of the steps after which the adversarial phase begins"
    )
    ema: float = Field(0.999, ge=0, lt=1, description="decay of the generator's moving average, which is what is kept")
    loss: DCNetLossConfig = DCNetLossConfig()
    vgg19: str | None = Field(None, description="torchvision's VGG-19 weight file; none: features of RecNet's backbone")
    jitter: float = Field(0.05, ge=0, le=0.5, description="augmentation: shift and scale of the crop")


class GatesConfig(Section):
    """What a pair must show to be kept; those that fail are counted by reason. The defaults keep ordinary pairs."""

    covisible: float = Field(0.5, ge=0, le=1, description="least part of the driving face that the source shows")
    identity: float = Field(
        0.2,
        ge=-1,
        le=1,
        description="least similarity of source and picture: cosine of `recnet.embedder`, or 1 / (1 + mm)",
    )
    expression: float = Field(
        -0.7, ge=-1, le=1, description="least cosine of the change that is read again and the one that was asked for"
    )
    saturation: float = Field(0.7, ge=0, le=1, description="largest part of the face at the ends of the colour range")


class SynthesisConfig(Section):
    pairs: int = Field(..., ge=1, description="pictures with coefficients to synthesise")
    pairs_per_shard: int = Field(500, ge=1, description="pairs written to one Parquet shard")
    pairs_per_source: int | None = Field(
        None, ge=1, description="pairs made of a source before the next; none: as evenly as `pairs` asks, at most 16"
    )
    batch_size: int = Field(16, ge=1, description="pictures DCNet makes at a time")
    sources: str | None = Field(
        None, description="clip shards or a folder of photos that act; none: what the networks were trained on"
    )
    face_detector: bool = Field(
        True, description="find and cut out the largest face of each photo; false: photos are face crops already"
    )
    captures: str | None = Field(
        None, description="Live Link Face CSV, track Parquet, or a folder of them; none: the sampler"
    )
    expressions: dict[ExpressionKind, float] | None = Field(
        None,
        description="share of the pairs by kind; none: captured where there are captures, else natural 1 : large 3",
    )
    reenact: bool = Field(False, description="take pose and light from driving clips too (full reenactment)")
    driving: str | None = Field(None, description="clip shards that give pose and light; none: the sources")
    reader: str | None = Field(
        None, description="folder of an ETNet or RecAugNet that reads expressions again; none: RecNet does"
    )
    gates: GatesConfig = GatesConfig()
    jpeg_quality: int = Field(95, ge=1, le=100, description="quality of the pictures in pair shards")

    @model_validator(mode="after")
    def _kinds_have_what_they_need(self) -> SynthesisConfig:
        if self.expressions is not None and not sum(self.expressions.values()) > 0:
            raise ValueError("expressions: give at least one kind a share above 0")
        if self.expressions is not None and min(self.expressions.values()) < 0:
            raise ValueError("expressions: a share cannot be below 0")
        if self.expressions is not None and "captured" in self.expressions and self.captures is None:
            raise ValueError("expressions: captured needs captures")
        return self


class ETNetConfig(Section):
    backbone: BackboneConfig = BackboneConfig(layers=34)
    from_recnet: bool = Field(True, description="start from RecNet's backbone where layers and width are the same")
    optimizer: OptimizerConfig
    squared_until: float = Field(
        0.0, ge=0, le=1, description="part of the steps that learns with squared error before the activation loss"
    )
    jitter: float = Field(0.1, ge=0, le=0.5, description="augmentation: shift and scale of the crop")


class RecAugNetConfig(Section):
    optimizer: OptimizerConfig


class EvaluationConfig(Section):
    pairs: int = Field(200, ge=1, description="(source, driving) pairs of each reenactment test")
    crop_mm: float = Field(
        85.0, gt=0, description="radius around the nose tip of the geometric error (FaceWarehouse protocol)"
    )


class ScalingConfig(Section):
    """How a stage is placed on machines."""

    workers: int = Field(2, ge=1, description="training workers")
    gpu: bool = Field(False, description="one GPU for each worker")
    cpus_per_worker: float = Field(1.0, gt=0, description="cores reserved for each training worker")
    elastic: tuple[int, int] | None = Field(
        None, description="[fewest, most] training workers, as machines come and go; none: always `workers`"
    )
    elastic_check_s: float = Field(60.0, ge=0, description="seconds between two looks for machines that came")
    resources_per_worker: dict[str, float] = Field(
        {}, description="further resources of each training worker, e.g. {accelerator_type:H100: 0.001}"
    )
    accumulate: int = Field(1, ge=1, description="parts in which a worker takes its share of a batch, to save memory")
    bf16: bool = Field(False, description="train networks in bfloat16 (autocast); weights and rendering stay float32")
    compile: bool = Field(False, description="train networks through torch.compile")
    synthesis_actors: int = Field(
        2, ge=1, description="most actors that hold RecNet and DCNet; the pool begins with as many"
    )
    synthesis_actors_min: int = Field(1, ge=1, description="fewest of them, when the cluster or the work shrinks")
    shards_per_actor: int | None = Field(
        None,
        ge=1,
        description="shards an actor works on at once: one has the network, the others decode, encode and write; none: "
        "1, which keeps to one core, or 3 where actors have a GPU to keep busy",
    )
    gpus_per_actor: float = Field(0.0, ge=0, description="share of a GPU each synthesis actor takes")
    checkpoint_every: int = Field(500, ge=1, description="steps between two savings of the training state")
    log_every: int = Field(100, ge=1, description="steps between two writings of the log, which has every step")
    keep_states: int = Field(2, ge=1, description="saved training states that are kept, the last ones")
    best: str | None = Field(
        None, description="term whose lowest mean between two savings has its weights kept in `best/`, e.g. landmark"
    )
    pictures_every: int = Field(500, ge=0, description="steps between two sample pictures of a training; 0: none")
    max_failures: int = Field(3, ge=0, description="worker failures a training run survives")

    @model_validator(mode="after")
    def _elastic_is_a_range(self) -> ScalingConfig:
        if self.elastic is not None and not 1 <= self.elastic[0] <= self.elastic[1]:
            raise ValueError(f"elastic {list(self.elastic)}: write [fewest, most] with 1 <= fewest <= most")
        return self


class Config(Section):
    """A whole cascade."""

    storage: str = Field(..., description="where the run lives: a folder or an s3:// URI")
    seed: int = Field(0, ge=0, description="all randomness of a run derives from it")
    image_size: int = Field(224, ge=32, multiple_of=16, description="side of the crop that the networks see, pixels")
    face: FaceConfig = FaceConfig()
    data: DataConfig = DataConfig()
    recnet: RecNetConfig
    dcnet: DCNetConfig
    synthesis: SynthesisConfig
    etnet: ETNetConfig
    recaugnet: RecAugNetConfig
    evaluation: EvaluationConfig = EvaluationConfig()
    scaling: ScalingConfig = ScalingConfig()


def load(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Reads a YAML file, applies ``key.sub=value`` overrides (values are YAML) and validates strictly.

    Raises ConfigError that names the file, the field and the remedy.
    """
    path = Path(path)
    try:
        tree = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        near = ", ".join(sorted(str(p) for p in path.parent.glob("*.yaml"))) or "none"
        raise ConfigError(f"{path}: no such configuration file; files there: {near}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected a mapping of sections at the top, got {type(tree).__name__}")
    for override in overrides:
        _apply_override(tree, override)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(str(path), tree, item) for item in error.errors())) from None


def to_yaml(config: Config) -> str:
    """The resolved whole, as ``--print-config`` shows it; loads back to an equal Config."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def digest(part: BaseModel | Mapping[str, Any]) -> str:
    """SHA-256 of a section: equal settings have equal digests, whatever file they came from."""
    content = part.model_dump(mode="json") if isinstance(part, BaseModel) else part
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _apply_override(tree: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"override {override!r}: write key.sub=value, e.g. recnet.optimizer.steps=100")
    try:
        value = yaml.safe_load(text) if text else None
    except yaml.YAMLError as error:
        raise ConfigError(f"override {override!r}: the value is not YAML: {error}") from None
    *parents, leaf = key.split(".")
    node = tree
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"override {override!r}: {parent!r} is a value, not a section")
        node = child
    node[leaf] = value


def _explain(path: str, tree: Mapping[str, Any], item: Mapping[str, Any]) -> str:
    location = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        known = _known_keys(item["loc"][:-1])
        close = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known keys there: {', '.join(known)}"
        return f"{path}: unknown key {location!r}; {hint}"
    if item["type"] == "missing":
        return f"{path}: {location} is missing; add it"
    return f"{path}: {location} = {item['input']!r}: {item['msg']}"


def _known_keys(location: Iterable[str | int]) -> list[str]:
    section: type[BaseModel] = Config
    for part in location:
        annotation = section.model_fields[str(part)].annotation if str(part) in section.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        section = annotation
    return list(section.model_fields)


def shipped_config(name: str) -> Path:
    """The file of a configuration that comes with the package, e.g. ``laptop``: ``load(shipped_config("laptop"))``.

    It is found inside the installed package, or in a checkout's ``configs/``. Raises ConfigError.
    """
    package = Path(__file__).parent
    installed = package / "configs"
    folder = installed if installed.is_dir() else package.parent / "configs"
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml"))) or "none"
        raise ConfigError(f"{name!r}: no such configuration comes with the package; there are: {known}")
    return path
