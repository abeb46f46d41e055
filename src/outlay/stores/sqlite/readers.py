"""Readers: the connections that read, as many as read at once, so that a long report holds nobody up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import apsw

_MOST_IDLE: Final = 4


class Readers:
    """Lends connections; `stop` waits until all are back, and lets nobody have one until `go_on`."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._idle: list[apsw.Connection] = []
        self._lent = 0
        self._is_stopped = False

    @contextmanager
    def lend(self, open: Callable[[], apsw.Connection]) -> Iterator[apsw.Connection]:
        """Lend an idle connection, or one that is opened. One that an error left behind is thrown away."""
        with self._changed:
            while self._is_stopped:
                self._changed.wait()
            self._lent += 1
            connection = self._idle.pop() if self._idle else None
        is_good = False
        try:
            if connection is None:
                connection = open()
            yield connection
            is_good = not connection.in_transaction
        finally:
            self._take_back(connection, is_good)

    def stop(self) -> list[apsw.Connection]:
        """Wait until nobody reads, and let nobody begin; gives the idle connections, to be closed."""
        with self._changed:
            while self._is_stopped or self._lent:
                self._changed.wait()
            self._is_stopped = True
            idle, self._idle = self._idle, []
            return idle

    def go_on(self) -> None:
        """Lend again."""
        with self._changed:
            self._is_stopped = False
            self._changed.notify_all()

    def _take_back(self, connection: apsw.Connection | None, is_good: bool) -> None:
        with self._changed:
            self._lent -= 1
            if is_good and connection is not None and len(self._idle) < _MOST_IDLE:
                self._idle.append(connection)
                connection = None
            self._changed.notify_all()
        if connection is not None:
            connection.close(force=True)
