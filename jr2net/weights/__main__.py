"""Copies the weights of a finished run into the package: ``make weights RUN=runs/laptop`` after ``make cascade``.

RecAugNet and DCNet are stored in half precision, which halves their size and changes coefficients by less than 0.001.
They are converted back to single precision when they are loaded.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from jr2net.errors import UserError
from jr2net.networks.checkpoint import load_network, read_description, save_network
from jr2net.storage import join

WEIGHTS = Path(__file__).parent
NETWORKS = ("recaugnet", "dcnet")


def copy_weights(run: str, target: Path = WEIGHTS) -> list[Path]:
    """Copies from a run's storage, local or s3://, to folders of ``target``. Raises CheckpointError or StorageError."""
    for name in NETWORKS:
        source = join(run, name)
        description, network = read_description(source), load_network(source)
        made_from = {**description["trained_from"], f"{name} in single precision": description["weights_sha256"]}
        half = network.to(torch.float16)
        save_network(half, target / name, description["architecture"], description["face_model"], made_from)
    return [target / name for name in NETWORKS]


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m jr2net.weights RUN", file=sys.stderr)
        return 1
    try:
        for folder in copy_weights(arguments[0]):
            size = sum(file.stat().st_size for file in folder.iterdir()) / 2**20
            print(f"[weights] {folder}: {size:.1f} MB")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
