"""Options that control what a driving changes of a face, and by how much; of ``reenact`` and ``animate``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from jr2net.cli.photos import CommandError

if TYPE_CHECKING:
    from jr2net.inference.control import DrivingOptions, FilmControls


def add_coefficients(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an ARKit coefficient in [0, 1]; can be repeated",
    )


def add_control(parser: argparse.ArgumentParser, film: bool = False) -> None:
    group = parser.add_argument_group("control")
    group.add_argument("--pose", action="store_true", help="use the driving head's pose too")
    group.add_argument("--light", action="store_true", help="use the driving face's light too")
    group.add_argument(
        "--regions",
        default="eyes,brows,mouth",
        metavar="LIST",
        help="what is taken of the driving: eyes, brows, mouth (with jaw, cheeks and nose), pose, or all; the rest "
        "stays the source's own",
    )
    group.add_argument("--strength", default=1.0, metavar="X", help="factor of the change, 0 to 2 (default: 1)")
    for name, text in (
        ("pitch", "down"),
        ("yaw", "to the person's left, the right of the picture"),
        ("roll", "counter-clockwise in the picture"),
    ):
        group.add_argument(
            f"--{name}", default=0.0, metavar="DEGREES", help=f"turn the head {text}, from its own pose; -45 to 45"
        )
    group.add_argument(
        "--retarget",
        default="none",
        metavar="WHAT",
        help="fit the driving's lids, lips or both to the source's own range: none, lips, eyes or both",
    )
    group.add_argument("--close-mouth", action="store_true", help="close the source's lips before it is driven")
    if film:
        group.add_argument(
            "--reference",
            default="first",
            metavar="FRAME",
            help="the driving's frame that --relative and --retarget refer to: first, neutral (that of least "
            "expression), or an instant in seconds",
        )


def controls_of(options: argparse.Namespace) -> tuple[FilmControls, DrivingOptions]:
    """The controls as keywords, and checked. Raises CommandError, which names the option."""
    from jr2net.inference.control import DrivingOptions

    names = ["pose", "light", "relative", "regions", "strength", "pitch", "yaw", "roll", "retarget", "close_mouth"]
    controls = {name: getattr(options, name) for name in names}
    if hasattr(options, "reference"):
        controls |= {"reference": options.reference, "smooth": not options.no_smooth}
    with options_named():
        return cast("FilmControls", controls), DrivingOptions(**controls)


@contextmanager
def options_named() -> Iterator[None]:
    """Errors of a control name its option."""
    from jr2net.inference.control import ControlError

    try:
        yield
    except ControlError as error:
        raise CommandError(f"--{error}") from None


def coefficients(settings: Sequence[str]) -> dict[str, float]:
    """The values of ``--set``. Raises CommandError."""
    values: dict[str, float] = {}
    for setting in settings:
        name, separator, value = setting.partition("=")
        try:
            values[name.strip()] = float(value)
        except ValueError:
            separator = ""
        if not separator:
            raise CommandError(f"--set {setting}: write NAME=VALUE, e.g. --set jawOpen=0.8")
    return values
