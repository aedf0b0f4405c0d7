"""What an evaluation hands to the report: a tree of numbers whose first levels have fixed names.

    reconstruction.{natural,large}.{MeanFace,RecNet,RecAugNet}.{rmse_mm,std_mm,median_mm,p80_mm,expression_rmse_mm,…}
    landmarks.<test set>.<method>.nme
    reenactment.{same_identity,cross_identity}.{CopySource,WarpOnly,DCNet}.{l1,l1_face,psnr,ssim,efl_px,…}
    expression.<test set>.<method>.{mae,correlation,spread_ratio,shapes}
    synthesis.{pairs,pairs_per_second}, stages.<name>.seconds

Anything else (ground, versions, machine, digests, perceptual_features, config, …) is kept and shown as it is. A number
standing where a method would (``reconstruction.natural.meshes``) is a remark about its test set.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from jr2net.errors import UserError

EVALUATED = ("reconstruction", "landmarks", "reenactment", "expression")
"""The sections that hold test sets of methods of metrics."""

TRIVIAL: tuple[str, ...] = ("MeanFace", "MeanLandmarks", "CopySource", "WarpOnly")
"""Answers that take no network: what every other row must beat.

MeanFace is α = β = 0; MeanLandmarks always answers the training set's mean landmarks; CopySource is the source picture;
WarpOnly is the source warped where co-visible, copied elsewhere.
"""

_RECONSTRUCTION = ("rmse_mm", "std_mm", "median_mm", "p80_mm", "expression_rmse_mm")
_REENACTMENT = ("l1", "l1_face", "psnr", "ssim")
_COMMON = [
    *(f"reenactment.same_identity.{m}.{k}" for m in ("CopySource", "WarpOnly", "DCNet") for k in _REENACTMENT),
    *(f"reenactment.cross_identity.{m}.efl_px" for m in ("CopySource", "DCNet")),
    "synthesis.pairs",
    "synthesis.pairs_per_second",
    *(f"stages.{s}.seconds" for s in ("prepare", "recnet", "dcnet", "synthesis", "etnet", "recaugnet")),
]
EXPECTED: dict[str, tuple[str, ...]] = {
    "studio": (
        *(
            f"reconstruction.{s}.{m}.{k}"
            for s in ("natural", "large")
            for m in ("MeanFace", "RecNet", "RecAugNet")
            for k in _RECONSTRUCTION
        ),
        *_COMMON,
    ),
    "clips": (*(f"landmarks.held_out.{m}.nme" for m in ("RecNet", "RecAugNet")), *_COMMON),
}
"""What a run on this ground (``result["ground"]``) promises to measure; real clips have no true meshes."""


class ReportError(UserError, ValueError):
    """A result that no report can be made of; the message names the field and the remedy."""


def look_up(result: Mapping[str, Any], key: str) -> float | None:
    """The finite number at a dotted key, or None."""
    node: Any = result
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    return float(node) if is_number(node) and math.isfinite(node) else None


def missing(result: Mapping[str, Any]) -> list[str]:
    """Keys that the run's ground promises and the result lacks, or holds as NaN."""
    return [key for key in EXPECTED.get(result.get("ground", ""), ()) if look_up(result, key) is None]


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def test_sets(result: Mapping[str, Any], section: str) -> Iterator[tuple[str, dict[str, Mapping], dict[str, float]]]:
    """(name, methods, remarks) of every test set of a section."""
    for name, entries in (result.get(section) or {}).items():
        methods = {key: value for key, value in entries.items() if isinstance(value, Mapping)}
        yield name, methods, {key: value for key, value in entries.items() if not isinstance(value, Mapping)}


def plain(value: Any, where: str = "result") -> Any:
    """The same tree in JSON's own types: NumPy and torch scalars to numbers, arrays to lists, NaN and infinity to None.

    Raises ReportError that names the place of anything else.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{where}[{place}]") for place, item in enumerate(value)]
    if hasattr(value, "tolist"):  # NumPy and torch, scalars and arrays
        return plain(value.tolist(), where)
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    raise ReportError(f"{where} is a {type(value).__name__}; a report holds numbers, strings, lists and mappings only")


def to_json(result: Mapping[str, Any]) -> str:
    """``report.json``: valid JSON whatever the evaluation divided by."""
    return json.dumps(plain(result), indent=2, allow_nan=False) + "\n"
