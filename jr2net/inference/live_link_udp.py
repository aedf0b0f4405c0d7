"""Sends tracked faces to Unreal Engine, Blender and others that listen for Live Link Face, by UDP.

A packet, numbers in network order unless said otherwise: version 6 (int32, little-endian), ``$`` and a UUID (37
characters), the subject's name with its length before it (int32), the frame's number (int32), its fraction (float32),
the rate's numerator and denominator (int32 each), the number of values (int8) and these (61 float32). It follows the
open implementation PyLiveLinkFace, which Unreal Engine's plugin understands. A frame without a face has no packet.
"""

from __future__ import annotations

import socket
import struct
import uuid
from fractions import Fraction
from types import TracebackType
from urllib.parse import urlsplit

import numpy as np

from jr2net.errors import UserError
from jr2net.expressions.live_link import VALUES, packet_values

PORT = 11111
_VERSION = 6


class TargetError(UserError, ValueError):
    """An address that packets cannot be sent to."""


class LiveLinkSender:
    """A socket to one listener.

    target  ``udp://host`` or ``udp://host:port``; the port is 11111 unless given
    fps     frames per second, which the packets state
    name    of the subject, as the listener shows it

    Raises TargetError where the target is no such address, or its host is not known.
    """

    def __init__(self, target: str, fps: float, name: str = "JR2Net") -> None:
        host, port = parse_target(target)
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        except OSError as error:
            raise TargetError(f"{target}: the host {host!r} is not known ({error}); give its name or address") from None
        self._socket, self._address = socket.socket(family, kind, protocol), address
        self._rate = Fraction(fps).limit_denominator(1001)
        self._id, self._name = f"${uuid.uuid4()}", name

    def send(self, seconds: float, expression: np.ndarray, rotation: np.ndarray) -> None:
        """Sends one frame: expression (51,), rotation (3,) as ``FaceParameters`` has it."""
        values = packet_values(expression[None], rotation[None])[0]
        self._socket.sendto(self._packet(seconds, values), self._address)

    def _packet(self, seconds: float, values: np.ndarray) -> bytes:
        identifier, name = self._id.encode(), self._name.encode()
        frame = seconds * float(self._rate)
        number = int(frame)
        rate = self._rate.numerator, self._rate.denominator
        head = struct.pack("<i", _VERSION) + identifier + struct.pack("!i", len(name)) + name
        return head + struct.pack("!ifiib", number, frame - number, *rate, VALUES) + struct.pack(f"!{VALUES}f", *values)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> LiveLinkSender:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def parse_target(target: str) -> tuple[str, int]:
    """Host and port of ``udp://host:port``. Raises TargetError."""
    try:
        parts = urlsplit(target)
        host, port = parts.hostname, parts.port or PORT
    except ValueError:
        host = None
    if host is None or parts.scheme != "udp" or parts.path.strip("/"):
        raise TargetError(f"{target!r}: write udp://host:port, e.g. udp://192.168.1.20:{PORT}")
    return host, port
