"""The best weights of a training so far, by one term of its log, kept in ``best/`` beside the finished ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from jr2net import storage
from jr2net.training.log import Record

FOLDER = "best"


class Best:
    """term: of the losses, lower is better; value: its lowest mean over the steps between two savings."""

    def __init__(self, term: str, value: float | None = None) -> None:
        self.term, self.value = term, value

    def improves(self, records: Sequence[Record]) -> bool:
        """Whether these steps' mean is the lowest so far, which it is remembered as. Absent terms improve nothing."""
        values = [record["losses"][self.term] for record in records if self.term in record["losses"]]
        if not values or (self.value is not None and fmean(values) >= self.value):
            return False
        self.value = fmean(values)
        return True


def keep(folder: str, weights: Path, best: Best, step: int) -> None:
    """Stores a network's files, and by what they are the best, in ``best/`` of a stage's folder."""
    storage.upload_folder(weights, storage.join(folder, FOLDER))
    content = json.dumps({"term": best.term, "value": best.value, "step": step}) + "\n"
    storage.write_bytes(storage.join(folder, FOLDER, "best.json"), content.encode())
