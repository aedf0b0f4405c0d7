"""``jr2net animate``: a photo animated by a capture or a video."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from jr2net.cli.networks import load_reenactor
from jr2net.cli.options import add_command, add_driving, add_face_selection, add_network, add_reenactor
from jr2net.cli.photos import PHOTO_EXTENSIONS, CommandError, check_not_same_file, face_note, open_photo
from jr2net.cli.progress import Progress


def add_to(subparsers: Any) -> None:
    command = add_command(
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
    add_driving(command)
    add_face_selection(command)
    command.add_argument("-o", "--output", required=True, metavar="FILE", help="output video (.mp4)")
    add_network(command)
    add_reenactor(command)
    command.set_defaults(run=animate)


def animate(options: argparse.Namespace) -> int:
    check_not_same_file(options.driving_file, Path(options.output))
    if options.driving_file.lower().endswith(PHOTO_EXTENSIONS):
        raise CommandError(
            f"{options.driving_file}: is a photo, and a film needs a capture or a video; for a photo's expression: "
            f"jr2net reenact {options.photo} --driving {options.driving_file} -o out.jpg"
        )
    reenactor = load_reenactor(options)
    photo = open_photo(options.photo, options)
    video = reenactor.animate(
        photo,
        options.driving_file,
        pose=options.pose,
        light=options.light,
        relative=options.relative,
        smooth=not options.no_smooth,
    )
    if note := face_note(photo):
        print(f"{options.photo}: {note.rstrip('; ')}", file=sys.stderr)
    progress = Progress(video.count)
    frames = video.save(options.output, progress.show)
    progress.end()
    for note in video.notes:
        print(f"{options.driving_file}: {note}", file=sys.stderr)
    print(f"{options.output}: {frames} frames at {video.fps:g} fps")
    return 0
