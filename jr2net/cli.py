"""The ``jr2net`` command: reconstruction, reenactment, animation, face models and exports.

It uses argparse, which needs no dependency. Subcommands import heavy modules themselves, so that ``jr2net --help``
is fast.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from jr2net import commands
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

    command = _command(
        subparsers,
        "reconstruct",
        "fit a 3D face to each photo",
        "jr2net reconstruct me.jpg holidays/ 'more/*.png' -o out/",
    )
    _add_photos(command)
    command.add_argument("-o", "--output", required=True, metavar="FOLDER", help="output folder")
    command.add_argument(
        "--formats",
        type=_formats,
        default=tuple(commands.RECONSTRUCTIONS),
        metavar="LIST",
        help=f"output formats, comma-separated (default: {','.join(commands.RECONSTRUCTIONS)})",
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
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an ARKit coefficient in [0, 1]; can be repeated",
    )
    command.add_argument("--driving", metavar="PHOTO", help="use the expression of this photo instead")
    command.add_argument("--relative", action="store_true", help="add the coefficients to the photo's own")
    _add_driving(command)
    command.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="PATH",
        help="output file (.jpg or .png), or a folder for several photos",
    )
    _add_network(command)
    _add_reenactor(command)
    command.set_defaults(run=commands.reenact)

    command = _command(
        subparsers,
        "animate",
        "animate a photo with a capture or a video",
        "jr2net animate me.jpg capture.csv -o out.mp4",
    )
    command.add_argument("photo", help="the source photo")
    command.add_argument(
        "driving_file", metavar="driving", help="the driving file: an ARKit capture (.csv, .json, .parquet) or a video"
    )
    command.add_argument(
        "--relative", action="store_true", help="add the change since the first frame to the photo's own"
    )
    command.add_argument(
        "--no-smooth", action="store_true", help="do not smooth the faces of a driving video over time"
    )
    _add_driving(command)
    _add_face_selection(command)
    command.add_argument("-o", "--output", required=True, metavar="FILE", help="output video (.mp4)")
    _add_network(command)
    _add_reenactor(command)
    command.set_defaults(run=commands.animate)

    command = _command(
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
    command.set_defaults(run=commands.evaluate)

    face = subparsers.add_parser("face", help="face models")
    face.set_defaults(help_parser=face)
    command = _command(
        face.add_subparsers(title="commands", metavar="COMMAND"),
        "convert",
        "convert ICT-FaceKit's folder or BFM 2009's .mat to one model file",
        "jr2net face convert ~/ICT-FaceKit face.npz --vertices 4800",
    )
    command.add_argument("model", help="the face model, as in the setting `face.model`: a folder, .mat or .npz")
    command.add_argument("output", help="output model file (.npz)")
    command.add_argument("--vertices", type=int, help="decimate to about this many vertices")
    command.add_argument("--expressions", help="expression basis (.npz) for BFM 2009's .mat")
    command.set_defaults(run=commands.convert_face)

    data = subparsers.add_parser("data", help="datasets")
    data.set_defaults(help_parser=data)
    command = _command(
        data.add_subparsers(title="commands", metavar="COMMAND"),
        "import",
        "turn a dataset, videos or photos into clip shards to train on",
        "jr2net data import ~/VoxCeleb2 -o clips/",
    )
    add_import_options(command)
    command.add_argument(
        "--processes", type=int, default=1, metavar="N", help="shards worked on at a time (default: 1)"
    )
    command.set_defaults(run=commands.import_dataset)

    export = subparsers.add_parser("export", help="export the networks to other runtimes")
    export.set_defaults(help_parser=export)
    command = _command(
        export.add_subparsers(title="commands", metavar="COMMAND"),
        "onnx",
        "export RecAugNet and DCNet to ONNX, checked with onnxruntime",
        "jr2net export onnx -o onnx/",
    )
    command.add_argument("-o", "--output", required=True, metavar="FOLDER", help="output folder")
    _add_network(command, precision=False)
    _add_reenactor(command)
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
    parser.set_defaults(help_parser=parser)
    return parser


def _add_photos(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="photos, folders of photos, or patterns ('*.jpg')")
    _add_face_selection(parser)


def _add_face_selection(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--face", type=int, default=0, metavar="N", help="index of the face, starting at 0; the largest is first"
    )
    group.add_argument(
        "--box",
        type=_box,
        metavar="L,T,R,B",
        help="box of the face: left, top, right, bottom in pixels, from the brows to the chin; needs no detector",
    )


def _add_driving(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pose", action="store_true", help="use the driving head's pose too")
    parser.add_argument("--light", action="store_true", help="use the driving face's light too")


def _add_network(parser: argparse.ArgumentParser, runtime: bool = False, precision: bool = True) -> None:
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


def _add_reenactor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reenactor",
        choices=("dcnet", "flow3d"),
        help="the network that draws the picture: of the package (default: dcnet), or of a run that has both",
    )


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


def _box(text: str) -> tuple[float, ...]:
    try:
        box = tuple(float(value) for value in text.split(","))
    except ValueError:
        box = ()
    if len(box) != 4:
        raise argparse.ArgumentTypeError(f"{text!r}: write left,top,right,bottom in pixels, e.g. 120,80,420,430")
    return box


def _formats(text: str) -> tuple[str, ...]:
    formats = tuple(filter(None, (name.strip() for name in text.split(","))))
    if unknown := [name for name in formats if name not in commands.RECONSTRUCTIONS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(commands.RECONSTRUCTIONS)}")
    return formats


if __name__ == "__main__":
    sys.exit(main())
