"""``jr2net data``: datasets."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from jr2net.cli.options import add_command
from jr2net.cli.photos import CommandError


def add_to(subparsers: Any) -> None:
    data = subparsers.add_parser("data", help="datasets")
    data.set_defaults(help_parser=data)
    command = add_command(
        data.add_subparsers(title="commands", metavar="COMMAND"),
        "import",
        "turn a dataset, videos or photos into clip shards to train on",
        "jr2net data import ~/VoxCeleb2 -o clips/",
    )
    add_import_options(command)
    command.add_argument(
        "--processes", type=int, default=1, metavar="N", help="shards worked on at a time (default: 1)"
    )
    command.set_defaults(run=import_dataset)


def add_import_options(parser: argparse.ArgumentParser) -> None:
    """The options of an import that the command and ``jobs/import_clips.py`` share."""
    parser.add_argument("folder", help="the dataset's folder, or s3://…")
    parser.add_argument("-o", "--output", required=True, metavar="SHARDS", help="folder or s3://… for the clip shards")
    parser.add_argument(
        "--layout",
        metavar="NAME",
        help="how its files lie: celeba, voxceleb2, 300w-lp, ls3d-w, ibug, livelink or footage (default: recognised)",
    )
    parser.add_argument(
        "--set", dest="set_name", metavar="NAME", help="name that identities are prefixed with (default: the folder's)"
    )
    parser.add_argument("--size", type=int, default=224, metavar="PX", help="side of the crops (default: 224)")
    parser.add_argument("--fps", type=float, metavar="N", help="most frames a second of a video (default: all)")
    parser.add_argument("--licence", default="", metavar="TEXT", help="licence that the clips are labelled with")
    parser.add_argument(
        "--no-mattes", action="store_true", help="no mattes, though the segmentation model is installed"
    )
    parser.add_argument(
        "--gate",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a quality gate: size=48 (least pixels of a face), sharpness=0.15, yaw=65 (degrees), frames=3 (of a "
        "video's clip); can be repeated",
    )


def import_dataset(options: argparse.Namespace) -> int:
    from jr2net.data.importing.options import plan_import
    from jr2net.data.importing.run import in_processes, in_this_process, run_import, summary
    from jr2net.process import use_threads

    if options.processes < 1:
        raise CommandError(f"--processes {options.processes}: give 1 or more")
    use_threads(1)
    plan = plan_import(options)
    execute = in_this_process() if options.processes == 1 else in_processes(options.processes)
    try:
        report = run_import(plan, execute, lambda line: print(line, file=sys.stderr, flush=True))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    for line in summary(plan, report):
        print(line)
    return 0 if report["clips"] else 1
