"""The images of a report as a file, so that those of several runs can be shown side by side."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from jr2net import storage
from jr2net.evaluation.figures import Grid, GridRow, ImageArray
from jr2net.storage.parquet import PARQUET_OPTIONS, open_parquet, read_table

IMAGES = "images.parquet"
"""File of a report."""

_ROWS = 4  # of a grid that shows several runs

_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("section", "title", "text", "caption", "column")] + [("image", pa.binary())]
)


def encode_for_page(image: ImageArray) -> bytes:
    """PNG for small images, which keeps pixels exact; JPEG without chroma subsampling for large ones."""
    stream = io.BytesIO()
    if max(image.shape[:2]) <= 96:
        Image.fromarray(image).save(stream, "PNG", optimize=True)
    else:
        Image.fromarray(image).save(stream, "JPEG", quality=92, subsampling=0)
    return stream.getvalue()


def write_grids(uri: str, grids: Iterable[Grid]) -> None:
    """A Parquet file with a row for every image, encoded as on the page; gaps have none."""
    rows = [
        {
            "section": grid.section,
            "title": grid.title,
            "text": grid.text,
            "caption": row.caption,
            "column": column,
            "image": None if image is None else encode_for_page(image),
        }
        for grid in grids
        for row in grid.rows
        for column, image in zip(grid.columns, row.images)
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), sink, **PARQUET_OPTIONS)
    storage.write_bytes(uri, sink.getvalue().to_pybytes())


def read_grids(uri: str) -> list[Grid]:
    """What ``write_grids`` wrote; nothing where there is no such file, as in reports of older versions.

    Raises ShardError for a damaged file.
    """
    if not storage.exists(uri):
        return []
    found: dict[str, list[dict]] = {}
    for row in read_table(open_parquet(uri, _SCHEMA.names), uri, 0, _SCHEMA.names).to_pylist():
        found.setdefault(row["title"], []).append(row)
    return [_grid(rows) for rows in found.values()]


def side_by_side(grids: Mapping[str, Sequence[Grid]]) -> list[Grid]:
    """Grids of several runs, by the runs' names, as one grid each, of the first rows that all runs show.

    A column that is the same in all runs which have it is shown once; the others are named after their run.
    """
    titles = dict.fromkeys(grid.title for each in grids.values() for grid in each)
    return [
        _joined({run: grid for run, each in grids.items() for grid in each if grid.title == title}) for title in titles
    ]


def _grid(rows: Sequence[Mapping]) -> Grid:
    columns = tuple(dict.fromkeys(row["column"] for row in rows))
    images = [None if row["image"] is None else np.array(Image.open(io.BytesIO(row["image"]))) for row in rows]
    width = len(columns)
    shown = [
        GridRow(rows[first]["caption"], tuple(images[first : first + width])) for first in range(0, len(rows), width)
    ]
    return Grid(rows[0]["section"], rows[0]["title"], rows[0]["text"], columns, tuple(shown))


def _joined(grids: Mapping[str, Grid]) -> Grid:
    first = next(iter(grids.values()))
    captions = _common_start([[row.caption for row in grid.rows] for grid in grids.values()])[:_ROWS]
    columns: dict[str, tuple[ImageArray | None, ...]] = {}
    for name in dict.fromkeys(column for grid in grids.values() for column in grid.columns):
        found = {run: _column(grid, name, len(captions)) for run, grid in grids.items() if name in grid.columns}
        shared = next(iter(found.values()))
        if all(_same(shared, images) for images in found.values()):
            columns[name] = shared
        else:
            columns |= {f"{name}, {run}": images for run, images in found.items()}
    rows = tuple(
        GridRow(caption, tuple(each[row] for each in columns.values())) for row, caption in enumerate(captions)
    )
    return Grid(first.section, first.title, first.text, tuple(columns), rows)


def _common_start(captions: Sequence[Sequence[str]]) -> list[str]:
    """The captions with which all begin: a caption may come again, e.g. a person's name."""
    return [same[0] for same in takewhile(lambda each: len(set(each)) == 1, zip(*captions))]


def _column(grid: Grid, name: str, count: int) -> tuple[ImageArray | None, ...]:
    place = grid.columns.index(name)
    return tuple(row.images[place] for row in grid.rows[:count])


def _same(one: Sequence[ImageArray | None], other: Sequence[ImageArray | None]) -> bool:
    return all(a is b if a is None or b is None else np.array_equal(a, b) for a, b in zip(one, other))
