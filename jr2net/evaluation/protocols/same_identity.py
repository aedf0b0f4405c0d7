"""``same_identity``: reenactment within a clip, whose driving frame is the target (the paper's Table 2)."""

from __future__ import annotations

from jr2net.data.evaluation_frames import same_identity_pairs
from jr2net.evaluation.protocols.pairs import PairProtocol, PairSettings
from jr2net.evaluation.protocols.protocol import Protocol
from jr2net.evaluation.protocols.result import Figure
from jr2net.evaluation.reenactment import measure_same

TITLE = "Reenactment of the same person against the driving frame"

MEASURE = PairProtocol(
    "same_identity",
    TITLE,
    (
        Figure("l1", "L1", digits=4),
        Figure("l1_face", "L1 on the face", digits=4),
        Figure("psnr", "PSNR", "dB", 2, 1),
        Figure("ssim", "SSIM", "", 3, 1),
        Figure("fid", "FID"),
    ),
    same_identity_pairs,
    measure_same,
    "l1",
    ("FID: Fréchet distance of Inception's features to those of the driving frames, of so many pairs.",),
)

PROTOCOL = Protocol("same_identity", TITLE, MEASURE, PairSettings)
