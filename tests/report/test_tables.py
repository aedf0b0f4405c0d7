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
