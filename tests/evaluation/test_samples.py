"""What was measured of single frames and pairs: intervals and comparisons of a report, and the file that keeps them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from untrained_run import PEOPLE, configuration

from jr2net.evaluation import Findings, evaluate
from jr2net.evaluation.samples import BASELINES, Samples, add_uncertainty, join_samples, read_samples, write_samples
from jr2net.evaluation.statistics import compare_means, estimate_mean
from jr2net.face.model import FaceModel
from jr2net.storage.parquet import ShardError


def errors(people: int = 30) -> Samples:
    """RecAugNet is better by a tenth on every person; nobody's two samples are alike."""
    rng = np.random.default_rng(0)
    recnet = rng.normal(2, 0.4, 2 * people)
    identities = tuple(f"person {number // 2}" for number in range(2 * people))
    recaugnet = 0.9 * recnet + rng.normal(0, 0.01, 2 * people)
    values = {"MeanFace": recnet + 0.5, "RecNet": recnet, "RecAugNet": recaugnet}
    return Samples("reconstruction", "large", "rmse_mm", identities, values)


def test_a_report_says_how_sure_its_means_are() -> None:
    samples = errors()
    means = {method: {"rmse_mm": float(each.mean())} for method, each in samples.values.items()}
    result = {"reconstruction": {"large": {"meshes": 60, **means}}}
    add_uncertainty(result, [samples], seed=2)
    found = result["reconstruction"]["large"]
    expected = estimate_mean(samples.values["RecNet"], samples.identities, 1000, 2)
    assert found["RecNet"]["intervals"] == {"rmse_mm": {"low": expected.low, "high": expected.high, "people": 30}}
    pairs = {(each["method"], each["reference"]): each["paired"] for each in found["comparisons"]}
    assert list(pairs) == [("RecNet", "MeanFace"), ("RecAugNet", "MeanFace"), ("RecAugNet", "RecNet")]
    ours = pairs["RecAugNet", "RecNet"]
    assert ours["ratio"]["low"] < 0.9 < ours["ratio"]["high"] < 0.95 and ours["p"] < 0.01


def test_one_person_has_no_interval() -> None:
    samples = Samples("landmarks", "natural", "nme", ("a", "a"), {"RecNet": np.array([0.1, 0.2])})
    result = {"landmarks": {"natural": {"RecNet": {"nme": 0.15}}}}
    add_uncertainty(result, [samples])
    assert result["landmarks"]["natural"]["RecNet"] == {"nme": 0.15, "intervals": {}}


def test_samples_are_read_as_they_were_written(tmp_path: Path) -> None:
    uri, samples = str(tmp_path / "samples.parquet"), errors()
    other = Samples("landmarks", "large", "nme", ("a", "b"), {"RecNet": np.array([np.nan, 0.25])})
    write_samples(uri, [samples, other])
    read = read_samples(uri)
    assert [(each.section, each.test_set, each.metric, each.identities) for each in read] == [
        (each.section, each.test_set, each.metric, each.identities) for each in (samples, other)
    ]
    for each, written in zip(read, (samples, other)):
        assert list(each.values) == list(written.values)
        for method, values in written.values.items():
            np.testing.assert_array_equal(each.values[method], values)
    assert read_samples(str(tmp_path / "none.parquet")) == []
    (tmp_path / "samples.parquet").write_bytes(b"damaged")
    with pytest.raises(ShardError, match=r"samples\.parquet: not a readable Parquet file"):
        read_samples(uri)


def test_joined_samples_have_the_methods_that_all_parts_have() -> None:
    one = Samples("reenactment", "same_identity", "l1", ("a",), {"DCNet": np.ones(1), "WarpOnly": np.ones(1)})
    two = Samples("reenactment", "same_identity", "l1", ("b", "c"), {"DCNet": np.zeros(2)})
    joined = join_samples([one, two])
    assert joined.identities == ("a", "b", "c") and list(joined.values) == ["DCNet"]
    assert joined.values["DCNet"].tolist() == [1, 0, 0]


@pytest.fixture(scope="module")
def findings(folders: dict[str, str], procedural_model: FaceModel) -> Findings:
    return evaluate(configuration("dcnet", folders["prepare"]), procedural_model, folders)


def test_every_mean_of_a_report_is_the_mean_of_its_samples(findings: Findings) -> None:
    measured = {(each.section, each.test_set, each.metric) for each in findings.samples}
    assert {("reconstruction", "large", "rmse_mm"), ("expression", "natural", "mae")} <= measured
    assert {("landmarks", "large", "nme"), ("reenactment", "cross_identity", "efl_px")} <= measured
    for samples in findings.samples:
        for method, values in samples.values.items():
            metrics = findings.metrics[samples.section][samples.test_set][method]
            assert metrics[samples.metric] == pytest.approx(np.nanmean(values), rel=1e-5)
            assert len(values) == len(samples.identities)


def test_every_figure_of_a_report_has_an_interval_over_people(findings: Findings) -> None:
    for section in ("reconstruction", "landmarks", "expression", "reenactment"):
        for entries in findings.metrics[section].values():
            for method, metrics in entries.items():
                if not isinstance(metrics, dict):
                    continue
                known = {name for name, value in metrics.items() if isinstance(value, float) and np.isfinite(value)}
                assert known <= metrics["intervals"].keys(), (section, method)
                for name in known:
                    interval = metrics["intervals"][name]
                    assert interval["low"] <= interval["high"] and 2 <= interval["people"] <= PEOPLE


def test_methods_of_a_report_are_compared_on_the_same_people(findings: Findings) -> None:
    samples = next(each for each in findings.samples if each.metric == "expression_rmse_mm")
    comparisons = findings.metrics["reconstruction"][samples.test_set]["comparisons"]
    (found,) = (
        each["paired"]
        for each in comparisons
        if (each["figure"], each["method"], each["reference"]) == ("expression_rmse_mm", "RecAugNet", "RecNet")
    )
    expected = compare_means(samples.values["RecAugNet"], samples.values["RecNet"], samples.identities, 1000)
    assert expected is not None and found["difference"]["value"] == pytest.approx(expected.difference.value)
    assert not {each["method"] for each in comparisons} & set(BASELINES)
