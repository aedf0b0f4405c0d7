"""Tables 1 to 5 of the paper, as printed, and where each may stand: beside figures that measure the same thing.

The same thing is the same metric on the same kind of data. Tables 3 and 4 are of scans and stand with the protocols
that measure on these sets (``frgc``, ``facewarehouse``): nothing that is measured in the studio, and no other metric,
has one beside it. Tables 1, 2 and 5 are of clips of people who talk, and stand beside figures of real clips. Even
there the networks and the people are others.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class PaperTable:
    """One table as printed; ``ours``: labels of the rows of the paper's own method."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    ours: tuple[str, ...] = ("Ours",)

    def only(self, columns: Collection[str]) -> PaperTable | None:
        """The table with some of its columns; None if it has none of them."""
        kept = [number for number, column in enumerate(self.columns) if column in columns]
        if not kept:
            return None
        rows = tuple((row[0], *(row[1 + number] for number in kept)) for row in self.rows)
        return replace(self, columns=tuple(self.columns[number] for number in kept), rows=rows)


TABLE_1 = PaperTable(
    "Table 1: VoxCeleb2, cross identity",
    ("EFL ↓", "FID ↓"),
    (
        ("Bilayer", "2.88", "55.10"),
        ("FOM", "17.29", "41.48"),
        ("GANimation", "10.89", "47.36"),
        ("Ours", "2.50", "37.45"),
    ),
)

TABLE_2 = PaperTable(
    "Table 2: VoxCeleb2, same identity",
    ("L1 ↓", "PSNR ↑", "SSIM ↑", "FID ↓"),
    (
        ("Bilayer", "0.1486", "13.32", "0.543", "67.20"),
        ("FOM", "0.0604", "21.28", "0.713", "19.57"),
        ("GANimation", "0.0999", "17.02", "0.512", "24.89"),
        ("Dual-G", "0.1123", "18.82", "0.573", "43.38"),
        ("Ours", "0.0418", "23.01", "0.7798", "19.25"),
    ),
)

TABLE_3 = PaperTable(
    "Table 3: FRGC v2.0, crop of 95 mm",
    ("MAE ↓", "STD ↓"),
    (
        ("3DDFA", "2.32", "0.75"),
        ("PRNet", "2.35", "0.67"),
        ("MGCNet", "1.94", "0.67"),
        ("DECA", "1.93", "0.59"),
        ("MICA", "2.12", "0.61"),
        ("Ours", "1.85", "0.56"),
    ),
)

TABLE_4 = PaperTable(
    "Table 4: FaceWarehouse, crop of 85 mm",
    ("RMSE ↓", "STD ↓", "Med ↓", "80 % ↓", "Time"),
    (
        ("3DDFA", "2.24", "0.44", "2.22", "2.60", "4 ms"),
        ("PRNet", "2.48", "0.44", "2.46", "2.85", "4 ms"),
        ("MGCNet", "1.97", "0.39", "1.96", "2.27", "20 ms"),
        ("DECA", "1.90", "0.36", "1.86", "2.18", "20 ms"),
        ("RecNet", "1.90", "0.40", "1.85", "2.24", "20 ms"),
        ("Baseline", "1.98", "0.42", "1.97", "2.35", "20 ms"),
        ("RecCopyNet", "1.89", "0.34", "1.73", "2.04", "20 ms"),
        ("RecDataNet", "1.92", "0.35", "1.74", "2.14", "20 ms"),
        ("RecAugNet", "1.78", "0.35", "1.74", "2.08", "20 ms"),
    ),
    ours=("RecNet", "RecAugNet"),
)

TABLE_5 = PaperTable(
    "Table 5: VoxCeleb2, same identity, ablations",
    ("L1 ↓", "PSNR ↑", "SSIM ↑"),
    (
        ("Ours-R", "0.044", "22.31", "0.772"),
        ("Ours-P", "0.045", "22.38", "0.773"),
        ("Ours-L", "0.048", "22.11", "0.761"),
        ("Ours", "0.042", "23.01", "0.779"),
    ),
)

TABLES = (TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5)

SAME_METRIC = {"l1": "L1 ↓", "psnr": "PSNR ↑", "ssim": "SSIM ↑", "fid": "FID ↓"}
"""Metric of reenactment -> the column of the paper's tables that measures the same.

The paper's EFL is in pixels of images of a size, and by a detector, that it does not name: none of ours is the same.
"""

_REENACTMENT = {"same_identity": (TABLE_2, TABLE_5), "cross_identity": (TABLE_1,)}


def published_reenactment(test: str, metrics: Collection[str]) -> tuple[PaperTable, ...]:
    """The paper's tables of a test on real clips (``same_identity``, ``cross_identity``), with the columns that measure
    the same as one of ``metrics``; empty for other tests."""
    columns = [column for metric, column in SAME_METRIC.items() if metric in metrics]
    found = (table.only(columns) for table in _REENACTMENT.get(test, ()))
    return tuple(table for table in found if table is not None)
