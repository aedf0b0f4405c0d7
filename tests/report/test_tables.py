import math

import pytest

from jr2net.evaluation.paper import TABLES, published_reenactment
from jr2net.report.tables import headlines, section_tables


def test_baselines_come_first_and_are_the_reference_of_comparisons():
    result = {
        "reenactment": {
            "same_identity": {
                "pairs": 200,
                "DCNet": {"l1": 0.04, "psnr": 22.0},
                "WarpOnly": {"l1": 0.08, "psnr": 19.0},
                "CopySource": {"l1": 0.1, "psnr": 20.0},
            }
        }
    }
    (table,) = section_tables(result, "reenactment")
    assert table.remarks == "pairs: 200"
    assert [(row.label, row.is_baseline) for row in table.rows] == [
        ("CopySource", True),
        ("WarpOnly", True),
        ("DCNet", False),
    ]
    l1, psnr = table.rows[2].cells
    assert (l1.text, l1.comparison, l1.best) == ("0.0400", "0.50 ×", True)
    assert (psnr.text, psnr.comparison, psnr.best) == ("22.00", "+2.00", True)
    assert not any(cell.comparison or cell.best for row in table.rows[:2] for cell in row.cells)


def test_missing_baseline_is_shown_as_an_empty_row():
    (table,) = section_tables({"reconstruction": {"natural": {"RecNet": {"rmse_mm": 2.0}}}}, "reconstruction")
    assert [row.label for row in table.rows] == ["MeanFace", "RecNet"]
    assert table.rows[0].cells[0].text == "–" and table.rows[1].cells[0].comparison == ""


def test_unknown_metrics_and_nan_are_shown():
    (table,) = section_tables({"landmarks": {"new": {"RecNet": {"odd_one": math.nan, "nme": 0.05}}}}, "landmarks")
    assert [column.header for column in table.columns] == ["NME", "odd one"]
    assert [cell.text for cell in table.rows[0].cells] == ["0.0500", "–"]
    assert section_tables({}, "landmarks") == []


def test_headlines_need_error_and_reference():
    result = {
        "reconstruction": {"natural": {"MeanFace": {"rmse_mm": 2.5}, "RecNet": {"rmse_mm": 2.0}}},
        "reenactment": {"same_identity": {"DCNet": {"l1": 0.1}, "WarpOnly": {"l1": 0.08}}},
        "landmarks": {"held_out": {"RecNet": {"nme": 0.05}}},
    }
    first, second = headlines(result)
    assert first.ratio == pytest.approx(0.8) and first.numbers == "2.00 against 2.50 mm"
    assert first.verdict == "20 % lower"
    assert second.verdict == "25 % higher"


def test_the_papers_tables_are_rectangular():
    for table in (*TABLES, *published_reenactment("same_identity", {"ssim", "l1"})):
        assert all(len(row) == 1 + len(table.columns) for row in table.rows)
        assert set(table.ours) <= {row[0] for row in table.rows}


def test_a_published_table_stands_beside_what_measures_the_same_thing_only():
    two, five = published_reenactment("same_identity", {"l1", "ssim", "l1_face"})
    assert two.columns == five.columns == ("L1 ↓", "SSIM ↑") and two.rows[-1] == ("Ours", "0.0418", "0.7798")
    assert published_reenactment("cross_identity", {"efl", "efl_px", "csim"}) == ()
    (one,) = published_reenactment("cross_identity", {"efl", "fid"})
    assert one.columns == ("FID ↓",) and one.rows[0] == ("Bilayer", "55.10")
    assert published_reenactment("natural", {"l1"}) == ()


def with_intervals(low: float, high: float) -> dict:
    """A report in which RecNet's error is compared with the mean face's on the same people."""
    ratio = {"value": 0.94, "low": low, "high": high, "people": 40}
    difference = {"value": -0.12, "low": -0.2, "high": None, "people": 40}
    paired = {"ratio": ratio, "difference": difference | {"high": -0.04}, "p": 0.0123}
    methods = {
        "MeanFace": {"rmse_mm": 2.0},
        "RecNet": {"rmse_mm": 1.88, "intervals": {"rmse_mm": {"low": 1.8, "high": 1.955, "people": 40}}},
    }
    compared = {"figure": "rmse_mm", "method": "RecNet", "reference": "MeanFace", "paired": paired}
    return {"reconstruction": {"natural": {"meshes": 80, **methods, "comparisons": [compared]}}}


def test_intervals_and_comparisons_are_shown() -> None:
    (table,) = section_tables(with_intervals(0.9, 0.98), "reconstruction")
    assert table.remarks == "meshes: 80"
    assert table.rows[1].cells[0].interval == "1.80 to 1.96" and table.rows[0].cells[0].interval == ""
    (compared,) = table.compared
    assert (compared.methods, compared.metric) == ("RecNet / MeanFace", "RMSE")
    assert compared.ratio == "0.940 [0.900, 0.980]" and compared.difference == "-0.12 [-0.20, -0.04] mm"
    assert compared.p == "0.012"


def test_a_headline_within_chance_says_so() -> None:
    (shown,), (unsure,) = headlines(with_intervals(0.9, 0.98)), headlines(with_intervals(0.9, 1.01))
    assert shown.interval == (0.9, 0.98) and shown.verdict == "6 % lower"
    assert unsure.verdict == "6 % lower, within chance"
