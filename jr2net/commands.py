"""The subcommands of ``jr2net``. Each gets the parsed options and returns the exit status."""

from __future__ import annotations

import argparse
import glob
import re
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

PHOTO_EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".tif", ".tiff")
PICTURE_EXTENSIONS = (".jpg", ".jpeg", ".png")
"""The formats that ``reenact`` writes."""

RECONSTRUCTIONS = {"json": ".json", "glb": ".glb", "obj": ".obj", "overlay": "_overlay.jpg"}
"""The output formats of ``reconstruct``, and the suffix of each file's name."""


_PROGRESS_S = 5.0
"""Seconds between lines of progress where it is not shown on a terminal."""


class CommandError(UserError):
    """Arguments that cannot be combined, or missing files."""


def reconstruct(options: argparse.Namespace) -> int:
    if options.precision == "int8" and options.runtime != "openvino":
        raise CommandError("--precision int8: needs --runtime openvino")
    paths = find_photos(options.photos)
    folder = Path(options.output)
    names = _output_names(paths, options.face)
    reconstructor = _load_reconstructor(options)

    def process(path: str) -> str:
        face = reconstructor(_open(path, options))
        for kind in options.formats:
            face.save(folder / f"{names[path]}{RECONSTRUCTIONS[kind]}")
        strongest = sorted(face.expression.items(), key=lambda item: -item[1])[:3]
        values = ", ".join(f"{name} {value:.2f}" for name, value in strongest)
        return f"{_face_note(face.photo)}{values} -> {folder}/{names[path]}.*"

    return _process_all(paths, process)


def reenact(options: argparse.Namespace) -> int:
    paths, target = find_photos(options.photos), Path(options.output)
    if bool(options.set) == bool(options.driving):
        raise CommandError("give either --set NAME=VALUE (repeatable) or --driving PHOTO")
    expression = None if options.driving else _coefficients(options.set)
    one_file = target.suffix.lower() in PICTURE_EXTENSIONS
    if target.suffix and not one_file and not target.is_dir():
        raise CommandError(f"-o {target}: pictures are written as {', '.join(PICTURE_EXTENSIONS)}, or into a folder")
    if one_file and len(paths) > 1:
        raise CommandError(f"-o {target}: {len(paths)} photos need a folder, not one file")
    names = _output_names(paths, options.face)
    reenactor = _load_reenactor(options)
    driving = _open(options.driving, None) if options.driving else None

    def process(path: str) -> str:
        output = target if one_file else target / f"{names[path]}.jpg"
        _check_not_same_file(path, output)
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
        return f"{_face_note(photo)}-> {output}"

    return _process_all(paths, process)


def animate(options: argparse.Namespace) -> int:
    _check_not_same_file(options.driving_file, Path(options.output))
    if options.driving_file.lower().endswith(PHOTO_EXTENSIONS):
        raise CommandError(
            f"{options.driving_file}: is a photo, and a film needs a capture or a video; for a photo's expression: "
            f"jr2net reenact {options.photo} --driving {options.driving_file} -o out.jpg"
        )
    reenactor = _load_reenactor(options)
    photo = _open(options.photo, options)
    video = reenactor.animate(
        photo,
        options.driving_file,
        pose=options.pose,
        light=options.light,
        relative=options.relative,
        smooth=not options.no_smooth,
    )
    if note := _face_note(photo):
        print(f"{options.photo}: {note.rstrip('; ')}", file=sys.stderr)
    for note in video.notes:
        print(f"{options.driving_file}: {note}", file=sys.stderr)
    progress = _Progress(video.count)
    frames = video.save(options.output, progress.show)
    progress.end()
    print(f"{options.output}: {frames} frames at {video.fps:g} fps")
    return 0


def evaluate(options: argparse.Namespace) -> int:
    from jr2net import storage
    from jr2net.evaluation import protocols
    from jr2net.evaluation.protocols.markdown import to_markdown
    from jr2net.process import use_threads

    if options.protocol is None:
        print("\n".join(f"{protocol.name:<16}{protocol.title}" for protocol in protocols.PROTOCOLS.values()))
        return 0
    protocol = protocols.find(options.protocol)
    if options.data is None:
        raise CommandError(f"{protocol.name}: give the folder of the dataset (docs/evaluation.md has its layout)")
    use_threads(1)
    _check_device(options.device)
    predictions = _predictions(options.predictions)
    weights = tuple(options.weights or ([] if predictions else [protocols.SHIPPED]))
    systems = protocols.Systems(weights, predictions, options.face_model, options.device)
    result = protocols.measure(protocol.name, options.data, systems, options.set)
    markdown = to_markdown(result)
    if options.output:
        written = {f"{protocol.name}.json": result.to_json().encode(), f"{protocol.name}.md": markdown.encode()}
        for name, content in (*written.items(), *result.files.items()):
            storage.write_bytes(storage.join(options.output, name), content)
    print(markdown, end="")
    return 0


def convert_face(options: argparse.Namespace) -> int:
    from jr2net.face.convert import convert

    model = convert(options.model, options.output, options.vertices, options.expressions)
    sizes = ", ".join(f"{count} {name}" for name, count in model.sizes.items())
    print(f"{options.output}: {len(model.mean)} vertices, {len(model.faces)} faces, bases: {sizes}")
    return 0


