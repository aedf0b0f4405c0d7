"""The runs of a matrix, and which of their stages are the same.

Each run is one like any other, at ``STORAGE/VARIANT/seed-N``. What several have in common lies in the folder of the one
that made it (``run/sharing.py``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jr2net import storage
from jr2net.config import Config, FaceConfig
from jr2net.face.load import load_face_model
from jr2net.face.model import FaceModel
from jr2net.run.cascade import Run, stages, upstream
from jr2net.run.environment import duration
from jr2net.run.forecast import Forecast
from jr2net.run.manifest import read_manifest
from jr2net.settings import ConfigError, digest, set_value, validate

RUNS = "runs.json"
"""File of the matrix's storage: the names of all runs that were ever begun there."""


@dataclass(frozen=True)
class Member:
    """One run of a matrix."""

    variant: str
    seed: int
    run: Run

    def __str__(self) -> str:
        return f"{self.variant}, seed {self.seed}"

    @property
    def name(self) -> str:
        """Path of its storage in that of the matrix."""
        return member_name(self.variant, self.seed)


def member_name(variant: str, seed: int) -> str:
    return f"{variant}/seed-{seed}"


def member_config(config: Config, variant: str, settings: Mapping[str, Any], seed: int) -> Config:
    """The configuration of one run. Raises ConfigError that names the variant and the setting."""
    tree = config.model_dump(mode="json", exclude_unset=True)
    tree.pop("matrix", None)
    for key, value in settings.items():
        set_value(tree, key, value, f"matrix.variants.{variant}: {key}")
    tree |= {"seed": seed, "storage": storage.join(config.storage, member_name(variant, seed))}
    return validate(Config, tree, f"matrix.variants.{variant}")


def members(
    config: Config,
    variants: Sequence[str] = (),
    seeds: Sequence[int] = (),
    resolve: Callable[[Config], Config] = lambda config: config,
) -> list[Member]:
    """The runs of the matrix in the order in which they run, seed after seed, so that tables fill evenly.

    variants, seeds: only these; none: all. resolve: what becomes of each configuration, e.g. absolute paths. Raises
    ConfigError for a variant that does not exist, or cannot be run.
    """
    matrix = config.matrix
    if not matrix.variants:
        raise ConfigError("matrix.variants is empty: name at least one, e.g. 'matrix.variants={full: {}}'")
    if unknown := [name for name in variants if name not in matrix.variants]:
        raise ConfigError(f"no variant is called {unknown[0]!r}; there are {', '.join(matrix.variants)}")
    chosen = {name: settings for name, settings in matrix.variants.items() if not variants or name in variants}
    models: dict[FaceConfig, FaceModel] = {}
    found = []
    for seed in seeds or matrix.seeds:
        for variant, settings in chosen.items():
            run = Run(resolve(member_config(config, variant, settings, seed)))
            face = run.config.face
            if face not in models:
                models[face] = load_face_model(face)
            run.model = models[face]  # loaded once for all
            found.append(Member(variant, seed, run))
    return found


def remember(config: Config, runs: Sequence[Member]) -> None:
    """Adds runs to ``runs.json`` of the matrix's storage: others may need what they make, whatever becomes of the
    matrix."""
    known = _remembered(config.storage)
    names = list(dict.fromkeys([*known, *(member.name for member in runs)]))
    if names != known:
        storage.write_bytes(storage.join(config.storage, RUNS), (json.dumps(names, indent=1) + "\n").encode())


def run_storages(config: Config) -> list[str]:
    """The storages of all runs that were ever begun in the matrix's storage, in that order."""
    return [storage.join(config.storage, name) for name in _remembered(config.storage)]


class Agenda:
    """The stages of a matrix that have to be made, each once, and how long that will take.

    expected_minutes: by stage. Which stages are the same is known from their settings before any of them is made.
    """

    def __init__(self, runs: Sequence[Member], expected_minutes: Mapping[str, float]) -> None:
        self._runs = len(runs)
        self._labels: dict[tuple[str, str], str] = {}
        made: dict[str, bool] = {}
        expected: dict[str, float] = {}
        first: dict[str, str] = {}
        keys = same_stages(runs)
        for member in runs:
            for stage in stages(member.run.config):
                label = first.setdefault(keys[member.name, stage], f"{member}: {stage}")
                self._labels[member.name, stage] = label
                made[label] = made.get(label, False) or read_manifest(member.run.folder(stage)) is not None
                if stage in expected_minutes:
                    expected[label] = expected_minutes[stage]
        self._different = len(made)
        self.left = [label for label, is_made in made.items() if not is_made]
        self._forecast, self._done = Forecast(self.left, expected), set[str]()

    def summary(self) -> str:
        """One line on the whole matrix, before it starts."""
        stages = f"{self._runs} runs have {len(self._labels)} stages, {self._different} of them different"
        seconds = self._forecast.total
        about = f", about {duration(seconds)}" if seconds and self.left else ""
        return f"{stages}; {len(self.left)} to make{about}"

    def next(self, member: Member, stage: str) -> str | None:
        """What begins now; None if the stage has been made."""
        label = self._labels[member.name, stage]
        if label not in self.left or label in self._done:
            return None
        return f"{self.left.index(label) + 1} of {len(self.left)}, {label}"

    def seconds_after(self, member: Member, stage: str) -> float | None:
        """Seconds from the end of a stage to that of the matrix; None where that is unknown."""
        label = self._labels[member.name, stage]
        return self._forecast.after(label) if label in self.left else None

    def finished(self, member: Member, stage: str, seconds: float | None) -> None:
        """Takes note of the seconds that a stage took as a whole; None: it had been made, or begun."""
        label = self._labels[member.name, stage]
        self._done.add(label)
        if seconds is not None and label in self.left:
            self._forecast.finished(label, seconds)


def same_stages(runs: Sequence[Member]) -> dict[tuple[str, str], str]:
    """(name of a run, stage) -> a digest that is the same for stages which will be made from the same inputs."""
    found: dict[tuple[str, str], str] = {}
    for member in runs:
        for stage in stages(member.run.config):
            used = {name: found[member.name, name] for name in upstream(member.run.config, stage)}
            found[member.name, stage] = digest({**member.run.settings(stage), "upstream": used})
    return found


def _remembered(uri: str) -> list[str]:
    names = storage.join(uri, RUNS)
    return json.loads(storage.read_bytes(names)) if storage.exists(names) else []
