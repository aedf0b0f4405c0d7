"""Control of a reenactment: what a driving face changes of a source face, by how much, and from where on.

Of every coefficient that ``regions`` takes, with s the source's own value, d the driving's and r the driving's in the
frame of reference (0 where there is none: a photo, or named coefficients):

    target = d            as it is
           = s + d - r    relative
           = m(d)         retargeted: m(0) = 0, m(r) = s, m(1) = 1, linear between them
    result = clamp(s + strength (target - s), 0, 1)

Retargeting follows the idea of LivePortrait (Guo et al. 2024, eyes and lip retargeting): the driving's opening of eyes
and lips is transferred within the range of the source. There networks are given measured distances of lids and lips;
here the coefficients that open and close them are mapped. The driving at rest leaves the source as it is, and what is
shut or wide open in the driving is so in the source, whose lids and lips neither stay ajar nor reach their end early.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypedDict

import numpy as np

from jr2net.errors import UserError
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.inference.messages import FaceArrays

Retarget = Literal["none", "lips", "eyes", "both"]
Reference = Literal["first", "neutral"] | float

FACE_REGIONS = ("eyes", "brows", "mouth")
"""The regions of the 51 coefficients: lids and gaze; brows; jaw, lips, cheeks and nose."""
REGIONS = (*FACE_REGIONS, "pose", "all")
RETARGETS = ("none", "lips", "eyes", "both")
MAX_STRENGTH = 2.0
MAX_TURN = 45.0  # degrees
_STEEPEST = math.radians(80)  # beyond it the face is not seen any more
_NEAREST = 0.5  # of the source's distance from the camera

_EYELIDS = ("eyeBlink", "eyeSquint", "eyeWide")
_LIPS = ("jawOpen", "mouthLowerDown", "mouthUpperUp")
_OPENING = (*_LIPS, "mouthClose", "mouthFunnel")  # what opens lips, and mouthClose, which is a part of jawOpen


class ControlError(UserError, ValueError):
    """A control that cannot be used. The message names the field and what is allowed."""


class PhotoControls(TypedDict, total=False):
    """The fields of ``DrivingOptions`` that a photo has, as keywords."""

    pose: bool
    light: bool
    relative: bool
    regions: str | Sequence[str]
    strength: float
    pitch: float
    yaw: float
    roll: float
    retarget: Retarget
    close_mouth: bool


class FilmControls(PhotoControls, total=False):
    """The fields of ``DrivingOptions`` as keywords."""

    smooth: bool
    reference: Reference


@dataclass(frozen=True)
class DrivingOptions:
    """What is transferred from the driving face to the source, and how. Numbers may be given as text.

    pose         transfer the head's rotation and translation; the same as the region ``pose``
    light        transfer the light
    relative     add the change since the frame of reference to the source's own expression and pose; of a single set of
                 coefficients: add them to the source's own
    smooth       smooth the faces of a driving video over time
    regions      what is taken of the driving, as names or as text with commas: ``FACE_REGIONS``, ``pose``, or ``all``;
                 the rest remains the source's own
    strength     factor of the change, 0 to ``MAX_STRENGTH``; light is transferred as it is
    pitch, yaw,  degrees, up to ``MAX_TURN`` either way, by which the head is turned beyond its pose, be it the source's
    roll         own or the driving's: down, to the person's left, counter-clockwise (``camera.rotation_matrix``)
    retarget     map lids, lips or both to the source's own range
    close_mouth  let the source begin with closed lips: its own coefficients that open them count as 0
    reference    the driving's frame that relative and retargeted motion refers to: ``first``, ``neutral`` (the frame of
                 least expression) or an instant in seconds

    Raises ControlError.
    """

    pose: bool = False
    light: bool = False
    relative: bool = False
    smooth: bool = True
    regions: str | Sequence[str] = FACE_REGIONS
    strength: float = 1.0
    pitch: float = 0.0
    yaw: float = 0.0
    roll: float = 0.0
    retarget: Retarget = "none"
    close_mouth: bool = False
    reference: Reference = "first"

    def __post_init__(self) -> None:
        set_field = object.__setattr__  # the fields of a frozen dataclass, brought to one form
        set_field(self, "regions", _regions(self.regions))
        set_field(self, "strength", _number("strength", self.strength, 0.0, MAX_STRENGTH))
        for name in ("pitch", "yaw", "roll"):
            set_field(self, name, _number(name, getattr(self, name), -MAX_TURN, MAX_TURN))
        if self.retarget not in RETARGETS:
            raise ControlError(f"retarget: {str(self.retarget)[:40]!r} is unknown; give {_listed(RETARGETS)}")
        if self.reference not in ("first", "neutral"):
            set_field(self, "reference", _instant(self.reference))

    @property
    def takes_pose(self) -> bool:
        return self.pose or "pose" in self.regions or "all" in self.regions

    @property
    def turns(self) -> bool:
        """Whether the head is turned by numbers."""
        return any((self.pitch, self.yaw, self.roll))

    @property
    def affects_whole_crop(self) -> bool:
        """Whether the image changes beyond the face, as it does with another pose or light."""
        return self.takes_pose or self.light or self.turns

    @property
    def changes_source(self) -> bool:
        """Whether a source changes without any driving."""
        return self.turns or self.close_mouth

    @property
    def needs_reference(self) -> bool:
        """Whether the driving's frame of reference decides anything."""
        return self.relative or self.retarget != "none"

    @cached_property
    def taken(self) -> np.ndarray:
        """(51,) bool: the coefficients that are taken of the driving."""
        return np.array(["all" in self.regions or region_of(name) in self.regions for name in ARKIT_NAMES])

    @cached_property
    def retargeted(self) -> np.ndarray:
        """(51,) bool: the coefficients that are mapped to the source's range."""
        lips, eyes = self.retarget in ("lips", "both"), self.retarget in ("eyes", "both")
        return (_named(*_LIPS) & lips) | (_named(*_EYELIDS) & eyes)

    def of_expression(self, driving: str, head: bool = False) -> DrivingOptions:
        """The options for a driving that has an expression only, as ``driving`` names it in the error.

        head: it has the head's rotation too. Raises ControlError if pose or light is asked for by name and not there.
        """
        missing = ("light",) if head else ("pose", "light")
        asked = [name for name in missing if getattr(self, name) or name in self.regions]
        if asked:
            what = "expression and head" if head else "expression"
            raise ControlError(
                f"{' and '.join(asked)}: {driving} the {what} alone; omit {'them' if len(asked) > 1 else 'it'}, or "
                "give a driving that shows a face"
            )
        if head:
            return self
        return replace(self, regions=FACE_REGIONS) if "all" in self.regions else self

    def own(self) -> DrivingOptions:
        """The options for a source without any driving: a change of nothing. Raises ControlError as above."""
        return replace(self.of_expression("without a driving there is"), relative=True)


