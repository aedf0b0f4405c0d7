"""Packets of Live Link Face, against a receiver written from the public description of the protocol."""

from __future__ import annotations

import socket
import struct

import numpy as np
import pytest

from jr2net.expressions.live_link import PACKET_SHAPES
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.inference.live_link_udp import LiveLinkSender, TargetError, parse_target


def receive(listener: socket.socket) -> dict:
    data = listener.recv(4096)
    (version,) = struct.unpack("<i", data[:4])
    identifier = data[4:41].decode()
    (length,) = struct.unpack("!i", data[41:45])
    end = 45 + length
    frame, part, numerator, denominator, count = struct.unpack("!if2ib", data[end : end + 17])
    return {
        "version": version,
        "id": identifier,
        "name": data[45:end].decode(),
        "time": (frame, part),
        "rate": (numerator, denominator),
        "values": struct.unpack(f"!{count}f", data[end + 17 :]),
    }


@pytest.fixture
def listener():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        found.settimeout(5)
        yield found


def test_a_listener_gets_the_face(listener: socket.socket) -> None:
    expression = np.linspace(0, 1, 51).astype(np.float32)
    with LiveLinkSender(f"udp://127.0.0.1:{listener.getsockname()[1]}", 30000 / 1001, "Ünal") as sender:
        sender.send(1.0, expression, np.array([0.1, 0.2, 0.3], np.float32))
    packet = receive(listener)
    assert packet["version"] == 6 and packet["name"] == "Ünal" and packet["rate"] == (30000, 1001)
    assert packet["id"].startswith("$") and len(packet["id"]) == 37
    assert packet["time"] == (29, pytest.approx(0.97, abs=1e-2)) and len(packet["values"]) == 61
    values = dict(zip(PACKET_SHAPES, packet["values"]))
    for name, value in zip(ARKIT_NAMES, expression):
        assert values[name[0].upper() + name[1:]] == pytest.approx(value)
    assert packet["values"][52:55] == pytest.approx((-0.2, 0.1, -0.3))


@pytest.mark.parametrize(
    "target", ["localhost:11111", "tcp://localhost", "udp://", "udp://host:99999", "udp://host/path"]
)
def test_a_bad_target_is_an_error(target: str) -> None:
    with pytest.raises(TargetError, match="write udp://host:port"):
        parse_target(target)


def test_an_unknown_host_is_an_error() -> None:
    with pytest.raises(TargetError, match="is not known"):
        LiveLinkSender("udp://no-such-host.invalid", 30.0)
    assert parse_target("udp://10.0.0.2") == ("10.0.0.2", 11111)
