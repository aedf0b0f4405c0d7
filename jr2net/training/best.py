"""Keeps the best weights of a training so far, by one validation loss, in ``best/`` of the stage's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jr2net import storage

FOLDER = "best"


class Best:
    """Tracks the lowest value of a term of the validation loss.

    term: name of the loss term, lower is better; value: its lowest so far, None before the first.
    """

    def __init__(self, term: str, value: float | None = None) -> None:
        self.term, self.value = term, value

    def improves(self, losses: Mapping[str, float]) -> bool:
        """Whether these losses (``training.validation``) are the lowest so far; if so, stores the value.

        False if they do not have the term.
        """
        value = losses.get(self.term)
        if value is None or (self.value is not None and value >= self.value):
            return False
        self.value = value
        return True

    def state(self) -> dict[str, Any]:
        """What ``restore`` needs, for the state of a training."""
        return {"term": self.term, "value": self.value}

    def restore(self, state: Mapping[str, Any] | float | None) -> None:
        """Goes on from a ``state``, unless it is that of another term. Earlier versions kept the value alone."""
        if isinstance(state, Mapping):
            self.value = state["value"] if state["term"] == self.term else None
        else:
            self.value = state


def keep(folder: str, weights: Path, best: Best, step: int) -> None:
    """Uploads the weight files to ``best/`` of a stage's folder, with ``best.json``: term, value and step."""
    storage.upload_folder(weights, storage.join(folder, FOLDER))
    content = json.dumps({"term": best.term, "value": best.value, "step": step}) + "\n"
    storage.write_bytes(storage.join(folder, FOLDER, "best.json"), content.encode())
