"""``jr2net face``: face models."""

from __future__ import annotations

import argparse
from typing import Any

from jr2net.cli.options import add_command


def add_to(subparsers: Any) -> None:
    face = subparsers.add_parser("face", help="face models")
    face.set_defaults(help_parser=face)
    command = add_command(
        face.add_subparsers(title="commands", metavar="COMMAND"),
        "convert",
        "convert ICT-FaceKit's folder or BFM 2009's .mat to one model file",
        "jr2net face convert ~/ICT-FaceKit face.npz --vertices 4800",
    )
    command.add_argument("model", help="the face model, as in the setting `face.model`: a folder, .mat or .npz")
    command.add_argument("output", help="output model file (.npz)")
    command.add_argument("--vertices", type=int, help="decimate to about this many vertices")
    command.add_argument("--expressions", help="expression basis (.npz) for BFM 2009's .mat")
    command.set_defaults(run=convert_face)


def convert_face(options: argparse.Namespace) -> int:
    from jr2net.face.convert import convert

    model = convert(options.model, options.output, options.vertices, options.expressions)
    sizes = ", ".join(f"{count} {name}" for name, count in model.sizes.items())
    print(f"{options.output}: {len(model.mean)} vertices, {len(model.faces)} faces, bases: {sizes}")
    return 0
