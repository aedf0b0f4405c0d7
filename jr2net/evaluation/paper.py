"""Tables 1 to 5 of the paper, as printed, for comparison with a run's.

They were measured on other data with other networks, so only the ranking of the methods is comparable, not the values.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PaperTable:
    """One table as printed; ``ours``: labels of the rows of the paper's own method."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    ours: tuple[str, ...] = ("Ours",)


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

PAPER_TABLES: dict[tuple[str, str], tuple[PaperTable, ...]] = {
    ("reconstruction", "natural"): (TABLE_4,),
    ("reconstruction", "large"): (TABLE_3,),
    ("reenactment", "same_identity"): (TABLE_2, TABLE_5),
    ("reenactment", "cross_identity"): (TABLE_1,),
}
"""(section, test set) of a result -> the paper's tables with the same metrics."""
