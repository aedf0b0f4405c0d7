"""Folders of clip shards, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from blob_clips import make_row

from jr2net.data.shards import write_clips


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards: seven people with 1 to 4 frames, and one of them again."""
    folder = tmp_path_factory.mktemp("clips")
    write_clips(str(folder / "clips-00000.parquet"), [make_row(n, 1 + n % 4) for n in range(5)])
    write_clips(
        str(folder / "clips-00001.parquet"),
        [make_row(5, 3), make_row(6, 4), make_row(7, 3, identity="person-1")],
    )
    return folder


@pytest.fixture(scope="session")
def truth_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("natural")
    write_clips(str(folder / "people.parquet"), [make_row(n, 2, truth=True) for n in range(3)])
    return folder
