"""The lines that a replica writes to its output, as JSON."""

from __future__ import annotations

import logging
from logging.handlers import MemoryHandler

from ray._common.formatters import JSONFormatter

LOGGER = logging.getLogger("ray.serve")


def write_json_lines() -> None:
    """Gives the lines on a replica's output the form of those in its file, where ``logging_config.encoding`` is JSON.

    Ray Serve's own setting is for the files alone. To be called in a replica, whose logger Ray has set up by then.
    """
    files = [handler for handler in LOGGER.handlers if isinstance(handler, MemoryHandler) and handler.target]
    for file in files:
        if not isinstance(file.target.formatter, JSONFormatter):  # type: ignore[union-attr]
            continue
        for handler in LOGGER.handlers:
            if type(handler) is logging.StreamHandler:
                handler.setFormatter(file.target.formatter)  # type: ignore[union-attr]
                handler.filters = [*handler.filters, *file.filters]
