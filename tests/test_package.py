"""The package: what the wheel holds, what it needs, and that a newcomer who installs it gets everywhere with it."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
from collections.abc import Callable
from email.parser import BytesParser
from pathlib import Path

import cv2
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from jr2net import storage
from jr2net.config import load, shipped_config
from jr2net.errors import StorageError
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.settings import ConfigError
from jr2net.training.board import Board

ROOT = Path(__file__).parents[1]
REAL_GROUND = Path(os.environ.get("JR2NET_REAL_GROUND", ROOT.parent / "shared"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DETECTOR = "mediapipe==0.10.21"
NOT_IN_THE_CORE = {"ray", "boto3", "tensorboard", "fastapi"}

SAMPLE = ROOT / "serve" / "page" / "sample.jpg"
SAMPLE_BOX = "153,158,510,516"
API = """
from jr2net import Photo, Reconstructor, Reenactor
photo = Photo.open("me.jpg")
face = Reconstructor.load()(photo)
face.expression["jawOpen"]
face.save("me.glb")
face.save("me.obj")
face.save("me.json")
reenactor = Reenactor.load()
reenactor(photo, {"jawOpen": 0.8}).save("out.jpg")
reenactor(photo, driving=Photo.open("other.jpg"), pose=True).save("out2.jpg")
reenactor.animate(photo, "capture.csv").save("out.mp4")
"""
"""The library's front door, as the README shows it."""
EVERY_MODULE = """
import importlib, pathlib, jr2net
package = pathlib.Path(jr2net.__file__).parent
for path in sorted(package.rglob("*.py")):
    if path.name != "__main__.py":
        importlib.import_module(".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__"))
"""


