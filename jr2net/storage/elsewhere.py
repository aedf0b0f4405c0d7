"""References from a run's own folder of a stage to the folder of another run, where the stage lies.

Where a folder holds ``elsewhere.json`` and nothing else, what it is for lies in the folder that the file names,
relative to its own, so that all runs can be moved together.
"""

from __future__ import annotations

import json

from jr2net.errors import StorageError
from jr2net.storage.files import exists, join, parent, read_bytes

ELSEWHERE = "elsewhere.json"


def folder_of(own: str) -> str:
    """Where the stage lies whose own folder this is: there, unless it refers to another."""
    uri = join(own, ELSEWHERE)
    if not exists(uri):
        return own
    try:
        steps = json.loads(read_bytes(uri))["folder"].split("/")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"{uri}: names no folder ({error}); remove it, and the stage is sought again") from None
    found = own
    for step in steps:
        found = parent(found) if step == ".." else join(found, step)
    return found
