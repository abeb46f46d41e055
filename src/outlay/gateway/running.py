"""Running: the calls to providers, owned by the server. A client that hangs up ends no call."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Running:
    """The server's own tasks. Whoever waits for one does so by `wait_for`, or shielded.

    Use it on one event loop.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self.is_stopping = False

    @property
    def count(self) -> int:
        """How many run now."""
        return len(self._tasks)

    def start(self, coro: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run it to its end, whatever becomes of whoever started it."""
        task = asyncio.get_running_loop().create_task(coro)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @staticmethod
    async def wait_for(task: asyncio.Task[T]) -> T:
        """Wait for a task; whoever is cancelled meanwhile leaves it running."""
        return await asyncio.shield(task)

    def stop(self) -> None:
        """Say that the server takes no more requests; what runs goes on."""
        self.is_stopping = True

    async def drain(self, seconds: float) -> int:
        """Wait until all have ended, those included that begin meanwhile; give how many are left."""
        self.stop()
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + seconds
        while self._tasks and (left := ends_at - loop.time()) > 0:
            await asyncio.wait(set(self._tasks), timeout=left)
        return len(self._tasks)
