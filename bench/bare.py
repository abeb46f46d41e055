"""The bare loop: the rows that the ledger writes, by the same statements, nothing decided and nobody told.

What the ledger adds to this is its own cost: queueing, deciding, making the rows, waking its callers.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from bench.speed import Speed, Stopwatch
from outlay.domain.budgets import Period
from outlay.domain.entries import Entry
from outlay.domain.reservations import Reservation
from outlay.ledger.store import ClockState
from outlay.stores.sqlite import opening, rows, statements

Values = tuple[Any, ...]


class BareLoop:
    """Writes pairs of one reservation and one entry, in batches, to a database that has the schema.

    The rows are those of a real pair, with ids of their own.
    """

    def __init__(
        self,
        path: Path,
        periods: list[Period],
        reservation: Reservation,
        entry: Entry,
        clock: ClockState,
    ) -> None:
        self._connection = opening.connect(str(path))
        opening.prepare(self._connection, str(path), 5.0)
        self._periods: list[Values] = [tuple(period) for period in periods]
        self._reservation: Values = rows.reservation_row(reservation)
        self._entry: Values = rows.entry_row(entry)
        self._clock: Values = rows.clock_row(clock)
        self._next = 0

    def run(self, batch: float, seconds: float) -> Speed:
        """Commit batches of `batch` commands for some time."""
        half = round(batch / 2)
        pending = self._ids(max(half, 1))
        self._commit(pending, [])
        pairs = 0
        watch, until = Stopwatch(lambda: pairs), time.perf_counter() + seconds
        while time.perf_counter() < until:
            if half:
                new = self._ids(half)
                self._commit(new, pending)
            else:  # one caller: first a commit with its reservation, then one with its settlement
                new = self._ids(1)
                self._commit([], pending)
                self._commit(new, [])
            pairs += len(pending)
            pending = new
        return watch.stop()

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def _ids(self, count: int) -> list[str]:
        first = self._next
        self._next += count
        return [f"01980000-0000-7000-8000-{number:012x}" for number in range(first, first + count)]

    def _commit(self, reserved: list[str], settled: list[str]) -> None:
        connection, reservation, entry = self._connection, self._reservation, self._entry
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(statements.PUT_PERIOD, self._periods)
        if reserved:
            values = ((reservation[0], id, *reservation[2:]) for id in reserved)
            connection.executemany(statements.PUT_RESERVATION, values)
        if settled:
            values = ((entry[0], id, *entry[2:]) for id in settled)
            connection.executemany(statements.INSERT_ENTRY, values)
            connection.executemany(statements.REMOVE_RESERVATION, ((entry[0], id) for id in settled))
        connection.execute(statements.SET_CLOCK, self._clock)
        connection.execute("COMMIT")
