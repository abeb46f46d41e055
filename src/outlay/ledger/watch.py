"""The watch: tells callers on an event loop when the writer leaves them without an answer for too long.

One timer a loop looks at all of them once in a while, which costs a call much less than a timer of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final
from weakref import WeakKeyDictionary

from outlay.domain.outcomes import Outcome

LOOK_SECONDS: Final = 1.0


class _Waiting(dict[asyncio.Future[Outcome], float]):
    """The futures of one loop, each with the monotonic time until which it may wait."""

    is_looked_at = False


class Watch:
    """The futures that wait on each loop."""

    def __init__(self, silence: Callable[[], Exception]) -> None:
        self._silence = silence
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _Waiting] = WeakKeyDictionary()

    def add(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Outcome], seconds: float) -> None:
        """Give this future an error if nobody gives it an answer in time (or up to a second later)."""
        waiting = self._by_loop.get(loop)
        if waiting is None:
            waiting = self._by_loop[loop] = _Waiting()
        waiting[future] = monotonic() + seconds
        if not waiting.is_looked_at:
            waiting.is_looked_at = True
            loop.call_later(LOOK_SECONDS, self._look, loop, waiting)

    def remove(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Outcome]) -> None:
        """Watch it no longer."""
        self._by_loop[loop].pop(future, None)

    def _look(self, loop: asyncio.AbstractEventLoop, waiting: _Waiting) -> None:
        now = monotonic()
        for future in [future for future, until in waiting.items() if until < now and not future.done()]:
            future.set_exception(self._silence())
        waiting.is_looked_at = bool(waiting)
        if waiting:
            loop.call_later(LOOK_SECONDS, self._look, loop, waiting)
