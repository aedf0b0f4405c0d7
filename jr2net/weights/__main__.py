"""Copies the weights of a finished run into the package: ``make weights RUN=runs/laptop`` after ``make cascade``.

Networks are stored in half precision, which halves their size and changes coefficients by less than 0.001. They are
converted back to single precision when they are loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from jr2net import storage
from jr2net.errors import UserError
from jr2net.inference.weights import DETECTION, RECONSTRUCTION, REENACTMENT
from jr2net.networks.checkpoint import DESCRIPTION, load_network, read_description, save_network

WEIGHTS = Path(__file__).parent
NETWORKS = (*RECONSTRUCTION, *REENACTMENT, *DETECTION)


def copy_weights(run: str, target: Path = WEIGHTS, names: Sequence[str] = ()) -> list[Path]:
    """Copies networks from a run's storage, local or s3://, to folders of ``target``; by default all that it has.

    Raises CheckpointError or StorageError.
    """
    given = names or [name for name in NETWORKS if storage.exists(storage.join(run, name, DESCRIPTION))] or NETWORKS
    for name in given:
        source = storage.join(run, name)
        description, network = read_description(source), load_network(source)
        made_from = {**description["trained_from"], f"{name} in single precision": description["weights_sha256"]}
        half = network.to(torch.float16)
        save_network(half, target / name, description["architecture"], description["face_model"], made_from)
    return [target / name for name in given]


def main(arguments: list[str]) -> int:
    if not arguments or set(arguments[1:]) - set(NETWORKS):
        print(f"usage: python -m jr2net.weights RUN [{' | '.join(NETWORKS)} …]", file=sys.stderr)
        return 1
    try:
        kept = {name for name in NETWORKS if (WEIGHTS / name).exists()}
        for folder in copy_weights(arguments[0], names=arguments[1:]):
            kept.discard(folder.name)
            size = sum(file.stat().st_size for file in folder.iterdir()) / 2**20
            print(f"[weights] {folder}: {size:.1f} MB")
        if kept:
            print(f"[weights] {' and '.join(sorted(kept))}: not copied, the weights of the package stay")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
