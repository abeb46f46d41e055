"""Streams: chunks on their way from the task that reads the provider to whoever iterates, or does not."""

from __future__ import annotations

import asyncio
import logging
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Self

from outlay.answers import Answer
from outlay.calls import Call, keep, shielded

log = logging.getLogger("outlay")

Item = Answer | BaseException | None
"""A chunk; or how it ended: an error, or None."""


class _Feed:
    """Runs a stream's call in a task of its own, and hands on what comes. Never blocks."""

    def __init__(self, call: Call, put: Callable[[Item], None]) -> None:
        self.call = call
        self.is_abandoned = False
        self._put = put
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Start the call, and wait until the provider answers.

        Raises:
            OutlayError: what `Call.answer` raises, for what fails before the first chunk.
        """
        task = keep(asyncio.ensure_future(self._run()))
        opened = asyncio.ensure_future(asyncio.wait((task, self._opened), return_when="FIRST_COMPLETED"))
        try:
            await asyncio.shield(opened)
        except asyncio.CancelledError:
            self.is_abandoned = True
            if not self.call.is_sent:
                task.cancel()
            raise
        if not self._opened.done():
            await shielded(self.call, task)

    async def _run(self) -> None:
        try:
            await self.call.chunks(lambda: self._opened.set_result(None), self._deliver)
        except BaseException as error:
            self._put(error)
            if self.is_abandoned and self.call.is_sent:
                log.warning(
                    "a stream that nobody reads broke off; what it held is presumed spent when the hold "
                    "expires: %s",
                    str(error) or type(error).__name__,
                )
            raise
        self._put(None)

    def _deliver(self, chunk: Answer) -> None:
        if not self.is_abandoned:
            self._put(chunk)


class AsyncStream:
    """The chunks of an answer, by `async for`. Charged whether it is read to its end or not.

    Close it, or drop it, when you do not want the rest: the provider's answer is still read to its end, to
    learn what it costs. `cost` is what was charged in USD, None before the end or with an unknown price.
    """

    def __init__(self, call: Call) -> None:
        self._chunks: asyncio.Queue[Item] = asyncio.Queue()
        self._feed = _Feed(call, self._chunks.put_nowait)
        self._is_over = False

    @classmethod
    async def open(cls, call: Call) -> Self:
        """Start the call; raises what fails before the first chunk."""
        stream = cls(call)
        await stream._feed.open()
        return stream

    @property
    def cost(self) -> float | None:
        """What was charged, in USD."""
        return self._feed.call.cost

    async def aclose(self) -> None:
        """Read no further."""
        self._feed.is_abandoned = self._is_over = True

    def __aiter__(self) -> AsyncIterator[Answer]:
        return self

    async def __anext__(self) -> Answer:
        if self._is_over:
            raise StopAsyncIteration
        item = await self._chunks.get()
        if isinstance(item, Answer):
            return item
        self._is_over = True
        raise item or StopAsyncIteration

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        self._feed.is_abandoned = True


class Stream:
    """The chunks of an answer, by `for`. As AsyncStream, for threads."""

    def __init__(self, call: Call) -> None:
        self._chunks: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._feed = _Feed(call, self._chunks.put)
        self._is_over = False

    @classmethod
    async def open(cls, call: Call) -> Self:
        """Start the call on the private loop; raises what fails before the first chunk."""
        stream = cls(call)
        await stream._feed.open()
        return stream

    @property
    def cost(self) -> float | None:
        """What was charged, in USD."""
        return self._feed.call.cost

    def close(self) -> None:
        """Read no further."""
        self._feed.is_abandoned = self._is_over = True

    def __iter__(self) -> Iterator[Answer]:
        return self

    def __next__(self) -> Answer:
        if self._is_over:
            raise StopIteration
        item = self._chunks.get()
        if isinstance(item, Answer):
            return item
        self._is_over = True
        raise item or StopIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self._feed.is_abandoned = True
