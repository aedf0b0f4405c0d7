"""The ``jr2net`` command: reconstruction, reenactment, animation, face models and exports.

One file a command. argparse needs no dependency; commands import heavy modules themselves, so that ``jr2net --help``
is fast.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from jr2net.cli import animate, data, evaluate, export, face, reconstruct, reenact, track
from jr2net.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a subcommand. Returns the exit status: 0, or 1 if anything failed."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.run is None:
        options.help_parser.print_help()
        return 1
    try:
        return options.run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    return 1


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jr2net", description="3D face reconstruction and reenactment of photos.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    parser.set_defaults(run=None, help_parser=parser)
    for command in (reconstruct, reenact, animate, track, evaluate, face, data, export):
        command.add_to(subparsers)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *rest: Any) -> None:
        from importlib.metadata import version

        print(f"jr2net {version('jr2net')}")
        parser.exit()
