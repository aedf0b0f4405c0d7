"""Coefficients that another system found on labelled images: a table of 51 columns, by name, or one of lists."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from jr2net import storage
from jr2net.data.readers.coefficients import coefficient_columns, coefficients, read_whole_table
from jr2net.data.readers.expressions import KEYS, LabelledImages
from jr2net.data.readers.problems import DatasetError
from jr2net.expressions.columns import TrackError, find_columns

FILES = ("predictions.parquet", "predictions.csv")
"""The file that is read where a folder is given."""


def read_answers(uri: str, labelled: LabelledImages) -> np.ndarray:
    """(M, 51) float64: the coefficients of a ``.parquet`` or ``.csv`` file for every labelled image.

    Rows are found by the columns that the file has of ``labelled.keys`` (identity, clip_id, frame, …), else they are
    those of the images in their order. Raises DatasetError naming the file where images or blendshapes are missing.
    """
    uri = _file(uri)
    table = read_whole_table(uri)
    values = _values(table, uri)
    keys = [key for key in KEYS if key in labelled.keys and key in table.column_names]
    if not keys:
        if len(values) != len(labelled):
            raise DatasetError(
                "number of rows",
                f"{uri}: has {len(values)} rows for {len(labelled)} images; give one row per image, or columns that "
                f"name the images ({', '.join(labelled.keys)})",
            )
        return values
    rows = _rows(table, keys)
    if len(set(rows)) < len(rows):
        raise DatasetError("repeated rows", f"{uri}: several rows have the same {', '.join(keys)}; leave one of each")
    places = {row: number for number, row in enumerate(rows)}
    wanted = list(zip(*([str(value) for value in labelled.keys[key]] for key in keys)))
    missing = [row for row in wanted if row not in places]
    if missing:
        raise DatasetError(
            "missing rows",
            f"{uri}: {len(missing)} of {len(wanted)} images have no row, e.g. {', '.join(keys)} = "
            f"{', '.join(missing[0])}; add them",
        )
    return values[[places[row] for row in wanted]]


def _file(uri: str) -> str:
    if storage.base_name(uri).lower().endswith((".parquet", ".csv")):
        return uri
    for name in FILES:
        if storage.exists(path := storage.join(uri, name)):
            return path
    raise DatasetError("no predictions", f"{uri}: holds neither {' nor '.join(FILES)}; give such a file")


def _values(table: pa.Table, uri: str) -> np.ndarray:
    lists = coefficient_columns(table)
    if lists:
        return coefficients(table, "expression" if "expression" in lists else lists[0], uri)
    try:
        columns = find_columns(table.column_names, uri)
    except TrackError as error:
        raise DatasetError("missing blendshapes", str(error)) from None
    try:
        values = np.stack([table.column(index).to_numpy().astype(np.float64) for index in columns.shapes], 1)
    except (ValueError, TypeError, pa.ArrowException):
        raise DatasetError(
            "not numbers", f"{uri}: a blendshape's column does not hold numbers; write it again"
        ) from None
    if not np.isfinite(values).all():
        number = int(np.flatnonzero(~np.isfinite(values).all(1))[0])
        raise DatasetError("not finite", f"{uri}: row {number} has blank cells or NaN; give a number for each")
    return values


def _rows(table: pa.Table, keys: list[str]) -> list[tuple[str, ...]]:
    return list(zip(*([str(value) for value in table[key].to_pylist()] for key in keys)))
