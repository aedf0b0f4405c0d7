"""Who may call, and how much at once: bearer keys from the environment, a rate and a number of requests for each."""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from serve.problems import Problem
from serve.settings import Limits, SettingsError

KEYS_VARIABLE = "JR2NET_API_KEYS"
"""Environment variable of the ingress with the keys that are let in, separated by commas."""

_CALLERS = 10_000


@dataclass
class _Caller:
    tokens: float
    since: float
    under_way: int = 0


@dataclass
class AccessControl:
    """Lets callers in. ``digests`` of the keys are kept, never keys; None lets everybody in, told apart by address."""

    limits: Limits
    digests: tuple[bytes, ...] | None
    clock: Callable[[], float] = time.monotonic
    callers: dict[str, _Caller] = field(default_factory=dict)

    @staticmethod
    def from_environment(limits: Limits, authentication: str) -> AccessControl:
        """Raises SettingsError where keys are asked for and none is set."""
        if authentication == "off":
            return AccessControl(limits, None)
        keys = [key.strip() for key in os.environ.get(KEYS_VARIABLE, "").split(",") if key.strip()]
        if not keys:
            raise SettingsError(
                f"authentication: bearer, and {KEYS_VARIABLE} holds no key; set it for the ingress (comma-separated), "
                "or say authentication: 'off' to let everybody in"
            )
        return AccessControl(limits, tuple(_digest(key) for key in keys))

    def name(self, authorization: str | None, address: str) -> str:
        """Who it is. Raises Problem 401."""
        if self.digests is None:
            return address
        scheme, _, key = (authorization or "").partition(" ")
        digest = _digest(key.strip())
        known = [hmac.compare_digest(digest, other) for other in self.digests]  # all of them: takes the same time
        if scheme.lower() != "bearer" or not any(known):
            detail = "send one of the server's keys as `Authorization: Bearer KEY`"
            raise Problem(401, detail, {"WWW-Authenticate": "Bearer"})
        return digest.hex()

    @contextmanager
    def admit(self, name: str) -> Iterator[None]:
        """While one request of ``name`` is under way. Raises Problem 429."""
        caller = self._caller(name)
        if caller.under_way >= self.limits.concurrent:
            detail = f"{caller.under_way} requests of this key are under way, its limit; wait for their answers"
            raise Problem(429, detail, {"Retry-After": "1"})
        if caller.tokens < 1:
            wait = (1 - caller.tokens) / self.limits.requests_per_second
            detail = f"more than {self.limits.requests_per_second:g} requests a second of this key; slow down"
            raise Problem(429, detail, {"Retry-After": str(max(1, round(wait)))})
        caller.tokens -= 1
        caller.under_way += 1
        try:
            yield
        finally:
            caller.under_way -= 1

    def _caller(self, name: str) -> _Caller:
        """The caller, with the tokens of its bucket as the time since has filled it."""
        now = self.clock()
        if name not in self.callers and len(self.callers) >= _CALLERS:
            idle = (other for other, caller in self.callers.items() if caller.under_way == 0)
            self.callers.pop(next(idle, ""), None)
        caller = self.callers.setdefault(name, _Caller(self.limits.burst, now))
        grown = caller.tokens + (now - caller.since) * self.limits.requests_per_second
        caller.tokens, caller.since = min(grown, self.limits.burst), now
        return caller


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
