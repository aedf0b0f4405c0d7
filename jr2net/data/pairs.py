"""Pair shards: (image, 51 ARKit coefficients) as Parquet, the description of a dataset of them, and a data loader.

Columns: ``pair_id``, ``image`` (struct of ``bytes``, a JPEG or PNG, and ``path``, which is null), ``expression`` (51
float32, named in the file's metadata), ``source_id``, ``track``, ``frame`` and any number of float columns whose names
start with ``score``. The struct and the key ``huggingface`` of the metadata are how Hugging Face ``datasets`` stores an
``Image`` feature: a plain binary column would load as bytes, whatever the metadata said. Films of the studio also have
``keypoints`` (70 x 2 float32 fractions of the image's side, see ``face.landmarks``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from jr2net.data.augmentation import Framing, draw_gain, frame_image, frame_landmarks
from jr2net.data.cache import ByteBudgetCache
from jr2net.data.caricature import caricature
from jr2net.data.degradation import degrade
from jr2net.data.lanes import SHUFFLE_BYTES, Draw
from jr2net.data.loader import Batch, LaneLoader
from jr2net.data.pair_index import INDEX, PairIndex, index_pair_shards
from jr2net.data.shards import list_shards
from jr2net.face.arkit import ARKIT_NAMES, MIRROR_ORDER
from jr2net.face.landmarks import KEYPOINTS
from jr2net.images import arrays
from jr2net.storage import base_name, exists, join, list_files, read_bytes
from jr2net.storage.open_shards import OpenShards
from jr2net.storage.parquet import PARQUET_OPTIONS, ShardError, open_parquet, read_table

DESCRIPTION = "dataset.json"
VALIDATION_SHARD = "_validation/pairs.parquet"
"""Shard, beside the dataset, of pairs of people that ``data.validation`` holds back from all trainings."""

PAIRS_PER_GROUP = 64
KEYPOINTS_COLUMN = "keypoints"
COLUMNS = ["pair_id", "image", "expression", "source_id", "track", "frame"]
IMAGE_TYPE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
_NAMES_KEY = b"expression_names"


@dataclass(frozen=True)
class Pair:
    """One labelled image. image: JPEG or PNG bytes; expression: (51,) float32 in [0, 1], in the order of
    ``ARKIT_NAMES``; scores: by column name; keypoints: (70, 2) float32 fractions of the
    image's side; None: not known."""

    pair_id: str
    image: bytes
    expression: np.ndarray
    source_id: str
    track: str
    frame: int
    scores: Mapping[str, float] = field(default_factory=dict)
    keypoints: np.ndarray | None = None


def make_pair_id(*determinants: str | int | float) -> str:
    """32 hex digits: a hash of all that determines a pair (source, track, frame, digests of the networks, seed, …)."""
    return hashlib.sha256(json.dumps(determinants).encode()).hexdigest()[:32]


def pair_rng(pair_id: str) -> np.random.Generator:
    """The generator of all random numbers of a pair, seeded by its ID."""
    return np.random.default_rng(int(pair_id, 16))


