"""The outputs of a reenactor: photos and videos. The metadata of saved files declares them synthetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jr2net import storage
from jr2net.images.mark import Mark, encode_image
from jr2net.images.sound import Sound
from jr2net.images.video import encode_mp4
from jr2net.images.video_file import VideoFile
from jr2net.inference.face import FittedFace, OutputError, image_format
from jr2net.inference.messages import ModelInfo


@dataclass(frozen=True)
class ReenactedPhoto:
    """A photo with another expression: image (H, W, 3) uint8 RGB, and the network that generated it.

    source   the face that was given it; its ``confidence`` says how probably its fit describes a face
    driving  the face of the driving photo; None: coefficients drove it
    """

    image: np.ndarray
    network: ModelInfo
    source: FittedFace
    driving: FittedFace | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the photos was left out or assumed, and where a confidence is low: of source and driving apart."""
        driving = () if self.driving is None else self.driving.notes
        return (*(f"source: {note}" for note in self.source.notes), *(f"driving: {note}" for note in driving))

    def save(self, path: str | Path) -> None:
        """Writes a .jpg or .png whose metadata declares it synthetic. Raises OutputError or StorageError."""
        mark = Mark(self.network.digest)
        storage.write_bytes(str(path), encode_image(self.image, mark, image_format(path)))


@dataclass(frozen=True)
class Film:
    """A generated video. Its frames are generated while it is iterated or saved, once.

    frames  (H, W, 3) uint8 RGB each
    fps     frames per second
    count   approximate number of frames; 0 if the driving video does not state it
    found   what was found in the driving and done about it, so far; of a capture all of it (``Track.notes``)
    video   the source or driving video whose sound is kept; None: there is none
    source  the face of a source photo, with its ``confidence``; None: a video is the source
    """

    frames: Iterator[np.ndarray]
    fps: float
    count: int
    network: ModelInfo
    found: Callable[[], tuple[str, ...]] = tuple
    video: VideoFile | None = field(default=None, repr=False)
    source: FittedFace | None = field(default=None, repr=False)

    @property
    def notes(self) -> tuple[str, ...]:
        return self.found()

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.frames

    def save(self, path: str | Path, progress: Callable[[int], None] = lambda frame: None) -> int:
        """Writes an .mp4 (H.264) whose metadata declares it synthetic; returns the number of frames.

        progress: called with the number of frames generated so far. The file appears when it is complete. Raises
        OutputError.
        """
        target = Path(path)
        if target.suffix.lower() != ".mp4":
            raise OutputError(f"{path}: unsupported extension; videos are written as .mp4")
        num_frames = 0

        def counted_frames() -> Iterator[np.ndarray]:
            nonlocal num_frames
            for frame in self.frames:
                yield frame
                num_frames += 1
                progress(num_frames)

        partial = target.with_name(f".{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                sound = Sound(self.video) if self.video else None
                for chunk in encode_mp4(counted_frames(), self.fps, Mark(self.network.digest), sound):
                    file.write(chunk)
            partial.replace(target)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error}; check the folder and the free space") from None
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
        return num_frames
