"""Clocks: where the ledger's time comes from, and when a forward jump is not believed.

A jump of the wall clock must not mint money by opening new periods. So the store remembers wall and boot
time together; when the wall outruns the boot clock by more than a minute, windows go on by the boot clock
until the two agree again for ten minutes or an operator confirms the new time. A wall clock that was set back
is compared, when it is set right, with where it stood before: that is no jump.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Final, Protocol

from outlay.domain.windows import SECOND, to_micros
from outlay.errors import ClockError, InvalidValueError
from outlay.ledger.store import ClockState

JUMP_MICROS: Final = 60 * SECOND
BELIEVE_AFTER_MICROS: Final = 600 * SECOND
_LATEST: Final = 4_102_444_800 * SECOND
"""The year 2100: a clock beyond it is broken."""


class Clock(Protocol):
    """Where time comes from; all in microseconds."""

    def wall(self) -> int:
        """Wall time since the Unix epoch, UTC."""

    def boot(self) -> int:
        """Time since the machine started, suspended time included; never runs backwards."""

    def boot_id(self) -> str:
        """Which start of the machine `boot` counts from."""


class SystemClock:
    """The machine's own clocks."""

    def wall(self) -> int:
        """Wall time."""
        return time.time_ns() // 1000

    def boot(self) -> int:
        """Boot time, or monotonic time where the system has no such clock."""
        clock_id = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        return time.clock_gettime_ns(clock_id) // 1000

    def boot_id(self) -> str:
        """The kernel's id of this boot; empty where there is none, and then jumps are not noticed."""
        return _boot_id()


class CallableClock:
    """A clock made of any callable that returns a datetime or seconds since the epoch."""

    def __init__(self, read: Callable[[], object]) -> None:
        self._read = read

    def wall(self) -> int:
        """What the callable says."""
        value = self._read()
        if isinstance(value, datetime):
            if value.tzinfo is None:
                raise InvalidValueError("clock must return an aware datetime (with a time zone)")
            return to_micros(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return round(value * SECOND)
        raise InvalidValueError(f"clock must return a datetime or seconds since the epoch, not {value!r}")

    def boot(self) -> int:
        """The same: an injected clock is believed."""
        return self.wall()

    def boot_id(self) -> str:
        """A boot of its own."""
        return "callable"


def as_clock(clock: object) -> Clock:
    """Take a Clock, a callable that returns the time, or None for the machine's clock.

    Raises:
        InvalidValueError: anything else.
    """
    if clock is None:
        return SystemClock()
    if callable(getattr(clock, "wall", None)) and callable(getattr(clock, "boot", None)):
        return clock  # type: ignore[return-value] # it has what the protocol asks for
    if callable(clock):
        return CallableClock(clock)
    raise InvalidValueError(f"clock must be a Clock or a callable that returns the time, not {clock!r}")


def read_clock(clock: Clock, last: ClockState) -> tuple[int, ClockState]:
    """Give the ledger's `now` and what to remember: never before the newest stored time.

    Raises:
        ClockError: the wall clock is before 1970 or after 2100.
    """
    wall, boot, boot_id = clock.wall(), clock.boot(), clock.boot_id()
    if not 0 <= wall < _LATEST:
        raise ClockError(
            f"the clock says {wall // SECOND} s since 1970, which cannot be: set the system clock"
        )
    offset, suspect_since = 0, 0
    if boot_id and boot_id == last.boot_id:
        expected = last.wall_at - last.offset + (boot - last.boot_at)
        lead = wall - expected
        if lead > JUMP_MICROS:
            # Still the same jump while the lead is what it was; another jump starts the wait anew.
            is_same = last.offset and abs(lead - last.offset) <= JUMP_MICROS
            suspect_since = last.suspect_since if is_same else boot
            offset = lead if boot - suspect_since < BELIEVE_AFTER_MICROS else 0
            suspect_since = suspect_since if offset else 0
    if wall - offset < last.newest_at:  # behind: once it is right again, it is no jump from there
        stood_at = last.wall_at - last.offset
        return last.newest_at, replace(last, wall_at=stood_at, offset=0, suspect_since=0, read_at=wall)
    now = wall - offset
    return now, ClockState(now, wall, boot, boot_id, offset, suspect_since, wall)


def believe_clock(state: ClockState) -> ClockState:
    """What to remember after an operator confirmed the wall clock."""
    return replace(state, offset=0, suspect_since=0)


@lru_cache(maxsize=1)
def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
