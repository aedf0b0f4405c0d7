"""Tables of a matrix: means and intervals over seeds, ratios within a run and to the first variant, shared rows."""

from __future__ import annotations

import pytest

from jr2net.evaluation.statistics import over_seeds
from jr2net.report.ablation import Evaluated, ablation_json, ablation_markdown, set_tables


def run(variant: str, seed: int, recnet: float, dcnet: float, ground: str = "studio") -> Evaluated:
    reconstruction = {"meshes": 8, "MeanFace": {"rmse_mm": 2.0}, "RecNet": {"rmse_mm": recnet}}
    reenactment = {"pairs": 4, "WarpOnly": {"l1": 0.1}, "DCNet": {"l1": dcnet, "psnr": 20 + dcnet}}
    report = {"ground": ground, "reconstruction": {"natural": reconstruction}}
    return Evaluated(variant, seed, report | {"reenactment": {"same_identity": reenactment}})


RUNS = [
    run("full", 0, 1.6, 0.05), run("no-light", 0, 1.6, 0.06),
    run("full", 1, 1.8, 0.04), run("no-light", 1, 1.8, 0.06),
]  # fmt: skip


def test_means_and_intervals_are_over_seeds() -> None:
    (reconstruction, _) = set_tables(RUNS, "full")
    mean_face, recnet = reconstruction.rows
    assert recnet.metrics["rmse_mm"] == over_seeds([1.6, 1.8])
    assert recnet.seeds["rmse_mm"] == {0: 1.6, 1: 1.8}
    assert recnet.ratios["MeanFace", "rmse_mm"] == over_seeds([0.8, 0.9])
    assert mean_face.ratios.keys() == {("RecNet", "rmse_mm")}
    assert mean_face.metrics["rmse_mm"].low == mean_face.metrics["rmse_mm"].high == 2.0


def test_what_variants_share_is_one_row() -> None:
    (reconstruction, reenactment) = set_tables(RUNS, "full")
    assert [(row.method, row.variants) for row in reconstruction.rows] == [
        ("MeanFace", ("full", "no-light")),
        ("RecNet", ("full", "no-light")),
    ]
    assert [(row.method, row.variants) for row in reenactment.rows] == [
        ("WarpOnly", ("full", "no-light")),
        ("DCNet", ("full",)),
        ("DCNet", ("no-light",)),
    ]


def test_variants_are_compared_with_the_first_seed_by_seed() -> None:
    first, other = set_tables(RUNS, "full")[1].rows[1:]
    assert ("full", "l1") not in first.ratios
    assert other.ratios["full", "l1"].value == pytest.approx((0.06 / 0.05 + 0.06 / 0.04) / 2)
    assert other.ratios["WarpOnly", "l1"] == over_seeds([0.6, 0.6])


def test_no_other_variant_takes_the_place_of_the_first() -> None:
    others = [run("no-light", 0, 1.6, 0.06), run("wide", 0, 1.6, 0.03)]
    for table in set_tables(others, "full"):
        assert {reference for row in table.rows for reference, _ in row.ratios} <= {"MeanFace", "RecNet", "WarpOnly"}
    assert "/ no-light" not in ablation_markdown(others, "full", 3)


def test_a_seed_that_is_not_there_yet_is_left_out() -> None:
    reconstruction, reenactment = set_tables(RUNS[:3], "full")
    assert [row.variants for row in reconstruction.rows] == [("full", "no-light")] * 2
    other = reenactment.rows[2]
    assert (other.variants, other.metrics["l1"].value, other.metrics["l1"].low) == (("no-light",), 0.06, None)
    assert other.ratios["full", "l1"].value == pytest.approx(1.2)


def test_markdown_and_json() -> None:
    text = ablation_markdown(RUNS, "full", 6)
    assert text.startswith("4 of 6 runs: variants full, no-light; seeds 0, 1. Means over seeds; in brackets: Student's")
    assert "## Reconstruction: natural expressions\n" in text and "## Reenactment: same identity\n" in text
    assert "|  | variant | RMSE (mm) ↓ | RMSE / MeanFace | RMSE / RecNet |" in text
    assert "| RecNet | all | 1.70 [0.43, 2.97] | 0.850 [0.215, 1.485] | – |" in text
    assert "| DCNet | no-light | 0.0600 [0.0600, 0.0600] |" in text
    rows = ablation_json(RUNS, "full")["reenactment"]["same_identity"]
    assert rows[2]["seeds"]["l1"] == {"0": 0.06, "1": 0.06}
    assert rows[2]["ratios"]["full"]["l1"]["people"] == 2
    assert (
        ablation_json([], "full") == {} and ablation_markdown([], "full", 3) == "None of 3 runs has been evaluated.\n"
    )


def test_the_papers_rows_stand_beside_real_clips_alone() -> None:
    assert "The paper's Table 5" not in ablation_markdown(RUNS, "full", 4)
    text = ablation_markdown([run("full", 0, 1.6, 0.05, "clips")], "full", 1)
    assert "The paper's Table 5: VoxCeleb2, same identity, ablations, as printed" in text
    assert "| Ours-L | 0.048 | 22.11 | 0.761 |" in text and "Table 4" not in text
