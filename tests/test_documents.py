"""The commands and snippets of README.md, docs/ and cluster/README.md run, and what these documents name exists.

Every command in a ``bash`` block has a rule in ``document_commands``; one without a rule fails. ``python`` blocks are
executed in a folder with example files; the blocks of one document share their names.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from document_commands import RULES, check, check_files, check_make, openapi
from pydantic import BaseModel

from jr2net.config import Config
from jr2net.data.pairs import Pair, encode_pair_shard
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.images.video import encode_mp4
from serve.settings import Settings

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "cluster" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SAMPLE, SAMPLE_BOX = ROOT / "serve" / "page" / "sample.jpg", (153.0, 158.0, 510.0, 516.0)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LANGUAGES = ("bash", "python", "text", "mermaid", "bibtex")


def blocks(path: Path, language: str) -> list[str]:
    return [content for tag, content in FENCE.findall(path.read_text()) if tag == language]


def prose(path: Path) -> str:
    """A document without its fenced blocks."""
    return FENCE.sub("", path.read_text())


def quoted(path: Path) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`\n]+)`", prose(path))


def commands() -> Iterator[str]:
    """Every command line of every document, once."""
    lines = (line for path in DOCUMENTS for block in blocks(path, "bash") for line in block.splitlines())
    yield from dict.fromkeys(filter(None, (line.partition("  #")[0].strip() for line in lines)))


# The folder in which commands and snippets run


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """me.jpg, other.jpg, holidays/, capture.csv, clip.mp4 and a run's folder with networks and pairs."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copy(SAMPLE, folder / "me.jpg")
    image = cv2.imread(str(SAMPLE))
    cv2.imwrite(str(folder / "other.jpg"), cv2.flip(image, 1))
    (folder / "holidays").mkdir()
    cv2.imwrite(str(folder / "holidays" / "beach.jpg"), cv2.resize(image, None, fx=0.75, fy=0.75))
    names = ["Timecode", "BlendShapeCount", *(name[:1].upper() + name[1:] for name in ARKIT_NAMES)]
    rows = [[f"00:00:01:{frame:06.3f}", "52", *[f"{frame / 10}"] * len(ARKIT_NAMES)] for frame in range(3)]
    (folder / "capture.csv").write_text("\n".join(",".join(row) for row in [names, *rows]) + "\n")
    frames = [cv2.cvtColor(np.roll(image, 4 * k, 1), cv2.COLOR_BGR2RGB) for k in range(2)]
    (folder / "clip.mp4").write_bytes(b"".join(encode_mp4(frames, 25, None)))

    run = folder / "runs" / "laptop"
    for network in ("recaugnet", "dcnet"):
        shutil.copytree(ROOT / "jr2net" / "weights" / network, run / network)
    pairs = run / "synthesis" / "pairs" / "00"
    pairs.mkdir(parents=True)
    pair = Pair("0" * 32, SAMPLE.read_bytes(), np.zeros(51, np.float32), "me", "sampler/large", 0)
    (pairs / "pairs-000000.parquet").write_bytes(encode_pair_shard("pairs", [pair]))
    return folder