def region_of(name: str) -> str:
    """The region of a coefficient: ``eyes``, ``brows`` or ``mouth``."""
    return {"eye": "eyes", "bro": "brows"}.get(name[:3], "mouth")


def own_face(source: FaceArrays, options: DrivingOptions) -> FaceArrays:
    """The source face before anything drives it: with closed lips where the options say so."""
    if not options.close_mouth:
        return source
    return {**source, "expression": np.where(_named(*_OPENING), np.float32(0), source["expression"])}


def drive(
    source: FaceArrays, driving: FaceArrays, options: DrivingOptions, reference: FaceArrays | None = None
) -> FaceArrays:
    """The source face as the driving face changes it.

    driving    needs ``expression`` only, unless pose or light are transferred; of the pose ``rotation`` alone suffices
    reference  the driving face in the frame of reference; None: there is none, for a single photo or coefficients
    """
    own = own_face(source, options)
    pose = [name for name in ("rotation", "translation") if name in driving] if options.takes_pose else []
    fields = ["expression", *pose]
    result = dict(own)
    for name in fields:
        since = np.float32(0) if reference is None else reference[name]
        relative = options.relative and (reference is not None or name == "expression")
        target = own[name] + driving[name] - since if relative else driving[name]
        if name == "expression":
            mapped = _to_own_range(driving[name], since, own[name])
            target = np.where(options.retargeted, mapped, target)
        if options.strength != 1:
            target = own[name] + np.float32(options.strength) * (target - own[name])
        result[name] = target.astype(np.float32)
    # What is the source's own stays so to the bit, whatever lies outside of [0, 1].
    result["expression"] = np.where(options.taken, result["expression"].clip(0, 1), own["expression"])
    if "translation" in fields:
        result["translation"][2] = max(result["translation"][2], _NEAREST * source["translation"][2])
    if options.light:
        result["light"] = driving["light"]
    return turned(result, options)


def turned(face: FaceArrays, options: DrivingOptions) -> FaceArrays:
    """The face with its head turned by pitch, yaw and roll."""
    if not options.turns:
        return face
    rotation = face["rotation"] + np.radians(np.array([options.pitch, options.yaw, options.roll], np.float32))
    limits = np.maximum(np.abs(face["rotation"]), np.array([_STEEPEST, _STEEPEST, np.inf], np.float32))
    return {**face, "rotation": rotation.clip(-limits, limits).astype(np.float32)}


def with_expression(face: FaceArrays, expression: np.ndarray) -> FaceArrays:
    """The face with other coefficients (51,), to drive with."""
    return {**face, "expression": expression.astype(np.float32)}


def amount_of_expression(expression: np.ndarray) -> np.ndarray:
    """The sum of the coefficients (..., 51) without those of the gaze: least in the ``neutral`` frame."""
    return expression[..., ~_named("eyeLook")].sum(-1)


def _to_own_range(value: np.ndarray, rest: np.ndarray | np.float32, own: np.ndarray) -> np.ndarray:
    """Maps 0 to 0, ``rest`` to ``own`` and 1 to 1, linearly between them; a change of -1 from a rest of 0 to 0 too."""
    below = np.where(rest > 0, own * value / np.maximum(rest, 1e-6), own * (1 + value))
    above = own + (1 - own) * (value - rest) / np.maximum(1 - rest, 1e-6)
    return np.where(value < rest, below, above)


def _named(*stems: str) -> np.ndarray:
    return np.array([name.startswith(stems) for name in ARKIT_NAMES])


def _regions(value: object) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, Sequence) or not names:
        raise ControlError(f"regions: give one or more of {_listed(REGIONS)}")
    cleaned = [name.strip().lower() if isinstance(name, str) else name for name in names]
    for name in cleaned:
        if name not in REGIONS:
            raise ControlError(f"regions: {str(name)[:40]!r} is unknown; give one or more of {_listed(REGIONS)}")
    return tuple(dict.fromkeys(cleaned))


def _number(field: str, value: object, lowest: float, highest: float) -> float:
    number = _float(value)
    if number is None or not lowest <= number <= highest:  # NaN fails every comparison
        unit = "" if field == "strength" else " degrees"
        raise ControlError(f"{field}: {str(value)[:40]!r} is not a number from {lowest:g} to {highest:g}{unit}")
    return number


def _instant(value: object) -> float:
    number = _float(value)
    if number is None or not 0 <= number < math.inf:
        raise ControlError(
            f"reference: {str(value)[:40]!r} is unknown; give first, neutral or an instant of the driving in seconds"
        )
    return number


def _float(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str | np.floating | np.integer):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
