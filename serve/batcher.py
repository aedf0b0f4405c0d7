"""Requests that arrive together travel together: one call to a network's replica, and one forward pass, for many."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batcher(Generic[Item, Answer]):
    """Collects what is ready while more is being prepared, and asks for the answers of all of it at once.

    A lone item goes at once. But where every core is busy, a network that took whatever few pictures are there would
    spend more on each, which leaves less for decoding the next: batches would stay small just when they should be
    large. And a call to a replica costs as much for one picture as for sixteen. So what is ready also waits while
    groups are under way, as small segments do in TCP (Nagle, RFC 896).

    ask             a group of items to their answers, in the same order
    max_batch_size  most items of a group; so many wait for nothing
    max_wait_s      seconds that an item waits at most for those being prepared
    """

    MAX_IN_FLIGHT = 2  # groups under way that are not full: one in the network, one on its way

    def __init__(
        self, ask: Callable[[list[Item]], Awaitable[Sequence[Answer]]], max_batch_size: int, max_wait_s: float
    ) -> None:
        self.ask, self.max_batch_size, self.max_wait_s = ask, max_batch_size, max_wait_s
        self._preparing = 0
        self._ready: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._patience_ends: asyncio.TimerHandle | None = None
        self._patient = True

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Around the work that comes before an item is ready."""
        self._preparing += 1
        try:
            yield
        finally:
            self._preparing -= 1
            # Not at once: the same request may go on with its next piece of preparation.
            asyncio.get_running_loop().call_soon(self._go_if_due)

    async def __call__(self, item: Item) -> Answer:
        """The item's answer. Raises what ``ask`` raises."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        if not self._ready:
            self._patience_ends, self._patient = loop.call_later(self.max_wait_s, self._no_longer), True
        self._ready.append((item, answer))
        self._go_if_due()
        return await answer

    def _no_longer(self) -> None:
        self._patient = False
        self._go_if_due()

    def _go_if_due(self) -> None:
        waits = len(self._under_way) >= self.MAX_IN_FLIGHT or (self._preparing and self._patient)
        if self._ready and (len(self._ready) >= self.max_batch_size or not waits):
            self._go()

    def _go(self) -> None:
        if self._patience_ends is not None:
            self._patience_ends.cancel()
        group, self._ready = self._ready, []
        task = asyncio.ensure_future(self._answer([entry for entry in group if not entry[1].done()]))
        self._under_way.add(task)
        task.add_done_callback(self._returned)

    def _returned(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._go_if_due()

    async def _answer(self, group: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        """Whoever has gone meanwhile is passed over; an error is everybody's."""
        try:
            answers = await self.ask([item for item, _ in group]) if group else []
            answered = list(zip(group, answers, strict=True))
        except BaseException as error:
            for _, waiting in group:
                if not waiting.done():
                    waiting.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            for (_, waiting), answer in answered:
                if not waiting.done():
                    waiting.set_result(answer)
