"""``jr2net reenact``: photos with another expression."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from jr2net.cli.control import add_coefficients, add_control, coefficients, controls_of, options_named
from jr2net.cli.networks import load_reenactor
from jr2net.cli.options import add_command, add_face_selection, add_network, add_photos, add_reenactor
from jr2net.cli.photos import (
    CommandError,
    check_not_same_file,
    face_note,
    find_photos,
    open_driving_photo,
    open_photo,
    output_names,
    process_all,
)

if TYPE_CHECKING:
    from jr2net.inference.control import PhotoControls

PICTURE_EXTENSIONS = (".jpg", ".jpeg", ".png")
"""The formats that are written."""


def add_to(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "reenact",
        "give a photo another expression",
        "jr2net reenact me.jpg --set jawOpen=0.8 --set browInnerUp=0.5 -o out.jpg",
    )
    add_photos(command)
    add_coefficients(command)
    command.add_argument("--driving", metavar="PHOTO", help="use the expression of this photo instead")
    add_face_selection(command, "driving-", " of the driving photo")
    command.add_argument("--relative", action="store_true", help="add the coefficients to the photo's own")
    add_control(command)
    command.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="PATH",
        help="output file (.jpg or .png), or a folder for several photos",
    )
    add_network(command)
    add_reenactor(command)
    command.set_defaults(run=reenact)


def reenact(options: argparse.Namespace) -> int:
    from jr2net.expressions.named import expression_from_names
    from jr2net.inference.animation import photo_options

    paths, target = find_photos(options.photos), Path(options.output)
    controls, checked = controls_of(options)
    if options.set and options.driving:
        raise CommandError("give either --set NAME=VALUE (repeatable) or --driving PHOTO")
    if not (options.set or options.driving or checked.changes_source):
        raise CommandError("give either --set NAME=VALUE (repeatable) or --driving PHOTO, or turn the head: --yaw 20")
    if not options.driving and (options.driving_face or options.driving_box):
        raise CommandError("--driving-face and --driving-box: choose the face of a driving photo; give --driving PHOTO")
    expression = coefficients(options.set) if options.set else None
    expression_from_names(expression or {}, -1.0 if checked.relative else 0.0)
    with options_named():
        photo_options(expression, bool(options.driving), checked)
    one_file = target.suffix.lower() in PICTURE_EXTENSIONS
    if target.suffix and not one_file and not target.is_dir():
        raise CommandError(f"-o {target}: pictures are written as {', '.join(PICTURE_EXTENSIONS)}, or into a folder")
    if one_file and len(paths) > 1:
        raise CommandError(f"-o {target}: {len(paths)} photos need a folder, not one file")
    names = output_names(paths, options.face)
    reenactor = load_reenactor(options)
    driving = None
    if options.driving:
        (driving,) = reenactor.fit_photos([open_driving_photo(options.driving, options)])
        print(f"{options.driving}: {face_note(driving, '--driving-')}", file=sys.stderr)

    def process(path: str) -> str:
        output = target if one_file else target / f"{names[path]}.jpg"
        check_not_same_file(path, output)
        result = reenactor(open_photo(path, options), expression, driving=driving, **cast("PhotoControls", controls))
        result.save(output)
        return f"{face_note(result.source)} -> {output}"

    return process_all(paths, process)
