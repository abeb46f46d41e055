"""Durations: how often a budget of LiteLLM's shape begins anew, as a window.

LiteLLM aligns a day, a week and a month in the time zone that was set, however they are written; every other
length is exact here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Final

from outlay.domain.windows import Window, find_zone, to_micros
from outlay.errors import InvalidValueError

_ALIGNED: Final[Mapping[str, str]] = {
    "1d": "daily",
    "7d": "weekly",
    "1w": "weekly",
    "30d": "monthly",
    "1mo": "monthly",
    "daily": "daily",
    "weekly": "weekly",
    "monthly": "monthly",
    "quarterly": "quarterly",
    "yearly": "yearly",
}
_EXACT: Final[Mapping[str, str]] = {"hourly": "1h"}
_CALENDAR: Final = ("mo", "y")
_CACHED: Final = 256


def litellm_window(duration: str | None, zone: str, *, field: str = "budget_duration") -> Window:
    """Give the window of a duration.

    `1d`, `7d`/`1w`, `30d`/`1mo` and `daily`, `weekly`, `monthly` begin at midnight, on Monday and on the 1st
    in `zone`; steps of several months or of years count from 1 January 1970 there; every other length is
    exact and counts from that day in UTC. None never begins anew.

    Raises:
        InvalidValueError: an unknown duration or zone; the message names `field`.
    """
    find_zone(zone)
    if duration is None:
        return Window("total", "total")
    if not isinstance(duration, str) or duration == "total":
        raise _unknown(duration, field)
    return _window(duration, zone, field)


@lru_cache(maxsize=_CACHED)
def _window(duration: str, zone: str, field: str) -> Window:
    if duration in _ALIGNED:
        return Window.parse(_ALIGNED[duration], zone=zone)
    text = _EXACT.get(duration, duration)
    is_calendar = text.endswith(_CALENDAR)
    try:
        if is_calendar:
            return Window.parse(text, anchor_at=_first_day(zone), zone=zone, field=field)
        return Window.parse(text, field=field)
    except InvalidValueError:
        raise _unknown(duration, field) from None


def _first_day(zone: str) -> int:
    """The first midnight of 1970 in a zone, in microseconds since the epoch."""
    return to_micros(datetime(1970, 1, 1, tzinfo=find_zone(zone)))


def _unknown(duration: object, field: str) -> InvalidValueError:
    shown = repr(duration)[:80]
    return InvalidValueError(
        f"{field} must be a length such as 30s, 90m, 36h, 1d, 7d or 1mo, one of hourly, daily, weekly and "
        f"monthly, or null for a budget that never begins anew; not {shown}"
    )