def _build(source: Path, target: Path) -> tuple[Path, Path]:
    """The sdist of a folder, and the wheel of that sdist. Asks no network."""
    pytest.importorskip("hatchling", reason="the test extra's `hatchling` is not installed")
    _run([sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", target], source)
    (sdist,) = target.glob("*.tar.gz")
    wheel = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation"]
    _run([*wheel, "--wheel-dir", target, sdist], target)
    (built,) = target.glob("*.whl")
    return sdist, built


def _run(command: list[str | Path], folder: Path, fails: bool = False) -> subprocess.CompletedProcess[str]:
    """Runs a command in a folder, without this checkout on its path; what it said is in the assertion's message."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True)
    assert (done.returncode != 0) == fails, f"{command}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(ROOT, tmp_path_factory.mktemp("dist"))[1]


def test_the_wheel_holds_the_library_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    metadata = {name for name in names if name.startswith(f"jr2net-{PROJECT['version']}.dist-info/")}
    assert f"jr2net-{PROJECT['version']}.dist-info/licenses/LICENSE" in metadata
    code = {path.relative_to(ROOT).as_posix() for path in (ROOT / "jr2net").rglob("*.py")}
    data = {
        "jr2net/py.typed",
        *(f"jr2net/report/{name}" for name in ("report.css", "report.html.j2", "ablation.html.j2", "tables.html.j2")),
        *(
            f"jr2net/weights/{name}/{file}"
            for name in ("recaugnet", "dcnet", "flow3d", "detector")
            for file in ("README.md", "model.json", "model.safetensors")
        ),
        *(f"jr2net/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "configs").rglob("*.yaml")),
    }
    assert names - metadata == code | data


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        folder = f"jr2net-{PROJECT['version']}.dist-info"
        metadata = BytesParser().parsebytes(archive.read(f"{folder}/METADATA"))
        commands = archive.read(f"{folder}/entry_points.txt").decode()
    assert (metadata["Name"], metadata["License-Expression"]) == ("jr2net", "MIT")
    assert set(metadata.get_all("Provides-Extra")) == {"cluster", "heic", "serve", "onnx", "openvino", "test"}
    assert "jr2net = jr2net.cli:main" in commands
    assert "MIT License" in (ROOT / "LICENSE").read_text()


def test_what_the_library_imports_when_it_is_imported_is_a_dependency() -> None:
    owners = importlib.metadata.packages_distributions()
    declared = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    assert not declared & NOT_IN_THE_CORE
    imported = set()
    for path in (ROOT / "jr2net").rglob("*.py"):
        for module in _imports(ast.parse(path.read_text())):
            if module in sys.stdlib_module_names or module == "jr2net":
                continue
            distributions = {canonicalize_name(name) for name in owners[module]}
            assert distributions & declared, f"{path.relative_to(ROOT)}: {module} is not in pyproject.toml"
            imported |= distributions
    assert declared <= imported, "nothing imports these"


def _imports(module: ast.Module) -> set[str]:
    """Top-level names of what a module imports outside of its functions."""
    found, waiting = set(), [node for node in module.body if not isinstance(node, ast.If)]  # if TYPE_CHECKING
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(str(node.module).partition(".")[0])
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += ast.iter_child_nodes(node)
    return found


def test_constraints_pin_what_is_asked_for_and_name_no_place() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)  # no paths, addresses or builds (+cpu)
    pinned = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    asked = [*PROJECT["dependencies"], *(line for lines in PROJECT["optional-dependencies"].values() for line in lines)]
    for requirement in map(Requirement, asked):
        if requirement.name != "jr2net":
            assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), str(requirement)


def test_the_detector_is_the_same_everywhere() -> None:
    for name in ("Makefile", "cluster/Dockerfile", "docs/data.md", "jr2net/images/mediapipe_detector.py"):
        assert set(re.findall(r"mediapipe==[\d.]+", (ROOT / name).read_text())) == {DETECTOR}, name


def test_configurations_are_found_by_name() -> None:
    assert load(shipped_config("laptop")) == load(ROOT / "configs" / "laptop.yaml")
    with pytest.raises(ConfigError, match=r"there are: .*laptop"):
        shipped_config("labtop")


def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("boto3", "botocore", "botocore.config", "botocore.exceptions"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9/without-boto3")  # no client was made for it before
    with pytest.raises(StorageError, match=r"jr2net\[cluster\]"):
        storage.put_once("s3://bucket/file", b"")
    with pytest.raises(StorageError, match=r"jr2net\[cluster\]"):
        list(storage.iter_files("s3://bucket/folder"))


def test_without_tensorboard_a_training_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    board = Board(str(tmp_path), 1)
    for _ in range(2):
        board.write([], {})
    assert capsys.readouterr().out.count("jr2net[cluster]") == 1
    assert list(tmp_path.iterdir()) == []


class Newcomer:
    """A fresh environment with the wheel in it, and an empty folder to work in."""

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self.programs, self.folder, self.tell = folder / "environment" / "bin", folder / "work", tell
        self.folder.mkdir(parents=True)

    def do(self, *command: str | Path, fails: bool = False) -> subprocess.CompletedProcess[str]:
        start = time.monotonic()
        done = _run([self.programs / command[0], *command[1:]], self.folder, fails)
        shown = " ".join(part.name if isinstance(part, Path) else part.strip().partition("\n")[0] for part in command)
        self.tell(f"[newcomer] {time.monotonic() - start:5.1f} s  {shown}")
        return done

    def can_import(self, module: str) -> bool:
        question = f"import importlib.util as u; print(u.find_spec({module!r}) is not None)"
        return _run([self.programs / "python", "-c", question], self.folder).stdout.strip() == "True"


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Newcomer:
    """Has built the last commit and installed its wheel, with nothing else."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def tell(line: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{line}", end="", flush=True)

    folder = tmp_path_factory.mktemp("newcomer")
    clean = folder / "clean"
    if not (ROOT / ".git").exists():
        pytest.skip("a clean copy is made with git, and this folder is no clone")
    _run(["git", "archive", "--output", folder / "clean.tar", "HEAD"], ROOT)
    with tarfile.open(folder / "clean.tar") as archive:
        archive.extractall(clean, filter="data")
    made = Newcomer(folder, tell)
    _, wheel = _build(clean, folder)
    _run([sys.executable, "-m", "venv", made.programs.parent], folder)
    made.do("pip", "install", "--quiet", "--constraint", clean / "constraints.txt", wheel)
    return made


@pytest.fixture(scope="module")
def newcomer_with_detector(newcomer: Newcomer) -> Newcomer:
    command = [newcomer.programs / "pip", "install", "--quiet", "--no-deps", DETECTOR]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"the face detector cannot be had here: {done.stderr.strip()[-200:]}")
    return newcomer


