"""Modules of the tests are imported by their base name, whatever their folder: two of one name would be one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

MANY = {"__init__.py", "conftest.py"}


def test_names_of_test_modules_are_unique() -> None:
    names = Counter(path.name for path in Path(__file__).parent.rglob("*.py"))
    assert [name for name, count in names.items() if count > 1 and name not in MANY] == []
