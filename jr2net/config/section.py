"""The base of all sections, and the section that every training has."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OptimizerConfig(Section):
    """Adam and its schedule. The batch size is global, independent of the number of workers."""

    steps: int = Field(..., ge=1, description="number of optimiser steps")
    batch_size: int = Field(..., ge=1, description="global batch size")
    learning_rate: float = Field(..., gt=0, description="Adam's learning rate after warm-up")
    warmup: int = Field(0, ge=0, description="number of linear warm-up steps")
    decay: Literal["none", "cosine", "step"] = Field(
        "cosine", description="learning-rate decay after warm-up; step: divide by 5 half-way (as in Deep3D)"
    )
    clip_gradient: float = Field(1.0, gt=0, description="maximum gradient norm (gradients are clipped to it)")
