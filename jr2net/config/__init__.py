"""Configuration: YAML files validated strictly against frozen models; every field is documented where it is defined.

``load("configs/laptop.yaml", ["recnet.optimizer.steps=100", "storage=s3://bucket/run"])`` returns a frozen ``Config``.
An unknown key is an error that names the file and suggests the closest known key.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from jr2net.config.flow3d import Flow3DConfig
from jr2net.config.section import OptimizerConfig, Section
from jr2net.errors import UserError


class ConfigError(UserError, ValueError):
    """An invalid configuration; the message names the file or override, the field and the remedy."""


ExpressionKind = Literal[
    "captured", "natural", "large", "random", "dense", "extreme", "sweep", "permuted", "interpolated"
]
"""Kinds of expressions that synthesis samples; ``jr2net/expressions/samplers.py`` defines each."""


S = TypeVar("S", bound=Section)


class FaceConfig(Section):
    """The morphable model and the camera."""

    model: str = Field(
        "procedural", description="'procedural', a model file (.npz), ICT-FaceKit's folder, or BFM 2009's .mat"
    )
    expression_file: str | None = Field(None, description="expression basis (.npz) for BFM 2009's .mat")
    vertices: int | None = Field(None, ge=100, description="decimate an imported model to about this many vertices")
    focal_ratio: float = Field(5.0, gt=0.5, description="focal length divided by the crop's side")


class StudioConfig(Section):
    """The synthetic studio, which renders labelled video frames of random people."""

    people: int = Field(3000, ge=2, description="number of training identities")
    frames: int = Field(3, ge=1, description="frames per training identity")
    test_people: int = Field(100, ge=1, description="held-out identities per test set (natural, large)")
    test_frames: int = Field(3, ge=2, description="frames per test identity")
    variety: float = Field(
        1.0,
        ge=0,
        le=1,
        description="variation of pose, lens and recording; 0: plain portraits, 1: as varied as photographs",
    )
    people_per_shard: int = Field(250, ge=1, description="identities per Parquet shard")
    detector_shrink: float = Field(
        0.5, ge=0, le=1, description="how much the simulated landmark detector shrinks large expressions"
    )
    detector_noise: float = Field(0.01, ge=0, description="the detector's noise, as a fraction of the face box")


class DataConfig(Section):
    """Where training and test images come from."""

    clips: str | None = Field(None, description="folder or URI of clip shards to train on; none: use the studio")
    test_clips: str | None = Field(
        None, description="clip shards to test on; none: hold out one identity in `hold_out` of `clips`"
    )
    hold_out: int = Field(7, ge=2, description="one identity in this many is held out when there are no test clips")
    studio: StudioConfig = StudioConfig()


class BackboneConfig(Section):
    """A ResNet (He et al. 2016)."""

    layers: Literal[10, 18, 34, 50] = Field(50, description="ResNet-10 (one block per stage), -18, -34 or -50")
    width: int = Field(64, ge=8, description="channels of the first stage; 64 in the paper (and torchvision)")
    points: int = Field(
        0, ge=0, description="learnt keypoints whose coordinates join the pooled features; 0: pooled features only"
    )
    weights: str | None = Field(None, description="torchvision weights (.pth, .safetensors); none: from scratch")


class RecNetLossConfig(Section):
    """Loss weights as in Deep3DFaceReconstruction. Landmark distances are squared, in pixels of a 224-pixel image."""

    photometric: float = Field(1.92, ge=0, description="weight of the colour distance over the rendered face")
    photometric_geometry: bool = Field(
        True,
        description="photometric gradients reach shape and pose too; false: albedo and light only",
    )
    landmark: float = Field(1.6e-3, ge=0, description="weight of the squared landmark distance")
    landmark_linear_from: float | None = Field(
        None,
        gt=0,
        description="Huber threshold (in pixels of 224): the loss is linear beyond it; none: squared, as published",
    )
    landmark_emphasis: float = Field(20.0, ge=1, description="landmark weight of the inner mouth and the nose bridge")
    landmark_jaw: float = Field(1.0, ge=0, description="landmark weight of the jaw line (points 0 to 16)")
    identity_feature: float = Field(0.2, ge=0, description="weight of the embeddings' distance; needs `embedder`")
    regularization: float = Field(3e-4, ge=0, description="common factor of the three regularisation terms below")
    regularization_identity: float = Field(1.0, ge=0, description="weight of the squared identity coefficients")
    regularization_expression: float = Field(0.8, ge=0, description="weight of the squared expression coefficients")
    regularization_albedo: float = Field(1.7e-2, ge=0, description="weight of the squared albedo coefficients")
    light_grey: float = Field(10.0, ge=0, description="weight of the light's distance from grey")
    albedo_variance: float = Field(5.0, ge=0, description="weight of the variance of the skin's albedo")


class RecNetConfig(Section):
    backbone: BackboneConfig = BackboneConfig()
    optimizer: OptimizerConfig
    loss: RecNetLossConfig = RecNetLossConfig()
    photometric_from: float = Field(
        0.0, ge=0, lt=1, description="fraction of the steps trained on landmarks only, without rendering"
    )
    embedder: str | None = Field(None, description="TorchScript face embedder of the identity loss; none: off")
    exchange_identity: bool = Field(
        True, description="swap the identities of the two frames of a clip in every second pair"
    )
    jitter: float = Field(0.1, ge=0, le=0.5, description="augmentation: shift and scale of the crop")


class DCNetLossConfig(Section):
    l1: float = Field(10.0, ge=0, description="weight of the L1 loss (Eq. 3)")
    perceptual: float = Field(10.0, ge=0, description="weight of the perceptual loss (Eq. 4)")
    adversarial: float = Field(1.0, ge=0, description="weight of the adversarial loss (Eq. 5)")
    face_emphasis: float = Field(1.0, ge=0, description="extra L1 weight inside the driving face's mask")


class DCNetConfig(Section):
    width: int = Field(64, ge=8, description="channels at full resolution")
    scales: int = Field(3, ge=1, le=6, description="down-samplings of the texture encoder (and the generator)")
    context_scales: int = Field(2, ge=0, le=4, description="additional down-samplings of the context encoder")
    blocks: int = Field(2, ge=1, description="residual blocks at the generator's coarsest scale")
    optimizer: OptimizerConfig
    discriminator_learning_rate: float = Field(4e-4, gt=0, description="the discriminator's learning rate")
    adversarial_from: float = Field(
        0.5, ge=0, le=1, description="fraction of the steps after which adversarial training starts"
    )
    ema: float = Field(0.999, ge=0, lt=1, description="decay of the generator's moving average, which is saved")
    loss: DCNetLossConfig = DCNetLossConfig()
    vgg19: str | None = Field(None, description="VGG-19 weights of the perceptual loss; none: RecNet's backbone")
    jitter: float = Field(0.05, ge=0, le=0.5, description="augmentation: shift and scale of the crop")


class GatesConfig(Section):
    """Quality thresholds for synthesised pairs. Rejected pairs are counted by reason."""

    covisible: float = Field(0.5, ge=0, le=1, description="minimum co-visible fraction of the driving face")
    identity: float = Field(
        0.2,
        ge=-1,
        le=1,
        description="minimum identity similarity of source and generated image: cosine of `recnet.embedder`'s "
        "embeddings; without an embedder 1 / (1 + shape distance in mm)",
    )
    expression: float = Field(
        -0.7, ge=-1, le=1, description="minimum cosine between the requested and the estimated change of expression"
    )
    saturation: float = Field(0.7, ge=0, le=1, description="maximum fraction of face pixels with a saturated channel")


class SynthesisConfig(Section):
    pairs: int = Field(..., ge=1, description="number of (image, coefficients) pairs to synthesise")
    pairs_per_shard: int = Field(500, ge=1, description="pairs per Parquet shard")
    pairs_per_source: int | None = Field(
        None, ge=1, description="consecutive pairs per source image; none: spread evenly over the sources, at most 16"
    )
    batch_size: int = Field(16, ge=1, description="DCNet's batch size")
    sources: str | None = Field(
        None, description="source images: clip shards or a folder of photos; none: the training clips"
    )
    face_detector: bool = Field(
        True, description="detect and crop the largest face of each photo; false: photos are already face crops"
    )
    captures: str | None = Field(
        None, description="captured expressions: Live Link Face CSV, track Parquet, or a folder of them; none: sampled"
    )
    expressions: dict[ExpressionKind, float] | None = Field(
        None,
        description="relative weight of each kind; none: captured if there are captures, else natural 1 : large 3",
    )
    reenact: bool = Field(False, description="take pose and light from the driving frame too (full reenactment)")
    driving: str | None = Field(None, description="clip shards that provide pose and light; none: the sources")
    reader: str | None = Field(
        None, description="folder of the ETNet or RecAugNet that re-estimates expressions for the gates; none: RecNet"
    )
    gates: GatesConfig = GatesConfig()
    jpeg_quality: int = Field(95, ge=1, le=100, description="JPEG quality of the images in pair shards")

    @model_validator(mode="after")
    def _check_expression_kinds(self) -> SynthesisConfig:
        if self.expressions is not None and not sum(self.expressions.values()) > 0:
            raise ValueError("expressions: give at least one kind a weight above 0")
        if self.expressions is not None and min(self.expressions.values()) < 0:
            raise ValueError("expressions: a weight cannot be below 0")
        if self.expressions is not None and "captured" in self.expressions and self.captures is None:
            raise ValueError("expressions: captured needs captures")
        return self


class ETNetConfig(Section):
    backbone: BackboneConfig = BackboneConfig(layers=34)
    from_recnet: bool = Field(True, description="initialise from RecNet's backbone if layers and width match")
    optimizer: OptimizerConfig
    squared_until: float = Field(
        0.0, ge=0, le=1, description="fraction of the steps trained with squared error before the activation loss"
    )
    jitter: float = Field(0.1, ge=0, le=0.5, description="augmentation: shift and scale of the crop")


class RecAugNetConfig(Section):
    optimizer: OptimizerConfig


class EvaluationConfig(Section):
    pairs: int = Field(200, ge=1, description="number of (source, driving) pairs per reenactment test")
    crop_mm: float = Field(
        85.0, gt=0, description="crop radius around the nose tip for the geometric error (FaceWarehouse protocol)"
    )


class ScalingConfig(Section):
    """Resources, parallelism, checkpoints and logging."""

    workers: int = Field(2, ge=1, description="number of training workers")
    gpu: bool = Field(False, description="train on GPUs, one per worker")
    cpus_per_worker: float = Field(1.0, gt=0, description="CPU cores per training worker")
    elastic: tuple[int, int] | None = Field(
        None, description="[min, max] training workers for elastic training; none: always `workers`"
    )
    elastic_check_s: float = Field(60.0, ge=0, description="seconds between checks for new machines")
    resources_per_worker: dict[str, float] = Field(
        {}, description="additional resources per training worker, e.g. {accelerator_type:H100: 0.001}"
    )
    accumulate: int = Field(1, ge=1, description="micro-batches per worker and step, to save memory")
    bf16: bool = Field(False, description="train in bfloat16 (autocast); weights and rendering stay float32")
    compile: bool = Field(False, description="compile networks with torch.compile")
    synthesis_actors: int = Field(
        2, ge=1, description="maximum (and initial) number of synthesis actors, each with RecNet and DCNet"
    )
    synthesis_actors_min: int = Field(1, ge=1, description="minimum number of synthesis actors")
    shards_per_actor: int | None = Field(
        None,
        ge=1,
        description="shards an actor processes concurrently: one runs the networks, the others decode, encode and "
        "write; none: 1 on CPU (one core), 3 if actors have a GPU",
    )
    gpus_per_actor: float = Field(0.0, ge=0, description="GPUs (may be fractional) per synthesis actor")
    checkpoint_every: int = Field(500, ge=1, description="steps between checkpoints of the training state")
    log_every: int = Field(100, ge=1, description="steps between writes of the log (which has a record for every step)")
    keep_states: int = Field(2, ge=1, description="number of checkpoints to keep, the newest ones")
    best: str | None = Field(
        None, description="loss term, e.g. landmark; the weights with its lowest mean are kept in `best/`"
    )
    pictures_every: int = Field(500, ge=0, description="steps between sample images of a training; 0: none")
    max_failures: int = Field(3, ge=0, description="worker failures without progress that a training tolerates")

    @model_validator(mode="after")
    def _check_elastic_range(self) -> ScalingConfig:
        if self.elastic is not None and not 1 <= self.elastic[0] <= self.elastic[1]:
            raise ValueError(f"elastic {list(self.elastic)}: write [min, max] with 1 <= min <= max")
        return self


class Config(Section):
    """Configuration of a run of the whole cascade."""

    storage: str = Field(..., description="folder or s3:// URI of the run")
    seed: int = Field(0, ge=0, description="random seed of the run")
    image_size: int = Field(224, ge=32, multiple_of=16, description="side of the networks' input images, in pixels")
    face: FaceConfig = FaceConfig()
    data: DataConfig = DataConfig()
    recnet: RecNetConfig
    reenactor: Literal["dcnet", "flow3d"] = Field(
        "dcnet", description="the network that synthesises images: DCNet, or flow3d (3DFlowRenderer)"
    )
    dcnet: DCNetConfig
    flow3d: Flow3DConfig = Flow3DConfig()
    synthesis: SynthesisConfig
    etnet: ETNetConfig
    recaugnet: RecAugNetConfig
    evaluation: EvaluationConfig = EvaluationConfig()
    scaling: ScalingConfig = ScalingConfig()


def load(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Loads a YAML file, applies ``key.sub=value`` overrides (values are YAML) and validates strictly.

    Raises ConfigError, which names the file, the field and the remedy.
    """
    path = Path(path)
    try:
        tree = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        existing = ", ".join(sorted(str(p) for p in path.parent.glob("*.yaml"))) or "none"
        raise ConfigError(f"{path}: no such configuration file; files there: {existing}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected a mapping of sections at the top, got {type(tree).__name__}")
    for override in overrides:
        apply_override(tree, override, "recnet.optimizer.steps=100")
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(str(path), tree, item) for item in error.errors())) from None


