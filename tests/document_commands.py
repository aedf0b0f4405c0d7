"""How the commands of the documents are checked: one rule for each program, by a command's first word.

``jr2net`` is executed in a folder with example files, jobs validate their configuration (``--print-config``), ``make``
plans its targets (``-n``), and ``curl`` lines are compared with the OpenAPI document. Programs that are not part of the
project are not run; the files that they name have to exist.
"""

from __future__ import annotations

import importlib
import json
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
import torch

from jobs import import_clips
from jr2net import cli
from jr2net.config import load
from jr2net.face.arkit import ARKIT_NAMES
from serve.api import create_api
from serve.settings import check_settings, load_settings

ROOT = Path(__file__).parents[1]
FOLDERS = ("benchmarks", "cluster", "configs", "docs", "jobs", "jr2net", "serve", "tests")
FILES = ("LICENSE", "Makefile", "README.md", "constraints.txt", "pyproject.toml")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKE_VARIABLES = ("CONFIG", "ARGS", "SETTINGS", "RUN")

ABSENT = ("~/", "01_MorphableModel.mat", "s3://")
"""What a reader has and the tests do not: commands that name it are parsed, and not executed."""

COPIES = {"cluster/kubernetes/overlays/mine": "cluster/kubernetes/overlays/eks", "my-cluster/": "cluster/"}
"""Folders that the documents make from others."""

HOSTS = ("http://127.0.0.1:8000", "https://jr2net.example.com")


def check(words: list[str], folder: Path) -> None:
    """Checks one command in ``folder``. Raises AssertionError."""
    while re.fullmatch(r"[A-Z][A-Z0-9_]*=.*", words[0]):  # an environment variable in front of the command
        words = words[1:]
    rule = RULES.get(words[0].rpartition("/")[2])
    assert rule is not None, f"{words[0]}: no rule for this command; add one to tests/document_commands.py"
    rule(words[1:], folder)


def check_jr2net(words: list[str], folder: Path) -> None:
    options = cli.build_parser().parse_args(words)
    assert options.run is not None, "names no subcommand"
    absent = any(word.startswith(ABSENT) for word in words) or getattr(options, "camera", None) is not None
    if absent or (getattr(options, "device", "cpu") == "cuda" and not torch.cuda.is_available()):
        return
    if getattr(options, "runtime", "torch") == "openvino":
        pytest.importorskip("openvino")
        pytest.importorskip("nncf")
    assert cli.main(words) == 0
    assert options.output is None or (folder / options.output).exists()


def check_python(words: list[str], folder: Path) -> None:
    if words[0] == "-m":
        assert words[1].startswith("jr2net."), f"python -m {words[1]}: no rule"
        outputs = {word: folder / Path(word).name for word in words[2:] if word.startswith("docs/")}
        arguments = [str(outputs.get(word, word)) for word in words[2:]]
        assert run_in_process(partial(runpy.run_module, words[1]), [words[1], *arguments]) in (0, None)
        assert outputs and all(path.is_file() for path in outputs.values())
    elif words[0] == "jobs/import_clips.py":
        options = import_clips.build_parser().parse_intermixed_args(words[1:])
        assert options.config is None or load(ROOT / options.config, options.overrides)
    elif words[0].startswith("jobs/"):
        ended = run_in_process(partial(runpy.run_path, str(ROOT / words[0])), [*words, "--print-config"])
        assert ended == 0, f"status {ended}"
    else:
        assert words[0].startswith("tests/") and (ROOT / words[0]).is_file(), f"{words[0]}: not a script of tests/"


