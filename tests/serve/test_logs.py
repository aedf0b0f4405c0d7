"""Lines of a replica's log on its output."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from logging.handlers import MemoryHandler

import pytest
from ray.serve._private import logging_utils
from ray.serve._private.common import ServeComponentType
from ray.serve.schema import LoggingConfig

from serve.logs import LOGGER, write_json_lines


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    handlers, propagate, level = list(LOGGER.handlers), LOGGER.propagate, LOGGER.level
    yield
    LOGGER.handlers[:], LOGGER.propagate = handlers, propagate
    LOGGER.setLevel(level)


def set_up(folder, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Ray does before a replica is made, with its output logged too."""
    monkeypatch.setattr(logging_utils, "RAY_SERVE_LOG_TO_STDERR", True)
    logging_utils.configure_component_logger(
        component_name="jr2net_Ingress",
        component_id="abc",
        component_type=ServeComponentType.REPLICA,
        logging_config=LoggingConfig(encoding=encoding, logs_dir=str(folder)),
        max_bytes=1 << 20,
        backup_count=1,
    )


def test_lines_on_the_output_are_those_of_the_file(tmp_path, monkeypatch, capsys) -> None:
    set_up(tmp_path, "JSON", monkeypatch)
    write_json_lines()
    LOGGER.info("a request of %d bytes", 7)
    try:
        raise ValueError("no photo")
    except ValueError:
        LOGGER.exception("it failed")
    logged = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["message"] for line in logged] == ["a request of 7 bytes", "it failed"]
    assert logged[0]["levelname"] == "INFO" and "ValueError: no photo" in logged[1]["exc_text"]
    for handler in LOGGER.handlers:
        if isinstance(handler, MemoryHandler):
            handler.flush()
    (file,) = tmp_path.glob("*.log")
    written = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["message"] for line in written] == [line["message"] for line in logged]
    assert set(written[0]) == set(logged[0])


def test_text_stays_text(tmp_path, monkeypatch, capsys) -> None:
    set_up(tmp_path, "TEXT", monkeypatch)
    write_json_lines()
    logging.getLogger("ray.serve").info("a request")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("a request") and not line.startswith("{")
