"""Whole Parquet and CSV tables: lists of 51 coefficients, columns of names and numbers.

For tables of evaluation, which fit into memory; clips and pairs have readers of their own.
"""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from jr2net import storage
from jr2net.data.readers.problems import DatasetError, refuse_web_page
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.storage.parquet import one_line


def read_whole_table(uri: str) -> pa.Table:
    """A ``.parquet`` or ``.csv`` file. Raises DatasetError where it is damaged or empty, StorageError without it."""
    content = storage.read_bytes(uri)
    refuse_web_page(content, uri)
    kind = ".csv" if storage.base_name(uri).lower().endswith(".csv") else ".parquet"
    try:
        table = pa_csv.read_csv(io.BytesIO(content)) if kind == ".csv" else pq.read_table(io.BytesIO(content))
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(
            f"damaged {kind}", f"{uri}: not a readable {kind} file ({one_line(error)}); write it again"
        ) from None
    if not table.num_rows:
        raise DatasetError("no rows", f"{uri}: has no rows; write it again")
    return table


def coefficient_columns(table: pa.Table) -> list[str]:
    """The columns that are lists of numbers, in the table's order."""
    return [
        field.name
        for field in table.schema
        if (pa.types.is_list(field.type) or pa.types.is_fixed_size_list(field.type))
        and pa.types.is_floating(field.type.value_type)
    ]


def coefficients(table: pa.Table, column: str, uri: str) -> np.ndarray:
    """A column of lists of 51 finite numbers, in Apple's order without ``tongueOut``: (M, 51) float64.

    Raises DatasetError naming the row where it is another number of them, or where one is missing or infinite.
    """
    rows = table[column].to_pylist()
    for number, row in enumerate(rows):
        if row is None or len(row) != len(ARKIT_NAMES):
            raise DatasetError(
                "number of coefficients",
                f"{uri}: column {column!r}, row {number}: has {0 if row is None else len(row)} coefficients; expected "
                f"the {len(ARKIT_NAMES)} ARKit blendshapes without tongueOut",
            )
    values = np.array(rows, np.float64)
    if not np.isfinite(values).all():
        number = int(np.flatnonzero(~np.isfinite(values).all(1))[0])
        raise DatasetError(
            "not finite", f"{uri}: column {column!r}, row {number}: has values that are no numbers; leave the row out"
        )
    return values
