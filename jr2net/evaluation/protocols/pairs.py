"""What ``same_identity`` and ``cross_identity`` have in common: clips, pairs, reenactors, other systems' images.

Data: a folder of clip shards. ``--predictions``: a folder with the image of every pair, ``000000.png`` (or ``.jpg``)
and so on, squares of any size; ``-o`` writes the list of the pairs, ``pairs.csv``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from jr2net import storage
from jr2net.data.clips import ClipSource
from jr2net.device import to_device
from jr2net.evaluation.bench import Bench, Cascade
from jr2net.evaluation.judges import DETECTOR, Judges
from jr2net.evaluation.paper import published_reenactment
from jr2net.evaluation.protocols.protocol import SHIPPED, ProtocolError, ProtocolSettings, Systems
from jr2net.evaluation.protocols.result import Figure, Measured, Missing, Result, Table
from jr2net.evaluation.reenactment import Pairs, PairValues
from jr2net.evaluation.statistics import Comparison, Estimate, compare_all, estimate_mean
from jr2net.images.arrays import decode_image, resize, to_tensor
from jr2net.inference.messages import ModelInfo
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor
from jr2net.render.scene import Generated, Scene

BASELINES = ("CopySource", "WarpOnly")

_SET = "clips"
_COMMON_NOTES = (
    "CopySource is the unchanged source image; WarpOnly warps the visible part of its face into the driving view.",
    "Interval and comparison: over the people of the source images. FID is one figure of all pairs.",
)


class PairSettings(ProtocolSettings):
    """Settings of ``same_identity`` and ``cross_identity``."""

    pairs: int = Field(200, ge=1, description="number of (source, driving) pairs")
    inception: str | None = Field(
        None, description="weights of Inception for FID (pt_inception-2015-12-05-6726825d.pth); none: no FID"
    )
    embedder: str | None = Field(None, description="TorchScript face embedder for the identity; none: not measured")
    reader: str | None = Field(
        None,
        description="folder of an independent RecNet or RecAugNet that reads landmarks in the place of a face "
        "detector, against the truth where the clips have it",
    )


@dataclass(frozen=True)
class PairProtocol:
    """What differs between the two.

    figures  columns, of metrics of ``evaluation.reenactment``
    choose   (clips, number, seed) -> pairs
    measure  measures pairs of a bench's set, by the protocol's settings
    compared figure in which reenactors are compared with each other and with the baselines
    """

    name: str
    title: str
    figures: tuple[Figure, ...]
    choose: Callable[[ClipSource, int, int], Pairs]
    measure: Callable[[Bench, str, Pairs, Any], PairValues]
    compared: str
    notes: tuple[str, ...]

    def __call__(self, data: str, systems: Systems, settings: PairSettings) -> Result:
        """Raises ProtocolError, ShardError, CheckpointError or WeightsError naming the file."""
        clips = ClipSource(data)
        pairs = self.choose(clips, settings.pairs, settings.seed)
        judges = Judges.load(settings.inception, settings.embedder, systems.device)
        if settings.reader is not None:
            judges = judges.with_reader(
                Reconstructor.load(settings.reader, face_model=systems.model, device=systems.device)
            )
        values: dict[str, dict[str, Tensor]] = {}
        fid: dict[str, float] = {}
        missing: dict[str, str] = {}
        for name, cascade in _cascades(systems, getattr(settings, "side", None)).items():
            found = self.measure(Bench(cascade, {_SET: clips}, clips, 0.0, judges), _SET, pairs, settings)
            ours = {title: name.replace(cascade.title, title, 1) for title in (cascade.title, f"{cascade.title} 2")}
            names = {method: ours.get(method, method) for method in found.values}
            for method, metrics in found.values.items():  # the baselines are those of the first reenactor's faces
                values.setdefault(names[method], dict(metrics))
            for method, distance in found.fid().items():
                fid.setdefault(names[method], distance)
            missing |= found.missing
        people = [clips.rows[source.row].identity for source, _ in pairs]
        bootstrap = settings.draws, settings.seed
        rows = {
            method: {metric: estimate_mean(_array(each), people, *bootstrap) for metric, each in metrics.items()}
            | ({"fid": Estimate(fid[method])} if method in fid else {})
            for method, metrics in values.items()
        }
        filmed = any(clips.read(source.row).truth is not None for source, _ in pairs[:1])
        measured = {metric for row in rows.values() for metric in row}
        table = Table(
            "pairs",
            f"{len(pairs)} pairs",
            tuple(figure for figure in self.figures if figure.key in measured),
            rows,
            _comparisons(values, people, self.compared, settings),
            None if filmed else next(iter(published_reenactment(self.name, measured)), None),
        )
        return Result(
            self.name,
            self.title,
            data,
            (table,),
            Measured("pairs", len(pairs), len(pairs), len(set(people))),
            missing=tuple(Missing(figure, why) for figure, why in missing.items()),
            notes=(*self.notes, *_COMMON_NOTES, *(_judge(judges, settings) if "efl" in measured else ())),
            settings=settings.model_dump(),
            files={"pairs.csv": _list(clips, pairs)},
        )


class StoredImages(nn.Module):
    """Another system's images of the pairs, in their order, in the place of a network."""

    def __init__(self, title: str, folder: str, size: int) -> None:
        super().__init__()
        self.title, self.folder, self.size, self.next = title, folder, size, 0

    def forward(self, scene: Scene, code: None = None) -> Generated:
        """The next images, as many as the scene has. Raises ProtocolError where one is missing or damaged."""
        source = scene.source_image
        images = [self._read(self.next + number) for number in range(len(source))]
        self.next += len(source)
        return Generated(to_device(to_tensor(images), source.device), source.new_zeros(source[:, :1].shape))

    def _read(self, number: int) -> np.ndarray:
        for ending in (".png", ".jpg"):
            uri = storage.join(self.folder, f"{number:06d}{ending}")
            if storage.exists(uri):
                image = decode_image(storage.read_bytes(uri))
                if image is None:
                    raise ProtocolError(f"{uri}: is not a square PNG or JPEG; write it again")
                return resize(image, self.size)
        raise ProtocolError(
            f"{self.folder}: holds no {number:06d}.png or .jpg; give the image of every pair (-o writes pairs.csv)"
        )


