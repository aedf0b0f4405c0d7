"""What the networks of a run are measured on. Part of ``jr2net.config``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from jr2net.settings import Effect, Section

ProtocolName = Literal[
    "facewarehouse", "frgc", "now", "tracking", "detection", "aflw2000", "same_identity", "cross_identity"
]
"""The protocols (``jr2net.evaluation.protocols.PROTOCOLS``)."""


class ProtocolConfig(Section):
    """A published protocol and the data that it is run on."""

    name: ProtocolName = Field(..., description="e.g. facewarehouse; docs/evaluation.md describes each")
    uri: str = Field(..., description="folder or file of the dataset, in its own layout, readable on every machine")
    settings: dict[str, Any] = Field({}, description="settings of the protocol, e.g. {unit: m}")


class EvaluationConfig(Section):
    """What a run's networks are measured on, and by whom."""

    pairs: int = Field(200, ge=1, description="number of (source, driving) pairs per reenactment test")
    turned: bool = Field(False, description="film the test set of heads that turn by 30° to 60°, with mattes")
    crop_mm: float = Field(
        85.0, gt=0, description="crop radius around the nose tip for the geometric error (FaceWarehouse protocol)"
    )
    inception: Annotated[str | None, Effect.CONTENT] = Field(
        None, description="weights of Inception for FID (pt_inception-2015-12-05-6726825d.pth); none: no FID"
    )
    embedder: Annotated[str | None, Effect.CONTENT] = Field(
        None, description="TorchScript face embedder for the identity of generated faces; none: not measured"
    )
    protocols: tuple[ProtocolConfig, ...] = Field(
        (), description="protocols by which the run's networks are measured too, e.g. on FaceWarehouse"
    )
