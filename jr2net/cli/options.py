"""Options that several commands share."""

from __future__ import annotations

import argparse
from typing import Any


def add_command(subparsers: Any, name: str, text: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=text,
        description=f"{text[:1].upper()}{text[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(help_parser=parser)
    return parser


def add_photos(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="photos, folders of photos, or patterns ('*.jpg')")
    add_face_selection(parser)


def add_face_selection(parser: argparse.ArgumentParser, prefix: str = "", photo: str = "") -> None:
    """``--face``, ``--box`` and ``--detector``; with the prefix ``driving-`` the first two of the driving photo."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        f"--{prefix}face",
        type=int,
        default=0,
        metavar="N",
        help=f"index of the face{photo}, starting at 0; the largest is first",
    )
    group.add_argument(
        f"--{prefix}box",
        type=_box,
        metavar="L,T,R,B",
        help=f"box of the face{photo}: left, top, right, bottom in pixels, brows to chin; needs no detector",
    )
    if not prefix:
        parser.add_argument(
            "--detector",
            choices=("own", "mediapipe"),
            help="the face detector: own, of the package, or MediaPipe's, where it is installed (default: own)",
        )


def add_network(parser: argparse.ArgumentParser, runtime: bool = False, precision: bool = True) -> None:
    group = parser.add_argument_group("networks")
    group.add_argument(
        "--weights", metavar="FOLDER", help="a run's folder or s3:// URI (default: the weights of the package)"
    )
    group.add_argument(
        "--face-model", metavar="MODEL", help="the face model they were trained with (default: procedural)"
    )
    if precision:
        group.add_argument("--device", default="cpu", help="cpu, cuda or cuda:NUMBER")
        choices = ("fp32", "bf16", "int8") if runtime else ("fp32", "bf16")
        group.add_argument("--precision", default="fp32", choices=choices, help="precision of the convolutions")
    if runtime:
        group.add_argument(
            "--runtime",
            default="torch",
            choices=("torch", "openvino"),
            help="inference runtime; openvino is an optional extra",
        )


def add_reenactor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reenactor",
        choices=("dcnet", "flow3d"),
        help="the network that draws the picture: of the package (default: dcnet), or of a run that has both",
    )


def _box(text: str) -> tuple[float, ...]:
    try:
        box = tuple(float(value) for value in text.split(","))
    except ValueError:
        box = ()
    if len(box) != 4:
        raise argparse.ArgumentTypeError(f"{text!r}: write left,top,right,bottom in pixels, e.g. 120,80,420,430")
    return box
