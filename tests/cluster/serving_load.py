"""Clients of a service on several machines, who do what a load balancer and a patient client do together."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import numpy as np

CHECK_EVERY_S = 0.5
PATIENCE_S = 120.0
"""How long one request is tried, on one machine after the other, before it counts as lost."""
ATTEMPT_S = 20.0


@dataclass
class Load:
    """Requests without pause from several clients, each checked.

    addresses  of the machines that may answer, e.g. http://10.0.0.1:8000; may change while requests are made
    send       client, address, number of the photo -> response
    right      whether a response is that of its photo
    """

    addresses: list[str]
    send: Callable[[httpx.Client, str, int], httpx.Response]
    right: Callable[[httpx.Response, int], bool]
    photos: int
    seconds: list[float] = field(default_factory=list)
    finished: list[float] = field(default_factory=list)
    failed_attempts: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    mixed_up: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    _healthy: set[str] = field(default_factory=set)

    def answered(self) -> int:
        return len(self.seconds)

    def check_health(self) -> None:
        """Asks every machine for readiness, as a load balancer does, and sends requests to those that are."""
        with httpx.Client(timeout=2) as client:
            while not self.stop.is_set():
                for address in list(self.addresses):
                    try:
                        healthy = client.get(f"{address}/-/healthz").status_code == 200
                    except httpx.HTTPError:
                        healthy = False
                    (self._healthy.add if healthy else self._healthy.discard)(address)
                self.stop.wait(CHECK_EVERY_S)

    def ask(self, client: httpx.Client, photo: int, turn: int) -> None:
        """One request: a failed attempt is repeated on another machine."""
        start = time.monotonic()
        for attempt in itertools.count(turn):
            candidates = sorted(self._healthy & set(self.addresses)) or sorted(self.addresses)
            address = candidates[attempt % len(candidates)]
            try:
                response = self.send(client, address, photo)
                if response.status_code == 200:
                    break
                problem = str(response.status_code)
            except httpx.HTTPError as error:
                problem = type(error).__name__
            self.failed_attempts[problem] += 1
            if time.monotonic() > start + PATIENCE_S:
                self.lost.append(f"photo {photo}: {problem}")
                return
            time.sleep(0.05 + 0.2 * random.random())
        if not self.right(response, photo):
            self.mixed_up.append(f"photo {photo}: the answer to another")
        self.seconds.append(time.monotonic() - start)
        self.finished.append(time.monotonic())

    def client(self, first: int, clients: int) -> None:
        with httpx.Client(timeout=httpx.Timeout(ATTEMPT_S, connect=2)) as client:
            for turn in itertools.count(first, clients):
                if self.stop.is_set():
                    return
                self.ask(client, turn % self.photos, turn)

    def wait_for(self, more: int, seconds: float = 900.0) -> None:
        """Waits for ``more`` further answers. Raises AssertionError where a request is lost or mixed up meanwhile."""
        target, deadline = self.answered() + more, time.monotonic() + seconds
        while self.answered() < target:
            assert not self.lost and not self.mixed_up, (self.lost, self.mixed_up)
            assert time.monotonic() < deadline, f"{self.answered()} answers; {dict(self.failed_attempts)}"
            time.sleep(0.1)

    def longest_pause(self, since: float) -> float:
        """The longest time without an answer from a moment (``time.monotonic``) on, in seconds."""
        moments = [since, *sorted(moment for moment in self.finished if moment > since)]
        return max(later - earlier for earlier, later in itertools.pairwise(moments)) if len(moments) > 1 else 0.0

    def summary(self) -> str:
        p50, p99 = np.percentile(self.seconds, [50, 99])
        return (
            f"{self.answered()} answers, {len(self.lost)} lost, {len(self.mixed_up)} mixed up; p50 {1000 * p50:.0f}, "
            f"p99 {1000 * p99:.0f} ms, longest {max(self.seconds):.1f} s; attempts that had to be repeated: "
            f"{dict(self.failed_attempts) or 'none'}"
        )


@contextmanager
def running(load: Load, clients: int) -> Iterator[Load]:
    """Sends requests while the block runs; all of them are answered at its end."""
    with ThreadPoolExecutor(clients + 1) as pool:
        pool.submit(load.check_health)
        futures = [pool.submit(load.client, first, clients) for first in range(clients)]
        try:
            yield load
        finally:
            load.stop.set()
    for future in futures:
        future.result()
    assert not load.lost and not load.mixed_up, (load.lost, load.mixed_up)


def least_difference(expressions: Sequence[Sequence[float]]) -> float:
    """By how much the two photos that are most alike differ in one coefficient; a mix-up of less goes unnoticed."""
    return min(float(np.abs(np.subtract(a, b)).max()) for a, b in itertools.combinations(expressions, 2))
