"""What the subcommands of ``jr2net`` do. Each takes the parsed options and returns the exit status."""

from __future__ import annotations

import argparse
import glob
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jr2net.errors import UserError

if TYPE_CHECKING:
    from jr2net.inference.photo import Photo
    from jr2net.inference.reconstruction import Reconstructor
    from jr2net.inference.reenactment import Reenactor

PHOTO_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".tif", ".tiff")
RECONSTRUCTIONS = {"json": ".json", "glb": ".glb", "obj": ".obj", "overlay": "_overlay.jpg"}
"""What ``reconstruct`` writes, and how each file's name ends."""


class CommandError(UserError):
    """Arguments that cannot be used together, or files that are not there."""


def reconstruct(options: argparse.Namespace) -> int:
    paths = find_photos(options.photos)
    folder = Path(options.output)
    names = _output_names(paths)
    reconstructor = _load_reconstructor(options)

    def work(path: str) -> str:
        face = reconstructor(_open(path, options))
        for kind in options.formats:
            face.save(folder / f"{names[path]}{RECONSTRUCTIONS[kind]}")
        strongest = sorted(face.expression.items(), key=lambda item: -item[1])[:3]
        values = ", ".join(f"{name} {value:.2f}" for name, value in strongest)
        return f"{_which(face.photo)}{values} -> {folder}/{names[path]}.*"

    return _each(paths, work)


def reenact(options: argparse.Namespace) -> int:
    paths, target = find_photos(options.photos), Path(options.output)
    if bool(options.set) == bool(options.driving):
        raise CommandError("give either --set NAME=VALUE (as often as you like) or --driving PHOTO")
    expression = None if options.driving else _coefficients(options.set)
    one_file = target.suffix.lower() in (".jpg", ".jpeg", ".png")
    if one_file and len(paths) > 1:
        raise CommandError(f"-o {target}: {len(paths)} photos need a folder, not one file")
    names = _output_names(paths)
    reenactor = _load_reenactor(options)
    driving = _open(options.driving, None) if options.driving else None

    def work(path: str) -> str:
        output = target if one_file else target / f"{names[path]}.jpg"
        _refuse_same_file(path, output)
        photo = _open(path, options)
        result = reenactor(
            photo,
            expression,
            driving=driving,
            pose=options.pose,
            light=options.light,
            relative=options.relative,
        )
        result.save(output)
        return f"{_which(photo)}-> {output}"

    return _each(paths, work)


def animate(options: argparse.Namespace) -> int:
    _refuse_same_file(options.driving_take, Path(options.output))
    reenactor = _load_reenactor(options)
    film = reenactor.animate(
        _open(options.photo, options),
        options.driving_take,
        pose=options.pose,
        light=options.light,
        relative=options.relative,
        smooth=not options.no_smooth,
    )
    start = time.monotonic()
    frames = film.save(options.output, lambda made: _show_frames(made, film.count, time.monotonic() - start))
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(f"{options.output}: {frames} frames at {film.fps:g} a second")
    return 0


def convert_face(options: argparse.Namespace) -> int:
    from jr2net.face.convert import convert

    model = convert(options.model, options.output, options.vertices, options.expressions)
    sizes = ", ".join(f"{count} {name}" for name, count in model.sizes.items())
    print(f"{options.output}: {len(model.mean)} vertices, {len(model.faces)} faces, bases: {sizes}")
    return 0


def export_onnx(options: argparse.Namespace) -> int:
    from jr2net.inference.onnx import export_reconstructor, export_reenactor
    from jr2net.inference.reconstruction import Reconstructor
    from jr2net.inference.reenactment import Reenactor

    folder = Path(options.output)
    reconstructor = Reconstructor.load(options.weights, face_model=options.face_model)
    reenactor = Reenactor.load(options.weights, reconstructor=reconstructor, face_model=reconstructor.model)
    for exported in (
        export_reconstructor(reconstructor, folder / f"{reconstructor.info.kind}.onnx"),
        export_reenactor(reenactor, folder / f"{reenactor.info.kind}.onnx"),
    ):
        size = exported.path.stat().st_size / 2**20
        print(f"{exported.path}: {size:.1f} MB, differs from PyTorch by {exported.difference:.1g} at most", flush=True)
    return 0


