"""Matte shards: the mattes of clips, beside the clip shards, which stay as they are.

A matte shard has the name and the row groups of its clip shard and, per row, ``identity`` and ``clip_id``, ``frame`` (a
list of numbers) and ``matte`` (a list of grey PNGs, see ``ClipRow``). Those of version 0.1 have no ``identity``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from jr2net.data.shards import read_groups, write_groups
from jr2net.images.arrays import decode_image, encode_matte
from jr2net.images.clip import ClipRow
from jr2net.images.segmentation import Segmenter
from jr2net.storage import base_name, join
from jr2net.storage.open_shards import OpenShards
from jr2net.storage.parquet import ShardError, open_parquet, read_table

_COLUMNS = ["clip_id", "frame", "matte"]
_IDENTITY = "identity"


@dataclass(frozen=True)
class RowMattes:
    """The mattes of one row: grey PNGs, one per frame; and what names the row. identity: None if it is not known."""

    identity: str | None
    clip_id: str
    frames: tuple[int, ...]
    matte: tuple[bytes, ...]

    def belong_to(self, identity: str, clip_id: str, frames: tuple[int, ...]) -> bool:
        """Whether they are those of this row."""
        return self.identity in (None, identity) and (self.clip_id, self.frames) == (clip_id, frames)


def matte_shard(folder: str, shard: str) -> str:
    """The matte shard in ``folder`` of a clip shard."""
    return join(folder, base_name(shard))


MakeMattes = Callable[[ClipRow], Sequence[bytes]]
"""A row to its mattes, one grey PNG per frame."""


def write_mattes(shard: str, uri: str, make: MakeMattes) -> None:
    """Writes the matte shard ``uri`` of a clip shard, atomically; mattes that the clips have already are copied."""
    write_groups(uri, [_table(rows, make) for rows in read_groups(shard)])


def segmented(shard: str, segment: Segmenter) -> MakeMattes:
    """Mattes by segmentation. The function raises ShardError for an image that cannot be decoded."""

    def make(row: ClipRow) -> list[bytes]:
        mattes = []
        for number, content in zip(row.frame, row.images):
            image = decode_image(content)
            if image is None:
                raise ShardError(
                    f"{shard}: clip {row.clip_id!r}, frame {number}: image is not a square JPEG or PNG; remove the "
                    "shard or write it again"
                )
            mattes.append(encode_matte(segment(image)))
        return mattes

    return make


def read_matte_group(uri: str, group: int) -> list[RowMattes]:
    """All rows of one row group of a matte shard."""
    with open_parquet(uri, _COLUMNS) as file:
        if group >= file.num_row_groups:
            return []
        identity = [_IDENTITY] if _IDENTITY in file.schema_arrow.names else []
        return parse_mattes(read_table(file, uri, group, _COLUMNS + identity))


def matte_shards() -> OpenShards:
    """A reader of matte shards, for ``parse_mattes``."""
    return OpenShards(_COLUMNS, lambda name: name == _IDENTITY)


def parse_mattes(table: pa.Table) -> list[RowMattes]:
    """The rows of a table of a matte shard."""
    rows = table.to_pylist()
    return [RowMattes(row.get(_IDENTITY), row["clip_id"], tuple(row["frame"]), tuple(row["matte"])) for row in rows]


def row_mattes(uri: str, mattes: Sequence[RowMattes], position: int, clip: ClipRow) -> tuple[bytes, ...]:
    """The mattes of a row, from those at the same place of its matte shard ``uri``. Raises ShardError if these are of
    another row."""
    key = clip.identity, clip.clip_id, tuple(clip.frame.tolist())
    if position >= len(mattes) or not mattes[position].belong_to(*key):
        raise ShardError(f"{uri}: has no mattes of clip {clip.clip_id!r}; run the stage `mattes` again")
    return mattes[position].matte


def _table(rows: list[ClipRow], make: MakeMattes) -> pa.Table:
    mattes = [row.matte if row.matte is not None else make(row) for row in rows]
    return pa.table(
        {
            _IDENTITY: pa.array([row.identity for row in rows], pa.string()),
            "clip_id": pa.array([row.clip_id for row in rows], pa.string()),
            "frame": pa.array([row.frame.tolist() for row in rows], pa.list_(pa.int32())),
            "matte": pa.array([list(matte) for matte in mattes], pa.list_(pa.binary())),
        }
    )
