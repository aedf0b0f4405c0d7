"""Photos as the command takes them: files, folders and patterns in, one line of output for each."""

from __future__ import annotations

import argparse
import glob
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jr2net.errors import UserError

if TYPE_CHECKING:
    from jr2net.inference.face import FittedFace
    from jr2net.inference.photo import Photo

PHOTO_EXTENSIONS = (
    ".jpg", ".jpeg", ".png", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".jp2", ".hdr", ".exr", ".heic",
    ".heif",
)  # fmt: skip


class CommandError(UserError):
    """Arguments that cannot be combined, or missing files."""


def find_photos(arguments: Iterable[str]) -> list[str]:
    """Expands files, folders and patterns to paths of photos, in order and without duplicates. Raises CommandError."""
    found: dict[str, None] = {}
    for argument in arguments:
        path = Path(argument).expanduser()
        if path.is_dir():
            photos = sorted(str(file) for file in path.iterdir() if file.suffix.lower() in PHOTO_EXTENSIONS)
        elif path.exists() or "://" in argument or not glob.has_magic(argument):
            photos = [argument if "://" in argument else str(path)]  # a missing file is reported when it is read
        else:
            photos = sorted(file for file in glob.glob(str(path), recursive=True) if Path(file).is_file())  # noqa: PTH207
        if not photos:
            extensions = ", ".join(PHOTO_EXTENSIONS)
            raise CommandError(
                f"{argument}: no photos found; give files, a folder with {extensions} files, or a pattern"
            )
        found |= dict.fromkeys(photos)
    return list(found)


def output_names(paths: Sequence[str], face: int | None = None) -> dict[str, str]:
    """The base name of each photo's output files: its own without the extension, numbered if photos share a name.

    Faces other than the largest are named too, so that the faces of one photo do not overwrite each other.
    """
    suffix = f"_face{face}" if face else ""
    names: dict[str, str] = {}
    for path in paths:
        stem = name = f"{Path(path).stem}{suffix}"
        number = 1
        while name in names.values():
            number += 1
            name = f"{stem}-{number}"
        names[path] = name
    return names


def process_all(paths: Sequence[str], process: Callable[[str], str]) -> int:
    """Processes every photo and prints its result; an error does not stop the others. Returns the exit status."""
    failed = 0
    for number, path in enumerate(paths, 1):
        progress = f"[{number}/{len(paths)}] " if len(paths) > 1 else ""
        try:
            print(f"{progress}{path}: {process(path)}", flush=True)
        except UserError as error:
            if len(paths) == 1:
                raise
            failed += 1
            print(f"{progress}error: {error}", file=sys.stderr, flush=True)
    if failed:
        print(f"{failed} of {len(paths)} photos failed", file=sys.stderr)
    return 1 if failed else 0


def open_photo(path: str, options: argparse.Namespace) -> Photo:
    """The photo with the face that ``--face`` or ``--box`` choose. Raises CommandError if it is not found."""
    return _open(path, options, options.face, options.box, "--box ")


def open_driving_photo(path: str, options: argparse.Namespace) -> Photo:
    """The driving photo with the face that ``--driving-face`` or ``--driving-box`` choose. Raises CommandError."""
    return _open(path, options, options.driving_face, options.driving_box, "--driving-box ")


def _open(path: str, options: argparse.Namespace, face: int, box: Sequence[float] | None, box_option: str) -> Photo:
    from jr2net.images.face_detector import load_face_detector
    from jr2net.inference.photo import NoFaceError, Photo

    try:
        detector = load_face_detector(options.detector) if options.detector and box is None else None
        return Photo.open(path, face=face, box=box, detector=detector)
    except NoFaceError as error:
        raise CommandError(error.message(box_option)) from None


def face_note(face: FittedFace, option: str = "--") -> str:
    """Which face was taken and how sure the detector is of it; nothing where the user gave its box. Then what of the
    file was left out or assumed, and the fit's confidence.

    option: how the options begin that choose a face
    """
    from jr2net.inference.confidence import doubt

    photo, notes = face.photo, []
    if photo.faces_found:
        others = f" {photo.index} of {photo.faces_found}, 0 is the largest ({option}face or {option}box chooses)"
        notes.append(f"face{others if photo.faces_found > 1 else ''}, score {photo.face.score:.2f}")
    return "; ".join([*notes, *photo.notes, *(doubt(face.confidence) or [f"confidence {face.confidence:.2f}"])])


def check_not_same_file(source: str, output: Path) -> None:
    if Path(source).resolve() == output.resolve():
        raise CommandError(f"{output}: would overwrite the input; give another name")
