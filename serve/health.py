"""Whether a replica's network still computes: known from what it answers, else from a small forward pass.

After most errors of CUDA every later call of the process fails too, and only another process can go on. So a replica
whose network computes no more ends itself: Ray Serve replaces a process that is gone at once, and the calls that it had
accepted are retried on other replicas. One that only failed its health checks would be given requests for three more.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

LOGGER = logging.getLogger("ray.serve")

IDLE_S = 30.0
"""A network that has answered nothing for so many seconds is tried by a health check."""

STUCK_S = 300.0
"""A forward pass that has not ended after so many seconds never will."""


def end_process(reason: str) -> None:
    print(f"the replica ends: {reason}", file=sys.stderr, flush=True)  # Ray Serve's own log may not reach the terminal
    LOGGER.error("the replica ends: %s", reason)
    logging.shutdown()
    os._exit(1)  # at once, as no library of a broken device can be trusted to end


class Health:
    """The health of one network.

    probe  a small forward pass, in a thread of its own; raises unless the network computes
    end    is called with the reason when the network computes no more
    """

    def __init__(
        self,
        probe: Callable[[], None],
        end: Callable[[str], None] = end_process,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._probe, self._end, self._clock = probe, end, clock
        self._answered = clock()
        self._running: list[float] = []  # when each forward pass began

    @contextmanager
    def forward_pass(self) -> Iterator[None]:
        """Surrounds every forward pass."""
        begun = self._clock()
        self._running.append(begun)
        try:
            yield
            self._answered = self._clock()
        finally:
            self._running.remove(begun)

    async def check(self) -> None:
        """For Ray Serve's health checks. A network that answers requests, or is at work on some, is not disturbed."""
        now = self._clock()
        if self._running:
            if now - min(self._running) > STUCK_S:
                self._end(f"a forward pass has not ended for {now - min(self._running):.0f} s")
        elif now - self._answered > IDLE_S:
            await self.try_network()

    async def try_network(self) -> None:
        """A small forward pass; where it fails, the replica ends. Raises where the device is only out of memory."""
        try:
            with self.forward_pass():
                await asyncio.to_thread(self._probe)
        except (torch.OutOfMemoryError, MemoryError):
            raise  # may pass; if it does not, three failed checks end the replica
        except Exception as error:
            self._end(f"its network computes no more: {' '.join(str(error).split())[:300]}")
