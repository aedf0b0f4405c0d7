from __future__ import annotations

import pytest
from untrained_run import make_run

from jr2net.face.model import FaceModel


@pytest.fixture(scope="session")
def folders(procedural_model: FaceModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of a run with untrained networks, by stage."""
    return make_run(tmp_path_factory.mktemp("run"), procedural_model)
