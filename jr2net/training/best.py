"""Keeps the best weights of a training so far, by one loss term, in ``best/`` of the stage's folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from jr2net import storage
from jr2net.training.log import Record

FOLDER = "best"


class Best:
    """Tracks the lowest mean of a loss term over the steps between checkpoints.

    term: name of the loss term, lower is better; value: its lowest mean so far, None before the first.
    """

    def __init__(self, term: str, value: float | None = None) -> None:
        self.term, self.value = term, value

    def improves(self, records: Sequence[Record]) -> bool:
        """Whether the mean over these steps is the lowest so far; if so, stores it. False if no record has the term."""
        values = [record["losses"][self.term] for record in records if self.term in record["losses"]]
        if not values or (self.value is not None and fmean(values) >= self.value):
            return False
        self.value = fmean(values)
        return True


def keep(folder: str, weights: Path, best: Best, step: int) -> None:
    """Uploads the weight files to ``best/`` of a stage's folder, with ``best.json``: term, value and step."""
    storage.upload_folder(weights, storage.join(folder, FOLDER))
    content = json.dumps({"term": best.term, "value": best.value, "step": step}) + "\n"
    storage.write_bytes(storage.join(folder, FOLDER, "best.json"), content.encode())
