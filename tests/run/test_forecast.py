"""What a run forecasts: the configuration's minutes by stage, corrected by what its stages took."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from jr2net.config import load
from jr2net.config.stages import StageName
from jr2net.run.cascade import ALL_STAGES, stages
from jr2net.run.forecast import Forecast, time_left

CONFIGS = Path(__file__).parents[2] / "configs"


def test_later_stages_take_as_much_longer_as_the_earlier_ones_did() -> None:
    forecast = Forecast(["prepare", "recnet", "dcnet"], {"prepare": 1, "recnet": 4, "dcnet": 3})
    assert (
        forecast.summary()
        == "3 stages to run, about 8 min 0 s in all: prepare 1 min 0 s, recnet 4 min 0 s, dcnet 3 min 0 s"
    )
    assert forecast.after("prepare") == 7 * 60
    forecast.finished("prepare", 120)
    assert forecast.after("recnet") == 2 * 3 * 60
    forecast.finished("recnet", 180)
    assert forecast.after("dcnet") == 0


def test_without_expectations_only_the_stages_are_named() -> None:
    forecast = Forecast(["recnet", "evaluation"], {"recnet": 4})
    assert forecast.summary() == "2 stages to run: recnet, evaluation"
    forecast.finished("recnet", 10)
    assert forecast.after("recnet") is None
    assert Forecast([], {}).summary() == "0 stages to run: none"


def test_progress_names_the_whole_run_where_it_is_known() -> None:
    assert time_left(75, None) == "time left 1 min 15 s"
    assert time_left(75, 600) == "time left 1 min 15 s, of the whole run 11 min 15 s"


def test_stage_names_are_those_of_the_cascade() -> None:
    assert get_args(StageName) == ALL_STAGES


@pytest.mark.parametrize("name", ["laptop", "flow3d", "clips"])
def test_the_small_configurations_expect_something_of_all_their_stages(name: str) -> None:
    config = load(CONFIGS / f"{name}.yaml")
    assert set(config.scaling.expected_minutes) == set(stages(config))
