"""A matrix of runs: named variants of a configuration, each with several seeds. Part of ``jr2net.config``."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, field_validator

from jr2net.settings import Section

FIXED = ("storage", "seed", "matrix", "scaling")
"""Sections and settings that a variant cannot have: the matrix gives them, or they change no result."""


class MatrixConfig(Section):
    """What ``jobs/ablate.py`` runs; no other job reads it."""

    seeds: tuple[int, ...] = Field((0,), min_length=1, description="seeds that every variant is run with")
    variants: dict[str, dict[str, Any]] = Field(
        {},
        description="name of a variant -> its settings by dotted name, beside those of the file; the others are "
        "compared with the first",
    )

    @field_validator("seeds")
    @classmethod
    def _check_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if min(seeds) < 0 or len(set(seeds)) < len(seeds):
            raise ValueError("give each seed once, and none below 0")
        return seeds

    @field_validator("variants", mode="before")
    @classmethod
    def _check_variants(cls, variants: Any) -> Any:
        if not isinstance(variants, dict):
            return variants
        for name, settings in variants.items():
            if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", str(name)):
                raise ValueError(f"{name!r} is the name of a folder too: use letters, digits, '-', '_' and '.'")
            for key in settings or {}:
                if (section := str(key).partition(".")[0]) in FIXED:
                    raise ValueError(f"{name}: {key}: a variant has no {section} of its own; set it for all")
        return {str(name): settings or {} for name, settings in variants.items()}
