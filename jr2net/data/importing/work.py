"""The two passes of an import over its shards: units to parts, and parts to shards without duplicates.

Every file is written atomically and is a function of the plan, so that what exists is complete and is not made again,
whoever made it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict

from jr2net import storage
from jr2net.data.importing.clips import ClipSummary, Imported, Tools, import_unit, load_tools
from jr2net.data.importing.plan import Plan, Shard
from jr2net.data.readers import LAYOUTS
from jr2net.data.readers.layout import Problem, Unit
from jr2net.data.shards import read_clips, write_clips
from jr2net.device import DeviceError
from jr2net.errors import UserError
from jr2net.images.clip import ClipRow
from jr2net.storage import join, read_bytes, write_bytes

ROWS, DONE = ".rows", ".json"

SUSPICIOUS = 20
"""Units that may raise unexpected errors in a process before one is imported."""


class Importer:
    """Imports the shards of a plan in one process.

    tools: None loads those that the settings ask for, when the first unit is imported.
    """

    def __init__(self, plan: Plan, tools: Tools | None = None) -> None:
        self.plan, self.tools = plan, tools
        self.layout = LAYOUTS[plan.settings.layout]
        self.works, self.failed = False, 0  # whether a unit was imported, and how many raised unexpected errors
        self.doubtful: list[str] = []  # outcomes that were written before one was imported

    def import_shard(self, shard: Shard, tell: Callable[[int, int], None] = lambda units, frames: None) -> Imported:
        """Imports the units of a shard that are not imported yet; returns what has become of all, without their rows.

        tell: is called with the numbers of units and frames after every step that it takes.
        """
        uri = self.plan.path("outcomes", shard.name + DONE)
        if storage.exists(uri):
            return read_outcome(uri)
        outcome = Imported()
        done = set(storage.list_files(self._parts(shard)))
        for number, units in enumerate(shard.steps()):
            name = f"{number:06d}"
            if name + DONE in done:
                outcome.add(read_outcome(join(self._parts(shard), name + DONE)))
                continue
            found = Imported()
            for unit in units:
                found.add(self._import_unit(unit))
            if found.rows:
                write_clips(join(self._parts(shard), name + ROWS), found.rows)
            self._note(join(self._parts(shard), name + DONE), found)
            tell(len(units), sum(clip.frames for clip in found.clips))
            found.rows = []
            outcome.add(found)
        self._note(uri, outcome)
        return outcome

    def _import_unit(self, unit: Unit) -> Imported:
        """Imports a unit; one that raises an error which nobody expected is left out. Raises that of the first units
        where none of them can be imported: the machine is to blame then and not the files."""
        tools = self._tools()
        try:
            found = import_unit(self._load, self.layout, unit, self.plan.settings, tools)
        except (UserError, DeviceError, MemoryError):
            raise
        except Exception as error:
            self.failed += 1
            if self.failed == SUSPICIOUS and not self.works:
                for uri in self.doubtful:
                    storage.remove(uri)
                raise
            what = f"{type(error).__name__}: {error}"
            message = f"{unit.files[0]}: cannot be read ({what}): copy it again, or remove it"
            return Imported(problems=[Problem(unit.name, "unexpected error", message)])
        self.works = True
        return found

    def _note(self, uri: str, outcome: Imported) -> None:
        _write_outcome(uri, outcome)
        if not self.works:
            self.doubtful.append(uri)

    def finish_shard(self, shard: Shard, left_out: frozenset[str]) -> None:
        """Writes a shard from its parts, without the clips ``left_out``, unless it exists; then removes the parts."""
        uri, parts = join(self.plan.output, f"{shard.name}.parquet"), self._parts(shard)
        if not storage.exists(uri):
            rows = self._kept_rows(shard, left_out)
            first = next(rows, None)
            if first is not None:  # of some shards nothing can be used
                write_clips(uri, _chain(first, rows))
        for name in storage.list_files(parts):
            storage.remove(join(parts, name))

    def _kept_rows(self, shard: Shard, left_out: frozenset[str]) -> Iterator[ClipRow]:
        parts = self._parts(shard)
        for name in storage.list_files(parts, ROWS):
            yield from (row for row in read_clips(join(parts, name)) if row.clip_id not in left_out)

    def _parts(self, shard: Shard) -> str:
        return self.plan.path("parts", shard.name)

    def _load(self, name: str) -> bytes:
        return read_bytes(join(self.plan.folder, name))

    def _tools(self) -> Tools:
        self.tools = self.tools or load_tools(self.plan.settings)
        return self.tools


def read_outcome(uri: str) -> Imported:
    """What has become of the units of a step or shard."""
    content = json.loads(read_bytes(uri))
    return Imported(
        clips=[ClipSummary(**clip) for clip in content["clips"]],
        rejected=Counter(content["rejected"]),
        problems=[Problem(**problem) for problem in content["problems"]],
    )


def _write_outcome(uri: str, outcome: Imported) -> None:
    content = {
        "clips": [asdict(clip) for clip in outcome.clips],
        "rejected": dict(sorted(outcome.rejected.items())),
        "problems": [asdict(problem) for problem in outcome.problems],
    }
    write_bytes(uri, json.dumps(content).encode())


def _chain(first: ClipRow, others: Iterator[ClipRow]) -> Iterator[ClipRow]:
    yield first
    yield from others
