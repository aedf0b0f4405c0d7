"""``jr2net evaluate``: reconstructions measured by a published protocol."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from jr2net.cli.networks import check_device
from jr2net.cli.options import add_command
from jr2net.cli.photos import CommandError


def add_to(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "evaluate",
        "measure reconstructions by a published protocol",
        "jr2net evaluate facewarehouse /data/FaceWarehouse -o results/",
    )
    command.add_argument("protocol", nargs="?", help="its name; without it the protocols are listed")
    command.add_argument("data", nargs="?", help="folder or file of the dataset, in its own layout")
    command.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="FOLDER",
        help="a run's folder or s3:// URI, or `shipped`; can be repeated (default: shipped, if no --predictions)",
    )
    command.add_argument(
        "--predictions",
        action="append",
        default=[],
        metavar="[NAME=]FOLDER",
        help="answers of any other system, meshes or coefficients; can be repeated",
    )
    command.add_argument("--face-model", metavar="MODEL", help="the face model of the networks (default: procedural)")
    command.add_argument("--device", default="cpu", help="cpu, cuda or cuda:NUMBER")
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the protocol, e.g. seed=1"
    )
    command.add_argument("-o", "--output", metavar="FOLDER", help="also write PROTOCOL.json and PROTOCOL.md there")
    command.set_defaults(run=evaluate)


def evaluate(options: argparse.Namespace) -> int:
    from jr2net.evaluation import protocols
    from jr2net.evaluation.protocols.markdown import to_markdown, write_result
    from jr2net.process import use_threads

    if options.protocol is None:
        print("\n".join(f"{protocol.name:<16}{protocol.title}" for protocol in protocols.PROTOCOLS.values()))
        return 0
    protocol = protocols.find(options.protocol)
    if options.data is None:
        raise CommandError(f"{protocol.name}: give the folder of the dataset (docs/evaluation.md has its layout)")
    use_threads(1)
    check_device(options.device)
    predictions = _predictions(options.predictions)
    weights = tuple(options.weights or ([] if predictions else [protocols.SHIPPED]))
    systems = protocols.Systems(weights, predictions, options.face_model, options.device)
    result = protocols.measure(protocol.name, options.data, systems, options.set)
    if options.output:
        write_result(result, options.output)
    print(to_markdown(result), end="")
    return 0


def _predictions(arguments: Sequence[str]) -> dict[str, str]:
    """``NAME=FOLDER`` or ``FOLDER``, which is then named after itself, to method -> folder. Raises CommandError."""
    from jr2net.storage import base_name

    found: dict[str, str] = {}
    for argument in arguments:
        name, separator, folder = argument.partition("=")
        if not separator or "/" in name:
            name, folder = base_name(argument), argument
        if name in ("", ".") or not folder:
            raise CommandError(f"--predictions {argument}: write NAME=FOLDER")
        if name in found:
            raise CommandError(f"--predictions {argument}: a second {name}; name them apart, NAME=FOLDER")
        found[name] = folder
    return found
