"""Tables of a matrix: means and intervals over seeds, ratios within a run and to the first variant, shared rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jr2net.evaluation.figures import Grid, GridRow
from jr2net.evaluation.samples import Samples
from jr2net.evaluation.statistics import compare_means, over_seeds
from jr2net.report import ablation_pages
from jr2net.report.ablation import Evaluated, ablation_json, set_tables


def run(variant: str, seed: int, recnet: float, dcnet: float, ground: str = "studio") -> Evaluated:
    reconstruction = {"meshes": 8, "MeanFace": {"rmse_mm": 2.0}, "RecNet": {"rmse_mm": recnet}}
    reenactment = {"pairs": 4, "WarpOnly": {"l1": 0.1}, "DCNet": {"l1": dcnet, "psnr": 20 + dcnet}}
    report = {"ground": ground, "reconstruction": {"natural": reconstruction}}
    return Evaluated(variant, seed, report | {"reenactment": {"same_identity": reenactment}})


RUNS = [
    run("full", 0, 1.6, 0.05), run("no-light", 0, 1.6, 0.06),
    run("full", 1, 1.8, 0.04), run("no-light", 1, 1.8, 0.06),
]  # fmt: skip


def ablation_markdown(evaluated: list[Evaluated], first: str, wanted: int) -> str:
    shown = ablation_pages.parts(set_tables(evaluated, first), evaluated, first)
    return ablation_pages.ablation_markdown(ablation_pages.preface(evaluated, wanted), shown)


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
        references = {reference for row in table.rows for reference, _ in row.ratios}
        assert references <= {"MeanFace", "RecNet", "WarpOnly", "DCNet"}
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
    rows = ablation_json(set_tables(RUNS, "full"))["reenactment"]["same_identity"]
    assert rows[2]["seeds"]["l1"] == {"0": 0.06, "1": 0.06}
    assert rows[2]["ratios"]["full"]["l1"]["people"] == 2
    assert (
        ablation_json(set_tables([], "full")) == {}
        and ablation_markdown([], "full", 3) == "None of 3 runs has been evaluated.\n"
    )


def test_the_papers_rows_stand_beside_real_clips_alone() -> None:
    assert "The paper's Table 5" not in ablation_markdown(RUNS, "full", 4)
    text = ablation_markdown([run("full", 0, 1.6, 0.05, "clips")], "full", 1)
    assert "The paper's Table 5: VoxCeleb2, same identity, ablations, as printed" in text
    assert "| Ours-L | 0.048 | 22.11 | 0.761 |" in text and "Table 4" not in text


PEOPLE = tuple(f"person {number // 2}" for number in range(24))


def measured(each: Evaluated, people: tuple[str, ...] = PEOPLE) -> Evaluated:
    """With samples of L1 whose means differ a little from those of the report, and vary between people alike."""
    noise = np.random.default_rng(each.seed).normal(0, 0.01, len(people))
    test = each.report["reenactment"]["same_identity"]
    values = {name: metrics["l1"] + noise for name, metrics in test.items() if name != "pairs"}
    return replace(each, samples=[Samples("reenactment", "same_identity", "l1", people, values)])


def test_ratios_are_also_compared_on_the_same_people_of_all_seeds() -> None:
    runs = [measured(each) for each in RUNS]
    _, full, other = set_tables(runs, "full")[1].rows
    people = [f"{seed}/{name}" for seed in (0, 1) for name in PEOPLE]

    def values(variant: str, method: str) -> np.ndarray:
        return np.concatenate([each.samples[0].values[method] for each in runs if each.variant == variant])

    expected = compare_means(values("no-light", "DCNet"), values("full", "DCNet"), people, 1000)
    found = other.paired["full", "l1"]
    assert found == expected and found.ratio.people == 24 and found.ratio.low > 1 and found.p < 0.01
    assert full.paired["WarpOnly", "l1"] == compare_means(
        values("full", "DCNet"), values("full", "WarpOnly"), people, 1000
    )
    assert ("full", "l1") not in full.paired
    text = ablation_markdown(runs, "full", 4)
    assert "The same ratios of means over the people of all seeds" in text and ", p = 0.001 |" in text
    rows = ablation_json(set_tables(runs, "full"))["reenactment"]["same_identity"]
    assert rows[2]["paired"]["full"]["l1"]["p"] == found.p


def test_real_people_are_the_same_in_every_seed() -> None:
    runs = [measured(run("full", seed, 1.6, 0.05, "clips")) for seed in (0, 1)]
    row = set_tables(runs, "full")[1].rows[1]
    assert row.paired["WarpOnly", "l1"].ratio.people == 12


def test_runs_that_were_tested_on_other_people_are_not_compared_over_people() -> None:
    runs = [measured(RUNS[0]), measured(RUNS[1], PEOPLE[:20])]
    row = set_tables(runs, "full")[1].rows[2]
    assert ("full", "l1") in row.ratios and ("full", "l1") not in row.paired and ("WarpOnly", "l1") in row.paired


def test_reports_of_an_older_version_are_named() -> None:
    text = ablation_markdown([measured(RUNS[0]), RUNS[1]], "full", 2)
    assert "Not compared over people, as an older version evaluated them: no-light, seed 0. With --redo" in text


def test_the_second_round_is_compared_with_the_first() -> None:
    reconstruction = {"RecNet": {"rmse_mm": 2.0}, "RecAugNet": {"rmse_mm": 1.6}, "RecAugNet 2": {"rmse_mm": 1.2}}
    reenactment = {"DCNet": {"l1": 0.05}, "DCNet 2": {"l1": 0.04}}
    report = {"reconstruction": {"large": reconstruction}, "reenactment": {"same_identity": reenactment}}
    tables = set_tables([Evaluated("full", 0, report)], "full")
    assert tables[0].rows[2].ratios["RecAugNet", "rmse_mm"].value == pytest.approx(0.75)
    assert tables[1].rows[1].ratios["DCNet", "l1"].value == pytest.approx(0.8)


def test_the_page_has_tables_and_images() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    grid = Grid("reenactment", "Same identity", "", ("source", "DCNet, full"), (GridRow("a", (image, image)),))
    runs = [measured(each) for each in RUNS]
    shown = ablation_pages.parts(set_tables(runs, "full"), runs, "full")
    page = ablation_pages.ablation_html(ablation_pages.preface(runs, 4), shown, [grid])
    for text in ("4 of 4 runs", "Reenactment: same identity", "L1 / full", "no-light", "DCNet, full", "data:image/png"):
        assert text in page
    assert "<h2>Images" not in ablation_pages.ablation_html([], shown, [])
