import json
import math

import numpy as np
import pytest
import torch

from jr2net.report.result import ReportError, expected, look_up, missing, plain, to_json


def test_json_is_valid_with_non_finite_numbers():
    result = {
        "a": math.nan,
        "b": [math.inf, np.float32(1.5), np.int64(3)],
        "c": {"d": torch.tensor(0.25), "e": torch.tensor([1.0, math.nan])},
        1: "number as key",
    }
    document = to_json(result)
    assert "NaN" not in document and "Infinity" not in document
    assert json.loads(document) == {
        "a": None,
        "b": [None, 1.5, 3],
        "c": {"d": 0.25, "e": [1.0, None]},
        "1": "number as key",
    }


def test_error_names_the_key_that_json_cannot_represent():
    with pytest.raises(ReportError, match=r"result\.stages\[1\] is a object"):
        plain({"stages": [1, object()]})


def test_look_up_returns_finite_numbers_only():
    result = {"a": {"b": 1, "c": math.nan, "d": "text", "e": True}}
    assert look_up(result, "a.b") == 1
    assert [look_up(result, key) for key in ("a.c", "a.d", "a.e", "a.x", "a.b.c")] == [None] * 5


def test_expected_metrics_depend_on_the_ground():
    studio = {"ground": "studio"}
    assert "reconstruction.large.RecAugNet.expression_rmse_mm" in expected(studio)
    assert "landmarks.held_out.RecNet.nme" in expected({"ground": "clips"})
    assert missing(studio) == list(expected(studio))
    assert "reenactment.same_identity.DCNet.l1" in expected(studio)
    flow3d = expected(studio | {"reenactor": "flow3d"})
    assert "reenactment.same_identity.3DFlowRenderer.l1" in flow3d and "stages.flow3d.seconds" in flow3d
    assert missing({}) == []
