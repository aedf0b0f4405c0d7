"""Which files pairs are made from: the clip shards of a folder, or its photos.

Every start lists them. What is in a shard is known from an index: that of the stage ``prepare``, or for other clips one
that the first start makes and keeps, so that no later one opens any shard.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from jr2net import storage
from jr2net.data.clips import ClipSource
from jr2net.data.index import index_shard, join_indices
from jr2net.data.shards import find_shards
from jr2net.storage.parquet import ShardError

PHOTO_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")

_READERS = 16


@dataclass(frozen=True)
class SourceList:
    """The files a dataset is synthesised from.

    kind       "clips" or "photos"
    files      size in bytes of every usable file, by its path relative to the folder
    damaged    file -> why its index could not be read
    left_out   identities of the clips whose images are not used (``synthesis/people.py``)
    index      file with the index of the clips (``data/index.py``), if one is kept; the dataset does not depend on it
    """

    kind: str
    files: Mapping[str, int]
    damaged: Mapping[str, str] = field(default_factory=dict)
    left_out: Sequence[str] = ()
    index: str | None = None

    @property
    def tree(self) -> dict[str, Any]:
        """What a dataset depends on, for JSON; ``left_out`` only where somebody is."""
        tree = {"kind": self.kind, "files": dict(self.files), "damaged": dict(self.damaged)}
        return tree | ({"left_out": list(self.left_out)} if self.left_out else {})

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.tree, sort_keys=True).encode()).hexdigest()


def list_sources(uri: str, kept: str | None = None, prepared: bool = False) -> SourceList:
    """Lists the clip shards below a folder, or its photos if it has no shards. Raises ShardError if it has neither.

    A damaged shard is listed as such and not used. StorageError is raised where the storage is what fails. kept: folder
    in which the index of the clips is kept, by the shards' addresses, sizes and times of change. prepared: whether
    these are the clips of the stage `prepare`, which has read and indexed the shards of the folder itself.
    """
    sizes = storage.file_sizes(uri)
    shards = sorted(name for name in sizes if name.endswith(".parquet") and not (prepared and "/" in name))
    if not shards:
        photos = {name: sizes[name] for name in sorted(sizes) if name.lower().endswith(PHOTO_ENDINGS)}
        if not photos:
            endings = ", ".join(PHOTO_ENDINGS)
            raise ShardError(f"{uri}: holds neither clip shards (.parquet) nor photos ({endings}); give such a folder")
        return SourceList("photos", photos)
    if prepared:
        return SourceList("clips", {name: sizes[name] for name in shards})
    if kept is None:
        damaged, index = _index(uri, [file_uri(uri, name, sizes) for name in shards])[1], None
    else:
        damaged, index = _kept_index(uri, kept)
    return SourceList("clips", {name: sizes[name] for name in shards if name not in damaged}, damaged, (), index)


def open_clips(uri: str, listed: SourceList) -> ClipSource:
    """The clips of a list of the folder or file ``uri``, without the people who are left out."""
    addresses = [file_uri(uri, name, listed.files) for name in listed.files]
    clips = ClipSource(uri, index=listed.index) if listed.index is not None else ClipSource(addresses)
    return clips.without(listed.left_out) if listed.left_out else clips


def file_uri(uri: str, name: str, files: Mapping[str, int]) -> str:
    """URI of a listed file; ``uri`` may be the file itself."""
    return uri if len(files) == 1 and storage.base_name(uri) == name else storage.join(uri, name)


def without_folder(error: Exception, uri: str) -> str:
    """An error's message with the file's name for its URI: a dataset's bytes must not depend on the folder."""
    return str(error).replace(uri, storage.base_name(uri))


def _kept_index(uri: str, kept: str) -> tuple[dict[str, str], str]:
    """The damaged shards below a folder, with the reasons, and the file with the index of the others."""
    shards = find_shards(uri, below=True)
    stem = storage.join(kept, f"sources-{hashlib.sha256(json.dumps(shards).encode()).hexdigest()[:16]}")
    description, index = f"{stem}.json", f"{stem}.arrow"
    if not storage.exists(description):
        tables, damaged = _index(uri, shards)
        join_indices(list(tables), list(tables.values()), uri).write(index)
        storage.write_bytes(description, json.dumps(damaged, indent=1).encode())  # last: the index is there
        return damaged, index
    return json.loads(storage.read_bytes(description)), index


def _index(uri: str, shards: Iterable[str]) -> tuple[dict[str, pa.Table], dict[str, str]]:
    """By path relative to ``uri``: the rows of the shards that can be read, and why the others cannot.

    Raises ShardError where none can, StorageError where the storage fails.
    """
    addresses = list(shards)
    with ThreadPoolExecutor(_READERS) as pool:
        found = list(pool.map(_rows, addresses))
    names = [storage.relative_path(address, uri) for address in addresses]
    tables = {name: rows for name, rows in zip(names, found, strict=True) if isinstance(rows, pa.Table)}
    damaged = {name: rows for name, rows in zip(names, found, strict=True) if isinstance(rows, str)}
    if not tables:
        first = storage.base_name(addresses[0])
        raise ShardError(f"{uri}: none of {len(found)} shards can be read, e.g. {first}: {found[0]}")
    return tables, damaged


def _rows(uri: str) -> pa.Table | str:
    """The rows of a shard (``index_shard``), or why they cannot be read.

    A request that fails looks as a damaged shard does. So a shard counts as damaged only if its bytes, all of which are
    there, are: else it would be left out for good, and all pairs would be others.
    """
    try:
        return index_shard(uri)
    except ShardError:
        content = storage.read_bytes(uri)  # raises StorageError if the storage is the cause
    try:
        return index_shard(uri, content)
    except ShardError as error:
        return without_folder(error, uri)
