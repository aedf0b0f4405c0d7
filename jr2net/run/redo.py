"""Deletes stages so that they are made again. Nothing else deletes what a stage has made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jr2net import storage
from jr2net.run import manifest
from jr2net.run.cascade import ALL_STAGES, Run, upstream
from jr2net.run.sharing import forget, is_shared


def redo(run: Run, stages: Iterable[str]) -> None:
    """Deletes ``stages`` and all that was made from them, and says what it deletes. Another run's stages stay.

    Last stages first, so that, interrupted anywhere, no stage is left whose inputs are gone. Settings and files of the
    stages are checked before: raises UserError where they could not be made again.
    """
    redo_all([run], stages)


def redo_all(runs: Sequence[Run], stages: Iterable[str]) -> None:
    """As ``redo``, in several runs that may refer to each other's stages: all is found before any of it is deleted."""
    stages = tuple(stages)
    doomed = [(run, stage) for run in runs for stage in with_dependents(run, stages)]
    for run, stage in doomed:
        run.settings(stage)
    for run, stage in sorted(doomed, key=lambda found: ALL_STAGES.index(found[1]), reverse=True):
        if is_shared(run, stage):
            print(f"[redo] {run.config.storage} no longer refers to {run.folder(stage)}", flush=True)
            forget(run, stage)
            continue
        sizes = storage.file_sizes(run.folder(stage))
        print(f"[redo] deletes {run.folder(stage)}: {len(sizes)} files, {sum(sizes.values()) / 1e6:.1f} MB", flush=True)
        manifest.remove(run.folder(stage))


def with_dependents(run: Run, stages: Iterable[str]) -> list[str]:
    """Those of ``stages`` that exist, and the stages that were made from them, in the order in which they run."""
    found, existing = set(stages), []
    for stage in ALL_STAGES:
        record = manifest.read_inputs(run.folder(stage))
        if record is not None:
            uses = record["upstream"]
        else:  # what it refers to may have been deleted
            uses = upstream(run.config, stage) if is_shared(run, stage) else ()
        if not found.isdisjoint(uses):
            found.add(stage)
        if stage in found and storage.list_files(run.own_folder(stage)):
            existing.append(stage)
    return existing
