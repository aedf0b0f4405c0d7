"""Which package may import which, no circles, and nothing of Ray in the library.

The order is the one of ``docs/architecture.md``: data flows down, a package imports only those above it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "errors", "process", "device", "settings", "config", "storage",  # the foundation
    "face", "render", "networks", "training",
    "images", "expressions", "studio", "data",
    "inference", "synthesis", "evaluation", "run", "report",
    "weights", "cli", "__main__",
)  # fmt: skip
OUTSIDE = ("ray", "jobs", "serve", "benchmarks", "fastapi", "starlette")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, whether it is imported when the file is), of every import of a file."""
    tree = ast.parse(path.read_text())
    at_once = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((name.name, id(node) in at_once) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = [f"{node.module}.{name.name}" for name in node.names]
            known = [name for name in submodules if module_path(name)]
            yield from ((name, id(node) in at_once) for name in known or [node.module])


def module_path(name: str) -> Path | None:
    path = ROOT.joinpath(*name.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = sorted(
    path for path in (ROOT / "jr2net").rglob("*.py") if path.name != "__init__.py" or path.parent.name != "jr2net"
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_package_imports_only_packages_above_it(path: Path) -> None:
    package = module_name(path).split(".")[1]
    allowed = PACKAGES[: PACKAGES.index(package) + 1]
    wrong = [name for name, _ in imports(path) if name.startswith("jr2net.") and name.split(".")[1] not in allowed]
    assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}, which lie below {package}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_library_knows_nothing_of_ray_or_http(path: Path) -> None:
    wrong = [name for name, _ in imports(path) if name.split(".")[0] in OUTSIDE]
    assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_trainings_and_checkpoints_know_which_reenactors_there_are(path: Path) -> None:
    """Everybody else has the contract of ``render.scene``; coordinates of a volume are no network."""
    if module_name(path).startswith(("jr2net.networks.", "jr2net.training.", "jr2net.run.trainings")):
        return
    networks = ("jr2net.networks.dcnet", "jr2net.networks.flow3d")
    wrong = [name for name, _ in imports(path) if name.startswith(networks) and not name.endswith(".geometry")]
    assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_no_module_imports_itself_through_others() -> None:
    graph = {
        module_name(path): {name for name, at_once in imports(path) if at_once and name.startswith("jr2net")}
        for path in FILES
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join([*trail[trail.index(module) :], module])
        if module in done:
            return
        for other in graph.get(module, ()):
            if other != module:
                visit(other, (*trail, module))
        done.add(module)

    for module in graph:
        visit(module, ())


def test_no_file_is_longer_than_400_lines() -> None:
    folders = ("jr2net", "jobs", "serve", "benchmarks", "tests")
    lengths = {path: len(path.read_text().splitlines()) for folder in folders for path in (ROOT / folder).rglob("*.py")}
    assert not {str(path.relative_to(ROOT)): length for path, length in lengths.items() if length > 400}
