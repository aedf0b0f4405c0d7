"""``jr2net reconstruct``: a 3D face from each photo."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from jr2net.cli.networks import check_precision, load_reconstructor
from jr2net.cli.options import add_command, add_network, add_photos
from jr2net.cli.photos import face_note, find_photos, open_photo, output_names, process_all

RECONSTRUCTIONS = {"json": ".json", "glb": ".glb", "obj": ".obj", "overlay": "_overlay.jpg"}
"""The output formats, and the suffix of each file's name."""


def add_to(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "reconstruct",
        "fit a 3D face to each photo",
        "jr2net reconstruct me.jpg holidays/ 'more/*.png' -o out/",
    )
    add_photos(command)
    command.add_argument("-o", "--output", required=True, metavar="FOLDER", help="output folder")
    command.add_argument(
        "--formats",
        type=_formats,
        default=tuple(RECONSTRUCTIONS),
        metavar="LIST",
        help=f"output formats, comma-separated (default: {','.join(RECONSTRUCTIONS)})",
    )
    add_network(command, runtime=True)
    command.set_defaults(run=reconstruct)


def reconstruct(options: argparse.Namespace) -> int:
    check_precision(options)
    paths = find_photos(options.photos)
    folder = Path(options.output)
    names = output_names(paths, options.face)
    reconstructor = load_reconstructor(options)

    def process(path: str) -> str:
        face = reconstructor(open_photo(path, options))
        for kind in options.formats:
            face.save(folder / f"{names[path]}{RECONSTRUCTIONS[kind]}")
        strongest = sorted(face.expression.items(), key=lambda item: -item[1])[:3]
        values = ", ".join(f"{name} {value:.2f}" for name, value in strongest)
        return f"{face_note(face)}; {values} -> {folder}/{names[path]}.*"

    return process_all(paths, process)


def _formats(text: str) -> tuple[str, ...]:
    formats = tuple(filter(None, (name.strip() for name in text.split(","))))
    if unknown := [name for name in formats if name not in RECONSTRUCTIONS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(RECONSTRUCTIONS)}")
    return formats
