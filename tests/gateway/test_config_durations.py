"""Durations of LiteLLM's shape, as windows."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from outlay.domain.windows import HOUR, Window, to_datetime, to_micros
from outlay.errors import InvalidValueError
from outlay.gateway.durations import litellm_window

pytestmark = pytest.mark.once("rules that are the same on every Python")

NOW = to_micros(datetime(2026, 1, 30, 22, 50, 30, tzinfo=UTC))


def span(duration: str | None, zone: str = "UTC") -> tuple[datetime, datetime]:
    starts_at, ends_at = litellm_window(duration, zone).interval_at(NOW)
    return to_datetime(starts_at), to_datetime(ends_at)


@pytest.mark.parametrize("duration", ["1d", "daily"])
def test_a_day_begins_at_midnight_of_the_zone(duration: str) -> None:
    assert span(duration) == (datetime(2026, 1, 30, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC))
    assert span(duration, "Europe/Berlin")[0] == datetime(2026, 1, 29, 23, tzinfo=UTC)


@pytest.mark.parametrize("duration", ["7d", "1w", "weekly"])
def test_a_week_begins_on_monday(duration: str) -> None:
    assert span(duration) == (datetime(2026, 1, 26, tzinfo=UTC), datetime(2026, 2, 2, tzinfo=UTC))


@pytest.mark.parametrize("duration", ["30d", "1mo", "monthly"])
def test_a_month_begins_on_the_first(duration: str) -> None:
    assert span(duration) == (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("duration", "hours"), [("48h", 48), ("30h", 30), ("5h", 5), ("24h", 24), ("hourly", 1), ("2d", 48)]
)
def test_other_lengths_are_exact(duration: str, hours: int) -> None:
    window = litellm_window(duration, "America/New_York")
    assert (window.kind, window.length, window.anchor_at) == ("exact", hours * HOUR, 0)


def test_several_months_begin_at_a_first_of_the_zone() -> None:
    assert span("2mo", "America/New_York") == (
        datetime(2026, 1, 1, 5, tzinfo=UTC),
        datetime(2026, 3, 1, 5, tzinfo=UTC),
    )


def test_none_never_begins_anew() -> None:
    assert litellm_window(None, "Europe/Berlin") == Window("total", "total")


@pytest.mark.parametrize(
    "duration", ["", "0d", "1.5d", "30", "fortnightly", "total", " 1d", "1D", 30, ["1d"]]
)
def test_other_words_are_refused_by_the_name_of_the_field(duration: str) -> None:
    with pytest.raises(InvalidValueError, match=r"^a\.b must be a length such as"):
        litellm_window(duration, "UTC", field="a.b")


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="IANA name"):
        litellm_window("1d", "Mars/Olympus")
