import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from jr2net.report.curves import Curve, ends, svg, training_log


def test_log_is_converted_to_curves():
    records = [
        {"step": step, "losses": {"l1": 1 / step, "late": math.nan if step < 3 else 2.0}, "learning_rate": 1e-4}
        | {"images_per_second": 50.0, "seconds": {"data": 0.1, "step": 0.9}}
        for step in range(1, 6)
    ]
    log = training_log("dcnet", records)
    assert [(curve.term, len(curve.steps)) for curve in log.curves] == [("l1", 5), ("late", 3)]
    assert log.throughput == "50 images/s; data 10 %, step 90 % of the time"
    assert training_log("dcnet", []).curves == ()


@pytest.mark.parametrize("values", [np.ones(3), np.array([2.0]), np.geomspace(1e3, 1e-3, 500), np.linspace(-1, 1, 50)])
def test_chart_is_valid_xml_and_inside_its_view_box(values):
    chart = ET.fromstring(svg(Curve("a<b", np.arange(float(len(values))), values)))
    assert chart.attrib["aria-label"].startswith("a<b")
    numbers = [
        float(number)
        for path in chart
        if path.attrib["class"] != "axis"
        for number in path.attrib["d"].strip("MZ").replace("L", " ").split()
    ]
    assert all(math.isfinite(number) and -0.1 <= number <= 240.1 for number in numbers)


def test_ends_are_means_of_the_first_and_last_tenth():
    assert ends(Curve("l1", np.arange(20.0), np.array([4.0] * 10 + [2.0] * 10))) == ("4", "2")
