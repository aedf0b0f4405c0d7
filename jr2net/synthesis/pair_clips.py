"""Synthesised images as clips with detected landmarks, as RecNet is trained on: those of one source are one clip.

What the studio's images show is known: RecNet's fit of the source with the pair's expression, which the reenactor was
given. The simulated detector reports its landmarks with the same bias as in the studio's films. In other images a
detector that is installed finds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch

from jr2net.config import Config
from jr2net.data.pairs import Pair, pair_rng, read_pairs
from jr2net.face.landmarks import LANDMARKS
from jr2net.images.arrays import decode_image, resize, to_tensor
from jr2net.images.clip import ClipRow
from jr2net.images.face_detector import FaceDetector
from jr2net.render.renderer import landmarks_2d
from jr2net.storage import join
from jr2net.storage.parquet import ShardError
from jr2net.studio.landmark_detector import biased_landmarks
from jr2net.synthesis.maker import PairMaker
from jr2net.synthesis.shards import read_manifest

DETECTION_SIDE = 256
"""Pixels to which an image is enlarged for a detector, which is made for photos."""


def is_simulated(config: Config) -> bool:
    """Whether the landmarks of a run's synthesised images come from the studio's simulated detector."""
    return config.data.clips is None and config.synthesis.sources is None


def clips_of_shard(
    folder: str, index: int, maker: PairMaker, config: Config, detector: FaceDetector | None
) -> list[ClipRow]:
    """The pairs of one shard of the dataset in ``folder`` as clips, in the order of its plan.

    maker: of the dataset. detector: None simulates it. Raises ShardError where the shard is not that of the plan.
    """
    name = read_manifest(folder, index)["shard"]
    pairs = {pair.pair_id: pair for pair in read_pairs(join(folder, name))} if name else {}
    planned = [pair for pair in maker.plan.shard(index) if pair.pair_id in pairs]
    if len(planned) != len(pairs):
        raise ShardError(f"{join(folder, name)}: has pairs that are not planned; it belongs to another dataset")
    rows = []
    for source, group in groupby(planned, key=lambda pair: pair.source):
        made = [pairs[pair.pair_id] for pair in group]
        landmarks = _detected(made, detector) if detector is not None else _simulated(made, source, maker, config)
        rows.append(
            ClipRow(
                clip_id=made[0].source_id,
                identity=made[0].source_id,
                fps=0.0,
                frame=np.arange(len(made), dtype=np.int32),
                images=tuple(pair.image for pair in made),
                landmarks=landmarks.astype(np.float32),
                expression=np.stack([pair.expression for pair in made]),
            )
        )
    return rows


def _simulated(pairs: Sequence[Pair], source: int, maker: PairMaker, config: Config) -> np.ndarray:
    """(T, 68, 2): landmarks in pixels of the images, as the studio's detector reports them."""
    reenactor = maker.generator.reenactor  # type: ignore[attr-defined]
    face = maker.generator.reconstruct(to_tensor([maker.sources.read(source).image]))
    faces = face.map(lambda value: value.expand(len(pairs), *value.shape[1:]))
    expression = torch.from_numpy(np.stack([pair.expression for pair in pairs])).to(face.expression)
    truth, neutral = (
        landmarks_2d(reenactor.model, faces.replace(expression=shown), reenactor.camera).cpu().numpy()
        for shown in (expression, torch.zeros_like(expression))
    )
    shrink, noise = config.data.studio.detector_shrink, config.data.studio.detector_noise
    return np.stack(
        [
            biased_landmarks(shown, rest, shrink, noise, pair_rng(pair.pair_id))
            for pair, shown, rest in zip(pairs, truth, neutral)
        ]
    )


def _detected(pairs: Sequence[Pair], detector: FaceDetector) -> np.ndarray:
    """(T, 68, 2): landmarks of the largest face of each image, in its pixels; NaN where none is found."""
    found = np.full((len(pairs), LANDMARKS, 2), np.nan)
    for index, pair in enumerate(pairs):
        image = decode_image(pair.image)
        faces = detector(resize(image, DETECTION_SIDE)) if image is not None else []
        if image is not None and faces and faces[0].landmarks is not None:
            found[index] = faces[0].landmarks * (len(image) / DETECTION_SIDE)
    return found
