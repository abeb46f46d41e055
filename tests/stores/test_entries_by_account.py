"""The index of the journal by account: it finds what a look at every entry would find."""

from __future__ import annotations

from pathlib import Path

import pytest
from older_schemas import bring_back_to

from outlay.domain.budgets import Budget
from outlay.domain.commands import PutBudget, Record, Reverse
from outlay.domain.windows import SECOND, Window
from outlay.ledger.audit import audit
from outlay.ledger.store import DaySpend, EntryFilter, Reader, Store
from outlay.stores.memory import MemoryStore
from outlay.stores.sqlite import SQLiteStore
from outlay.testing.clock import FakeClock
from outlay.testing.inline import InlineLedger

DAY = 86_400
FIRST_DAY = 20_454
"""1 January 2026, counted from 1970."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Store:
    return MemoryStore(clock) if request.param == "memory" else SQLiteStore(tmp_path / "a.db", clock=clock)


def record(ledger: InlineLedger, id: str, *accounts: str, project: str = "p", model: str = "m") -> None:
    ledger.execute(Record(project, id, accounts, 10, 5, model=model, request_id=f"request-{id}"))


def found(reader: Reader, wanted: EntryFilter, limit: int | None = None, *, new: bool = False) -> list[str]:
    return [entry.id for entry in reader.entries(wanted, limit=limit, is_newest_first=new)]


def test_entries_are_found_by_groups_of_accounts(store: Store) -> None:
    ledger = InlineLedger(store)
    record(ledger, "a", "key:1", "user:ada", "global")
    record(ledger, "b", "key:2", "member:red/ada", "team:red", "global")
    record(ledger, "c", "key:2", "user:ada", "member:red/ada", "provider:openai", "global")
    record(ledger, "d", "key:3", "user:bob", "global")
    record(ledger, "e", "key:1", "user:ada", project="q")
    ada = ("user:ada", "member:red/ada")
    with store.read() as reader:
        assert found(reader, EntryFilter("p", any_of=(ada,))) == ["a", "b", "c"]
        assert found(reader, EntryFilter("p", any_of=(ada,)), 2, new=True) == ["c", "b"]
        assert found(reader, EntryFilter("p", any_of=(ada, ("key:2", "key:3")))) == ["b", "c"]
        assert found(reader, EntryFilter("p", account="key:1")) == ["a"]
        assert found(reader, EntryFilter(account="key:1")) == ["a", "e"]
        assert found(reader, EntryFilter("p", account="global")) == ["a", "b", "c", "d"]
        assert found(reader, EntryFilter("p", any_of=(("provider:openai",), ("user:ada",)))) == ["c"]
        assert found(reader, EntryFilter("p", account="user:nobody")) == []
        assert found(reader, EntryFilter("p", request_id="request-b")) == ["b"]


def test_a_span_of_time_bounds_what_is_found_whatever_else_is_asked(store: Store, clock: FakeClock) -> None:
    ledger = InlineLedger(store)
    for id in ("a", "b", "c"):
        record(ledger, id, "user:ada")
        clock.advance(1)
    start = clock.wall() - 3 * SECOND
    ada = (("user:ada",),)
    with store.read() as reader:
        assert found(reader, EntryFilter("p", since=start + SECOND, any_of=ada)) == ["b", "c"]
        assert found(reader, EntryFilter("p", until=start + SECOND, any_of=ada)) == ["a"]
        assert found(reader, EntryFilter(since=start + 1, until=start + 2 * SECOND)) == ["b"]
        assert found(reader, EntryFilter(since=start + 10 * SECOND)) == []
        assert found(reader, EntryFilter(until=start + 10 * SECOND)) == ["a", "b", "c"]


def test_spend_is_summed_by_the_day_of_admission(store: Store, clock: FakeClock) -> None:
    ledger = InlineLedger(store)
    record(ledger, "a", "user:ada")
    record(ledger, "b", "user:ada")
    clock.advance(DAY)
    record(ledger, "c", "user:ada", "team:red", model="n")
    record(ledger, "d", "user:bob")
    ledger.execute(Reverse("p", "a", "me"))
    ada = EntryFilter("p", any_of=(("user:ada", "team:red"),))
    first = DaySpend(FIRST_DAY, ("user:ada",), "m", 10, 5)
    second = DaySpend(FIRST_DAY + 1, ("user:ada", "team:red"), "n", 10, 5)
    with store.read() as reader:
        assert sorted(reader.spend_by_day(ada)) == [first, second]
        assert list(
            reader.spend_by_day(EntryFilter("p", ada.account, since=clock.wall(), any_of=ada.any_of))
        ) == [second]
        assert list(reader.spend_by_day(EntryFilter("p", until=clock.wall()))) == [first]
        assert list(reader.spend_by_day(EntryFilter("p"), after_seq=1, before_seq=3)) == [first]


def test_pages_run_on_from_block_to_block(store: Store) -> None:
    ledger = InlineLedger(store)
    for n in range(2_100):
        accounts = ["user:all", "user:rare"] if n in (0, 1_022, 1_023, 2_099) else ["user:all"]
        record(ledger, f"{n}", *accounts)
    with store.read() as reader:
        rare = EntryFilter("p", account="user:rare")
        assert found(reader, rare) == ["0", "1022", "1023", "2099"]
        assert found(reader, rare, 3, new=True) == ["2099", "1023", "1022"]
        everything = found(reader, EntryFilter("p", any_of=(("user:all", "user:rare"),)), new=True)
        assert everything == [f"{n}" for n in range(2_099, -1, -1)]
        between = reader.entries(rare, after_seq=1, before_seq=1_024)
        assert [entry.id for entry in between] == ["1022"]


def test_a_name_that_looks_like_a_part_of_another_is_told_apart(store: Store) -> None:
    ledger = InlineLedger(store)
    record(ledger, "a", 'user:x"user:ada')
    record(ledger, "b", "user:ada")
    with store.read() as reader:
        assert found(reader, EntryFilter("p", account="user:ada")) == ["b"]
        assert found(reader, EntryFilter("p", account='user:x"user:ada')) == ["a"]


def test_entries_are_found_by_their_ids(store: Store) -> None:
    ledger = InlineLedger(store)
    record(ledger, "a", "user:ada")
    record(ledger, "b", "user:ada", project="q")
    with store.read() as reader:
        assert list(reader.entries_by_id("p", ["a", "b", "c"])) == ["a"]


def test_budgets_come_in_pages(store: Store) -> None:
    ledger = InlineLedger(store)
    for account, id in (("user:b", "1"), ("user:a", "3"), ("user:a", "2"), ("user:c", "0")):
        ledger.execute(PutBudget(Budget("p", id, account, "usd", 1, Window.parse("total"))))
    with store.read() as reader:
        pages = [
            reader.budgets_after("p", *after, 2) for after in (("", ""), ("user:a", "3"), ("user:c", "0"))
        ]
    assert [[each.id for each in page] for page in pages] == [["2", "3"], ["1", "0"], []]


def test_entries_of_an_older_schema_are_found_too(tmp_path: Path) -> None:
    old = SQLiteStore(tmp_path / "a.db", clock=FakeClock())
    record(InlineLedger(old), "a", "user:ada", "user:ada", "global")
    old.close()
    bring_back_to(2, tmp_path / "a.db")
    store = SQLiteStore(tmp_path / "a.db", clock=FakeClock())
    record(InlineLedger(store), "b", "user:ada")
    with store.read() as reader:
        assert found(reader, EntryFilter("p", account="user:ada")) == ["a", "b"]
        assert [entry.priced_nanos for entry in reader.entries(EntryFilter("p"))] == [None, None]
        assert audit(reader).findings == []
    store.close()
