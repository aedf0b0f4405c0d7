"""Checks of clip shards, whose results are kept: a shard is checked once, and again if it has changed.

A check reads the rows without their images, which is all that an index needs, and decodes a sample of the images, or
all of them. Its result is an Arrow file of those rows (``index_shard``), named by the shard and by what changes with
it; its metadata say which images were decoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from jr2net.data.index import index_shard
from jr2net.data.shards import COLUMNS, is_optional, parse_rows
from jr2net.images.arrays import decode_image
from jr2net.storage import base_name, exists, join, read_bytes, write_bytes
from jr2net.storage.open_shards import OpenShards
from jr2net.storage.parquet import ShardError

SAMPLE_GROUPS = 4
"""Row groups of a shard from which a sample is taken: the first, the last, and others that its name draws."""

SAMPLE_IMAGES = 4
"""Images of a sample per row group."""

_FORMAT, _DECODED = b"jr2net.check", b"jr2net.decoded"
_VERSION, _SAMPLE, _ALL = b"1", b"sample", b"all"


def check_shard(uri: str, version: str, folder: str, every_image: bool = False) -> pa.Table:
    """The rows of a shard, as ``index_shard`` has them, after a check that is kept in ``folder``.

    version: what changes with the shard, see ``find_shards``. A kept check of every image counts as one of a sample,
    not the other way round. Raises ShardError for a damaged shard or an image that cannot be decoded.
    """
    kept = join(folder, check_name(uri, version))
    known = _read(kept) if exists(kept) else None
    if known is not None and (not every_image or known.schema.metadata[_DECODED] == _ALL):
        return known.replace_schema_metadata()
    rows, opened = index_shard(uri), OpenShards(COLUMNS, is_optional, limit=1)
    for group, numbers in _all_images(rows) if every_image else _sample(uri, rows):
        _decode(opened, uri, group, numbers)
    decoded = {_FORMAT: _VERSION, _DECODED: _ALL if every_image else _SAMPLE}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, rows.schema.with_metadata(decoded)) as writer:
        writer.write_table(rows.replace_schema_metadata(decoded))
    write_bytes(kept, sink.getvalue().to_pybytes())
    return rows


def check_name(uri: str, version: str) -> str:
    """Name of the file that keeps the check of a shard."""
    digest = hashlib.sha256(f"{uri} {version}".encode()).hexdigest()
    return f"{base_name(uri).removesuffix('.parquet')}-{digest[:16]}.arrow"


def count_contents(rows: pa.Table) -> dict[str, int]:
    """Numbers of ``identities``, ``clips`` and ``frames`` of a shard with these rows."""
    clips = rows.select(["identity", "clip_id"]).group_by(["identity", "clip_id"]).aggregate([])
    frames = int(rows["frames"].to_numpy().sum(dtype=np.int64))
    return {"identities": len(clips["identity"].unique()), "clips": clips.num_rows, "frames": frames}


def _sample(uri: str, rows: pa.Table) -> Iterator[tuple[int, np.ndarray]]:
    """Row groups, and numbers of images within each; a function of the shard's name and of its rows."""
    rng = np.random.default_rng(list(hashlib.sha256(base_name(uri).encode()).digest()))
    groups, frames = _frames_by_group(rows)
    inner = (rng.permutation(max(0, len(groups) - 2))[: SAMPLE_GROUPS - 2] + 1).tolist()
    for position in sorted({0, len(groups) - 1, *inner}):
        count = int(frames[position])
        yield int(groups[position]), np.sort(rng.choice(count, min(count, SAMPLE_IMAGES), replace=False))


def _all_images(rows: pa.Table) -> Iterator[tuple[int, np.ndarray]]:
    for group, frames in zip(*_frames_by_group(rows)):
        yield int(group), np.arange(frames)


def _frames_by_group(rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Row groups, and the number of frames of each."""
    groups, numbers = np.unique(rows["group"].to_numpy(), return_inverse=True)
    return groups, np.bincount(numbers, rows["frames"].to_numpy()).astype(np.int64)


def _decode(opened: OpenShards, uri: str, group: int, numbers: np.ndarray) -> None:
    """Decodes images of a row group, by their numbers in it; all of its rows are parsed."""
    images = (
        (row, number, image)
        for row in parse_rows(opened.read(uri, group, group + 1)[0], uri)
        for number, image in zip(row.frame, row.images)
    )
    wanted = set(numbers.tolist())
    for position, (row, number, image) in enumerate(images):
        if position in wanted and decode_image(image) is None:
            raise ShardError(
                f"{uri}: clip {row.clip_id!r}, frame {number}: image is not a square JPEG or PNG; remove the shard or "
                "write it again"
            )


def _read(uri: str) -> pa.Table | None:
    """The rows of a kept check with their metadata, None if it is damaged or of another version."""
    try:
        table = pa.ipc.open_file(pa.py_buffer(read_bytes(uri))).read_all()
    except pa.ArrowException:
        return None
    return table if (table.schema.metadata or {}).get(_FORMAT) == _VERSION else None
