"""A whole import: the two passes over the shards, the duplicates between them, and the report at the end."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from jr2net import storage
from jr2net.data.importing.clips import Imported, Tools
from jr2net.data.importing.duplicates import find_duplicates
from jr2net.data.importing.plan import Plan, Shard, keep_plan
from jr2net.data.importing.work import DONE, Importer, read_outcome
from jr2net.data.readers.layout import Problem
from jr2net.process import use_threads
from jr2net.storage import join, write_bytes

DUPLICATE = "duplicate"
INTERVAL_S = 10.0
"""Seconds between two lines of progress."""

Say = Callable[[str], None]


class Execute(Protocol):
    """How the shards of a pass are spread."""

    def __call__(self, plan: Plan, shards: Sequence[Shard], left_out: frozenset[str] | None, tell: Tell) -> None:
        """Imports the shards, or finishes them if ``left_out`` is given; calls ``tell`` now and then."""
        ...


Tell = Callable[[int, int], None]
"""Takes note of so many more units and frames."""


@dataclass
class Progress:
    """Lines on what is done and what is left."""

    units: int
    say: Say
    done: int = 0
    new: int = 0
    frames: int = 0

    def __post_init__(self) -> None:
        self.start = self.said = time.monotonic()

    def __call__(self, units: int, frames: int) -> None:
        self.done, self.new, self.frames = self.done + units, self.new + units, self.frames + frames
        now = time.monotonic()
        if now - self.said < INTERVAL_S:
            return
        self.said = now
        left = (now - self.start) / max(self.new, 1) * (self.units - self.done)
        self.say(
            f"[import] {self.done:,} of {self.units:,} files, {self.frames:,} frames kept, "
            f"{self.frames / (now - self.start):.1f} frames/s, {_duration(left)} left"
        )


def run_import(plan: Plan, execute: Execute, say: Say) -> dict[str, Any]:
    """Runs what is left of an import and returns its report. Raises UserError."""
    keep_plan(plan)
    report_uri = plan.path("report.json")
    lost = _forget_lost_shards(plan)
    if storage.exists(report_uri) and not lost:
        say(f"[import] already done: {plan.output}")
        return json.loads(storage.read_bytes(report_uri))
    imported = set(storage.list_files(plan.path("outcomes")))
    waiting = [shard for shard in plan.shards if shard.name + DONE not in imported]
    progress = Progress(plan.units, say, done=plan.units - sum(len(shard.units) for shard in waiting))
    again = f", {progress.done:,} of them done before" if progress.done else ""
    files = f"{number_of(plan.units, 'file')} in {number_of(len(plan.shards), 'shard')}{again}"
    say(f"[import] {files}: {plan.folder}, layout {plan.settings.layout}")
    if plan.ignored:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in plan.ignored[:5])
        say(f"[import] files that are no part of a clip: {kinds}{' …' if len(plan.ignored) > 5 else ''}")
    execute(plan, waiting, None, progress)

    outcomes = [read_outcome(plan.path("outcomes", shard.name + DONE)) for shard in plan.shards]
    clips = [clip for outcome in outcomes for clip in outcome.clips]
    found = find_duplicates([clip.hash for clip in clips], [clip.face for clip in clips])
    duplicates = {clips[number].clip_id: clips[original].clip_id for number, original in found.items()}
    written = set(storage.list_files(plan.output, ".parquet"))
    unwritten = [shard for shard in plan.shards if f"{shard.name}.parquet" not in written]
    parts = {shard.name: shard for shard in plan.shards if shard not in unwritten}
    unfinished = [parts[name] for name in _with_parts(plan) if name in parts]
    execute(plan, [*unwritten, *unfinished], frozenset(duplicates), lambda units, frames: None)
    return _report(plan, outcomes, duplicates)


def in_this_process(tools: Tools | None = None) -> Execute:
    """One shard after the other."""

    def execute(plan: Plan, shards: Sequence[Shard], left_out: frozenset[str] | None, tell: Tell) -> None:
        importer = Importer(plan, tools)
        for shard in shards:
            if left_out is None:
                importer.import_shard(shard, tell)
            else:
                importer.finish_shard(shard, left_out)

    return execute


def in_processes(count: int) -> Execute:
    """Several shards at a time."""

    def execute(plan: Plan, shards: Sequence[Shard], left_out: frozenset[str] | None, tell: Tell) -> None:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(count, context, initializer=_begin_process, initargs=(plan,)) as pool:
            futures = {pool.submit(_work, shard, left_out): shard for shard in shards}
            try:
                for future in as_completed(futures):
                    tell(len(futures[future].units), future.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    return execute


def work_on(importer: Importer, shard: Shard, left_out: frozenset[str] | None) -> int:
    """Imports or finishes a shard; returns the number of frames that its clips have."""
    if left_out is not None:
        importer.finish_shard(shard, left_out)
        return 0
    return sum(clip.frames for clip in importer.import_shard(shard).clips)


_importer: Importer | None = None


def _begin_process(plan: Plan) -> None:
    global _importer
    use_threads(1)
    _importer = Importer(plan)


def _work(shard: Shard, left_out: frozenset[str] | None) -> int:
    assert _importer is not None
    return work_on(_importer, shard, left_out)


def _forget_lost_shards(plan: Plan) -> bool:
    """Forgets what has become of the shards of a finished import that are not written any more, so that they are made
    again, from the parts that an interruption of this left; whether there is any."""
    report = plan.path("report.json")
    if not storage.exists(report):
        return False
    written = set(storage.list_files(plan.output, ".parquet"))
    lost = [name for name in json.loads(storage.read_bytes(report))["shards"] if name not in written]
    for name in lost:
        storage.remove(plan.path("outcomes", name.removesuffix(".parquet") + DONE))
    return bool(lost)


def _with_parts(plan: Plan) -> Iterator[str]:
    """The names of the shards of which there are parts."""
    yield from sorted({name.rpartition("/")[0] for name in storage.list_files(plan.path("parts"))})


def _report(plan: Plan, outcomes: Sequence[Imported], duplicates: dict[str, str]) -> dict[str, Any]:
    """Writes ``quarantine.jsonl`` and then ``report.json``, the mark of a finished import; returns the latter."""
    problems = [*plan.problems, *(problem for outcome in outcomes for problem in outcome.problems)]
    problems += [
        Problem(name, DUPLICATE, f"{name}: shows the same as {original}, which is kept")
        for name, original in duplicates.items()
    ]
    lines = [json.dumps(asdict(problem), ensure_ascii=False) for problem in sorted(problems, key=lambda p: p.name)]
    write_bytes(plan.path("quarantine.jsonl"), "".join(f"{line}\n" for line in lines).encode())
    kept = [clip for outcome in outcomes for clip in outcome.clips if clip.clip_id not in duplicates]
    frames: Counter[str] = sum((outcome.rejected for outcome in outcomes), Counter())
    report = {
        "set": plan.settings.name,
        "layout": plan.settings.layout,
        "files": plan.units,
        "identities": len({clip.identity for clip in kept}),
        "clips": len(kept),
        "frames": sum(clip.frames for clip in kept),
        "frames_left_out": dict(frames.most_common()),
        "left_out": dict(Counter(problem.reason for problem in problems).most_common()),
        "folders": sorted({join(plan.output, shard.part) if shard.part else plan.output for shard in plan.shards}),
        "shards": storage.list_files(plan.output, ".parquet"),
    }
    write_bytes(plan.path("report.json"), json.dumps(report, indent=1).encode())
    return report


def summary(plan: Plan, report: dict[str, Any]) -> list[str]:
    """The report in words, a line each."""

    def counts(named: dict[str, int]) -> str:
        return ", ".join(f"{count:,} {name}" for name, count in named.items()) or "none"

    named = f"; each is named in {plan.path('quarantine.jsonl')}" if report["left_out"] else ""
    return [
        f"{number_of(report['frames'], 'frame')} in {number_of(report['clips'], 'clip')} of "
        f"{number_of(report['identities'], 'identity', 'identities')}, from {number_of(report['files'], 'file')}: "
        f"{' and '.join(report['folders'])}",
        f"frames left out: {counts(report['frames_left_out'])}",
        f"files and clips left out: {counts(report['left_out'])}{named}",
    ]


def number_of(count: int, one: str, several: str = "") -> str:
    """``1 clip``, ``2,000 clips``."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )
