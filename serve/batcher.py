"""Request batching in the ingress: requests that arrive together share one call to a network's replica."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Collects items while more of them are being prepared, and processes them in one call.

    A single item is sent immediately. On a busy machine that alone would keep batches small just when they should be
    large: a network that takes the few images that are ready spends more time on each, which leaves less time to decode
    the next ones. A call to a replica also costs as much for one image as for sixteen. So items that are ready wait
    while batches are in flight, as small TCP segments do (Nagle's algorithm, RFC 896).

    run_batch       processes a list of items and returns their results in the same order
    max_batch_size  a batch of this size is sent without waiting
    max_wait_s      the longest time in seconds that an item waits for items that are being prepared
    """

    MAX_IN_FLIGHT = 2  # batches in flight that are not full: one in the network, one on its way

    def __init__(
        self, run_batch: Callable[[list[Item]], Awaitable[Sequence[Result]]], max_batch_size: int, max_wait_s: float
    ) -> None:
        self.run_batch, self.max_batch_size, self.max_wait_s = run_batch, max_batch_size, max_wait_s
        self._num_preparing = 0
        self._queue: list[tuple[Item, asyncio.Future[Result]]] = []
        self._in_flight: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timed_out = False

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Wraps the work that precedes an item, so that queued items wait for it."""
        self._num_preparing += 1
        try:
            yield
        finally:
            self._num_preparing -= 1
            # Not immediately: the same request may continue with its next preparation step.
            asyncio.get_running_loop().call_soon(self._send_if_due)

    async def __call__(self, item: Item) -> Result:
        """The result of an item. Raises what ``run_batch`` raises."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Result] = loop.create_future()
        if not self._queue:
            self._timer, self._timed_out = loop.call_later(self.max_wait_s, self._on_timeout), False
        self._queue.append((item, result))
        self._send_if_due()
        return await result

    def _on_timeout(self) -> None:
        self._timed_out = True
        self._send_if_due()

    def _send_if_due(self) -> None:
        must_wait = len(self._in_flight) >= self.MAX_IN_FLIGHT or (self._num_preparing and not self._timed_out)
        if self._queue and (len(self._queue) >= self.max_batch_size or not must_wait):
            self._send()

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        batch, self._queue = self._queue, []
        task = asyncio.ensure_future(self._run([entry for entry in batch if not entry[1].done()]))
        self._in_flight.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._send_if_due()

    async def _run(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        """Runs a batch and sets its futures, except those that were cancelled; an error is set on all of them."""
        try:
            results = await self.run_batch([item for item, _ in batch]) if batch else []
            pairs = list(zip(batch, results, strict=True))
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            for (_, future), result in pairs:
                if not future.done():
                    future.set_result(result)
