"""``cross_identity``: reenactment by another person, judged by landmarks and identity (the paper's Table 1)."""

from __future__ import annotations

from jr2net.data.evaluation_frames import cross_identity_pairs
from jr2net.evaluation.bench import Bench
from jr2net.evaluation.protocols.pairs import PairProtocol, PairSettings
from jr2net.evaluation.protocols.protocol import Protocol
from jr2net.evaluation.protocols.result import Figure
from jr2net.evaluation.reenactment import Pairs, PairValues, measure_cross

TITLE = "Reenactment by another person: landmarks and identity"


def _measure(bench: Bench, name: str, pairs: Pairs, settings: PairSettings) -> PairValues:
    return measure_cross(bench, name, pairs)


MEASURE = PairProtocol(
    "cross_identity",
    TITLE,
    (
        Figure("efl", "EFL / eye distance", digits=4),
        Figure("detected", "Faces found", "", 3, 0),
        Figure("efl_px", "EFL as RecAugNet reads it", "px"),
        Figure("fid", "FID"),
        Figure("csim", "CSIM", "", 3, 1),
    ),
    cross_identity_pairs,
    _measure,
    "efl",
    (
        "EFL: root mean square distance of the 68 landmarks found in the generated and in the driving image, over the "
        "distance of the driving face's outer eye corners; of images in which a face is found. In pixels, as RecAugNet "
        "reads them: RecAugNet was trained with generated images, so that this figure is no independent one.",
        "FID: Fréchet distance of Inception's features to those of the source images. CSIM: cosine similarity of the "
        "embeddings of the source's and the generated face; the copied source has 1.",
    ),
)

PROTOCOL = Protocol("cross_identity", TITLE, MEASURE, PairSettings)