def encode_pair_shard(name: str, pairs: Sequence[Pair]) -> bytes:
    """The bytes of a shard, sorted by ``pair_id``: equal pairs give equal bytes in whatever order they are passed.

    name: what a ShardError calls the shard; it is raised when the pairs cannot share a shard.
    """
    pairs = sorted(pairs, key=lambda pair: pair.pair_id)
    if not pairs:
        raise ShardError(f"{name}: a shard needs at least one pair")
    for one, other in pairwise(pairs):
        if one.pair_id == other.pair_id:
            raise ShardError(f"{name}: pair_id {one.pair_id} occurs twice; two pairs were made from the same source")
    scores = sorted(pairs[0].scores)
    for pair in pairs:
        if pair.expression.shape != (len(ARKIT_NAMES),) or not np.isfinite(pair.expression).all():
            raise ShardError(f"{name}: pair {pair.pair_id}: expression is not {len(ARKIT_NAMES)} finite numbers")
        if (pair.keypoints is None) != (pairs[0].keypoints is None):
            raise ShardError(f"{name}: some pairs have keypoints and some have not; write them to separate shards")
        if sorted(pair.scores) != scores or not all(name.startswith("score") for name in scores):
            raise ShardError(f"{name}: pair {pair.pair_id}: scores {sorted(pair.scores)}, expected {scores} ('score…')")
    expression = np.concatenate([pair.expression.astype(np.float32) for pair in pairs])
    columns = {
        "pair_id": pa.array([pair.pair_id for pair in pairs], pa.string()),
        "image": pa.array([{"bytes": pair.image} for pair in pairs], IMAGE_TYPE),
        "expression": pa.FixedSizeListArray.from_arrays(pa.array(expression), len(ARKIT_NAMES)),
        "source_id": pa.array([pair.source_id for pair in pairs], pa.string()),
        "track": pa.array([pair.track for pair in pairs], pa.string()),
        "frame": pa.array([pair.frame for pair in pairs], pa.int32()),
    }
    columns |= {score: pa.array([pair.scores[score] for pair in pairs], pa.float32()) for score in scores}
    keypoints = [pair.keypoints for pair in pairs if pair.keypoints is not None]
    if keypoints:
        flat = pa.array(np.concatenate(keypoints).astype(np.float32).ravel())
        columns[KEYPOINTS_COLUMN] = pa.FixedSizeListArray.from_arrays(flat, 2 * KEYPOINTS)
    metadata = {
        _NAMES_KEY: json.dumps(ARKIT_NAMES).encode(),
        b"huggingface": json.dumps({"info": {"features": hugging_face_features(scores, bool(keypoints))}}).encode(),
    }
    table = pa.table(columns).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **PARQUET_OPTIONS, row_group_size=PAIRS_PER_GROUP)
    return sink.getvalue().to_pybytes()


def hugging_face_features(scores: Sequence[str], keypoints: bool = False) -> dict[str, dict]:
    """Column name -> feature, as Hugging Face ``datasets`` writes it to JSON.

    scores: names of the score columns; keypoints: whether there is a column of them.

    ``Sequence`` rather than the newer ``List``, because versions before 4 know no other.
    """
    text, number, integer = ({"dtype": dtype, "_type": "Value"} for dtype in ("string", "float32", "int32"))
    features: dict[str, dict] = {
        "pair_id": text,
        "image": {"_type": "Image"},
        "expression": {"feature": number, "length": len(ARKIT_NAMES), "_type": "Sequence"},
        "source_id": text,
        "track": text,
        "frame": integer,
    }
    if keypoints:
        features[KEYPOINTS_COLUMN] = {"feature": number, "length": 2 * KEYPOINTS, "_type": "Sequence"}
    return features | dict.fromkeys(scores, number)


def read_pairs(uri: str) -> Iterator[Pair]:
    """All pairs of one shard, in order. Raises ShardError where it is missing, damaged or of another format."""
    with open_parquet(uri, COLUMNS) as file:
        groups = file.num_row_groups
    for group in range(groups):
        yield from _read_group(uri, group)


def read_description(folder: str) -> dict:
    """``dataset.json`` of a finished dataset (``jr2net/synthesis/dataset.py`` writes it).

    ``shards`` is their number; earlier versions listed them there, by name, as ``index.arrow`` does now.
    Raises StorageError where it is missing, ShardError where it is damaged.
    """
    uri = join(folder, DESCRIPTION)
    try:
        description = json.loads(read_bytes(uri))
    except ValueError as error:
        raise ShardError(f"{uri}: not JSON ({error}); synthesise the pairs again") from None
    if not isinstance(description, dict) or not {"expression", "pairs", "shards"} <= description.keys():
        raise ShardError(f"{uri}: 'expression', 'pairs' and 'shards' expected; synthesise the pairs again")
    return description


def list_pair_shards(uri: str) -> list[str]:
    """URIs of the Parquet files below a folder, sorted, or of the one file that ``uri`` names.

    Those below a folder that begins with an underscore are skipped, as other Parquet readers do.
    """
    if base_name(uri).endswith(".parquet"):
        return [uri]
    names = [name for name in list_files(uri, ".parquet") if not any(part.startswith("_") for part in name.split("/"))]
    return [join(uri, name) for name in names] or list_shards(uri)


