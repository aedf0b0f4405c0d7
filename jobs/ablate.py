"""Runs a matrix of variants and seeds, with every stage that several have in common made once, and tables at the end.

python jobs/ablate.py --config configs/benchmark.yaml storage=FOLDER [key=value …]
    --only NAME     these variants of `matrix.variants` alone (may be repeated)
    --seed N        these seeds instead of `matrix.seeds` (may be repeated)
    --table         only the tables, of the runs that have finished

Each variant and seed is a run at STORAGE/VARIANT/seed-N; started again, everything goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial

from jobs.cascade import STAGE_FUNCTIONS, stages_left
from jobs.command_line import main, resolve_paths, root_message
from jobs.stage import run_stage
from jr2net import storage
from jr2net.config import Config
from jr2net.errors import UserError
from jr2net.evaluation.samples import SAMPLES, read_samples
from jr2net.report.ablation import Evaluated, ablation_json, set_tables
from jr2net.report.ablation_pages import ablation_html, ablation_markdown, parts, preface
from jr2net.report.images import IMAGES, read_grids, side_by_side
from jr2net.report.result import to_json
from jr2net.run import manifest
from jr2net.run.cascade import Run, StageError, stages
from jr2net.run.forecast import expected_minutes
from jr2net.run.matrix import Agenda, Member, members, remember, run_storages
from jr2net.run.pretrained import check_pretrained
from jr2net.run.redo import redo_all
from jr2net.run.sharing import share
from jr2net.settings import digest


def ablate(run: Run, options: argparse.Namespace) -> None:
    """Makes what is left of the matrix, then writes its tables. Raises StageError where runs have failed."""
    config, resolve = run.config, partial(resolve_paths, base=options.relative_to)
    chosen = members(config, options.only, options.seed, resolve)
    failed = [] if options.table else make(run, chosen, options.redo)
    write_tables(config, chosen)
    if failed:
        raise StageError("\n".join([f"{len(failed)} of {len(chosen)} runs have failed:", *failed]))


def make(run: Run, chosen: Sequence[Member], doomed: Sequence[str]) -> list[str]:
    """Runs the stages of all members that are left; returns what failed, and why. The others go on meanwhile."""
    for member in chosen:
        check_pretrained(member.run.config)
    redo_all([member.run for member in chosen], doomed)
    remember(run.config, chosen)
    agenda = Agenda(chosen, expected_minutes(run.config))
    print(f"[ablate] {agenda.summary()}", flush=True)
    broken: dict[str, str] = {}
    for member in chosen:
        try:
            run_member(member, agenda, run_storages(run.config), broken)
        except UserError as error:
            broken.setdefault(str(member), root_message(error))
            print(f"[ablate] {member} has failed: {root_message(error)}", flush=True)
    return [f"  {member}: {broken[str(member)]}" for member in chosen if str(member) in broken]


def run_member(member: Member, agenda: Agenda, storages: Sequence[str], broken: dict[str, str]) -> None:
    """Runs the stages of one member. broken: folder -> why its stage failed in this job, for whoever shares it."""
    run = member.run
    for stage in stages(run.config):
        share(run, stage, storages)
        folder = run.folder(stage)
        if folder in broken:
            raise StageError(broken[folder])
        if (what := agenda.next(member, stage)) is not None:
            print(f"[ablate] {what}", flush=True)
        run.seconds_after = agenda.seconds_after(member, stage)
        is_new = manifest.read_inputs(folder) is None  # else its seconds are those of a part of it
        try:
            seconds = run_stage(run, stage, STAGE_FUNCTIONS[stage])
        except UserError as error:
            if manifest.read_manifest(folder) is None:  # else it has not failed, but is not what this run asks for
                broken[folder] = root_message(error)
            raise
        agenda.finished(member, stage, seconds if is_new else None)


def write_tables(config: Config, wanted: Sequence[Member]) -> None:
    """Writes the tables of the runs that have finished as they are asked for, in Markdown and JSON and as a page, and
    prints them."""
    evaluated, stale, runs, images = [], [], {}, {}
    for member in wanted:
        folder = member.run.folder("evaluation")
        if (finished := manifest.read_manifest(folder)) is None:
            continue
        if stages_left(member.run):
            stale.append(str(member))
            continue
        report = json.loads(storage.read_bytes(storage.join(folder, "report.json")))
        samples = read_samples(storage.join(folder, SAMPLES))
        evaluated.append(Evaluated(member.variant, member.seed, report, samples))
        if member.variant not in images:  # of the first seed that it was evaluated with
            images[member.variant] = read_grids(storage.join(folder, IMAGES))
        runs[str(member)] = finished.digest
    first = next(iter(config.matrix.variants))
    tables, paragraphs = set_tables(evaluated, first), preface(evaluated, len(wanted), stale)
    shown = parts(tables, evaluated, first)
    markdown = ablation_markdown(paragraphs, shown)
    name = storage.join(config.storage, "tables", digest(runs)[:12])
    storage.write_bytes(f"{name}.json", to_json({"runs": runs, "tables": ablation_json(tables)}).encode())
    storage.write_bytes(f"{name}.md", markdown.encode())
    storage.write_bytes(f"{name}.html", ablation_html(paragraphs, shown, side_by_side(images)).encode())
    print(markdown, flush=True)
    print(f"[ablate] the tables are {name}.md, .json and, with images, .html", flush=True)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this variant; may be repeated")
    parser.add_argument("--seed", action="append", default=[], type=int, metavar="N", help="this seed; may be repeated")
    parser.add_argument("--table", action="store_true", help="make nothing, only the tables of what has finished")


if __name__ == "__main__":
    sys.exit(main(__doc__, ablate, extend=add_options))
