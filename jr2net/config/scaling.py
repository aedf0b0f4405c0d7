"""How a run is placed on machines: resources, parallelism, checkpoints and logging. None of it changes what is made."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from jr2net.config.stages import StageName
from jr2net.settings import Section


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
    resources_per_task: dict[str, float] = Field(
        {},
        description="additional resources of every task that needs no GPU, e.g. {cpu_machine: 1}; on a cluster whose "
        "CPU machines alone have them, such tasks never start another kind; without such a machine they wait",
    )
    accumulate: int = Field(1, ge=1, description="micro-batches per worker and step, to save memory")
    bf16: bool = Field(False, description="train in bfloat16 (autocast); weights and rendering stay float32")
    compile: bool = Field(False, description="compile networks with torch.compile")
    synthesis_actors: int = Field(
        2, ge=1, description="maximum number of synthesis actors, each with RecNet and the reenactor"
    )
    synthesis_actors_min: int = Field(1, ge=1, description="minimum and initial number of synthesis actors")
    cpus_per_actor: float | None = Field(
        None, gt=0, description="CPU cores per synthesis actor; none: as many as `cpus_per_worker`"
    )
    shards_per_actor: int | None = Field(
        None,
        ge=1,
        description="shards an actor processes concurrently: one runs the networks, the others decode, encode and "
        "write; none: 1 on CPU (one core), 3 if actors have a GPU",
    )
    gpus_per_actor: float = Field(0.0, ge=0, description="GPUs (may be fractional) per synthesis actor")
    checkpoint_every: int = Field(
        500, ge=1, description="steps between checkpoints of the training state, and between validations"
    )
    checkpoint_every_s: float = Field(
        300.0, ge=0, description="seconds after which a checkpoint is due besides; 0: by steps alone"
    )
    log_every: int = Field(100, ge=1, description="steps between writes of the log (which has a record for every step)")
    keep_states: int = Field(2, ge=1, description="number of checkpoints to keep, the newest ones")
    best: str | None = Field(
        None,
        description="loss term, e.g. landmark; the weights with its lowest mean over the identities that "
        "`data.validation` holds back are kept in `best/`",
    )
    pictures_every: int = Field(500, ge=0, description="steps between sample images of a training; 0: none")
    max_failures: int = Field(3, ge=0, description="failures without a newer state that a training tolerates")
    wait_for_machines_s: float = Field(
        900.0,
        ge=0,
        description="seconds that a stage waits for machines that have room for its processes, e.g. those that the "
        "autoscaler starts, before the job ends and says what the cluster has",
    )
    expected_minutes: dict[StageName, Annotated[float, Field(ge=0)]] = Field(
        {},
        description="minutes of every stage on the machine that the file was written for; what is left of a run is "
        "forecast from them, corrected by how long its stages take",
    )

    @property
    def least_workers(self) -> int:
        """Training workers that a training needs at one time."""
        return self.workers if self.elastic is None else self.elastic[0]

    @property
    def actor_cpus(self) -> float:
        """CPU cores that a synthesis actor reserves."""
        return self.cpus_per_worker if self.cpus_per_actor is None else self.cpus_per_actor

    @model_validator(mode="after")
    def _check_elastic_range(self) -> ScalingConfig:
        if self.elastic is not None and not 1 <= self.elastic[0] <= self.elastic[1]:
            raise ValueError(f"elastic {list(self.elastic)}: write [min, max] with 1 <= min <= max")
        return self