@pytest.mark.drill
def test_a_newcomer_needs_no_cluster(newcomer: Newcomer) -> None:
    assert not {module for module in NOT_IN_THE_CORE if newcomer.can_import(module)}
    said = newcomer.do("jr2net", "--help").stdout
    assert all(command in said for command in ("reconstruct", "reenact", "animate"))
    imported = newcomer.do("python", "-X", "importtime", "-c", "import jr2net").stderr
    assert "jr2net" in imported and not re.search(r"\btorch\b", imported)
    newcomer.do("python", "-c", "from jr2net.config import load, shipped_config; load(shipped_config('laptop'))")
    newcomer.do("python", "-c", EVERY_MODULE)


@pytest.mark.drill
def test_a_newcomer_needs_no_other_detector(newcomer: Newcomer) -> None:
    """Before ``newcomer_with_detector``, which installs one into the same environment."""
    if newcomer.can_import("mediapipe"):
        pytest.skip("another test has installed the detector already")
    newcomer.do("jr2net", "reconstruct", SAMPLE, "-o", "found/")
    _check_files(newcomer.folder / "found")
    newcomer.do("jr2net", "reconstruct", SAMPLE, "-o", "boxed/", "--box", SAMPLE_BOX)
    _check_files(newcomer.folder / "boxed")


@pytest.mark.drill
@pytest.mark.parametrize("kind", ["synthetic", "real"])
def test_a_newcomer_with_photos(newcomer_with_detector: Newcomer, kind: str) -> None:
    newcomer = newcomer_with_detector
    work = newcomer.folder
    _write_capture(work / "capture.csv")
    for photo, other in _photos(kind, work):
        height, width = cv2.imread(str(photo)).shape[:2]
        out = work / photo.stem
        out.mkdir()
        newcomer.do("jr2net", "reconstruct", photo, "-o", f"{photo.stem}/face/")
        _check_files(out / "face")
        newcomer.do("jr2net", "reenact", photo, "--set", "jawOpen=0.8", "-o", f"{photo.stem}/acting.jpg")
        assert cv2.imread(str(out / "acting.jpg")).shape == (height, width, 3)
        newcomer.do("jr2net", "animate", photo, "capture.csv", "-o", f"{photo.stem}/acting.mp4")
        assert (out / "acting.mp4").read_bytes()[4:8] == b"ftyp"

        (work / "me.jpg").write_bytes(photo.read_bytes())
        (work / "other.jpg").write_bytes(other.read_bytes())
        newcomer.do("python", "-c", API)
        assert (work / "me.glb").read_bytes().startswith(b"glTF")
        assert "\nf " in (work / "me.obj").read_text()
        assert json.loads((work / "me.json").read_text())
        for name in ("out.jpg", "out2.jpg"):
            assert cv2.imread(str(work / name)).shape == (height, width, 3)
        assert (work / "out.mp4").read_bytes()[4:8] == b"ftyp"
        for made in [*work.glob("me.*"), *work.glob("out*.*")]:
            made.unlink()


def _photos(kind: str, folder: Path) -> list[tuple[Path, Path]]:
    """Photos, each with another one that drives it."""
    if kind == "synthetic":
        mirrored = folder / "mirrored.jpg"
        cv2.imwrite(str(mirrored), cv2.flip(cv2.imread(str(SAMPLE)), 1))
        return [(SAMPLE, mirrored)]
    photos = sorted((REAL_GROUND / "data" / "raw").glob("*.jpg"))
    if not photos:
        pytest.skip(f"no real photos: {REAL_GROUND}/data/raw has none (set JR2NET_REAL_GROUND)")
    return list(zip(photos, [*photos[1:], photos[0]], strict=True))


def _write_capture(path: Path, frames: int = 15) -> None:
    """Half a second of Live Link Face's CSV: a mouth that opens."""
    names = ["Timecode", "BlendShapeCount", *(name[0].upper() + name[1:] for name in ARKIT_NAMES)]
    rows = [
        [f"00:00:01:{frame:06.3f}", "52", *(f"{(name == 'jawOpen') * frame / frames:.3f}" for name in ARKIT_NAMES)]
        for frame in range(frames)
    ]
    path.write_text("\n".join(",".join(row) for row in [names, *rows]) + "\n")


def _check_files(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files and all(path.stat().st_size for path in files)
