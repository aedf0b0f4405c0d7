"""What every job's command line has in common: ``--config configs/X.yaml [key=value …]``, a cluster, plain errors."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jobs.ray_settings import connect
from jr2net import storage
from jr2net.config import Config, ConfigError, load, to_yaml
from jr2net.errors import UserError
from jr2net.run.cascade import STAGES, Run

PATHS = (
    "storage",
    "face.model",
    "face.expression_file",
    "data.clips",
    "data.test_clips",
    "recnet.backbone.weights",
    "recnet.embedder",
    "dcnet.vgg19",
    "synthesis.sources",
    "synthesis.captures",
    "synthesis.driving",
    "synthesis.reader",
    "etnet.backbone.weights",
)
"""Settings that name files or folders."""


def main(
    description: str | None,
    work: Callable[[Run, argparse.Namespace], None],
    arguments: Sequence[str] | None = None,
    extend: Callable[[argparse.ArgumentParser], None] | None = None,
) -> int:
    """Parses, connects to Ray, does ``work`` and returns the exit status; expected errors become one plain message."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if extend is not None:
        extend(parser)
    parser.add_argument("--config", required=True, help="a file of configs/")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings, e.g. recnet.optimizer.steps=100")
    parser.add_argument("--print-config", action="store_true", help="show the resolved configuration and stop")
    parser.add_argument("--force", action="append", default=[], choices=STAGES, help="run this stage though it is done")
    parser.add_argument("--relative-to", metavar="FOLDER", help="where relative paths begin (default: here)")
    options = parser.parse_intermixed_args(arguments)
    try:
        config = place(load(options.config, options.overrides), options.relative_to)
        if options.print_config:
            print(to_yaml(config), end="")
            return 0
        storage.check_writable(config.storage)
        run = Run(config)
        connect()
        for stage in options.force:
            storage.empty_folder(run.folder(stage))
        work(run, options)
    except UserError as error:
        print(f"error: {plain(error)}", file=sys.stderr, flush=True)
        return 1
    return 0


def place(config: Config, folder: str | None) -> Config:
    """The configuration with absolute paths, so that a worker anywhere understands them.

    Raises ConfigError for a relative path in a submitted job, which runs in a temporary copy of the working directory.
    """
    tree = config.model_dump(mode="json")
    for field in PATHS:
        *sections, name = field.split(".")
        node: dict[str, Any] = tree
        for section in sections:
            node = node[section]
        value = node[name]
        if value is None or storage.is_remote(value) or Path(value).expanduser().is_absolute() or value == "procedural":
            continue
        if folder is None and "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
            raise ConfigError(
                f"{field} = {value!r} is a relative path, and this job runs in a temporary copy of your folder: "
                f"give an absolute path or s3://…, or say --relative-to FOLDER"
            )
        node[name] = str(Path(folder or ".", value).absolute())
    return Config.model_validate(tree)


def plain(error: BaseException) -> str:
    """An error's message, without the remote traceback that Ray wraps around it."""
    cause = getattr(error, "cause", None)
    return plain(cause) if isinstance(cause, BaseException) else str(error)
