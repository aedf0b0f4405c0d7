"""The common command line of all jobs: ``--config configs/X.yaml [key=value …]``, a cluster, one-line errors."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from operator import attrgetter

from jobs.ray_settings import connect
from jr2net import storage
from jr2net.config import Config, load, to_yaml
from jr2net.errors import UserError
from jr2net.evaluation import protocols
from jr2net.run.cascade import ALL_STAGES, Run
from jr2net.run.pretrained import check_pretrained
from jr2net.run.redo import redo
from jr2net.settings import ConfigError, absolute_paths

PATHS = (
    "storage",
    "face.model",
    "face.expression_file",
    "data.clips",
    "data.test_clips",
    "data.studio.captures",
    "recnet.clips",
    "dcnet.clips",
    "recnet.backbone.weights",
    "recnet.embedder",
    "dcnet.vgg19",
    "dcnet.start",
    "flow3d.vgg19",
    "synthesis.sources",
    "synthesis.captures",
    "synthesis.driving",
    "synthesis.reader",
    "etnet.backbone.weights",
    "detector.start",
    "evaluation.inception",
    "evaluation.embedder",
    "evaluation.protocols",
)
"""Settings that are paths."""


def main(
    description: str | None,
    work: Callable[[Run, argparse.Namespace], object],
    arguments: Sequence[str] | None = None,
    extend: Callable[[argparse.ArgumentParser], None] | None = None,
) -> int:
    """Parses the command line, connects to Ray and runs ``work``; returns the exit status.

    Every UserError is printed as one message without a traceback.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if extend is not None:
        extend(parser)
    parser.add_argument("--config", required=True, help="a file of configs/")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings, e.g. recnet.optimizer.steps=100")
    parser.add_argument(
        "--gpus",
        type=int,
        metavar="N",
        help="scale the file's batch sizes, learning rates and steps from scaling.workers to N GPUs",
    )
    parser.add_argument("--print-config", action="store_true", help="print the resolved configuration and exit")
    parser.add_argument(
        "--redo",
        action="append",
        default=[],
        choices=ALL_STAGES,
        help="delete this stage and all that was made from it, so that they are made again",
    )
    parser.add_argument("--relative-to", metavar="FOLDER", help="base of relative paths (default: working directory)")
    options = parser.parse_intermixed_args(arguments)
    try:
        config = resolve_paths(load(options.config, options.overrides, options.gpus), options.relative_to)
        if options.print_config:
            print(to_yaml(config), end="")
            return 0
        check_pretrained(config)
        protocols.check(config.evaluation.protocols)
        storage.check_writable(config.storage)
        run = Run(config)
        connect()
        redo(run, options.redo)
        work(run, options)
    except UserError as error:
        print(f"error: {root_message(error)}", file=sys.stderr, flush=True)
        return 1
    return 0


def resolve_paths(config: Config, base: str | None) -> Config:
    """The configuration with absolute paths, so that workers on any machine can use them.

    Raises ConfigError for a relative path in a submitted job, which runs in a temporary copy of the working directory.
    """
    resolved = absolute_paths(config, PATHS, base or ".")
    if base is None and "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        for field in PATHS:
            if (value := attrgetter(field)(config)) != attrgetter(field)(resolved):
                raise ConfigError(
                    f"{field} = {value!r} is a relative path, and this job runs in a temporary copy of your folder: "
                    f"give an absolute path or s3://…, or add --relative-to FOLDER"
                )
    return resolved


def root_message(error: BaseException) -> str:
    """The message of an error's root cause, without the remote traceback that Ray adds."""
    cause = getattr(error, "cause", None)
    return root_message(cause) if isinstance(cause, BaseException) else str(error)