def import_dataset(options: argparse.Namespace) -> int:
    from jr2net.data.importing.options import plan_import
    from jr2net.data.importing.run import in_processes, in_this_process, run_import, summary
    from jr2net.process import use_threads

    if options.processes < 1:
        raise CommandError(f"--processes {options.processes}: give 1 or more")
    use_threads(1)
    plan = plan_import(options)
    execute = in_this_process() if options.processes == 1 else in_processes(options.processes)
    report = run_import(plan, execute, lambda line: print(line, file=sys.stderr, flush=True))
    for line in summary(plan, report):
        print(line)
    return 0 if report["clips"] else 1


def export_onnx(options: argparse.Namespace) -> int:
    from jr2net.inference.onnx import export_reconstructor, export_reenactor
    from jr2net.inference.reconstruction import Reconstructor
    from jr2net.inference.reenactment import Reenactor

    folder = Path(options.output)
    reconstructor = Reconstructor.load(options.weights, face_model=options.face_model)
    reenactor = Reenactor.load(
        options.weights,
        reconstructor=reconstructor,
        face_model=reconstructor.model,
        reenactor=options.reenactor,
    )
    for exported in (
        export_reconstructor(reconstructor, folder / f"{reconstructor.info.kind}.onnx"),
        export_reenactor(reenactor, folder / f"{reenactor.info.kind}.onnx"),
    ):
        size = exported.path.stat().st_size / 2**20
        print(f"{exported.path}: {size:.1f} MB, differs from PyTorch by {exported.difference:.1g} at most", flush=True)
    return 0


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


def _output_names(paths: Sequence[str], face: int | None = None) -> dict[str, str]:
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


def _process_all(paths: Sequence[str], process: Callable[[str], str]) -> int:
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


def _open(path: str, options: argparse.Namespace | None) -> Photo:
    """A photo and its face, as the options choose it; without options, its largest. Raises CommandError."""
    from jr2net.inference.photo import NoFaceError, Photo

    try:
        return Photo.open(path) if options is None else Photo.open(path, face=options.face, box=options.box)
    except NoFaceError as error:  # --box is that of the photos, not of a driving one
        raise CommandError(error.message(None if options is None else "--box ")) from None


def _face_note(photo: Photo) -> str:
    """How sure the detector is of the face, and whether there are others; nothing where the user gave its box."""
    if not photo.faces_found:
        return ""
    others = f" of {photo.faces_found} (--face chooses)" if photo.faces_found > 1 else ""
    return f"face{others}, score {photo.face.score:.2f}; "


def _check_device(name: str) -> None:
    """Raises CommandError unless this machine has the device and PyTorch can use it."""
    import torch

    if name == "cpu":
        return
    if not re.fullmatch(r"cuda(:\d+)?", name):
        raise CommandError(f"--device {name}: give cpu, cuda or cuda:NUMBER")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(name.partition(":")[2] or 0) >= count:
        raise CommandError(f"--device {name}: PyTorch finds {count} CUDA devices on this machine; use --device cpu")


def _load_reconstructor(options: argparse.Namespace) -> Reconstructor:
    from jr2net.inference.reconstruction import Reconstructor
    from jr2net.process import use_threads

    use_threads(1)
    _check_device(options.device)
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
    _check_device(options.device)
    return Reenactor.load(
        options.weights,
        face_model=options.face_model,
        device=options.device,
        precision=options.precision,
        reenactor=options.reenactor,
    )


class _Progress:
    """Frames done, their rate and the time left: on one line of a terminal, else a line now and then."""

    def __init__(self, count: int) -> None:
        self.count, self.start, self.shown_at = count, time.monotonic(), 0.0
        self.terminal = sys.stderr.isatty()

    def show(self, done: int) -> None:
        seconds = time.monotonic() - self.start
        if not self.terminal and seconds < self.shown_at + _PROGRESS_S:
            return
        self.shown_at = seconds
        rate = done / max(seconds, 1e-6)
        left = f" of {self.count}, {max(0, self.count - done) / rate:.0f} s left" if self.count else ""
        line = f"{done} frames{left}, {rate:.1f} frames/s"
        print(f"\r{line} " if self.terminal else line, end="" if self.terminal else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.terminal:
            print(file=sys.stderr)


def _check_not_same_file(source: str, output: Path) -> None:
    if Path(source).resolve() == output.resolve():
        raise CommandError(f"{output}: would overwrite the input; give another name")


def _predictions(arguments: Sequence[str]) -> dict[str, str]:
    """``NAME=FOLDER`` or ``FOLDER``, which is then named after itself, to method -> folder. Raises CommandError."""
    from jr2net.storage import base_name

    found: dict[str, str] = {}
    for argument in arguments:
        name, separator, folder = argument.partition("=")
        if not separator or "/" in name:
            name, folder = base_name(argument), argument
        if name in ("", ".") or not folder:
            raise CommandError(f"--predictions {argument}: write NAME=FOLDER")
        if name in found:
            raise CommandError(f"--predictions {argument}: a second {name}; name them apart, NAME=FOLDER")
        found[name] = folder
    return found


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