def find_photos(arguments: Iterable[str]) -> list[str]:
    """Files, the photos of folders and the matches of patterns, each once and in order. Raises CommandError."""
    found: dict[str, None] = {}
    for argument in arguments:
        path = Path(argument).expanduser()
        if path.is_dir():
            inside = sorted(str(each) for each in path.iterdir() if each.suffix.lower() in PHOTO_ENDINGS)
        elif path.exists() or "://" in argument or not glob.has_magic(argument):
            inside = [argument if "://" in argument else str(path)]  # a missing file is reported when it is read
        else:
            inside = sorted(each for each in glob.glob(str(path), recursive=True) if Path(each).is_file())  # noqa: PTH207
        if not inside:
            endings = ", ".join(PHOTO_ENDINGS)
            raise CommandError(f"{argument}: no photos there; give files, a folder with {endings}, or a pattern")
        found |= dict.fromkeys(inside)
    return list(found)


def _output_names(paths: Sequence[str]) -> dict[str, str]:
    """A name for each photo's files: its own without its ending, numbered where several photos share it."""
    names: dict[str, str] = {}
    for path in paths:
        stem = name = Path(path).stem
        number = 1
        while name in names.values():
            number += 1
            name = f"{stem}-{number}"
        names[path] = name
    return names


def _each(paths: Sequence[str], work: Callable[[str], str]) -> int:
    """Works on every photo and says how far it is; one that fails does not stop the others."""
    failed = 0
    for number, path in enumerate(paths, 1):
        progress = f"[{number}/{len(paths)}] " if len(paths) > 1 else ""
        try:
            print(f"{progress}{path}: {work(path)}", flush=True)
        except UserError as error:
            if len(paths) == 1:
                raise
            failed += 1
            print(f"{progress}error: {error}", file=sys.stderr, flush=True)
    if failed:
        print(f"{failed} of {len(paths)} photos could not be used", file=sys.stderr)
    return 1 if failed else 0


def _open(path: str, options: argparse.Namespace | None) -> Photo:
    from jr2net.inference.photo import Photo

    return Photo.open(path) if options is None else Photo.open(path, face=options.face, box=options.box)


def _which(photo: Photo) -> str:
    if photo.faces_found <= 1:
        return ""
    return f"{photo.faces_found} faces found (--face chooses); "


def _load_reconstructor(options: argparse.Namespace) -> Reconstructor:
    from jr2net.inference.reconstruction import Reconstructor
    from jr2net.process import use_threads

    use_threads(1)
    return Reconstructor.load(
        options.weights,
        face_model=options.face_model,
        device=options.device,
        precision=options.precision,
        runtime=options.runtime,
    )


def _load_reenactor(options: argparse.Namespace) -> Reenactor:
    from jr2net.inference.reenactment import Reenactor
    from jr2net.process import use_threads

    use_threads(1)
    return Reenactor.load(
        options.weights, face_model=options.face_model, device=options.device, precision=options.precision
    )


def _show_frames(made: int, count: int, seconds: float) -> None:
    """Frames made, pace and time left, on one line of a terminal."""
    if not sys.stderr.isatty():
        return
    pace = made / max(seconds, 1e-6)
    left = f" of {count}, {max(0, count - made) / pace:.0f} s left" if count else ""
    print(f"\r{made} frames{left}, {pace:.1f} frames/s ", end="", file=sys.stderr, flush=True)


def _refuse_same_file(source: str, output: Path) -> None:
    if Path(source).resolve() == output.resolve():
        raise CommandError(f"{output}: would overwrite what it is made from; give another name")


def _coefficients(settings: Sequence[str]) -> dict[str, float]:
    coefficients: dict[str, float] = {}
    for setting in settings:
        name, separator, value = setting.partition("=")
        try:
            coefficients[name.strip()] = float(value)
        except ValueError:
            separator = ""
        if not separator:
            raise CommandError(f"--set {setting}: write NAME=VALUE, e.g. --set jawOpen=0.8")
    return coefficients
