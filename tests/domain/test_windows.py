"""Windows: periods tile time, whatever the zone, the month or the leap year."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from outlay.domain.budgets import Budget, Period, running_period
from outlay.domain.windows import HOUR, NEVER, SECOND, Interval, Window, find_zone, to_datetime, to_micros
from outlay.errors import InvalidValueError

pytestmark = pytest.mark.once("rules that are the same on every Python")

PROOF = settings(derandomize=True, deadline=None, max_examples=300)
DAY = 24 * HOUR
RULES = (
    *("total", "1s", "30s", "90m", "7h", "36h", "48h", "1d", "2d", "1w", "1mo", "3mo", "7mo", "1y", "4y"),
    *("daily", "weekly", "monthly", "quarterly", "yearly"),
)
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",  # an hour twice after midnight
    "America/Sao_Paulo",  # no midnight on some days
    "Asia/Kathmandu",
    "Australia/Lord_Howe",  # half an hour of summer time
    "Pacific/Apia",  # a day that never was
    "Africa/Casablanca",
)
MOMENTS = st.integers(
    at := to_micros(datetime(1975, 1, 1, tzinfo=UTC)), to_micros(datetime(2095, 1, 1, tzinfo=UTC))
)


def micros(text: str) -> int:
    return to_micros(datetime.fromisoformat(text))


def texts(interval: Interval) -> tuple[str, str]:
    return tuple(f"{to_datetime(each):%Y-%m-%d %H:%M}" for each in interval)  # type: ignore[return-value] # two


@PROOF
@given(st.sampled_from(RULES), st.sampled_from(ZONES), MOMENTS, MOMENTS)
@example("daily", "Pacific/Apia", 0, micros("2011-12-30T10:00:00+00:00"))
@example("daily", "America/Sao_Paulo", 0, micros("2017-10-15T03:00:00+00:00"))
@example("daily", "America/Havana", 0, micros("2025-11-02T05:30:00+00:00"))
@example("1mo", "Europe/Berlin", micros("2024-03-31T01:30:00+00:00"), micros("2026-02-28T23:59:00+00:00"))
def test_periods_tile_time_and_hold_the_moment(rule: str, zone: str, anchor_at: int, now: int) -> None:
    window = Window.parse(rule, anchor_at=anchor_at, zone=zone)
    interval = window.interval_at(now)
    assert interval.starts_at <= now < interval.ends_at
    assert window.interval_at(interval.starts_at) == interval or rule == "total"
    if interval.ends_at != NEVER:
        assert window.interval_at(interval.ends_at - 1) == interval
        following = window.interval_at(interval.ends_at)
        assert following.starts_at == interval.ends_at
        assert following.ends_at > following.starts_at


@PROOF
@given(st.sampled_from([r for r in RULES if r != "total"]), st.sampled_from(ZONES), MOMENTS)
def test_going_from_period_to_period_leaves_no_gap(rule: str, zone: str, anchor_at: int) -> None:
    window = Window.parse(rule, anchor_at=anchor_at, zone=zone)
    at, intervals = anchor_at, []
    for _ in range(15):
        intervals.append(window.interval_at(at))
        at = intervals[-1].ends_at
    assert all(before.ends_at == after.starts_at for before, after in pairwise(intervals))


@PROOF
@given(st.integers(1, 400), st.sampled_from("smhdw"), MOMENTS, MOMENTS)
def test_exact_lengths_count_from_the_anchor(count: int, unit: str, anchor_at: int, now: int) -> None:
    length = count * {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[unit] * SECOND
    interval = Window.parse(f"{count}{unit}", anchor_at=anchor_at).interval_at(now)
    assert interval.ends_at - interval.starts_at == length
    assert (interval.starts_at - anchor_at) % length == 0


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29T12:00+02:00", 23),
        ("Europe/Berlin", "2026-10-25T12:00+01:00", 25),
        ("America/New_York", "2026-03-08T12:00-04:00", 23),
        ("America/New_York", "2026-11-01T12:00-05:00", 25),
        ("Australia/Lord_Howe", "2026-04-05T12:00+10:30", 24.5),
        ("America/Sao_Paulo", "2017-10-15T12:00-02:00", 23),
        ("UTC", "2026-03-29T12:00+00:00", 24),
    ],
)
def test_a_day_is_as_long_as_its_zone_says(zone: str, day: str, hours: float) -> None:
    start, end = Window.parse("daily", zone=zone).interval_at(micros(day))
    assert (end - start) / HOUR == hours


def test_months_from_the_31st_do_not_forget_it() -> None:
    window = Window.parse("1mo", anchor_at=micros("2027-01-31T08:00+00:00"))
    at, starts = window.anchor_at, []
    for _ in range(14):
        starts.append(f"{to_datetime(at):%m-%d}")
        at = window.interval_at(at).ends_at
    assert starts == [
        *("01-31", "02-28", "03-31", "04-30", "05-31", "06-30", "07-31", "08-31", "09-30", "10-31", "11-30"),
        *("12-31", "01-31", "02-29"),
    ]


def test_years_from_the_29th_of_february_come_back_to_it() -> None:
    window = Window.parse("1y", anchor_at=micros("2024-02-29T00:00+00:00"))
    assert texts(window.interval_at(micros("2027-06-01T00:00+00:00"))) == (
        "2027-02-28 00:00",
        "2028-02-29 00:00",
    )


def test_before_its_anchor_a_window_has_periods_too() -> None:
    window = Window.parse("1mo", anchor_at=micros("2026-05-31T00:00+00:00"))
    assert texts(window.interval_at(micros("2026-02-10T00:00+00:00"))) == (
        "2026-01-31 00:00",
        "2026-02-28 00:00",
    )


@pytest.mark.parametrize(
    ("rule", "start", "end"),
    [
        ("daily", "2026-05-13 22:00", "2026-05-14 22:00"),
        ("weekly", "2026-05-10 22:00", "2026-05-17 22:00"),
        ("monthly", "2026-04-30 22:00", "2026-05-31 22:00"),
        ("quarterly", "2026-03-31 22:00", "2026-06-30 22:00"),
        ("yearly", "2025-12-31 23:00", "2026-12-31 23:00"),
    ],
)
def test_aligned_windows_begin_at_local_midnight(rule: str, start: str, end: str) -> None:
    window = Window.parse(rule, zone="Europe/Berlin")
    assert texts(window.interval_at(micros("2026-05-14T12:00+00:00"))) == (start, end)


def test_a_leap_day_belongs_to_its_month() -> None:
    start, end = Window.parse("monthly").interval_at(micros("2028-02-29T12:00+00:00"))
    assert (end - start) == 29 * DAY


def test_two_days_are_two_days_and_thirty_hours_thirty() -> None:
    for rule, length in (("48h", 2 * DAY), ("30h", 30 * HOUR), ("2d", 2 * DAY)):
        window = Window.parse(rule, anchor_at=micros("2026-01-01T06:00+00:00"))
        start, end = window.interval_at(micros("2026-01-02T00:00+00:00"))
        assert (start, end - start) == (window.anchor_at, length)


@pytest.mark.parametrize(
    "rule",
    ["", "0s", "-1d", "1.5h", "1x", "d", " 1d", "1d ", "Daily", "1000y", "99999w", "१d", None, 7, True],
)
def test_what_is_no_window_is_refused_with_examples(rule: object) -> None:
    with pytest.raises(InvalidValueError, match=r"budget_duration must be"):
        Window.parse(rule, field="budget_duration")


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "/etc/localtime", "CEST+9"])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(InvalidValueError, match="IANA name such as Europe/Berlin"):
        Window.parse("daily", zone=zone)


def test_only_short_exact_windows_are_short() -> None:
    assert [rule for rule in RULES if Window.parse(rule).is_short] == ["1s", "30s"]
    assert Window.parse("60m").is_short
    assert not Window.parse("61m").is_short


def a_budget(rule: str) -> Budget:
    return Budget("p", "b", "user:ann", "usd", 1, Window.parse(rule), key=7)


def test_the_newest_period_counts_while_it_lasts() -> None:
    newest = Period(7, 0, 2 * DAY + 5, settled=9)
    assert running_period(a_budget("daily"), newest, 2 * DAY) is newest


@PROOF
@given(st.sampled_from(RULES), MOMENTS, st.integers(1, 400 * DAY))
def test_the_next_period_begins_where_the_newest_ended_at_the_earliest(
    rule: str, end: int, later: int
) -> None:
    newest = Period(7, end - 5, end)
    period = running_period(a_budget(rule), newest, end + later)
    assert newest.ends_at <= period.starts_at <= end + later < period.ends_at


def test_moments_go_there_and_back() -> None:
    moment = datetime(2026, 5, 14, 12, 34, 56, 789012, tzinfo=find_zone("Asia/Kathmandu"))
    assert to_datetime(to_micros(moment)) == moment
    assert to_datetime(0) + timedelta(microseconds=1) == to_datetime(1)
