"""What was measured of every single frame or pair: of which intervals over people and paired tests are made.

A test set's samples are kept beside its figures (``samples.parquet`` of a report), so that runs can be compared with
each other on the same people later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jr2net import storage
from jr2net.evaluation.statistics import Comparison, Estimate, compare_means, estimate_mean
from jr2net.storage.parquet import PARQUET_OPTIONS, open_parquet, read_table

SAMPLES = "samples.parquet"
"""File of a report."""

BASELINES: tuple[str, ...] = ("MeanFace", "MeanLandmarks", "CopySource", "WarpOnly")
"""Methods that use no network.

MeanFace is α = β = 0; MeanLandmarks always predicts the mean landmarks of the training set; CopySource is the source
image; WarpOnly is the source warped where co-visible, copied elsewhere.
"""

DRAWS = 1000
"""Of the bootstrap of a report: its intervals are read to two digits."""


@dataclass(frozen=True)
class Samples:
    """One figure of several methods on the same n samples of a test set.

    section, test_set, metric  where its means are in ``report.json``
    identities  who each of the samples shows
    values      method -> (n,) float64, NaN where there is none
    """

    section: str
    test_set: str
    metric: str
    identities: tuple[str, ...]
    values: Mapping[str, np.ndarray]

    def estimates(self, draws: int = DRAWS, seed: int = 0) -> dict[str, Estimate]:
        """Method -> its mean, with the interval over people."""
        return {method: estimate_mean(each, self.identities, draws, seed) for method, each in self.values.items()}

    def compare(self, method: str, reference: str, draws: int = DRAWS, seed: int = 0) -> Comparison | None:
        """Two methods on the samples for which both have a value; None where there are none."""
        paired = compare_means(self.values[method], self.values[reference], self.identities, draws, seed)
        return None if paired is None else Comparison(self.metric, method, reference, paired)

    def comparisons(self, draws: int = DRAWS, seed: int = 0) -> list[Comparison]:
        """Every method, but for the baselines, with each of those before it."""
        methods = list(self.values)
        found = (
            self.compare(method, reference, draws, seed)
            for number, method in enumerate(methods)
            for reference in methods[:number]
            if method not in BASELINES
        )
        return [comparison for comparison in found if comparison is not None]


def intervals(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, Any]]:
    """Figure -> ``low``, ``high`` and the number of ``people``, of those figures that have an interval."""
    return {
        figure: {"low": estimate.low, "high": estimate.high, "people": estimate.people}
        for figure, estimate in estimates.items()
        if estimate.low is not None
    }


def add_uncertainty(result: dict[str, Any], samples: Iterable[Samples], seed: int = 0) -> None:
    """Adds to a report's result what is known of its means: ``intervals`` of each method, over people, and the paired
    ``comparisons`` of each test set. seed: of the bootstrap."""
    for each in samples:
        methods = result[each.section][each.test_set]
        for method, estimate in each.estimates(seed=seed).items():
            methods[method].setdefault("intervals", {}).update(intervals({each.metric: estimate}))
        methods.setdefault("comparisons", []).extend(asdict(comparison) for comparison in each.comparisons(seed=seed))


def join_samples(parts: Sequence[Samples]) -> Samples:
    """The samples of all parts, which are of one figure, in order; of the methods that all have."""
    first = parts[0]
    return Samples(
        first.section,
        first.test_set,
        first.metric,
        tuple(identity for part in parts for identity in part.identities),
        {
            method: np.concatenate([part.values[method] for part in parts])
            for method in first.values
            if all(method in part.values for part in parts)
        },
    )


def write_samples(uri: str, samples: Iterable[Samples]) -> None:
    """A Parquet file with a row for every figure and method."""
    rows = [
        {
            "section": each.section,
            "test_set": each.test_set,
            "metric": each.metric,
            "method": method,
            "identity": list(each.identities),
            "value": values.tolist(),
        }
        for each in samples
        for method, values in each.values.items()
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), sink, **PARQUET_OPTIONS)
    storage.write_bytes(uri, sink.getvalue().to_pybytes())


def read_samples(uri: str) -> list[Samples]:
    """What ``write_samples`` wrote; nothing where there is no such file, as in reports of older versions.

    Raises ShardError for a damaged file.
    """
    if not storage.exists(uri):
        return []
    found: dict[tuple[str, str, str], Samples] = {}
    for row in read_table(open_parquet(uri, _SCHEMA.names), uri, 0, _SCHEMA.names).to_pylist():
        key = row["section"], row["test_set"], row["metric"]
        samples = found.get(key) or Samples(*key, tuple(row["identity"]), {})
        found[key] = Samples(*key, samples.identities, {**samples.values, row["method"]: np.array(row["value"])})
    return list(found.values())


_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("section", "test_set", "metric", "method")),
        ("identity", pa.list_(pa.string())),
        ("value", pa.list_(pa.float64())),
    ]
)
