"""What a reenactor makes: a photo, or a film frame by frame; what is written says that it is synthetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jr2net import storage
from jr2net.images.mark import Mark, encode_image
from jr2net.images.video import encode_mp4
from jr2net.inference.face import OutputError, image_kind
from jr2net.inference.messages import ModelInfo


@dataclass(frozen=True)
class ReenactedPhoto:
    """A photo that acts: image (H, W, 3) uint8 RGB, and the network that generated it."""

    image: np.ndarray
    network: ModelInfo

    def save(self, path: str | Path) -> None:
        """Writes a .jpg or .png whose metadata says that it is synthetic. Raises OutputError, or StorageError."""
        mark = Mark(self.network.digest)
        storage.write_bytes(str(path), encode_image(self.image, mark, image_kind(path)))


@dataclass(frozen=True)
class Film:
    """A film that is made while it is read.

    frames  (H, W, 3) uint8 RGB each; they can be read once
    fps     frames per second
    count   about how many frames there will be; 0 where the driving video does not say
    """

    frames: Iterator[np.ndarray]
    fps: float
    count: int
    network: ModelInfo

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.frames

    def save(self, path: str | Path, progress: Callable[[int], None] = lambda frame: None) -> int:
        """Writes an .mp4 (H.264) whose metadata says that it is synthetic; returns the number of frames.

        progress: called with the number of frames made so far. The file appears when it is whole. Raises OutputError.
        """
        target = Path(path)
        if target.suffix.lower() != ".mp4":
            raise OutputError(f"{path}: films are written as .mp4; end the name so")
        made = 0

        def counted() -> Iterator[np.ndarray]:
            nonlocal made
            for frame in self.frames:
                yield frame
                made += 1
                progress(made)

        unfinished = target.with_name(f".{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                for piece in encode_mp4(counted(), self.fps, Mark(self.network.digest)):
                    file.write(piece)
            unfinished.replace(target)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error}; check the folder and the free space") from None
        finally:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
        return made
