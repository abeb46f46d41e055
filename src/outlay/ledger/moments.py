"""Moments: points in time as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from outlay.domain.windows import Window, to_micros
from outlay.errors import InvalidValueError


def read_moment(text: str | None, field: str, now: int) -> int | None:
    """Read a moment as microseconds since the epoch: an ISO date or time, or a length of time before now.

    Raises:
        InvalidValueError: it is neither; the message names `field`.
    """
    if text is None:
        return None
    moment = _parsed(text)
    if moment is not None:
        return to_micros(moment)
    try:
        window = Window.parse(text)
    except InvalidValueError:
        window = Window("", "total")
    if window.kind != "exact":
        raise InvalidValueError(
            f"{field} must be a date such as 2026-01-31, a time such as 2026-01-31T12:00, or how long ago, "
            f"such as 90m, 24h or 7d; not {text[:100]!r}"
        )
    return now - window.length


def read_date(text: str | None, field: str, *, is_end: bool = False) -> int | None:
    """Read a date or time, UTC unless it says otherwise; with `is_end` a date alone means its last moment.

    Raises:
        InvalidValueError: it is neither; the message names `field`.
    """
    if text is None:
        return None
    moment = _parsed(text)
    if moment is None:
        raise InvalidValueError(f"{field} must be a date such as 2026-01-31, not {text[:100]!r}")
    is_day = len(text) <= len("2026-01-31")
    return to_micros(moment) + (_DAY if is_end and is_day else 0)


_DAY = timedelta(days=1) // timedelta(microseconds=1)


def _parsed(text: str) -> datetime | None:
    if "T" in text:
        text = text.replace(" ", "+")  # what a `+` is read as where a URL did not quote it
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except ValueError:
        return None
