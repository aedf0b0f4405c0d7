"""The ``jr2net`` command: photos to faces, photos that act, films, face models, exports.

argparse, because it costs nothing to import and adds no dependency. Everything heavy is imported by the subcommand
that needs it, so that ``jr2net --help`` answers at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from jr2net import commands
from jr2net.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit status: 0, or 1 where something could not be done."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.run is None:
        options.help_of.print_help()
        return 1
    try:
        return options.run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    return 1


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jr2net", description="3D faces from photos, and photos that act.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and stop")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    parser.set_defaults(run=None, help_of=parser)

    command = _command(
        subparsers,
        "reconstruct",
        "fit a 3D face to each photo",
        "jr2net reconstruct me.jpg holidays/ 'more/*.png' -o out/",
    )
    _add_photos(command)
    command.add_argument("-o", "--output", required=True, metavar="FOLDER", help="where the files are written")
    command.add_argument(
        "--formats",
        type=_formats,
        default=tuple(commands.RECONSTRUCTIONS),
        metavar="LIST",
        help=f"what is written, comma-separated (default: {','.join(commands.RECONSTRUCTIONS)})",
    )
    _add_network(command, runtime=True)
    command.set_defaults(run=commands.reconstruct)

    command = _command(
        subparsers,
        "reenact",
        "give a photo another expression",
        "jr2net reenact me.jpg --set jawOpen=0.8 --set browInnerUp=0.5 -o out.jpg",
    )
    _add_photos(command)
    command.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="an ARKit coefficient in [0, 1]; repeat it"
    )
    command.add_argument("--driving", metavar="PHOTO", help="take the expression of this photo instead")
    command.add_argument("--relative", action="store_true", help="add the coefficients to the photo's own")
    _add_driving(command)
    command.add_argument(
        "-o", "--output", required=True, metavar="PATH", help=".jpg or .png; for several photos a folder"
    )
    _add_network(command)
    command.set_defaults(run=commands.reenact)

    command = _command(
        subparsers,
        "animate",
        "make a photo act as a capture or a video does",
        "jr2net animate me.jpg take.csv -o out.mp4",
    )
    command.add_argument("photo", help="the photo that acts")
    command.add_argument("driving_take", metavar="driving", help="a Live Link Face CSV, a track (.parquet) or a video")
    command.add_argument(
        "--relative", action="store_true", help="add the change since the first frame to the photo's own"
    )
    command.add_argument(
        "--no-smooth", action="store_true", help="do not smooth the faces of a driving video over time"
    )
    _add_driving(command)
    _add_which_face(command)
    command.add_argument("-o", "--output", required=True, metavar="FILE", help="the film (.mp4)")
    _add_network(command)
    command.set_defaults(run=commands.animate)

    face = subparsers.add_parser("face", help="face models")
    face.set_defaults(help_of=face)
    command = _command(
        face.add_subparsers(title="commands", metavar="COMMAND"),
        "convert",
        "make one model file of ICT-FaceKit's folder or BFM 2009's .mat",
        "jr2net face convert ~/ICT-FaceKit face.npz --vertices 4800",
    )
    command.add_argument("model", help="what `face.model` would name: a folder, .mat or .npz")
    command.add_argument("output", help="the model file to write (.npz)")
    command.add_argument("--vertices", type=int, help="decimate to about this many vertices")
    command.add_argument("--expressions", help="expression basis (.npz) that goes with BFM 2009's .mat")
    command.set_defaults(run=commands.convert_face)

    export = subparsers.add_parser("export", help="networks for other runtimes")
    export.set_defaults(help_of=export)
    command = _command(
        export.add_subparsers(title="commands", metavar="COMMAND"),
        "onnx",
        "write RecAugNet and DCNet as ONNX, checked with onnxruntime",
        "jr2net export onnx -o onnx/",
    )
    command.add_argument("-o", "--output", required=True, metavar="FOLDER", help="where the files are written")
    _add_network(command, precision=False)
    command.set_defaults(run=commands.export_onnx)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *rest: Any) -> None:
        from importlib.metadata import version

        print(f"jr2net {version('jr2net')}")
        parser.exit()


def _command(subparsers: Any, name: str, text: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=text,
        description=f"{text[:1].upper()}{text[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(help_of=parser)
    return parser


def _add_photos(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="photos, folders of photos, or patterns ('*.jpg')")
    _add_which_face(parser)


def _add_which_face(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--face", type=int, default=0, metavar="N", help="which face, counted from 0; the largest is first"
    )
    which.add_argument(
        "--box",
        type=_box,
        metavar="L,T,R,B",
        help="where the face is: left, top, right, bottom in pixels, from the brows to the chin; needs no detector",
    )


def _add_driving(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pose", action="store_true", help="take the driving head's pose too")
    parser.add_argument("--light", action="store_true", help="take the driving face's light too")


def _add_network(parser: argparse.ArgumentParser, runtime: bool = False, precision: bool = True) -> None:
    group = parser.add_argument_group("networks")
    group.add_argument(
        "--weights", metavar="FOLDER", help="a run's folder or s3:// URI (default: the weights that ship)"
    )
    group.add_argument(
        "--face-model", metavar="MODEL", help="the face model they were trained with (default: procedural)"
    )
    if precision:
        group.add_argument("--device", default="cpu", help="cpu or cuda")
        choices = ("fp32", "bf16", "int8") if runtime else ("fp32", "bf16")
        group.add_argument("--precision", default="fp32", choices=choices, help="what convolutions compute in")
    if runtime:
        group.add_argument("--runtime", default="torch", choices=("torch", "openvino"), help="openvino is an extra")


def _box(text: str) -> tuple[float, ...]:
    try:
        box = tuple(float(value) for value in text.split(","))
    except ValueError:
        box = ()
    if len(box) != 4:
        raise argparse.ArgumentTypeError(f"{text!r}: write left,top,right,bottom in pixels, e.g. 120,80,420,430")
    return box


def _formats(text: str) -> tuple[str, ...]:
    formats = tuple(filter(None, (part.strip() for part in text.split(","))))
    if unknown := [name for name in formats if name not in commands.RECONSTRUCTIONS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(commands.RECONSTRUCTIONS)}")
    return formats


if __name__ == "__main__":
    sys.exit(main())