def _cascades(systems: Systems, side: int | None) -> dict[str, Cascade]:
    """Method -> reenactor; another system's images are a reenactor too, of the faces of the first network's.

    side: of these images; None: the network's
    """
    found = systems.cascades()
    if systems.predictions:
        measured = found or Systems((SHIPPED,), {}, systems.face_model, systems.device).cascades()
        base = next(iter(measured.values()))
        info = base.reenactor.info
        for name, folder in systems.predictions.items():
            network = StoredImages(name, folder, side or info.size)
            stored = Reenactor(network, base.model, ModelInfo("images", "", info.size, info.focal_ratio))
            found[name] = Cascade(stored, base.recnet, base.recaugnet)
    return found


def _array(values: Tensor) -> np.ndarray:
    return values.double().numpy()


def _comparisons(
    values: Mapping[str, Mapping[str, Tensor]], people: Sequence[str], figure: str, settings: PairSettings
) -> tuple[Comparison, ...]:
    """Every reenactor with each baseline and the reenactors before it, on the pairs for which both have a value."""
    known = {method: _array(metrics[figure]) for method, metrics in values.items() if figure in metrics}
    found = compare_all(figure, known, people, settings.draws, settings.seed)
    return tuple(comparison for comparison in found if comparison.method not in BASELINES)


def _judge(judges: Judges, settings: PairSettings) -> tuple[str, ...]:
    """Who finds the landmarks."""
    if settings.reader is not None:
        return (
            f"Landmarks are read by the network in {settings.reader}, which has to be independent of those measured; "
            "in driving images they are the truth's, where it is known.",
        )
    return (f"Landmarks are those of {DETECTOR}, which shares nothing with the networks that are measured.",)


def _list(clips: ClipSource, pairs: Pairs) -> bytes:
    """CSV: which frames the pairs are."""
    lines = ["pair,source_identity,source_clip,source_frame,driving_identity,driving_clip,driving_frame"]
    for number, pair in enumerate(pairs):
        cells = [f"{number:06d}"]
        for ref in pair:
            row = clips.read(ref.row)
            cells += [row.identity, row.clip_id, str(row.frame[ref.frame])]
        lines.append(",".join(f'"{cell}"' if "," in cell else cell for cell in cells))
    return ("\n".join(lines) + "\n").encode()
