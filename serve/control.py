"""The controls of a reenactment (``jr2net.inference.control``) as form fields and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.datastructures import FormData

from jr2net.inference.control import ControlError, DrivingOptions
from serve.bodies import get_bool, get_text
from serve.problems import Problem

TURN = ("pitch", "yaw", "roll")
PHOTO_CONTROLS = ("relative", "pose", "light", "regions", "strength", *TURN, "retarget", "close_mouth")
FILM_CONTROLS = (*PHOTO_CONTROLS, "reference", "smooth")
_SWITCHES = ("relative", "pose", "light", "close_mouth", "smooth")


async def read_controls(form: FormData, names: tuple[str, ...]) -> DrivingOptions:
    """The controls of a form; those that are missing or blank have their defaults. Raises Problem 422."""
    controls: dict[str, Any] = {}
    for name in names:
        text = await get_text(form, name)
        if text is None or not text.strip():
            continue
        controls[name] = await get_bool(form, name, False) if name in _SWITCHES else text.strip()
    return make_options(controls)


def check_controls(values: Mapping[str, Any], names: tuple[str, ...]) -> DrivingOptions:
    """The controls among the members of a JSON object. Raises Problem 422."""
    controls = {name: values[name] for name in names if name in values}
    for name in set(controls) & set(_SWITCHES):
        if not isinstance(controls[name], bool):
            raise Problem(422, f"{name}: {str(controls[name])[:40]!r} is neither true nor false")
    return make_options(controls)


def make_options(controls: Mapping[str, Any]) -> DrivingOptions:
    """Raises Problem 422."""
    try:
        return DrivingOptions(**controls)
    except ControlError as error:
        raise Problem(422, str(error)) from None


def of_expression(options: DrivingOptions, driving: str, head: bool = False) -> DrivingOptions:
    """``DrivingOptions.of_expression``. Raises Problem 422."""
    try:
        return options.of_expression(driving, head)
    except ControlError as error:
        raise Problem(422, str(error)) from None
