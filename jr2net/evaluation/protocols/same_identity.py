"""``same_identity``: reenactment within a clip, whose driving frame is the target (the paper's Table 2)."""

from __future__ import annotations

from pydantic import Field

from jr2net.data.evaluation_frames import same_identity_pairs
from jr2net.evaluation.bench import Bench
from jr2net.evaluation.composited import measure_composited
from jr2net.evaluation.protocols.pairs import PairProtocol, PairSettings
from jr2net.evaluation.protocols.protocol import Protocol
from jr2net.evaluation.protocols.result import Figure
from jr2net.evaluation.reenactment import Pairs, PairValues, measure_same


class SameIdentitySettings(PairSettings):
    """Settings of ``same_identity``."""

    side: int | None = Field(
        None,
        ge=32,
        description="side in pixels of the images that are compared: the frames' own, with the generated crops pasted "
        "in as users get them; none: the generated crops alone",
    )


TITLE = "Reenactment of the same person against the driving frame"


def _measure(bench: Bench, name: str, pairs: Pairs, settings: SameIdentitySettings) -> PairValues:
    if settings.side is None:
        return measure_same(bench, name, pairs)
    return measure_composited(bench, name, pairs, settings.side)


MEASURE = PairProtocol(
    "same_identity",
    TITLE,
    (
        Figure("l1", "L1", digits=4),
        Figure("l1_face", "L1 on the face", digits=4),
        Figure("psnr", "PSNR", "dB", 2, 1),
        Figure("ssim", "SSIM", "", 3, 1),
        Figure("sharpness", "Sharpness outside the face / the driving frame's", digits=2, better=0),
        Figure("fid", "FID"),
    ),
    same_identity_pairs,
    _measure,
    "l1",
    (
        "FID: Fréchet distance of Inception's features to those of the driving frames, of so many pairs.",
        "Sharpness (with a `side`): mean absolute Laplacian outside the driving face.",
    ),
)

PROTOCOL = Protocol("same_identity", TITLE, MEASURE, SameIdentitySettings)
