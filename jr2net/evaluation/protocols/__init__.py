"""Protocols of the publications, one file each, chosen by name: ``measure("facewarehouse", folder, systems)``."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from jr2net import storage
from jr2net.config import ProtocolConfig
from jr2net.evaluation.protocols import (
    aflw2000,
    cross_identity,
    detection,
    facewarehouse,
    frgc,
    now,
    same_identity,
    tracking,
)
from jr2net.evaluation.protocols.protocol import (
    SHIPPED,
    LoadedCascade,
    Protocol,
    ProtocolError,
    ProtocolSettings,
    Systems,
)
from jr2net.evaluation.protocols.result import Result
from jr2net.settings import apply_override, validate

__all__ = [
    "PROTOCOLS",
    "SHIPPED",
    "LoadedCascade",
    "Protocol",
    "ProtocolError",
    "Result",
    "Systems",
    "check",
    "find",
    "measure",
    "measure_chosen",
]

_ALL: tuple[Protocol, ...] = (
    facewarehouse.PROTOCOL,
    frgc.PROTOCOL,
    now.PROTOCOL,
    tracking.PROTOCOL,
    detection.PROTOCOL,
    aflw2000.PROTOCOL,
    same_identity.PROTOCOL,
    cross_identity.PROTOCOL,
)
PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _ALL}
"""Name -> protocol."""


def find(name: str) -> Protocol:
    """Raises ProtocolError with the known names, and the one that is probably meant."""
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    close = difflib.get_close_matches(name, PROTOCOLS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(PROTOCOLS)}"
    raise ProtocolError(f"protocol {name!r}: is not known; {hint}")


def measure(name: str, data: str, systems: Systems, overrides: Sequence[str] = ()) -> Result:
    """Measures ``systems`` on ``data`` by the protocol of that name.

    overrides: its settings as ``key=value``. Raises ProtocolError for data that it cannot measure, ConfigError for
    settings that it does not have.
    """
    protocol = find(name)
    tree: dict[str, object] = {}
    for override in overrides:
        apply_override(tree, override, "seed=1")
    return protocol.measure(data, systems, validate(protocol.settings, tree, f"protocol {name}"))


def check(chosen: Sequence[ProtocolConfig]) -> None:
    """Raises ConfigError for settings that a protocol does not have, ProtocolError for data that are not there."""
    for each in chosen:
        _settings(each)
        if not storage.exists(each.uri):
            raise ProtocolError(f"evaluation.protocols: {each.name}: no file or folder {each.uri}; correct its uri")


def measure_chosen(chosen: ProtocolConfig, systems: Systems) -> Result:
    """Measures ``systems`` as a run's configuration says. Raises as ``measure`` does."""
    return PROTOCOLS[chosen.name].measure(chosen.uri, systems, _settings(chosen))


def _settings(chosen: ProtocolConfig) -> ProtocolSettings:
    return validate(PROTOCOLS[chosen.name].settings, chosen.settings, f"evaluation.protocols: {chosen.name}")