class PairSource:
    """The pairs of some shards, counted by their index and read on demand; safe to share between threads.

    shards: a dataset's folder, a shard, or a list of shards (paths or storage URIs).
    cache_bytes: how many bytes of encoded images ``read`` keeps in memory.
    """

    def __init__(self, shards: str | Sequence[str], cache_bytes: int = 1 << 30) -> None:
        self.name = shards if isinstance(shards, str) else f"{len(shards)} shards"
        self.index = _open_index(shards)
        if not len(self):
            raise ShardError(f"{self.name}: no pairs; synthesise them first")
        self._shards = OpenShards(COLUMNS, _is_optional)
        self._runs: ByteBudgetCache[list[Pair]] = ByteBudgetCache(
            cache_bytes, lambda pairs: sum(len(pair.image) for pair in pairs)
        )

    def __len__(self) -> int:
        return self.index.samples

    def read(self, number: int) -> Pair:
        run, position = self.index.find(number)
        return self._runs.get(run, lambda: self.read_run(run))[position]

    def read_run(self, run: int) -> list[Pair]:
        """All pairs of a run, which are read at once."""
        shard, first, last = self.index.place(run)
        return _parse(self._shards.read(shard, first, last)[0], shard)

    def decode(self, number: int, pair: Pair, width: int) -> np.ndarray:
        """The image of pair ``number``, (W, W, 3) uint8 RGB, downscaled by area to ``width`` if it is larger.

        Raises ShardError where it cannot be decoded.
        """
        image = arrays.decode_image(pair.image)
        if image is None:
            shard = self.index.place(self.index.find(number)[0])[0]
            raise ShardError(
                f"{shard}: pair {pair.pair_id}: image is not a square JPEG or PNG; synthesise the shard again"
            )
        return arrays.shrink(image, width)


class PairLoader(LaneLoader):
    """An endless data loader of batches of pairs, from ``start_step`` on; same contract as ``ClipLoader``.

    A batch is a dict of ``image`` (B, 3, S, S) float32 RGB in [0, 1], ``expression`` (B, 51) float32, ``keypoints``
    (B, 70, 2) float32 pixels, NaN where a pair has none, and ``pair_id``, a list of B strings. A mirrored image has the
    mirrored expression and keypoints. The batch of step t depends on (seed, t) alone.

    degradation, caricature: how probably an image is changed as ``data.degradation`` and ``data.caricature`` do, the
    latter only if its keypoints are known.
    """

    def __init__(
        self,
        source: PairSource | str,
        *,
        seed: int,
        batch_size: int,
        size: int,
        rank: int = 0,
        world: int = 1,
        start_step: int = 0,
        jitter: float = 0.1,
        degradation: float = 0.0,
        caricature: float = 0.0,
        decoded_bytes: int = 1 << 29,
        threads: int = 1,
        device: torch.device | str = "cpu",
        shuffle_bytes: int = SHUFFLE_BYTES,
    ) -> None:
        self.source = PairSource(source) if isinstance(source, str) else source
        self.size, self.jitter = size, jitter
        self.degradation, self.caricature = degradation, caricature
        self._decoded: ByteBudgetCache[np.ndarray] = ByteBudgetCache(decoded_bytes, lambda image: image.nbytes)
        super().__init__(
            self.source.index,
            seed=seed,
            batch_size=batch_size,
            rank=rank,
            world=world,
            start_step=start_step,
            threads=threads,
            device=device,
            shuffle_bytes=shuffle_bytes,
        )

    def _read(self, run: int) -> list[Pair]:
        return self.source.read_run(run)

    def _make(self, draws: Sequence[Draw]) -> Batch:
        images, expressions, keypoints, gains, pair_ids = zip(*(self._sample(draw) for draw in draws))
        return {
            "image": arrays.to_tensor(images, gains),
            "expression": torch.from_numpy(np.stack(expressions)),
            "keypoints": torch.from_numpy(np.stack(keypoints)),
            "pair_id": list(pair_ids),
        }

    def _sample(self, draw: Draw) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, str]:
        rng = np.random.default_rng([self.seed, draw.epoch, draw.sample])
        mirrored, gain, framing = bool(rng.integers(2)), draw_gain(rng, self.jitter), Framing.draw(rng, self.jitter)
        run, position = draw.window.find(draw.sample)
        pair = draw.window.contents[run].result()[position]
        image = self._decode(draw.sample, pair)
        expression = pair.expression[list(MIRROR_ORDER)] if mirrored else pair.expression
        keypoints = np.full((KEYPOINTS, 2), np.nan, np.float32)
        if pair.keypoints is not None:
            keypoints = pair.keypoints * len(image)
            if rng.random() < self.caricature:
                image, keypoints = caricature(image, keypoints, rng)
            keypoints = frame_landmarks(keypoints, len(image), framing, mirrored, self.size)
        framed = frame_image(image, framing, mirrored, self.size)
        if rng.random() < self.degradation:
            framed = degrade(framed, rng)
        return framed, expression, keypoints, gain, pair.pair_id

    def _decode(self, number: int, pair: Pair) -> np.ndarray:
        def decode() -> np.ndarray:
            return self.source.decode(number, pair, arrays.working_width(self.size))

        return self._decoded.get(number, decode) if self.lanes.in_one_window else decode()


