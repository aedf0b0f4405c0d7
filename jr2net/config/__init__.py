"""Configuration: YAML files validated strictly against frozen models; every field is documented where it is defined.

The sections of the networks are in ``config/networks.py`` and ``config/flow3d.py``, those of the studio in
``config/studio.py``, that of the evaluation in ``config/evaluation.py``, that of the machines in ``config/scaling.py``.

``load("configs/laptop.yaml", ["recnet.optimizer.steps=100", "storage=s3://bucket/run"])`` returns a frozen ``Config``.
An unknown key is an error that names the file and suggests the closest known key.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, model_validator

from jr2net.config.ablations import BaselineConfig, RecCopyNetConfig, RecDataNetConfig
from jr2net.config.clip_sets import STAGES_WITH_SETS
from jr2net.config.evaluation import EvaluationConfig, ProtocolConfig  # noqa: F401
from jr2net.config.flow3d import Flow3DConfig
from jr2net.config.gpus import scaled_to
from jr2net.config.matrix import MatrixConfig
from jr2net.config.networks import (  # noqa: F401 - all settings can be imported from here
    BackboneConfig,
    DCNetConfig,
    DCNetLossConfig,
    DetectorConfig,
    ETNetConfig,
    OptimizerConfig,
    RecAugNetConfig,
    RecNetConfig,
    RecNetLossConfig,
)
from jr2net.config.scaling import ScalingConfig
from jr2net.config.stages import Ablation
from jr2net.config.studio import FilmsConfig, PortraitsConfig, StudioConfig
from jr2net.settings import ConfigError, Effect, Section, apply_override, validate

ExpressionKind = Literal[
    "captured", "natural", "large", "random", "dense", "extreme", "sweep", "permuted", "interpolated"
]
"""Kinds of expressions that synthesis samples; ``jr2net/expressions/samplers.py`` defines each."""


class FaceConfig(Section):
    """The morphable model and the camera."""

    model: str = Field(
        "procedural", description="'procedural', a model file (.npz), ICT-FaceKit's folder, or BFM 2009's .mat"
    )
    expression_file: str | None = Field(None, description="expression basis (.npz) for BFM 2009's .mat")
    vertices: int | None = Field(None, ge=100, description="decimate an imported model to about this many vertices")
    focal_ratio: float = Field(5.0, gt=0.5, description="focal length divided by the crop's side")


class DataConfig(Section):
    """Where training and test images come from."""

    clips: Annotated[str | None, Effect.CONTENT] = Field(
        None, description="folder or URI of clip shards to train on; none: use the studio"
    )
    test_clips: Annotated[str | None, Effect.CONTENT] = Field(
        None, description="clip shards to test on; none: hold out one identity in `hold_out` of `clips`"
    )
    hold_out: int = Field(7, ge=2, description="one identity in this many is held out when there are no test clips")
    validation: int | None = Field(
        None,
        ge=2,
        description="one training identity in this many is held back from all trainings, for `scaling.best`; none: "
        "nobody is",
    )
    studio: StudioConfig = StudioConfig()


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
    pairs: Annotated[int, Effect.EXTENT] = Field(
        ..., ge=1, description="number of (image, coefficients) pairs to synthesise"
    )
    pairs_per_shard: int = Field(500, ge=1, description="pairs per Parquet shard")
    pairs_per_source: int | None = Field(
        None,
        ge=1,
        description="consecutive pairs per source image; none: one in the first two passes over the sources, then 2, "
        "4, 8, and 16 in all later ones",
    )
    batch_size: Annotated[int, Effect.NONE] = Field(16, ge=1, description="the reenactor's batch size")
    sources: Annotated[str | None, Effect.CONTENT] = Field(
        None, description="source images: clip shards or a folder of photos; none: the training clips"
    )
    face_detector: bool = Field(
        True, description="detect and crop the largest face of each photo; false: photos are already face crops"
    )
    captures: Annotated[str | None, Effect.CONTENT] = Field(
        None, description="captured expressions: Live Link Face CSV, track Parquet, or a folder of them; none: sampled"
    )
    expressions: dict[ExpressionKind, float] | None = Field(
        None,
        description="relative weight of each kind; none: captured if there are captures, else natural 1 : large 3",
    )
    reenact: bool = Field(False, description="take pose and light from the driving frame too (full reenactment)")
    driving: Annotated[str | None, Effect.CONTENT] = Field(
        None, description="clip shards that provide pose and light; none: the sources"
    )
    reader: Annotated[str | None, Effect.CONTENT] = Field(
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


class Config(Section):
    """Configuration of a run of the whole cascade."""

    storage: Annotated[str, Effect.NONE] = Field(..., description="folder or s3:// URI of the run")
    seed: int = Field(0, ge=0, description="random seed of the run")
    image_size: int = Field(224, ge=32, multiple_of=16, description="side of the networks' input images, in pixels")
    require_pretrained: Annotated[bool, Effect.NONE] = Field(
        False,
        description="end a job at its start unless recnet.backbone.weights, recnet.embedder, the reenactor's vgg19 and "
        "etnet.backbone.weights name existing files; false: what is not given is trained from scratch or left out",
    )
    face: FaceConfig = FaceConfig()
    data: DataConfig = DataConfig()
    recnet: RecNetConfig
    reenactor: Literal["dcnet", "flow3d"] = Field(
        "dcnet", description="the network that synthesises images: DCNet, or flow3d (3DFlowRenderer)"
    )
    dcnet: DCNetConfig
    flow3d: Flow3DConfig = Flow3DConfig()
    synthesis: SynthesisConfig
    films: FilmsConfig = FilmsConfig()
    etnet: ETNetConfig
    recaugnet: RecAugNetConfig
    portraits: PortraitsConfig = PortraitsConfig()
    detector: DetectorConfig = DetectorConfig()
    ablations: tuple[Ablation, ...] = Field(
        (), description="networks of the paper's Table 4 that the run also trains and evaluates"
    )
    reccopynet: RecCopyNetConfig = RecCopyNetConfig()
    recdatanet: RecDataNetConfig = RecDataNetConfig()
    baseline: BaselineConfig = BaselineConfig()
    rounds: Literal[1, 2] = Field(
        1,
        description="2: RecAugNet fits the faces of a second reenactor, whose pairs train a second ETNet and "
        "RecAugNet, all with the settings of the first",
    )
    evaluation: EvaluationConfig = EvaluationConfig()
    matrix: Annotated[MatrixConfig, Effect.NONE] = MatrixConfig()
    scaling: Annotated[ScalingConfig, Effect.NONE] = ScalingConfig()

    @model_validator(mode="after")
    def _check_clip_sets(self) -> Config:
        for stage in STAGES_WITH_SETS:
            sets = getattr(self, stage).clips
            if sets is not None and self.data.clips is None:
                raise ValueError(
                    f"{stage}.clips: the run needs data.clips too, for synthesis and to hold test people out of; give "
                    "one of the sets"
                )
            if sets is not None and (not sets or len({clips.uri for clips in sets}) < len(sets)):
                raise ValueError(f"{stage}.clips: give at least one set, and each once")
        return self

    @model_validator(mode="after")
    def _check_ablations(self) -> Config:
        if len(set(self.ablations)) < len(self.ablations):
            raise ValueError(f"ablations {list(self.ablations)}: name each network once")
        on_pairs = {"recdatanet": self.recdatanet, "baseline": self.baseline}
        batch = self.recnet.optimizer.batch_size
        for name, section in on_pairs.items():
            if name not in self.ablations:
                continue
            if self.synthesis.reenact:
                raise ValueError(
                    f"ablations: {name} is trained on landmarks of synthesised images, which are known where these "
                    "keep the source's pose: set synthesis.reenact=false"
                )
            if not 0 < section.pairs_in(batch) < batch:
                raise ValueError(
                    f"{name}.pair_share = {section.pair_share}: {section.pairs_in(batch)} of a batch of {batch} are "
                    "synthesised; choose a share with which a batch has such images and clips"
                )
        return self

    @model_validator(mode="after")
    def _check_sides(self) -> Config:
        for name in ("recnet", "etnet"):
            side = getattr(self, name).backbone.side
            if side is not None and self.image_size % side:
                raise ValueError(
                    f"{name}.backbone.side = {side}: is not a divisor of image_size = {self.image_size}; choose one"
                )
        return self

    @model_validator(mode="after")
    def _check_films(self) -> Config:
        batch, films = self.etnet.optimizer.batch_size, self.etnet.films_in(self.etnet.optimizer.batch_size)
        if 0 < self.etnet.films < 1 and not 0 < films < batch:
            raise ValueError(
                f"etnet.films = {self.etnet.films}: {films} of a batch of {batch} are films; choose a share with which "
                "a batch has films and pairs, or 0 or 1"
            )
        return self

    @model_validator(mode="after")
    def _check_validation(self) -> Config:
        if self.scaling.best is not None and self.data.validation is None:
            raise ValueError(
                f"scaling.best = {self.scaling.best!r} is measured on people that no network is trained on: set "
                "data.validation, e.g. to 20 to hold back one identity in 20"
            )
        return self

    @model_validator(mode="after")
    def _check_every_worker_has_a_sample(self) -> Config:
        scaling = self.scaling
        field, given, workers = "workers", str(scaling.workers), scaling.workers
        if scaling.elastic is not None:
            field, given, workers = "elastic", str(list(scaling.elastic)), scaling.elastic[1]
        trained = ("recnet", self.reenactor, "etnet", "recaugnet")
        sizes = {f"{name}.optimizer.batch_size": getattr(self, name).optimizer.batch_size for name in trained}
        if 0 < self.etnet.films < 1:
            films = self.etnet.films_in(self.etnet.optimizer.batch_size)
            sizes["etnet: films, pairs"] = min(films, self.etnet.optimizer.batch_size - films)
        if self.detector.train:
            sizes["detector.optimizer.batch_size"] = self.detector.optimizer.batch_size
        if "reccopynet" in self.ablations and self.reccopynet.optimizer is not None:
            sizes["reccopynet.optimizer.batch_size"] = self.reccopynet.optimizer.batch_size
        batch = self.recnet.optimizer.batch_size
        for name, section in (("recdatanet", self.recdatanet), ("baseline", self.baseline)):
            if name in self.ablations:
                pairs = section.pairs_in(batch)
                sizes[f"{name}: clips, pairs"] = min(pairs, batch - pairs)
        small = [f"{name} = {size}" for name, size in sizes.items() if size < workers]
        if small:
            raise ValueError(
                f"scaling.{field} = {given}: more workers than samples in a global batch ({', '.join(small)}), and "
                f"every worker needs one; use at most {min(sizes.values())} workers, larger batches, or --gpus N, that "
                "scales both"
            )
        return self


def load(path: str | Path, overrides: Iterable[str] = (), gpus: int | None = None) -> Config:
    """Loads a YAML file, applies ``key.sub=value`` overrides (values are YAML) and validates strictly.

    gpus: the sizes of the file are scaled to this number of GPUs (``config/gpus.py``) before overrides are applied.
    A bare name, e.g. ``laptop``, is a configuration that comes with the package. Raises ConfigError, which names the
    file, the field and the remedy.
    """
    path = Path(path) if Path(path).suffix or Path(path).exists() else shipped_config(str(path))
    try:
        tree = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        existing = ", ".join(sorted(str(p) for p in path.parent.glob("*.yaml"))) or "none"
        raise ConfigError(f"{path}: no such configuration file; files there: {existing}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected a mapping of sections at the top, got {type(tree).__name__}")
    if gpus is not None:
        tree = _scaled(validate(Config, tree, str(path)), gpus, path)
    for override in overrides:
        apply_override(tree, override, "recnet.optimizer.steps=100")
    return validate(Config, tree, str(path))


def _scaled(config: Config, gpus: int, path: Path) -> dict[str, Any]:
    if not config.scaling.gpu:
        raise ConfigError(f"{path}: scaling.gpu is false, so its sizes are for CPUs; omit --gpus, or take another file")
    if gpus < 1:
        raise ConfigError(f"--gpus {gpus}: give at least 1")
    return scaled_to(config.model_dump(mode="json"), gpus)


def to_yaml(config: Config) -> str:
    """The resolved configuration as YAML, as printed by ``--print-config``; loads back to an equal Config."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def shipped_config(name: str) -> Path:
    """The file of a configuration that comes with the package, e.g. ``laptop``: ``load(shipped_config("laptop"))``.

    It is found inside the installed package, or in a checkout's ``configs/``. Raises ConfigError.
    """
    package = Path(__file__).parents[1]
    installed = package / "configs"
    folder = installed if installed.is_dir() else package.parent / "configs"
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml"))) or "none"
        raise ConfigError(f"{name!r}: no such configuration comes with the package; there are: {known}")
    return path
