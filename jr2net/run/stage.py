"""Beginning a stage: skipped if it has finished, resumed or continued if its files may stay, refused otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jr2net import storage
from jr2net.run import manifest
from jr2net.run.cascade import ALL_STAGES, NETWORKS, Run, StageError, upstream
from jr2net.run.inputs import Difference, Record, differences
from jr2net.run.sharing import is_shared
from jr2net.training.more_steps import changed_by_total
from jr2net.training.state import FOLDER, saved_steps


def begin(run: Run, stage: str) -> Record | None:
    """Prepares the folder of ``stage``; returns the record to finish it with, or None if it has finished.

    Nothing is deleted, and another run's stage is used as it is. Raises StageError where the stage, or one that it
    uses, was made from other inputs.
    """
    folder = run.folder(stage)
    for used in _all_upstream(run, stage):
        _check_used(run, stage, used)
    wanted, recorded = run.inputs(stage), manifest.read_inputs(folder)
    if is_shared(run, stage):
        return _as_it_is(run, stage, wanted, recorded)
    if recorded is not None and manifest.is_being_removed(recorded):
        if len(storage.list_files(folder)) > 1:
            raise StageError(f"{folder}: the removal of {stage} was interrupted; --redo {stage} completes it")
        recorded = None
    if recorded is None:
        manifest.begin(folder, wanted)
        return wanted
    finished = manifest.read_manifest(folder)
    if finished is not None and not differences(finished.inputs, wanted, finished=True):
        return None
    found = differences(recorded, wanted)
    if refused := [text for difference in found if (text := _refusal(run, stage, difference, finished is not None))]:
        raise StageError(_message(run, stage, refused, f"{stage} was made from other inputs"))
    grown_from = [*recorded.get("grown_from", ()), *(difference.old for difference in found)]
    record = {**wanted, "grown_from": grown_from} if grown_from else wanted
    if finished is None:
        manifest.begin(folder, record)
        return record
    extents = differences(finished.inputs, wanted, finished=True)
    manifest.continue_from(folder, finished, record, extents[0].old)
    return record


def _as_it_is(run: Run, stage: str, wanted: Record, recorded: Record | None) -> Record | None:
    """As ``begin``, for another run's stage: it may be resumed, but no setting of this run alters it."""
    folder = run.folder(stage)
    if recorded is None or manifest.is_being_removed(recorded):
        raise StageError(
            f"{run.own_folder(stage)}: refers to {folder}, where {stage} is no more; make it there, "
            f"or give --redo {stage}, which forgets the reference"
        )
    finished = manifest.read_manifest(folder)
    found = differences(recorded if finished is None else finished.inputs, wanted, finished=finished is not None)
    if found:
        raise StageError(_message(run, stage, map(str, found), f"{stage} was made from other inputs"))
    return recorded if finished is None else None


def _refusal(run: Run, stage: str, difference: Difference, finished: bool) -> str | None:
    """Why the files of a stage cannot stay with this difference; None if they can, and the stage goes on."""
    if not difference.is_extent:
        return str(difference)
    if stage not in NETWORKS:
        return None if difference.new > difference.old else f"{difference} (a dataset grows, it does not shrink)"
    taken = max(saved_steps(storage.join(run.folder(stage), FOLDER)), default=None)
    if finished and difference.new < difference.old:
        return f"{difference} (it has taken {difference.old} steps)"
    if taken is None:
        return f"{difference} (no state is left to go on from)" if finished else None
    if taken > difference.new:
        return f"{difference} (it has taken {taken} steps)"
    if changed := changed_by_total(run.config, stage, difference.old, taken):
        return f"{difference} (it cannot go on from step {taken}: {' and '.join(changed)} make it depend on the total)"
    return None


def _check_used(run: Run, stage: str, used: str) -> None:
    """Raises StageError unless ``used`` has finished with the settings of this run."""
    folder, found = run.folder(used), differences(run.finished_manifest(used).inputs, run.inputs(used), finished=True)
    if not found:
        return
    if all(difference.is_extent and difference.new > difference.old for difference in found):
        raise StageError(f"{folder}: {stage} uses {used}, which has not finished: {found[0]}; run it first")
    raise StageError(_message(run, used, map(str, found), f"{stage} uses {used}, which was made from other inputs"))


def _all_upstream(run: Run, stage: str) -> Sequence[str]:
    """The stages that ``stage`` uses, and those that these use, in order."""
    found = {stage}
    for other in reversed(ALL_STAGES):
        if other in found:
            found.update(upstream(run.config, other))
    return [other for other in ALL_STAGES if other in found - {stage}]


def _message(run: Run, stage: str, lines: Iterable[str], what: str) -> str:
    folder, listed = run.folder(stage), "\n".join(f"  {line}" for line in lines)
    if is_shared(run, stage):
        what = f"{what} ({run.own_folder(stage)} refers to it)"
        effect = f"forgets the reference, and deletes what {run.config.storage} has made from {stage}"
    else:
        effect = f"deletes {stage} and all that was made from it"
    return (
        f"{folder}: {what}:\n{listed}\n"
        f"Nothing is deleted by a changed setting: choose another storage, or give --redo {stage}, which {effect}"
    )