def _open_index(shards: str | Sequence[str]) -> PairIndex:
    if not isinstance(shards, str):
        return index_pair_shards(shards, COLUMNS)
    uri = join(shards, INDEX)
    if not base_name(shards).endswith(".parquet") and exists(uri):
        return PairIndex.open(uri, shards)
    return index_pair_shards(list_pair_shards(shards), COLUMNS)


def _read_group(uri: str, group: int) -> list[Pair]:
    with open_parquet(uri, COLUMNS) as file:
        optional = [name for name in file.schema_arrow.names if _is_optional(name)]
        return _parse(read_table(file, uri, group, COLUMNS + optional), uri)


def _is_optional(column: str) -> bool:
    return column == KEYPOINTS_COLUMN or column.startswith("score")


def _parse(table: pa.Table, uri: str) -> list[Pair]:
    """The pairs of a table read from the shard ``uri``."""
    names = (table.schema.metadata or {}).get(_NAMES_KEY)
    order = _column_order(uri, json.loads(names) if names else list(ARKIT_NAMES))
    expression = table["expression"].combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    if expression.size != table.num_rows * len(ARKIT_NAMES):
        raise ShardError(f"{uri}: expression does not have {len(ARKIT_NAMES)} values per pair; synthesise it again")
    expression = expression.reshape(table.num_rows, -1)[:, order]
    images = table["image"].combine_chunks()
    if pa.types.is_struct(images.type):  # else plain bytes, as other software may write them
        images = images.field("bytes")
    scores = [name for name in table.column_names if name.startswith("score")]
    keypoints: Sequence[np.ndarray | None] = [None] * table.num_rows
    if KEYPOINTS_COLUMN in table.column_names:
        flat = table[KEYPOINTS_COLUMN].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        if flat.size != table.num_rows * 2 * KEYPOINTS:
            raise ShardError(f"{uri}: keypoints are not {KEYPOINTS} points per pair; film it again")
        keypoints = list(flat.astype(np.float32).reshape(-1, KEYPOINTS, 2))
        table = table.drop_columns([KEYPOINTS_COLUMN])
    rows = table.drop_columns(["expression", "image"]).to_pylist()
    return [
        Pair(**{name: row[name] for name in COLUMNS if name in row}, image=image, expression=values,
             scores={name: row[name] for name in scores}, keypoints=points)
        for row, image, values, points in zip(rows, images.to_pylist(), expression, keypoints)
    ]  # fmt: skip


def _column_order(uri: str, names: list[str]) -> list[int]:
    if sorted(names) != sorted(ARKIT_NAMES):
        odd = sorted(set(names) ^ set(ARKIT_NAMES))
        raise ShardError(f"{uri}: expression names differ from the 51 ARKit shapes in {', '.join(odd[:5])}")
    return [names.index(name) for name in ARKIT_NAMES]
