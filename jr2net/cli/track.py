"""``jr2net track``: the expressions of a face in a video or before a camera."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jr2net.cli.networks import check_precision, load_tracker
from jr2net.cli.options import add_command, add_face_selection, add_network
from jr2net.cli.photos import CommandError, check_not_same_file
from jr2net.cli.progress import Progress

if TYPE_CHECKING:
    from jr2net.images.video import VideoFrame
    from jr2net.inference.tracker import Tracker

FORMATS = (".csv", ".json", ".glb")
SMOOTHINGS = ("two-sided", "causal", "none")
CAMERA_FPS = 30.0
"""Frames per second that packets of a camera state; what a camera delivers varies with the light."""


def add_to(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "track",
        "turn a video or a camera into an ARKit capture",
        "jr2net track clip.mp4 -o take.csv\n  jr2net track --camera 0 --to udp://192.168.1.20:11111",
    )
    command.add_argument("video", nargs="?", help="the video; none with --camera")
    command.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="a .csv as Live Link Face writes it, a .json, or an animated .glb of the person's own mesh",
    )
    command.add_argument("--camera", type=int, metavar="N", help="track a camera instead, 0 is the first, until Ctrl-C")
    command.add_argument("--to", metavar="udp://HOST:PORT", help="send every frame in Live Link Face's protocol")
    command.add_argument(
        "--smooth",
        choices=SMOOTHINGS,
        help="smoothing over time: two-sided without lag (default for a video), causal (for a camera), or none",
    )
    command.add_argument(
        "--neutral",
        type=_neutral,
        metavar="SECONDS|auto",
        help="subtract the person's resting face: that of this instant, or of the frames with the least expression",
    )
    add_face_selection(command)
    add_network(command, runtime=True)
    command.set_defaults(run=track)


def track(options: argparse.Namespace) -> int:
    _check(options)
    tracker = load_tracker(options)
    if options.camera is not None:
        return _track_camera(tracker, options)
    progress = Progress(_frame_count(options.video))
    found = tracker(
        options.video,
        face=options.face,
        box=options.box,
        smooth=options.smooth or "two-sided",
        neutral=options.neutral,
        progress=progress.show,
    )
    progress.end()
    for note in found.notes:
        print(f"{options.video}: {note}", file=sys.stderr)
    if options.output:
        found.save(options.output)
        print(f"{options.output}: {len(found)} frames at {found.fps:g} fps")
    if options.to:
        _replay(found, options.to)
    return 0


def _check(options: argparse.Namespace) -> None:
    """Raises CommandError where the options do not go together, before anything is loaded."""
    if (options.video is None) == (options.camera is None):
        raise CommandError("give either a video or --camera N")
    if options.output is None and options.to is None:
        raise CommandError("give -o FILE, or --to udp://HOST:PORT")
    if options.output is not None and Path(options.output).suffix.lower() not in FORMATS:
        raise CommandError(f"-o {options.output}: tracks are written as {', '.join(FORMATS)}")
    if options.video is not None and options.output is not None:
        check_not_same_file(options.video, Path(options.output))
    if options.camera is not None and options.smooth == "two-sided" and options.to is not None:
        raise CommandError("--smooth two-sided: later frames of a camera are not known; use causal or none")
    if options.camera is not None and options.neutral is not None and options.output is None:
        raise CommandError("--neutral: of a camera, it applies to the recording; add -o FILE")
    check_precision(options)
    if options.to is not None:
        from jr2net.inference.live_link_udp import parse_target

        parse_target(options.to)


def _frame_count(video: str) -> int:
    """Number of frames as the video's header says; 0: it does not, or cannot be read, which is reported later."""
    from jr2net.errors import UserError
    from jr2net.images.video import NO_LIMITS, probe_video

    try:
        return probe_video(video, NO_LIMITS).frames
    except UserError:
        return 0


def _replay(found: Any, target: str) -> None:
    """Sends a track at its own pace."""
    from jr2net.inference.live_link_udp import LiveLinkSender

    start, sent = time.monotonic(), 0
    with LiveLinkSender(target, found.fps) as sender:
        for frame in found.seen.nonzero()[0].tolist():
            time.sleep(max(0.0, start + found.seconds[frame] - time.monotonic()))
            sender.send(float(found.seconds[frame]), found.expression[frame], found.rotation[frame])
            sent += 1
    print(f"{target}: {sent} frames sent")


def _track_camera(tracker: Tracker, options: argparse.Namespace) -> int:
    """Tracks until Ctrl-C, or the camera ends; then writes the recording."""
    from contextlib import ExitStack

    from jr2net.inference.assembly import assemble
    from jr2net.inference.following import FaceChoice, FaceFollower
    from jr2net.inference.live_link_udp import LiveLinkSender
    from jr2net.inference.tracker import LiveSmoother

    smooth = LiveSmoother(None) if (options.smooth or "causal") == "causal" else None
    kept, progress, name = [], Progress(0), f"camera {options.camera}"
    with ExitStack() as stack:
        sender = stack.enter_context(LiveLinkSender(options.to, CAMERA_FPS)) if options.to else None
        follow = FaceFollower(tracker.detector, CAMERA_FPS, FaceChoice.of(options.face, options.box), name)
        frames = tracker.track(_camera_frames(options.camera), follow, batch=1)
        try:
            for number, frame in enumerate(frames, 1):
                if options.output:
                    kept.append(frame)
                shown = frame if smooth is None else smooth(frame)
                if sender is not None and shown.face is not None:
                    sender.send(shown.seconds, shown.face["expression"], shown.face["rotation"])
                progress.show(number)
        except KeyboardInterrupt:
            pass
    progress.end()
    if options.output:
        reconstructor = tracker.reconstructor
        found = assemble(kept, name, reconstructor.model, reconstructor.info)
        found = found.smoothed(options.smooth or "causal")
        found = found if options.neutral is None else found.relative_to(options.neutral)
        for note in (*follow.notes(), *found.notes):
            print(f"{name}: {note}", file=sys.stderr)
        found.save(options.output)
        print(f"{options.output}: {len(found)} frames at {found.fps:g} fps")
    return 0


def _camera_frames(number: int) -> Iterator[VideoFrame]:
    """The frames of a camera. Raises CommandError where there is none, or it gives no picture."""
    import cv2

    from jr2net.images.video import VideoFrame

    camera = cv2.VideoCapture(number)
    try:
        if not camera.isOpened():
            raise CommandError(f"--camera {number}: no such camera, or another program uses it")
        start: float | None = None
        while True:
            read, image = camera.read()
            now = time.monotonic()
            if not read:
                if start is None:
                    raise CommandError(f"--camera {number}: gives no picture; is it covered by a permission?")
                return
            start = now if start is None else start
            yield VideoFrame(now - start, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    finally:
        camera.release()


def _neutral(text: str) -> float | Literal["auto"]:
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: give seconds, e.g. 0.5, or auto") from None
