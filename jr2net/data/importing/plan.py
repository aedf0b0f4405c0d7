"""What an import will do, fixed before it begins: its settings and which units each shard is made of.

The output folder keeps the plan, so that an import that was interrupted goes on as it began:

    clips-00000.parquet …, or train/clips-00000.parquet … where the set has an official split
    import/plan.json         settings, and a digest of the units
    import/parts/            finished units of shards that are not complete, removed with the last of them
    import/outcomes/         what has become of every shard's units
    import/report.json       the counts; import/quarantine.jsonl: what was left out, by name, and why
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import groupby

from jr2net import storage
from jr2net.data.importing.settings import ImportSettings
from jr2net.data.readers import LAYOUTS
from jr2net.data.readers.layout import Folder, Problem, Unit, ending
from jr2net.data.readers.problems import DatasetError
from jr2net.storage import join, read_bytes, write_bytes

WORK = "import"
"""Folder beside the shards for everything else."""

PHOTOS = 64
"""Photos that count as much as one video: units are written down by the video, or by so many photos."""

SHARD_VIDEOS, SHARDS = 32, 8
"""Most videos of a shard; and how many shards a small set has at least, so that several processes can work on it."""

_VERSION = 1


@dataclass(frozen=True)
class Shard:
    """Units that are written to one shard. part: of the official split; number: among its shards."""

    part: str
    number: int
    units: tuple[Unit, ...]

    @property
    def name(self) -> str:
        return f"{self.part}/clips-{self.number:05d}" if self.part else f"clips-{self.number:05d}"

    def steps(self) -> list[tuple[Unit, ...]]:
        """The units in the portions in which they are written down: one video, or up to 64 photos."""
        steps: list[list[Unit]] = []
        for unit in self.units:
            if not steps or unit.is_video or steps[-1][-1].is_video or len(steps[-1]) == PHOTOS:
                steps.append([])
            steps[-1].append(unit)
        return [tuple(step) for step in steps]


@dataclass(frozen=True)
class Plan:
    """An import.

    folder, output  paths or URIs
    problems        what the reader left out
    ignored         ending -> number of files that belong to no clip, the dataset's lists among them
    """

    folder: str
    output: str
    settings: ImportSettings
    shards: tuple[Shard, ...]
    problems: tuple[Problem, ...]
    ignored: tuple[tuple[str, int], ...] = ()

    @cached_property
    def units(self) -> int:
        return sum(len(shard.units) for shard in self.shards)

    def path(self, *names: str) -> str:
        return join(self.output, WORK, *names)


def make_plan(folder: Folder, output: str, settings: ImportSettings) -> Plan:
    """Lists a dataset's units and deals them to shards. Raises DatasetError where it has none."""
    survey = LAYOUTS[settings.layout].survey(folder)
    if not survey.units:
        examples = "; ".join(problem.message for problem in survey.problems[:3])
        raise DatasetError(
            "empty",
            f"{folder.uri}: holds nothing in the layout {settings.layout!r}{f' ({examples})' if examples else ''}; "
            "check the folder, or name another --layout",
        )
    shards: list[Shard] = []
    ordered = sorted(survey.units, key=lambda unit: (unit.part, unit.name))
    for part, units in groupby(ordered, key=lambda unit: unit.part):
        shards += _deal(part, list(units))
    used = {file for unit in survey.units for file in unit.files} | {problem.name for problem in survey.problems}
    ignored = Counter(ending(name) or "no ending" for name in folder.names if name not in used)
    return Plan(folder.uri, output, settings, tuple(shards), tuple(survey.problems), tuple(ignored.most_common()))


def keep_plan(plan: Plan) -> None:
    """Writes the plan down, or checks that the output folder was begun with the same one. Raises DatasetError."""
    digest = hashlib.sha256()
    for shard in plan.shards:
        digest.update(json.dumps([shard.name, *map(asdict, shard.units)]).encode())
    now = plan.settings.model_dump(mode="json")
    content = {
        "version": _VERSION,
        "settings": now,
        "units": plan.units,
        "digest": digest.hexdigest(),
    }
    uri = plan.path("plan.json")
    if not storage.exists(uri):
        if found := storage.list_files(plan.output, ".parquet"):
            raise DatasetError(
                "other import", f"{plan.output}: holds other shards, e.g. {found[0]}; give a folder of its own"
            )
        write_bytes(uri, json.dumps(content, indent=1).encode())
        return
    known = json.loads(read_bytes(uri))
    if known == content:
        return
    before = known.get("settings", {})
    changed = [f"{key} was {before.get(key)!r} and is {now[key]!r}" for key in now if before.get(key) != now[key]]
    what = "; ".join(changed) or f"the dataset had {known.get('units')} units and has {plan.units}, or others"
    raise DatasetError(
        "other import",
        f"{plan.output}: holds an import with other settings or of another dataset ({what}); give the same ones to "
        "go on, or another output folder",
    )


def _deal(part: str, units: Sequence[Unit]) -> list[Shard]:
    """Consecutive units to shards of about the same number of them."""
    weight = sum(1.0 if unit.is_video else 1 / PHOTOS for unit in units)
    count = max(1, min(SHARDS, round(weight)), -(-int(weight) // SHARD_VIDEOS))
    bounds = [len(units) * shard // count for shard in range(count + 1)]
    return [Shard(part, n, tuple(units[bounds[n] : bounds[n + 1]])) for n in range(count)]
