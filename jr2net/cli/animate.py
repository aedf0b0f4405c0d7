"""``jr2net animate``: a photo or a video animated by a capture, a video or coefficients."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jr2net.cli.control import add_coefficients, add_control, coefficients, controls_of, options_named
from jr2net.cli.networks import load_detector, load_reenactor
from jr2net.cli.options import add_command, add_face_selection, add_network, add_reenactor
from jr2net.cli.photos import CommandError, check_not_same_file, face_note, open_photo
from jr2net.cli.progress import Progress

if TYPE_CHECKING:
    from jr2net.expressions.tracks import Track
    from jr2net.inference.control import DrivingOptions
    from jr2net.inference.photo import Photo


def add_to(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "animate",
        "animate a photo or a video with a capture or a video",
        "jr2net animate me.jpg capture.csv -o out.mp4",
    )
    command.add_argument("source", help="the source: a photo, or a video, whose every frame acts")
    command.add_argument(
        "driving_file",
        nargs="?",
        metavar="driving",
        help="the driving file: an ARKit capture (.csv, .json, .parquet) or a video; or use --set for a video",
    )
    add_coefficients(command)
    command.add_argument(
        "--relative", action="store_true", help="add the change since the frame of reference to the source's own"
    )
    command.add_argument(
        "--no-smooth", action="store_true", help="do not smooth the faces of a driving video over time"
    )
    add_control(command, film=True)
    add_face_selection(command, photo=" of the source")
    add_face_selection(command, "driving-", " of a driving video")
    command.add_argument("-o", "--output", required=True, metavar="FILE", help="output video (.mp4)")
    add_network(command)
    add_reenactor(command)
    command.set_defaults(run=animate)


def animate(options: argparse.Namespace) -> int:
    from jr2net.images.video_file import VideoFile, is_video

    controls, checked = controls_of(options)
    source, output = options.source, Path(options.output)
    if output.suffix.lower() != ".mp4":
        raise CommandError(f"-o {output}: films are written as .mp4")
    for file in filter(None, (source, options.driving_file)):
        check_not_same_file(file, output)
    of_video = is_video(VideoFile.of(source))
    driving = _open_driving(options, checked, of_video)
    reenactor = load_reenactor(options)
    if of_video:
        opened: Photo | str = source
    else:
        opened = open_photo(source, options)
    chosen = {"face": options.face, "box": options.box} if of_video else {}
    chosen |= {"driving_face": options.driving_face, "driving_box": options.driving_box}
    with options_named():
        film = reenactor.animate(opened, driving, detector=load_detector(options), **chosen, **controls)
        if film.source is not None:
            print(f"{source}: {face_note(film.source)}", file=sys.stderr)
        progress = Progress(film.count)
        frames = film.save(output, progress.show)
    progress.end()
    for note in film.notes:
        if not note.startswith("source: "):
            print(f"{options.driving_file or source}: {note}", file=sys.stderr)
        elif of_video:  # of a photo it was said above
            print(f"{source}: {note.removeprefix('source: ')}", file=sys.stderr)
    print(f"{output}: {frames} frames at {film.fps:g} fps")
    return 0


def _open_driving(
    options: argparse.Namespace, checked: DrivingOptions, of_video: bool
) -> Track | str | dict[str, float] | None:
    """A capture, the name of a video, coefficients, or None for the source's own. Its mistakes are said at once."""
    from jr2net.expressions.named import expression_from_names
    from jr2net.expressions.tracks import Track
    from jr2net.inference.animation import capture_or_video
    from jr2net.inference.driving import reference_frame, shows_head

    file, source = options.driving_file, options.source
    if file and options.set:
        raise CommandError(f"{file}: give either a driving file or --set NAME=VALUE")
    if not file and not of_video:
        raise CommandError(
            f"{source}: a photo needs a driving file; for one expression: jr2net reenact {source} --set …"
        )
    if not file and not options.set and not checked.changes_source:
        raise CommandError(f"{source}: give a driving file, or --set NAME=VALUE, or turn the head: --yaw 20")
    with options_named():
        if not file:
            values = coefficients(options.set)
            checked.of_expression("coefficients drive")
            expression_from_names(values, -1.0 if checked.relative else 0.0)
            return values or None
        driving = capture_or_video(file, file)
        if not isinstance(driving, Track):
            return file
        if options.driving_face or options.driving_box:
            raise CommandError("--driving-face and --driving-box: choose the face of a driving video, not of a capture")
        reference_frame(driving, checked.of_expression(f"the capture {file} drives", shows_head(driving)))
        return driving
