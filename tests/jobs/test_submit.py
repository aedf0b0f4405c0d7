"""The environment that jobs are submitted with."""

from __future__ import annotations

import pytest

from jobs.submit import environment


def test_a_local_cluster_asks_for_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """``RAY_AUTH_MODE`` may be set for another cluster; ``ray.init`` sets it too, and leaves it behind."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert environment(local=True)["RAY_AUTH_MODE"] == "disabled"
    assert environment(local=False)["RAY_AUTH_MODE"] == "token"
