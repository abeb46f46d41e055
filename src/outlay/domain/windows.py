"""Windows and periods: a Window is a rule, a Period one interval `[starts_at, ends_at)` in UTC.

Times are whole microseconds since the Unix epoch, UTC. A period is a pure function of the window and the
clock, so no reset job is needed.

    total                                     never resets
    30s 90m 36h 2d 1w                         exact lengths; boundaries at anchor + k × length
    1mo 3mo 1y                                calendar steps from the anchor (31 Jan → 28 Feb → 31 Mar)
    daily weekly monthly quarterly yearly     aligned at local midnight (Mondays, firsts) in the time zone
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from outlay.errors import InvalidValueError

SECOND: Final = 1_000_000
HOUR: Final = 3600 * SECOND
NEVER: Final = 2**63 - 1
"""The end of a period that does not end."""

_EXACT_UNITS: Final = {"s": SECOND, "m": 60 * SECOND, "h": HOUR, "d": 24 * HOUR, "w": 7 * 24 * HOUR}
_CALENDAR_UNITS: Final = {"mo": 1, "y": 12}
_LENGTH: Final = re.compile(r"([1-9][0-9]{0,8})(s|m|h|d|w|mo|y)", re.ASCII)
_ALIGNED: Final = ("daily", "weekly", "monthly", "quarterly", "yearly")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_LONGEST_EXACT: Final = 100 * 366 * 24 * HOUR
_LONGEST_CALENDAR: Final = 12 * 100


class Interval(NamedTuple):
    """`[starts_at, ends_at)`, microseconds since the epoch."""

    starts_at: int
    ends_at: int


@dataclass(frozen=True, slots=True)
class Window:
    """A rule by which periods follow each other.

    `text` is the rule as it was written, `anchor_at` what exact and calendar lengths count from,
    `zone` the IANA time zone of calendar steps and alignments. `length` is microseconds for `exact`, months
    for `calendar`, else 0.
    """

    text: str
    kind: Literal["total", "exact", "calendar", "aligned"]
    length: int = 0
    anchor_at: int = 0
    zone: str = "UTC"

    @classmethod
    def parse(cls, text: object, *, anchor_at: int = 0, zone: str = "UTC", field: str = "window") -> Window:
        """Read a window's rule.

        Raises:
            InvalidValueError: an unknown rule, a length of zero or above a hundred years, an unknown zone.
        """
        check_zone(zone, "time zone")
        if text == "total":
            return cls("total", "total", 0, anchor_at, zone)
        if isinstance(text, str) and text in _ALIGNED:
            return cls(text, "aligned", 0, anchor_at, zone)
        match = _LENGTH.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise InvalidValueError(
                f"{field} must be `total`, a length such as 30s, 90m, 36h, 2d, 1w, 1mo or 1y, "
                f"or one of {', '.join(_ALIGNED)}; not {text!r}"
            )
        count, unit = int(match[1]), match[2]
        if unit in _CALENDAR_UNITS:
            months = count * _CALENDAR_UNITS[unit]
            if months > _LONGEST_CALENDAR:
                raise InvalidValueError(f"{field} must be at most a hundred years, but is {text!r}")
            return cls(match[0], "calendar", months, anchor_at, zone)
        length = count * _EXACT_UNITS[unit]
        if length > _LONGEST_EXACT:
            raise InvalidValueError(f"{field} must be at most a hundred years, but is {text!r}")
        return cls(match[0], "exact", length, anchor_at, zone)

    @property
    def is_short(self) -> bool:
        """Whether its closed periods may be pruned: an hour or less."""
        return self.kind == "exact" and self.length <= HOUR

    def interval_at(self, now: int) -> Interval:
        """Find the interval that holds `now`."""
        if self.kind == "exact":
            starts_at = now - (now - self.anchor_at) % self.length
            return Interval(starts_at, starts_at + self.length)
        if self.kind == "total":
            return Interval(min(self.anchor_at, now), NEVER)
        if self.kind == "calendar":
            return _calendar_interval(self, now)
        return _aligned_interval(self, now)


def to_datetime(at: int) -> datetime:
    """Microseconds since the epoch → an aware datetime in UTC."""
    return _EPOCH + timedelta(microseconds=at)


def to_micros(moment: datetime) -> int:
    """An aware datetime → microseconds since the epoch."""
    return (moment - _EPOCH) // _MICROSECOND


@lru_cache(maxsize=64)
def find_zone(zone: str) -> tzinfo:
    """Find an IANA time zone by name.

    Raises:
        InvalidValueError: no such zone.
    """
    if zone == "UTC":
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise InvalidValueError(
            f"time zone must be an IANA name such as Europe/Berlin, not {zone!r}"
        ) from None


def check_zone(value: object, field: str) -> str:
    """Check the name of a time zone, as somebody gave it.

    Raises:
        InvalidValueError: no such zone; the message names `field`.
    """
    try:
        if isinstance(value, str):
            find_zone(value)
            return value
    except InvalidValueError:
        pass
    raise InvalidValueError(f"{field} must be an IANA name such as Europe/Berlin, not {value!r}")


def _calendar_interval(window: Window, now: int) -> Interval:
    zone = find_zone(window.zone)
    anchor = to_datetime(window.anchor_at).astimezone(zone)
    local = to_datetime(now).astimezone(zone)
    months = (local.year - anchor.year) * 12 + local.month - anchor.month
    step = months // window.length
    # A boundary lies within one step of the month arithmetic: look at the neighbours.
    while _add_months(anchor, step * window.length, zone) > now:
        step -= 1
    while _add_months(anchor, (step + 1) * window.length, zone) <= now:
        step += 1
    return Interval(
        _add_months(anchor, step * window.length, zone),
        _add_months(anchor, (step + 1) * window.length, zone),
    )


def _add_months(anchor: datetime, months: int, zone: tzinfo) -> int:
    """Step from the anchor itself, so that a short month does not shorten those after it."""
    year, month_index = divmod(anchor.year * 12 + anchor.month - 1 + months, 12)
    month = month_index + 1
    day = min(anchor.day, monthrange(year, month)[1])
    return to_micros(anchor.replace(year=year, month=month, day=day, tzinfo=zone, fold=0))


def _aligned_interval(window: Window, now: int) -> Interval:
    zone = find_zone(window.zone)
    today = to_datetime(now).astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    start, end = _aligned_days(window.text, today)
    return Interval(to_micros(start.astimezone(UTC)), to_micros(end.astimezone(UTC)))


def _aligned_days(rule: str, today: datetime) -> tuple[datetime, datetime]:
    """The local midnights around `today`; adding days to an aware datetime keeps the wall clock."""
    if rule == "daily":
        return today, today + timedelta(days=1)
    if rule == "weekly":
        monday = today - timedelta(days=today.weekday())
        return monday, monday + timedelta(days=7)
    months = {"monthly": 1, "quarterly": 3, "yearly": 12}[rule]
    first_month = (today.month - 1) // months * months + 1
    start = today.replace(month=first_month, day=1)
    year, month_index = divmod(start.year * 12 + start.month - 1 + months, 12)
    return start, start.replace(year=year, month=month_index + 1)