@pytest.fixture
def work(examples: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of examples as working directory."""
    monkeypatch.chdir(examples)
    monkeypatch.setenv("HF_HOME", str(examples / "cache"))
    return examples


# Commands and snippets

DRILLS = ("export onnx", "python -m jr2net.")
"""Parts of commands that take long."""
EXTRAS = {"jr2net.inference.onnx": "onnxruntime", "ray.tune": "ray", "mlflow": "mlflow"}
"""Modules of extras that take long, or that are no dependency, and what they need."""


def programs(line: str) -> Iterator[list[str]]:
    """The commands of a line, one after another or piped."""
    words: list[str] = []
    for word in [*shlex.split(line, comments=True), "&&"]:
        if word not in ("&&", "|", "&"):
            words.append(word)
        elif words:
            yield words
            words = []


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(line, marks=pytest.mark.drill if any(part in line for part in DRILLS) else ())
        for line in commands()
    ],
    ids=lambda line: line.encode("ascii", "replace").decode(),
)
def test_commands(line: str, work: Path) -> None:
    if "export onnx" in line:
        pytest.importorskip("onnxruntime")
    for words in programs(line):
        check(words, work)


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if blocks(path, "python")], ids=named)
def test_snippets(path: Path, work: Path) -> None:
    run_snippets(path, [block for block in blocks(path, "python") if not any(name in block for name in EXTRAS)])


@pytest.mark.drill
@pytest.mark.parametrize("module", EXTRAS)
def test_snippets_of_extras(module: str, work: Path) -> None:
    pytest.importorskip(EXTRAS[module])
    others = EXTRAS.keys() - {module}
    for path in DOCUMENTS:
        if any(module in block for block in blocks(path, "python")):
            run_snippets(path, [block for block in blocks(path, "python") if not any(name in block for name in others)])


def run_snippets(path: Path, snippets: list[str]) -> None:
    names: dict[str, object] = {"__name__": "document"}
    for number, snippet in enumerate(snippets, 1):
        exec(compile(snippet, f"{named(path)}, Python block {number}", "exec"), names)


# Names


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_blocks_are_tagged_so_that_no_command_escapes(path: Path) -> None:
    text = path.read_text()
    assert text.count("```") == 2 * len(FENCE.findall(text)), "a fenced block that is not closed or not at the margin"
    tags = {tag for tag, _ in FENCE.findall(text)}
    assert tags <= set(LANGUAGES), f"tags are {LANGUAGES}"
    program = re.compile(rf"^\s*(?:\$ )?(?:{'|'.join(RULES)}) ")
    untagged = [line for block in blocks(path, "text") for line in block.splitlines()]
    untagged += [line for line in prose(path).splitlines() if line.startswith("    ")]
    assert not [line for line in untagged if program.match(line)], "commands belong into a block tagged bash"


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if target.startswith(("https://", "http://")):
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), f"{target}: no such file"
        assert not anchor or anchor in headings(linked), f"{target}: headings are {sorted(headings(linked))}"


def headings(path: Path) -> set[str]:
    """The anchors that a Markdown reader makes of a document's headings."""
    found = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_paths_targets_and_settings_in_backticks_exist(path: Path) -> None:
    for text in quoted(path):
        if re.fullmatch(r"[\w./*-]+", text):
            check_files([text], path)
        if text.startswith("make "):
            check_make(shlex.split(text)[1:], path)
        if text.startswith(("/v1/", "/healthz", "/readyz")):
            assert text in {*openapi()["paths"], "/v1/stream"}, text
        for word in text.split():
            key = re.fullmatch(r"([a-z]\w*(?:\.\w+)+)(?:=.*)?", word)
            sections = {*Config.model_fields, *Settings.model_fields}
            if key and key[1].partition(".")[0] in sections and not word.endswith((".npz", ".onnx")):
                assert is_setting(key[1], Config) or is_setting(key[1], Settings), f"{word}: no such setting"


def is_setting(key: str, section: type[BaseModel]) -> bool:
    for name in key.split("."):
        if not (isinstance(section, type) and issubclass(section, BaseModel)) or name not in section.model_fields:
            return False
        section = section.model_fields[name].annotation  # type: ignore[assignment]
    return True


def test_the_readme_is_short_and_its_tree_is_the_repository() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 120
    (tree,) = blocks(ROOT / "README.md", "text")
    for line in tree.splitlines():
        indent, names = re.match(r"( *)([\w./]+(?:, [\w./]+)*)", line).groups()  # type: ignore[union-attr]
        for name in names.split(", "):
            assert (ROOT / ("jr2net" if indent else "") / name).exists(), name
    packages = {file.parent.name for file in (ROOT / "jr2net").glob("*/*.py")} - {"weights"}
    assert not [package for package in packages if f"{package}/" not in tree]


def test_model_cards_are_of_the_shipped_weights() -> None:
    for card in (ROOT / "docs" / "model-cards").glob("*.md"):
        description = json.loads((ROOT / "jr2net" / "weights" / card.stem / "model.json").read_text())
        digests = [description["weights_sha256"], description["face_model"]]
        assert re.findall(r"`([0-9a-f]{64})`", card.read_text()) == digests, named(card)


def test_every_document_is_in_the_index() -> None:
    readme = (ROOT / "README.md").read_text()
    assert not [named(path) for path in DOCUMENTS[1:] if f"({named(path)})" not in readme]
