"""The result of an evaluation: a tree of metrics whose first levels have fixed keys.

    reconstruction.{natural,large}.{MeanFace,RecNet,RecAugNet}.{rmse_mm,std_mm,median_mm,p80_mm,expression_rmse_mm,…}
    landmarks.<test set>.<method>.nme
    reenactment.{same_identity,cross_identity}.{CopySource,WarpOnly,<reenactor>}.{l1,l1_face,psnr,ssim,efl_px,…}
    expression.<test set>.<method>.{mae,correlation,spread_ratio,shapes}
    synthesis.{pairs,pairs_per_second}, stages.<name>.seconds
    protocols.<name>: what ``jr2net evaluate`` writes as JSON, of each of ``evaluation.protocols``
    identities.{training,left_out,validation,<test set>}, leaks: identities trained and tested on, which has to be 0

Beside its metrics a method has ``intervals.<metric>.{low,high,people}``: 95 %, by bootstrap over people. Beside its
methods a test set has ``comparisons``, a list of {figure, method, reference, paired.{ratio,difference,p}}: of the same
figure of two methods on the same people (``jr2net.evaluation.statistics``).

Other entries (ground, versions, machine, digests, perceptual_features, config, …) are kept and shown unchanged. A
number at the level of the methods (``reconstruction.natural.meshes``) is a remark about its test set.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from jr2net.errors import UserError

EVALUATED = ("reconstruction", "landmarks", "reenactment", "expression")
"""Sections with the structure section -> test set -> method -> metric."""

_RECONSTRUCTION = ("rmse_mm", "std_mm", "median_mm", "p80_mm", "expression_rmse_mm")
_REENACTMENT = ("l1", "l1_face", "psnr", "ssim")
_COMMON = [
    *(f"reenactment.same_identity.{m}.{k}" for m in ("CopySource", "WarpOnly", "{reenactor}") for k in _REENACTMENT),
    *(f"reenactment.cross_identity.{m}.efl_px" for m in ("CopySource", "{reenactor}")),
    "synthesis.pairs",
    "synthesis.pairs_per_second",
    *(f"stages.{s}.seconds" for s in ("prepare", "recnet", "{stage}", "synthesis", "etnet", "recaugnet")),
]
_EXPECTED: dict[str, tuple[str, ...]] = {
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
"""``result["ground"]`` (origin of the test data) -> expected metrics; real clips have no ground-truth meshes."""

_REENACTORS = {"dcnet": "DCNet", "flow3d": "3DFlowRenderer"}
"""Stage of a reenactor -> its title, which is the name of its metrics."""


def for_reenactor(text: str, result: Mapping[str, Any]) -> str:
    """A key or sentence with ``{reenactor}`` and ``{stage}`` filled in from the result; DCNet if it names none."""
    stage = result.get("reenactor", "dcnet")
    return text.replace("{reenactor}", _REENACTORS.get(stage, stage)).replace("{stage}", stage)


def expected(result: Mapping[str, Any]) -> tuple[str, ...]:
    """The metrics that a result of this ground and reenactor has."""
    return tuple(for_reenactor(key, result) for key in _EXPECTED.get(str(result.get("ground")), ()))


class ReportError(UserError, ValueError):
    """A result that cannot be reported; the message names the field and the remedy."""


def look_up(result: Mapping[str, Any], key: str) -> float | None:
    """The number at a dotted key, or None if it is missing or not finite."""
    node: Any = result
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    return float(node) if is_number(node) and math.isfinite(node) else None


def missing(result: Mapping[str, Any]) -> list[str]:
    """Expected keys that are missing or not finite."""
    return [key for key in expected(result) if look_up(result, key) is None]


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def test_sets(result: Mapping[str, Any], section: str) -> Iterator[tuple[str, dict[str, Mapping], dict[str, float]]]:
    """(name, methods, remarks) of every test set of a section."""
    for name, entries in (result.get(section) or {}).items():
        methods = {key: value for key, value in entries.items() if isinstance(value, Mapping)}
        yield name, methods, {key: value for key, value in entries.items() if not isinstance(value, (Mapping, list))}


def comparisons(result: Mapping[str, Any], section: str, name: str) -> list[Mapping[str, Any]]:
    """The paired comparisons of a test set; empty in reports of older versions."""
    return list((result.get(section) or {}).get(name, {}).get("comparisons", ()))


def plain(value: Any, key: str = "result") -> Any:
    """Converts a tree to JSON types: NumPy and torch scalars to numbers, arrays to lists, NaN and infinity to None.

    Raises ReportError with the key of any other type.
    """
    if isinstance(value, Mapping):
        return {str(name): plain(item, f"{key}.{name}") for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{key}[{index}]") for index, item in enumerate(value)]
    if hasattr(value, "tolist"):  # NumPy and torch, scalars and arrays
        return plain(value.tolist(), key)
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    raise ReportError(f"{key} is a {type(value).__name__}; a report holds numbers, strings, lists and mappings only")


def to_json(result: Mapping[str, Any]) -> str:
    """``report.json``: always valid JSON; non-finite numbers become null."""
    return json.dumps(plain(result), indent=2, allow_nan=False) + "\n"
