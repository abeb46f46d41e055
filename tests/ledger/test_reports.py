"""Reports: balances as of now, pages of the journal, and sums of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from outlay.domain.accounts import Account
from outlay.domain.budgets import Budget
from outlay.domain.commands import Amount, Grant, PutAccount, PutBudget, Record, Reserve, Reverse, Settle
from outlay.domain.windows import Window
from outlay.errors import InvalidValueError
from outlay.ledger.ledger import Ledger
from outlay.ledger.reports import Dimension, balance_of, balances, entries, entry_json, presumed, spend_by
from outlay.ledger.store import EntryFilter, Store
from outlay.stores.memory import MemoryStore
from outlay.stores.sqlite import SQLiteStore
from outlay.testing.clock import FakeClock

DAY = 86_400
USD = 10**9


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Store:
    return MemoryStore(clock) if request.param == "memory" else SQLiteStore(tmp_path / "a.db", clock=clock)


@pytest.fixture
def ledger(store: Store) -> Ledger:
    ledger = Ledger(store)
    ledger.execute(PutAccount(Account("p", "user:ada", parent="team:red")))
    ledger.execute(PutBudget(Budget("p", "day", "user:ada", "usd", 10 * USD, Window.parse("1d"))))
    return ledger


def record(ledger: Ledger, id: str, usd: int | None, **more: object) -> None:
    ledger.execute(Record("p", id, ("user:ada",), usd, **more))  # type: ignore[arg-type] # fields of Record


def test_a_balance_has_every_number_of_the_running_period(ledger: Ledger) -> None:
    ledger.reserve(Reserve("p", "held", ("user:ada",), {"usd": Amount(2 * USD)}, 10**9))
    ledger.reserve(Reserve("p", "over", ("user:ada",), {"usd": Amount(1 * USD)}, 10**9))
    ledger.execute(Settle("p", "over", 3 * USD // 2, 0))
    ledger.execute(Grant("p", "g", "day", 1 * USD, "me"))
    with ledger.read() as reader:
        (balance,) = balances(reader)
    assert balance.to_json() == {
        "project": "p",
        "account": "user:ada",
        "budget": "day",
        "unit": "usd",
        "mode": "hard",
        "window": "1d",
        "limit": "10",
        "granted": "1",
        "settled": "1.5",
        "reserved": "2",
        "available": "7.5",
        "overrun": "0.5",
        "starts_at": "2026-01-01T00:00:00+00:00",
        "resets_at": "2026-01-02T00:00:00+00:00",
    }
    assert balance.resets_at == datetime(2026, 1, 2, tzinfo=UTC)


def test_a_period_that_is_over_counts_as_reset_though_nobody_opened_the_next(
    ledger: Ledger, clock: FakeClock
) -> None:
    record(ledger, "r", 4 * USD)
    clock.advance(3 * DAY)
    with ledger.read() as reader:
        (balance,) = balances(reader)
        assert len(list(reader.periods())) == 1
    assert (balance.settled, balance.available) == (0, 10 * USD)
    assert balance.starts_at == datetime(2026, 1, 4, tzinfo=UTC)


def test_a_budget_that_was_never_used_has_a_balance_and_one_without_end_no_reset(ledger: Ledger) -> None:
    ledger.execute(PutBudget(Budget("p", "rpm", "user:bob", "requests", 60, Window.parse("total"))))
    with ledger.read() as reader:
        (balance,) = balances(reader, account="user:bob")
        budget = reader.budget("p", "rpm")
        assert budget is not None
        assert balance_of(reader, budget) == balance
    assert balance.resets_at is None
    assert balance.to_json()["limit"] == 60
    assert balance.to_json()["resets_at"] is None


def test_balances_are_of_one_project_or_account_or_all(ledger: Ledger) -> None:
    ledger.execute(PutBudget(Budget("q", "day", "user:ada", "usd", 1, Window.parse("1d"))))
    ledger.execute(PutBudget(Budget("p", "team", "team:red", "usd", 1, Window.parse("1d"))))
    with ledger.read() as reader:
        found = [(each.project, each.budget_id) for each in balances(reader)]
        assert found == [("p", "team"), ("p", "day"), ("q", "day")]
        assert [each.budget_id for each in balances(reader, "p")] == ["team", "day"]
        assert [each.project for each in balances(reader, account="user:ada")] == ["p", "q"]
        assert balances(reader, "nobody") == []


@pytest.mark.parametrize("is_newest_first", [True, False])
def test_pages_hold_every_entry_once_though_new_ones_are_written_meanwhile(
    ledger: Ledger, is_newest_first: bool
) -> None:
    for n in range(7):
        record(ledger, f"r{n}", n)
    seen: list[str] = []
    cursor = None
    for turn in range(3):
        with ledger.read() as reader:
            page = entries(reader, limit=3, cursor=cursor, is_newest_first=is_newest_first)
        seen += [entry.id for entry in page.entries]
        cursor = page.next_cursor
        record(ledger, f"new{turn}", 1)
    expected = [f"r{n}" for n in range(7)]
    if is_newest_first:
        assert seen == expected[::-1]
        assert cursor is None
    else:
        assert seen == [*expected, "new0", "new1"]


def test_entries_are_found_by_time_account_model_tag_and_kind(ledger: Ledger, clock: FakeClock) -> None:
    record(ledger, "old", 1, model="gpt-4o")
    clock.advance(60)
    at = clock.wall()
    record(ledger, "tagged", 2, model="o3", tags=("web",))
    ledger.execute(Record("p", "bob", ("user:bob",), 3, model="o3"))
    ledger.execute(Reverse("p", "old", "me"))

    def found(wanted: EntryFilter) -> list[str]:
        with ledger.read() as reader:
            return [entry.id for entry in entries(reader, wanted, is_newest_first=False).entries]

    assert found(EntryFilter(since=at)) == ["tagged", "bob", "old#reverse"]
    assert found(EntryFilter(until=at)) == ["old"]
    assert found(EntryFilter(account="team:red")) == ["old", "tagged", "old#reverse"]
    assert found(EntryFilter(model="o3")) == ["tagged", "bob"]
    assert found(EntryFilter(tag="web")) == ["tagged"]
    assert found(EntryFilter(kinds=("reverse", "grant"))) == ["old#reverse"]
    assert found(EntryFilter(project="q")) == []


@pytest.mark.parametrize("limit", [0, -1, 10_001])
def test_a_page_has_a_limit_that_can_be_used(ledger: Ledger, limit: int) -> None:
    with ledger.read() as reader, pytest.raises(InvalidValueError, match="limit"):
        entries(reader, limit=limit)


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "²", "9" * 40])
def test_a_cursor_is_one_that_a_page_gave(ledger: Ledger, cursor: str) -> None:
    with ledger.read() as reader, pytest.raises(InvalidValueError, match="cursor"):
        entries(reader, cursor=cursor)


def test_an_entry_shows_money_as_an_exact_decimal_and_an_unknown_cost_as_none(ledger: Ledger) -> None:
    record(ledger, "r", 1, tokens=12, model="gpt-4o", tags=("web",))
    record(ledger, "unknown", None)
    with ledger.read() as reader:
        unknown, known = (entry_json(entry) for entry in entries(reader).entries)
    assert unknown["usd"] is None
    assert (known["usd"], known["tokens"], known["at"]) == ("0.000000001", 12, "2026-01-01T00:00:00+00:00")
    assert (known["accounts"], known["tags"]) == (["user:ada", "team:red"], ["web"])


def sums(ledger: Ledger, dimension: Dimension, **bounds: int) -> list[tuple[str | None, int, int, int]]:
    with ledger.read() as reader:
        found = spend_by(reader, dimension, **bounds)  # type: ignore[arg-type] # since and until
        return [(each.key, each.usd_nanos, each.tokens, each.requests) for each in found]


def test_spend_is_summed_by_account_model_tag_and_day(ledger: Ledger, clock: FakeClock) -> None:
    record(ledger, "a", 5, tokens=50, model="gpt-4o", tags=("web", "x"))
    clock.advance(DAY)
    record(ledger, "b", 7, tokens=70, model="o3")
    ledger.execute(Record("p", "c", ("user:bob",), 1, 10))
    assert sums(ledger, "account") == [
        ("team:red", 12, 120, 2),
        ("user:ada", 12, 120, 2),
        ("user:bob", 1, 10, 1),
    ]
    assert sums(ledger, "model") == [("gpt-4o", 5, 50, 1), ("o3", 7, 70, 1), (None, 1, 10, 1)]
    assert sums(ledger, "tag") == [("web", 5, 50, 1), ("x", 5, 50, 1), (None, 8, 80, 2)]
    assert sums(ledger, "day") == [("2026-01-01", 5, 50, 1), ("2026-01-02", 8, 80, 2)]
    assert sums(ledger, "day", since=clock.wall()) == [("2026-01-02", 8, 80, 2)]
    assert sums(ledger, "day", until=clock.wall()) == [("2026-01-01", 5, 50, 1)]


def test_a_correction_and_a_reversal_count_on_the_day_of_their_charge(
    ledger: Ledger, clock: FakeClock
) -> None:
    ledger.reserve(Reserve("p", "lost", ("user:ada",), {"usd": Amount(100)}, 10**6))
    record(ledger, "wrong", 40)
    clock.advance(DAY)
    ledger.sweep()
    assert sums(ledger, "day") == [("2026-01-01", 140, 0, 2)]
    ledger.execute(Settle("p", "lost", 30, 0))
    ledger.execute(Reverse("p", "wrong", "me"))
    assert sums(ledger, "day") == [("2026-01-01", 30, 0, 1)]


def test_an_unknown_cost_is_counted_as_unpriced(ledger: Ledger) -> None:
    record(ledger, "unknown", None)
    with ledger.read() as reader:
        (total,) = spend_by(reader, "model")
    assert total.to_json() == {"key": None, "usd": "0", "tokens": 0, "requests": 1, "unpriced": 1}


def test_an_unknown_dimension_is_refused(ledger: Ledger) -> None:
    with ledger.read() as reader, pytest.raises(InvalidValueError, match="dimension must be one of account"):
        spend_by(reader, "colour")  # type: ignore[arg-type] # wrong on purpose


def test_presumed_charges_are_listed_until_they_are_corrected_or_reversed(
    ledger: Ledger, clock: FakeClock
) -> None:
    for id in ("one", "two", "three"):
        ledger.reserve(Reserve("p", id, ("user:ada",), {"usd": Amount(100)}, 10**6))
    clock.advance(2)
    ledger.sweep()
    ledger.execute(Settle("p", "one", 30, 0))
    ledger.execute(Reverse("p", "three", "me"))
    with ledger.read() as reader:
        assert [entry.id for entry in presumed(reader)] == ["two"]
        assert list(presumed(reader, "q")) == []
