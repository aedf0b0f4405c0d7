"""``jr2net export``: the networks in other runtimes' formats."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from jr2net.cli.options import add_command, add_network, add_reenactor


def add_to(subparsers: Any) -> None:
    export = subparsers.add_parser("export", help="export the networks to other runtimes")
    export.set_defaults(help_parser=export)
    command = add_command(
        export.add_subparsers(title="commands", metavar="COMMAND"),
        "onnx",
        "export RecAugNet and DCNet to ONNX, checked with onnxruntime",
        "jr2net export onnx -o onnx/",
    )
    command.add_argument("-o", "--output", required=True, metavar="FOLDER", help="output folder")
    add_network(command, precision=False)
    add_reenactor(command)
    command.set_defaults(run=export_onnx)


def export_onnx(options: argparse.Namespace) -> int:
    from jr2net.inference.onnx import export_reconstructor, export_reenactor
    from jr2net.inference.reconstruction import Reconstructor
    from jr2net.inference.reenactment import Reenactor

    folder = Path(options.output)
    reconstructor = Reconstructor.load(options.weights, face_model=options.face_model)
    reenactor = Reenactor.load(
        options.weights,
        reconstructor=reconstructor,
        face_model=reconstructor.model,
        reenactor=options.reenactor,
    )
    for exported in (
        export_reconstructor(reconstructor, folder / f"{reconstructor.info.kind}.onnx"),
        export_reenactor(reenactor, folder / f"{reenactor.info.kind}.onnx"),
    ):
        size = exported.path.stat().st_size / 2**20
        print(f"{exported.path}: {size:.1f} MB, differs from PyTorch by {exported.difference:.1g} at most", flush=True)
    return 0
