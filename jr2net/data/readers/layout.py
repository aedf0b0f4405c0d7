"""What a reader is: a folder of files to units of work, and a unit to the frames of one clip.

A dataset's folder is listed once. Its reader then lists *units*, cheaply and without opening pictures; a job spreads
them and has each read where it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from jr2net import storage
from jr2net.data.readers.problems import DatasetError, refuse_web_page
from jr2net.images.photo import decode_photo
from jr2net.images.video import VideoLimits, probe_video, read_video

PHOTO_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".tif", ".tiff")
VIDEO_ENDINGS = (".mp4", ".mov", ".m4v", ".webm", ".mkv")
STILL_FPS = 25.0
"""Frames per second that clips of photos are written with."""

_LIMITS = VideoLimits(seconds=24 * 3600.0, pixels=8192 * 4352, frames=10_000_000)

Load = Callable[[str], bytes]
"""The content of a file of the dataset, by its path relative to the folder."""


@dataclass(frozen=True)
class Frame:
    """A frame as it was recorded; pixels are those of ``image``, edges at integers.

    number     in the footage
    image      (H, W, 3) uint8 RGB
    landmarks  (68, 2) float32 if the dataset has them, NaN where undetected
    points     (5, 2) float32 if the dataset has those instead (``problems.FIVE_POINTS``)
    box        (left, top, right, bottom) around the face that is meant, if the dataset tells
    expression (51,) float32 if it was captured
    """

    number: int
    image: np.ndarray
    landmarks: np.ndarray | None = None
    points: np.ndarray | None = None
    box: tuple[float, float, float, float] | None = None
    expression: np.ndarray | None = None


@dataclass(frozen=True)
class Footage:
    """The frames of a clip, which may be gone through repeatedly.

    still: the frames are photos, each framed on its own; otherwise consecutive frames of a video.
    """

    fps: float
    frames: Callable[[], Iterator[Frame]]
    still: bool = False


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of work: the files of one clip.

    name      names the clip; unique in the dataset
    identity  of the person, as the dataset names it; photos without a name of a person have their own
    files     paths relative to the folder, the picture or video first
    part      of the official split, "" if there is none
    details   what else the reader found in the dataset's lists, plain values
    """

    name: str
    identity: str
    files: tuple[str, ...]
    part: str = ""
    details: Any = None

    @property
    def is_video(self) -> bool:
        return ending(self.files[0]) in VIDEO_ENDINGS


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is left out, by the name of its unit or file, with the reason in a few words and in full."""

    name: str
    reason: str
    message: str


@dataclass
class Survey:
    """All that a reader found in a folder."""

    units: list[Unit] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def leave_out(self, name: str, what: str, reason: str = "missing pair") -> None:
        """Notes a file that is left out, as a rule because its partner is missing; what: the end of the sentence."""
        self.problems.append(Problem(name, reason, f"{name}: {what}"))


class Folder:
    """A dataset's folder or URI and the sorted paths of its files."""

    def __init__(self, uri: str, names: Iterable[str] | None = None) -> None:
        self.uri = uri
        found = (name for name, _ in storage.iter_files(uri)) if names is None else names
        self.names = sorted(name for name in found if not _is_hidden(name))
        if not self.names:
            is_file = storage.exists(uri) and ending(storage.base_name(uri)) in (*PHOTO_ENDINGS, *VIDEO_ENDINGS)
            what = "is a file" if is_file else "holds no files" if storage.exists(uri) else "there is no such folder"
            raise DatasetError("empty", f"{uri}: {what}; give the folder of a dataset")

    def load(self, name: str) -> bytes:
        return storage.read_bytes(storage.join(self.uri, name))

    @cached_property
    def endings(self) -> set[str]:
        return {ending(name) for name in self.names}

    def ending_in(self, *endings: str) -> list[str]:
        """The paths with one of these endings."""
        return [name for name in self.names if ending(name) in endings]

    def find(self, base_name: str) -> str | None:
        """The path of the file of this name, the one nearest to the top; None if there is none."""
        found = [name for name in self.names if name.rpartition("/")[2] == base_name]
        return min(found, key=lambda name: (name.count("/"), name)) if found else None


@dataclass(frozen=True)
class Layout:
    """How the files of a kind of dataset lie in its folder.

    name        as ``--layout`` takes it
    title       in words
    recognises  whether a folder has this layout
    survey      its units and what is left out
    read        the frames of a unit
    landmarks   how many landmarks the dataset has: 68, 5, or 0
    """

    name: str
    title: str
    recognises: Callable[[Folder], bool]
    survey: Callable[[Folder], Survey]
    read: Callable[[Load, Unit], Footage]
    landmarks: int = 0


def ending(name: str) -> str:
    """``.jpg`` of ``a/b.JPG``; "" without any."""
    base = name.rpartition("/")[2]
    return "." + base.rpartition(".")[2].lower() if "." in base else ""


def stem(name: str) -> str:
    """``a/b`` of ``a/b.jpg``."""
    return name[: len(name) - len(ending(name))]


def load_photo(load: Load, name: str) -> np.ndarray:
    """Decodes a photo (H, W, 3) uint8 RGB. Raises DatasetError or PhotoError."""
    content = load(name)
    refuse_web_page(content, name)
    return decode_photo(content)


def load_video(load: Load, name: str, frames: Callable[[Iterator[np.ndarray]], Iterator[Frame]]) -> Footage:
    """Opens a video; frames: from its pictures to frames. Raises DatasetError or VideoError."""
    content = load(name)
    refuse_web_page(content, name)
    shape = probe_video(content, _LIMITS)
    return Footage(shape.fps, lambda: frames(read_video(content, _LIMITS)))


def plain_frames(pictures: Iterator[np.ndarray]) -> Iterator[Frame]:
    """Frames of which nothing is known."""
    return (Frame(number, picture) for number, picture in enumerate(pictures))


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
