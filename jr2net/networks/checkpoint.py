"""Saved networks: ``model.safetensors`` (weights) and ``model.json`` (kind, architecture and provenance).

Saving is deterministic: the same network gives the same bytes. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import safetensors.torch
from safetensors import SafetensorError
from torch import nn

from jr2net import storage
from jr2net.errors import UserError
from jr2net.face.model import FaceModel
from jr2net.networks.dcnet import DCNet
from jr2net.networks.detector import Detector
from jr2net.networks.etnet import ETNet
from jr2net.networks.flow3d.network import Flow3D
from jr2net.networks.model_card import LICENSE, STUDIO, model_card
from jr2net.networks.recaugnet import RecAugNet
from jr2net.networks.recnet import RecNet

WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"
CARD = "README.md"

Network = RecNet | DCNet | Flow3D | ETNet | RecAugNet | Detector
KINDS: dict[str, type[Network]] = {kind.kind: kind for kind in get_args(Network)}
"""The networks that can be saved, by kind."""


class CheckpointError(UserError, ValueError):
    """An invalid checkpoint; the message names the file, the field and the remedy."""


def save_network(
    network: nn.Module,
    folder: str | Path,
    architecture: Mapping[str, Any],
    face_digest: str,
    trained_from: Mapping[str, Any],
    license: str = LICENSE,
    data: str = STUDIO,
) -> None:
    """Saves one of the networks of ``KINDS`` to ``folder``, with its model card.

    architecture  entries in addition to ``network.architecture``, e.g. ``image_size`` and ``focal_ratio``
    face_digest   ``FaceModel.digest`` of the model that its coefficients refer to
    trained_from  name -> digest of every input of the training
    license       of the weights, an SPDX name or ``other``
    data          what the network was trained on, for the card

    Raises CheckpointError for any other module, StorageError if the folder cannot be written.
    """
    if not isinstance(network, Network):
        raise CheckpointError(f"{type(network).__name__} is not one of {', '.join(KINDS)}; unwrap it before saving")
    weights = safetensors.torch.save({k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()})
    description = {
        "kind": network.kind,
        "architecture": {**architecture, **network.architecture},
        "face_model": face_digest,
        "license": license,
        "trained_from": dict(trained_from),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    storage.write_bytes(storage.join(str(folder), CARD), model_card(description, data).encode())
    # The description is written last: if it exists, the weights are complete.
    storage.write_bytes(storage.join(str(folder), WEIGHTS), weights)
    text = json.dumps(description, indent=2, sort_keys=True) + "\n"
    storage.write_bytes(storage.join(str(folder), DESCRIPTION), text.encode())


def read_description(folder: str | Path) -> dict[str, Any]:
    """Loads ``model.json``: kind, architecture, face_model, trained_from, weights_sha256. Raises CheckpointError."""
    path = storage.join(str(folder), DESCRIPTION)
    content = _read(path)
    try:
        description = json.loads(content)
    except ValueError as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({error}); train the network again") from None
    missing = {"kind", "architecture", "face_model", "trained_from", "weights_sha256"} - set(description)
    if missing:
        raise CheckpointError(f"{path}: no {', '.join(sorted(missing))}; train the network again")
    if description["kind"] not in KINDS:
        raise CheckpointError(f"{path}: kind {description['kind']!r} is none of {', '.join(KINDS)}")
    return description


def load_network(folder: str | Path, face_model: FaceModel | None = None) -> Network:
    """Loads the network in ``folder``, on the CPU, in evaluation mode.

    face_model: the model that it will be used with; ``None`` skips this check. Raises CheckpointError if files are
    missing or damaged, or if the network was trained for another face model.
    """
    path = storage.join(str(folder), DESCRIPTION)
    description = read_description(folder)
    if face_model is not None and description["face_model"] != face_model.digest:
        raise CheckpointError(
            f"{path}: face_model is {description['face_model'][:12]}…, but {face_model.name!r} is "
            f"{face_model.digest[:12]}…: their coefficients are not compatible. Set face.model to the model that the "
            "network was trained with, or train it again with this one"
        )
    try:
        network = KINDS[description["kind"]].from_architecture(description["architecture"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: architecture: {error}; train the network again") from None
    path = storage.join(str(folder), WEIGHTS)
    content = _read(path)
    if hashlib.sha256(content).hexdigest() != description["weights_sha256"]:
        raise CheckpointError(f"{path}: checksum does not match {DESCRIPTION}; copy both files again")
    try:
        network.load_state_dict(safetensors.torch.load(content))
    except (SafetensorError, RuntimeError) as error:
        raise CheckpointError(f"{path}: does not fit the architecture in {DESCRIPTION} ({error})") from None
    return network.eval()


def begin_from(network: Network, folder: str | Path, face_model: FaceModel, setting: str) -> None:
    """Gives a network the weights of a checkpoint; ``setting`` names it in errors.

    Raises CheckpointError where the checkpoint is not of the same kind and architecture.
    """
    start = load_network(folder, face_model)
    if (start.kind, start.architecture) != (network.kind, network.architecture):
        raise CheckpointError(
            f"{setting}: {folder} holds a {start.kind} with the architecture {start.architecture}, the configuration "
            f"builds a {network.kind} with {network.architecture}; make them alike, or train without {setting}"
        )
    network.load_state_dict(start.state_dict())


def _read(path: str) -> bytes:
    try:
        return storage.read_bytes(path)
    except storage.StorageError as error:
        raise CheckpointError(f"{error}; train the network first, or give the folder of a trained one") from None