def run_in_process(program: Callable[..., object], arguments: list[str]) -> object:
    """Runs a program in this process, which has imported Ray and torch, at the root; returns its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(sys, "argv", arguments)
        try:
            program(run_name="__main__")
        except SystemExit as ended:
            return ended.code
    return 0


def check_make(words: list[str], folder: Path) -> None:
    variables = dict(word.split("=", 1) for word in words if "=" in word)
    targets = [word for word in words if "=" not in word]
    assert set(variables) <= set(MAKE_VARIABLES)
    done = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    arguments = shlex.split(variables.get("ARGS", ""))
    if targets == ["cascade"]:
        load(ROOT / variables.get("CONFIG", "configs/laptop.yaml"), arguments)
    elif targets == ["serve"]:
        load_settings(ROOT / variables.get("SETTINGS", "configs/serve-laptop.yaml"), arguments)
    elif targets == ["bench"]:
        assert all((ROOT / "benchmarks" / f"bench_{name}.py").is_file() for name in arguments)
    else:
        check_files(arguments, folder)


def check_curl(words: list[str], folder: Path) -> None:
    fields, body, urls = [], False, []
    rest = iter(words)
    for word in rest:
        if word in ("-F", "--form"):
            fields.append(next(rest).partition("="))
        elif word == "--data-binary":
            body = True
            fields.append(("", "=", next(rest)))
        elif word in ("-o", "--output", "--header", "-H"):
            next(rest)
        else:
            assert not word.startswith("-"), f"{word}: an option that this test does not know"
            urls.append(word)
    (url,) = urls
    parts = urlsplit(url)
    assert f"{parts.scheme}://{parts.netloc}" in HOSTS
    operations = openapi()["paths"].get(parts.path)
    assert operations, f"{parts.path}: no such path; there are {', '.join(openapi()['paths'])}"
    operation = operations["post" if fields else "get"]
    known = {item["name"] for item in operation.get("parameters", []) if item["in"] == "query"}
    assert set(parse_qs(parts.query, strict_parsing=bool(parts.query))) <= known, f"query parameters are {known}"
    content = operation.get("requestBody", {}).get("content", {})
    if body:
        assert "application/octet-stream" in content
    elif fields:
        schema = content["multipart/form-data"]["schema"]
        names = {name for name, _, _ in fields}
        assert set(schema["required"]) <= names <= set(schema["properties"]), f"fields are {[*schema['properties']]}"
    for name, _, value in fields:
        if value.startswith("@"):
            assert (folder / value[1:]).is_file(), f"{value}: no such example file"
        elif name == "expression":
            assert set(json.loads(value)) <= set(ARKIT_NAMES)


def check_serve(words: list[str], folder: Path) -> None:
    verb, target, *arguments = words
    if verb == "deploy":
        assert words[-1] == "my-cluster/serve.yaml", "envsubst makes it from configs/serve.yaml"
        return
    assert verb == "run", f"serve {verb}: no rule"
    module, _, name = target.partition(":")
    getattr(importlib.import_module(module), name)(dict(argument.split("=", 1) for argument in arguments))
    check_files(arguments, folder)


def check_ray(words: list[str], folder: Path) -> None:
    if words[:2] == ["job", "submit"] and "--" in words:
        check(words[words.index("--") + 1 :], folder)
        words = words[: words.index("--")]
    check_files(words, folder)


def check_pip(words: list[str], folder: Path) -> None:
    assert words[0] == "install"
    check_files(words, folder)
    for word in words:
        if match := re.fullmatch(r"(?:\.|jr2net)\[(.+)\]", word):
            assert set(match[1].split(",")) <= set(PROJECT["optional-dependencies"]), f"{word}: no such extra"
        if "mediapipe" in word:
            assert word in (ROOT / "Makefile").read_text()


def check_files(words: list[str], folder: Path) -> None:
    """Every path of the repository among the words exists."""
    for word in words:
        path = (word.partition("=")[2] or word).removeprefix("file://")
        for copy, original in COPIES.items():
            path = original + path.removeprefix(copy) if path.startswith(copy) else path
        if "$" in path or path in ("cluster/token", "cluster/keys"):
            continue  # of a shell variable, or the reader's own
        if path in FILES or (path.split("/")[0] in FOLDERS and "/" in path):
            assert any(ROOT.glob(path.rstrip("/"))), f"{path}: not in the repository"


def check_envsubst(words: list[str], folder: Path) -> None:
    """A file of the repository, with names put in, becomes one of the reader's own folder."""
    _, read, source, write, target = words
    assert (read, write) == ("<", ">") and target.startswith("my-cluster/")
    check_files([source], folder)


def nothing(words: list[str], folder: Path) -> None:
    """Shell syntax and moves that need no check."""


RULES: dict[str, Callable[[list[str], Path], None]] = {
    "jr2net": check_jr2net,
    "python": check_python,
    "make": check_make,
    "curl": check_curl,
    "serve": check_serve,
    "ray": check_ray,
    "pip": check_pip,
    "envsubst": check_envsubst,
    **dict.fromkeys(("aws", "cp", "docker", "eksctl", "git", "helm", "kubectl", "tensorboard"), check_files),
    **dict.fromkeys(("cd", "done", "export", "for", "mkdir", "openssl", "source"), nothing),
}


@cache
def openapi() -> dict:
    """The document of the HTTP API; no network is needed to describe it."""
    weights = {"weights": "nowhere"}
    settings = check_settings({"reconstruction": weights, "reenactment": weights})
    service = SimpleNamespace(settings=settings)
    return create_api(service, None).openapi()  # type: ignore[arg-type]
