"""Running: the calls to providers, owned by the server. A client that hangs up ends no call."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Running:
    """The server's own tasks. Whoever waits for one does so by `asyncio.shield`, and leaves it running.

    Use it on one event loop.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopped_at: float | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether the server takes no more requests."""
        return self._stopped_at is not None

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

    def stop(self) -> None:
        """Say that the server takes no more requests; what runs goes on."""
        if self._stopped_at is None:
            self._stopped_at = asyncio.get_running_loop().time()

    async def drain(self, seconds: float) -> int:
        """Wait until all have ended, those included that begin meanwhile; give how many are left.

        The seconds count from `stop`, if that was called before.
        """
        self.stop()
        loop = asyncio.get_running_loop()
        ends_at = (self._stopped_at or 0.0) + seconds
        while self._tasks and (left := ends_at - loop.time()) > 0:
            await asyncio.wait(set(self._tasks), timeout=left)
        return len(self._tasks)
