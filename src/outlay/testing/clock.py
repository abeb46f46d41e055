"""FakeClock: time that moves when a test says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from outlay.domain.windows import to_datetime, to_micros


class FakeClock:
    """A clock that stands still until it is moved.

    `advance` lets time pass, on the wall clock and the boot clock alike; `jump` moves the wall clock only,
    as somebody setting the clock would.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._wall = to_micros(start)
        self._boot = 0

    def wall(self) -> int:
        """Microseconds since the epoch."""
        return self._wall

    def boot(self) -> int:
        """Microseconds since this clock was made."""
        return self._boot

    def boot_id(self) -> str:
        """One boot for all fake clocks, so that several stores on one file agree."""
        return "fake"

    def now(self) -> datetime:
        """The wall clock as a datetime."""
        return to_datetime(self._wall)

    def advance(self, delta: timedelta | float) -> None:
        """Let time pass: a timedelta, or seconds."""
        micros = _micros(delta)
        if micros < 0:
            raise ValueError("time does not pass backwards: use jump")
        self._wall += micros
        self._boot += micros

    def jump(self, delta: timedelta | float) -> None:
        """Move the wall clock, forwards or backwards, while no time passes."""
        self._wall += _micros(delta)


def _micros(delta: timedelta | float) -> int:
    seconds = delta.total_seconds() if isinstance(delta, timedelta) else delta
    return round(seconds * 1_000_000)
