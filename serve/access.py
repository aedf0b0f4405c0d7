"""Access control: API keys from the environment, and limits on the rate and number of a caller's requests."""

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
"""Environment variable of the ingress with the accepted keys, separated by commas."""

_MAX_CALLERS = 10_000


@dataclass
class _Caller:
    """A token bucket that was last refilled at ``updated_at``, and the number of requests in flight.

    spent      requests that the other ingress replicas do not know of yet
    elsewhere  requests in flight at the other ingress replicas
    """

    tokens: float
    updated_at: float
    in_flight: int = 0
    spent: int = 0
    elsewhere: int = 0


@dataclass
class AccessControl:
    """Authenticates callers and limits their requests.

    digests  SHA-256 digests of the accepted keys (the keys are not stored); None accepts everybody, and callers are
             then distinguished by their address
    """

    limits: Limits
    digests: tuple[bytes, ...] | None
    clock: Callable[[], float] = time.monotonic
    callers: dict[str, _Caller] = field(default_factory=dict)

    @staticmethod
    def from_environment(limits: Limits, authentication: str) -> AccessControl:
        """Raises SettingsError if keys are required and none is set."""
        if authentication == "off":
            return AccessControl(limits, None)
        keys = [key.strip() for key in os.environ.get(KEYS_VARIABLE, "").split(",") if key.strip()]
        if not keys:
            raise SettingsError(
                f"authentication: bearer, but {KEYS_VARIABLE} holds no key; set it for the ingress (comma-separated), "
                "or use authentication: 'off' to accept everybody"
            )
        return AccessControl(limits, tuple(_digest(key) for key in keys))

    def authenticate(self, authorization: str | None, address: str) -> str:
        """The caller's identifier: the digest of its key or, without authentication, its address. Raises Problem 401.

        authorization: the value of the ``Authorization`` header.
        """
        if self.digests is None:
            return address
        scheme, _, key = (authorization or "").partition(" ")
        digest = _digest(key.strip())
        matches = [hmac.compare_digest(digest, known) for known in self.digests]  # all of them, in constant time
        if scheme.lower() != "bearer" or not any(matches):
            detail = "send one of the server's keys as `Authorization: Bearer KEY`"
            raise Problem(401, detail, {"WWW-Authenticate": "Bearer"})
        return digest.hex()

    @contextmanager
    def admit(self, caller_id: str) -> Iterator[None]:
        """Counts one request of the caller as in flight. Raises Problem 429 if the caller is over its limits."""
        caller = self._refill(caller_id)
        if (in_flight := caller.in_flight + caller.elsewhere) >= self.limits.concurrent:
            detail = f"{in_flight} requests of this key are in flight, its limit; wait for their responses"
            raise Problem(429, detail, {"Retry-After": "1"})
        if caller.tokens < 1:
            wait = (1 - caller.tokens) / self.limits.requests_per_second
            detail = f"more than {self.limits.requests_per_second:g} requests per second of this key; slow down"
            raise Problem(429, detail, {"Retry-After": str(max(1, round(wait)))})
        caller.tokens -= 1
        caller.spent += 1
        caller.in_flight += 1
        try:
            yield
        finally:
            caller.in_flight -= 1

    def usage(self) -> tuple[dict[str, int], dict[str, int]]:
        """By caller: requests that the other ingress replicas have not been told of, and requests in flight."""
        spent = {name: caller.spent for name, caller in self.callers.items() if caller.spent}
        return spent, {name: caller.in_flight for name, caller in self.callers.items() if caller.in_flight}

    def settle(self, told: dict[str, int], news: dict[str, int], elsewhere: dict[str, int]) -> None:
        """Takes note of an exchange: what the others were told, what they have let through, and what they have in
        flight (``serve/quotas.py``)."""
        for caller in self.callers.values():
            caller.elsewhere = 0
        for name in told.keys() & self.callers.keys():
            self.callers[name].spent -= told[name]
        for name, count in news.items():
            self._refill(name).tokens -= count
        for name, count in elsewhere.items():
            self._refill(name).elsewhere = count

    def _refill(self, caller_id: str) -> _Caller:
        """The caller, its token bucket refilled for the time that has passed."""
        now = self.clock()
        if caller_id not in self.callers and len(self.callers) >= _MAX_CALLERS:
            idle = (other for other, caller in self.callers.items() if caller.in_flight == 0)
            self.callers.pop(next(idle, ""), None)
        caller = self.callers.setdefault(caller_id, _Caller(self.limits.burst, now))
        refilled = caller.tokens + (now - caller.updated_at) * self.limits.requests_per_second
        caller.tokens, caller.updated_at = min(refilled, self.limits.burst), now
        return caller


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
