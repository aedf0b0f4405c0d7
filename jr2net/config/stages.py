"""The stages of a run, and which section of the configuration each training is set by. Part of ``jr2net.config``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from jr2net.config import Config

StageName = Literal[
    "prepare", "mattes", "recnet", "dcnet", "flow3d", "synthesis", "films", "etnet", "recaugnet",
    "reccopynet", "pair_clips", "recdatanet", "baseline",
    "portraits", "detector",
    "dcnet_2", "flow3d_2", "synthesis_2", "etnet_2", "recaugnet_2",
    "evaluation",
]  # fmt: skip
"""The stages of a run (``jr2net.run.cascade.ALL_STAGES``)."""

Ablation = Literal["reccopynet", "recdatanet", "baseline"]
"""The networks that Table 4 of the paper compares RecAugNet with, besides RecNet; each is a stage of a run."""


def first_round(stage: str) -> str:
    """The stage of the first round that a stage of the second repeats; of any other stage, itself."""
    return stage.removesuffix("_2")


def training_section(config: Config, stage: str) -> str:
    """Name of the section with the optimiser of a stage that trains a network."""
    first = first_round(stage)
    if first == "reccopynet" and config.reccopynet.optimizer is None:
        return "recaugnet"
    return {"recdatanet": "recnet", "baseline": "recnet"}.get(first, first)
