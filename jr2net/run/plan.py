"""What a run costs on a fleet: hours, money, requests and bytes of every stage, from measured seconds of its work.

The arithmetic is linear: a stage has so many units of work (samples of a batch, pairs), each takes so many seconds of
one device, and devices share them. What it does not know is said in ``Cost.note``.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from pydantic import Field, field_validator

from jr2net.config import Config
from jr2net.config.stages import first_round, training_section
from jr2net.run.cascade import ALL_STAGES, NETWORKS, stages
from jr2net.run.pace import EVALUATION, PAIRS, Pace
from jr2net.settings import ConfigError, Section, validate

GIB, HOUR = 2**30, 3600.0
GROUP_BYTES = 4 << 20
"""A read of a shard: one row group; ``write_clips`` makes them of 1 to 4 MB."""
PART_BYTES = 8 << 20
"""A part of a larger upload, each a request."""
CACHED_BYTES = GIB
"""Data sets up to this size are read once by each worker (``data/lanes.py``)."""
PICTURES_READ = 0.3 * 2**20
"""Bytes that synthesis reads for a source picture, of a large set of sources (docs/synthesis.md)."""
ON_GPUS = tuple(
    stage for stage in ALL_STAGES if stage in (*NETWORKS, PAIRS, EVALUATION) and stage == first_round(stage)
)
"""The stages that use GPUs, by their names in the first round; the others run on CPUs."""
DRIVER_SECONDS_A_SHARD = 0.008
"""CPU seconds of the driver for a shard: 1,000,000 pairs in 2,000 shards took it 7 to 15 s (benchmarks)."""


class Machine(Section):
    """A kind of machine, and how fast its devices are."""

    name: str = Field(..., description="the cloud's name of it")
    gpus: int = Field(..., ge=1, description="GPUs of one machine")
    price_per_hour: float = Field(..., gt=0, description="of one machine, on demand")
    spot_price_per_hour: float | None = Field(None, gt=0, description="of one machine, on spot, where it is known")
    times_one_core: float | None = Field(
        None,
        gt=0,
        description="how many times faster one GPU is than the CPU core on which a stage was measured. Nobody can know "
        "it without such a GPU; without it, and without `seconds`, only core hours are known",
    )
    seconds: dict[str, float] = Field(
        {},
        description="by stage, for both rounds by its name in the first: seconds of one of these GPUs for a sample, a "
        "pair or the whole evaluation, measured; they go before all else",
    )

    @field_validator("seconds")
    @classmethod
    def _check_stages(cls, seconds: dict[str, float]) -> dict[str, float]:
        for name in seconds:
            if name not in ON_GPUS:
                close = difflib.get_close_matches(name, ON_GPUS, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"the stages on GPUs: {', '.join(ON_GPUS)}"
                raise ValueError(f"unknown stage {name!r}; {hint}")
        return seconds


class Prices(Section):
    """Of the object storage."""

    gb_month: float = Field(..., ge=0, description="of 1 GB (10⁹ bytes) for a month")
    puts_1000: float = Field(..., ge=0, description="of 1,000 PUT, COPY, POST or LIST requests")
    gets_1000: float = Field(..., ge=0, description="of 1,000 GET requests")


class Fleet(Section):
    """Machines and prices; ``configs/fleets/`` has an example."""

    source: str = Field(..., min_length=1, description="where the prices are from")
    date: str = Field(..., min_length=4, description="of the prices")
    currency: str = Field("USD", description="of all prices")
    gpu_machine: Machine
    head_per_hour: float = Field(0.0, ge=0, description="price of the head, and of what else runs all the time")
    efficiency: float = Field(
        1.0, gt=0, le=1, description="share of a GPU's pace that it keeps among many; 1: nothing is lost, a lower bound"
    )
    storage: Prices


@dataclass(frozen=True)
class DataSize:
    """frames: of the training clips. frame_bytes: of one of them in its shard. pair_bytes: of a pair in its shard."""

    frames: float
    frame_bytes: float = 25_000.0
    pair_bytes: float = 25_000.0


@dataclass(frozen=True)
class Cost:
    """Of one stage on one number of GPUs. None: not known, and ``note`` says why.

    core_hours   of the one core that it was measured on; None where it was measured on a GPU
    money        of machines on demand; spot_money: of spot machines with a head on demand
    driver       share of one core that synthesis needs of its driver
    """

    stage: str
    gpus: int
    units: float
    core_hours: float | None = None
    gpu_hours: float | None = None
    days: float | None = None
    money: float | None = None
    spot_money: float | None = None
    puts: float = 0.0
    gets: float = 0.0
    requests_money: float = 0.0
    written: float = 0.0
    read: float = 0.0
    driver: float = 0.0
    note: str = ""


def load_fleet(path: str | Path) -> Fleet:
    """Raises ConfigError with file, field and remedy."""
    try:
        tree = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}; copy one of configs/fleets/") from None
    return validate(Fleet, tree, str(path))


def plan(config: Config, data: DataSize, fleet: Fleet, paces: Iterable[Pace], gpus: int) -> list[Cost]:
    """The costs of every stage of a run on ``gpus`` GPUs, whose batches are those of the configuration."""
    known = {pace.stage: pace for pace in paces}  # of several measurements of a stage the last one
    return [_cost(config, data, fleet, known.get(first_round(stage)), stage, gpus) for stage in stages(config)]


def total(costs: Sequence[Cost]) -> Cost:
    """The sum of the stages that are known; its note names the others."""

    def add(field: str) -> float | None:
        found = [value for cost in costs if (value := getattr(cost, field)) is not None]
        return sum(found) if found else None

    hours, money = ("core_hours", "gpu_hours", "days"), ("money", "spot_money", "requests_money")
    fields = (*hours, *money, "puts", "gets", "written", "read")
    unknown = [cost.stage for cost in costs if cost.gpu_hours is None]
    note = f"without {', '.join(unknown)}" if unknown else ""
    sums = {field: add(field) for field in fields}
    return replace(Cost("total", costs[0].gpus, 0.0, note=note), driver=max(c.driver for c in costs), **sums)  # type: ignore[arg-type]


def _cost(config: Config, data: DataSize, fleet: Fleet, pace: Pace | None, stage: str, gpus: int) -> Cost:
    timed = _time(config, fleet, pace, stage, gpus)
    cost = _with_storage(timed, config, data, pace)
    prices = fleet.storage
    return replace(cost, requests_money=(cost.puts * prices.puts_1000 + cost.gets * prices.gets_1000) / 1000)


def _time(config: Config, fleet: Fleet, pace: Pace | None, stage: str, gpus: int) -> Cost:
    """Hours and money of the machines."""
    units, machine = _units(config, stage), fleet.gpu_machine
    cost = Cost(stage, gpus, units)
    if not units:
        return replace(cost, note="runs on CPUs: its seconds are in a finished run's manifest")
    given = machine.seconds.get(first_round(stage))
    core_hours = units * pace.seconds / HOUR if pace is not None and pace.device == "cpu" else None
    if given is not None:
        seconds, note = given, "the fleet's seconds"
    elif pace is None:
        return replace(cost, note="not measured")
    elif pace.device != "cpu":
        seconds, note = pace.seconds, f"measured on {pace.device}"
    elif machine.times_one_core is not None:
        seconds, note = pace.seconds / machine.times_one_core, "extrapolated from one core"
    else:
        return replace(cost, core_hours=core_hours, note="core hours only: the fleet has no times_one_core")
    gpu_hours = units * seconds / HOUR / fleet.efficiency
    hours = gpu_hours / gpus
    machines = math.ceil(gpus / machine.gpus)
    spot = machine.spot_price_per_hour
    shards_per_hour = units / config.synthesis.pairs_per_shard / hours
    return replace(
        cost,
        core_hours=core_hours,
        gpu_hours=gpu_hours,
        days=hours / 24,
        money=hours * (machines * machine.price_per_hour + fleet.head_per_hour),
        spot_money=None if spot is None else hours * (machines * spot + fleet.head_per_hour),
        driver=shards_per_hour * DRIVER_SECONDS_A_SHARD / HOUR if first_round(stage) == PAIRS else 0.0,
        note=note,
    )


def _units(config: Config, stage: str) -> float:
    """Samples of a training, pairs of synthesis, one evaluation; 0 for what runs on CPUs."""
    if first_round(stage) == PAIRS:
        return config.synthesis.pairs
    if stage == EVALUATION:
        return 1
    if stage not in NETWORKS:
        return 0
    optimizer = getattr(config, training_section(config, stage)).optimizer
    return float(optimizer.steps) * optimizer.batch_size


def _with_storage(cost: Cost, config: Config, data: DataSize, pace: Pace | None) -> Cost:
    """The same with its requests and bytes; those of an evaluation are not counted."""
    if not cost.units or cost.stage == EVALUATION:
        return cost
    if first_round(cost.stage) == PAIRS:
        return _dataset(cost, config, data)
    scaling = config.scaling
    optimizer = getattr(config, training_section(config, cost.stage)).optimizer
    on_pairs = first_round(cost.stage) == "etnet"
    size = config.synthesis.pairs * data.pair_bytes if on_pairs else data.frames * data.frame_bytes
    wanted = cost.units * (data.pair_bytes if on_pairs else 2 * data.frame_bytes)  # two frames of a clip a sample
    read = cost.gpus * size if size <= CACHED_BYTES else wanted
    states = optimizer.steps / scaling.checkpoint_every
    if cost.days is not None and scaling.checkpoint_every_s:
        states = max(states, 24 * HOUR * cost.days / scaling.checkpoint_every_s)
    state_bytes = pace.bytes if pace is not None else 0.0
    logs = 2 * optimizer.steps / scaling.log_every
    pictures = optimizer.steps / scaling.pictures_every if scaling.pictures_every else 0.0
    return replace(
        cost,
        puts=states * max(1, math.ceil(state_bytes / PART_BYTES)) + logs + pictures,
        gets=read / GROUP_BYTES,
        written=states * state_bytes,
        read=read,
    )


def _dataset(cost: Cost, config: Config, data: DataSize) -> Cost:
    settings = config.synthesis
    shards = math.ceil(settings.pairs / settings.pairs_per_shard)
    parts = max(1, math.ceil(settings.pairs_per_shard * data.pair_bytes / PART_BYTES))
    read = pictures_read(settings.pairs, data.frames, settings.pairs_per_source) * PICTURES_READ
    return replace(
        cost,
        puts=shards * (parts + 1) + shards / 1000,  # a shard and its manifest; a list names 1,000
        gets=shards + read / GROUP_BYTES,  # every manifest once, at the end; sources
        written=settings.pairs * data.pair_bytes,
        read=read,
    )


def pictures_read(pairs: float, sources: float, pairs_per_source: int | None) -> float:
    """How many pictures are read for so many pairs: in passes over the sources, as ``synthesis/plan.py`` has them."""
    read, left, sizes = 0.0, float(pairs), iter((1, 1, 2, 4, 8))
    while left > 0:
        size = pairs_per_source or next(sizes, 16)
        if size == (pairs_per_source or 16):
            return read + left / size
        taken = min(sources, left / size)
        read, left = read + taken, left - taken * size
    return read
