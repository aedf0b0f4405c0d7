"""Requests that arrive together share a forward pass: what is ready waits a little for what is still being decoded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Gathering:
    """A gate before a network that batches. Where nothing else is on its way, it stands open.

    Without it, on a machine whose cores are all busy, the network takes whatever few pictures are there, which costs it
    more, which leaves less for decoding the next: batches stay small just when they should be large.

    full      pictures that need not wait for more
    patience  seconds that a picture waits at most
    """

    def __init__(self, full: int, patience: float) -> None:
        self.full, self.patience = full, patience
        self._preparing = 0
        self._ready: set[asyncio.Future[None]] = set()

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Around the work that comes before ``together``."""
        self._preparing += 1
        try:
            yield
        finally:
            self._preparing -= 1
            # Not at once: the same request may go on with its next piece of preparation.
            asyncio.get_running_loop().call_soon(self._open_if_due)

    async def together(self) -> None:
        """Returns when the batch is full, when nothing more is being prepared, or when patience ends."""
        if not self._preparing:
            return
        turn = asyncio.get_running_loop().create_future()
        self._ready.add(turn)
        self._open_if_due()
        try:
            await asyncio.wait_for(turn, self.patience)
        except TimeoutError:
            self._open()  # those who came later go along: they may share the pass
        finally:
            self._ready.discard(turn)

    def _open_if_due(self) -> None:
        if not self._preparing or len(self._ready) >= self.full:
            self._open()

    def _open(self) -> None:
        for turn in self._ready:
            if not turn.done():
                turn.set_result(None)
        self._ready.clear()