def to_yaml(config: Config) -> str:
    """The resolved configuration as YAML, as printed by ``--print-config``; loads back to an equal Config."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def digest(section: BaseModel | Mapping[str, Any]) -> str:
    """SHA-256 of a section: equal settings have equal digests, whichever file they came from."""
    content = section.model_dump(mode="json") if isinstance(section, BaseModel) else section
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def apply_override(tree: dict[str, Any], override: str, example: str) -> None:
    """Sets ``key.sub=value`` in a tree of sections, in place; the value is YAML. Raises ConfigError.

    example: a valid override, for the error message.
    """
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"override {override!r}: write key.sub=value, e.g. {example}")
    try:
        value = yaml.safe_load(text)
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


def absolute_paths(section: S, fields: Iterable[str], base: str | Path) -> S:
    """A copy in which relative paths are absolute, so that workers in other folders can use them.

    fields: dotted names of settings that are paths; None, URIs and ``procedural`` are kept. base: where relative paths
    start.
    """
    tree = section.model_dump(mode="json")
    for field in fields:
        *parents, leaf = field.split(".")
        node: dict[str, Any] = tree
        for parent in parents:
            node = node[parent]
        value = node[leaf]
        if value is None or value == "procedural" or "://" in value or Path(value).expanduser().is_absolute():
            continue
        node[leaf] = str(Path(base, value).absolute())
    return type(section).model_validate(tree)


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
