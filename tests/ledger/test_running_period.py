"""What touches an old period leaves the running one alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlay.domain.accounts import Account
from outlay.domain.budgets import Budget
from outlay.domain.commands import Amount, Command, PutAccount, PutBudget, Record, Reserve, Settle
from outlay.domain.windows import Window
from outlay.ledger.audit import audit
from outlay.ledger.ledger import Ledger
from outlay.ledger.store import Store
from outlay.stores.memory import MemoryStore
from outlay.stores.sqlite import SQLiteStore
from outlay.testing.clock import FakeClock


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Store:
    return MemoryStore(clock) if request.param == "memory" else SQLiteStore(tmp_path / "a.db", clock=clock)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.mark.parametrize("is_expired", [False, True])
def test_a_charge_to_an_old_period_does_not_hide_what_was_spent_in_the_running_one(
    store: Store, clock: FakeClock, is_expired: bool
) -> None:
    ledger = Ledger(store)
    ledger.execute(PutBudget(Budget("p", "b", "user:ada", "usd", 100, Window.parse("1d"))))
    ledger.reserve(Reserve("p", "old", ("user:ada",), {"usd": Amount(10)}, hold_micros=90_000_000_000))
    clock.advance(86_400)
    ledger.execute(Record("p", "today", ("user:ada",), 70))
    ledger.execute(PutAccount(Account("p", "user:bob")))  # the books forget what they have read
    if is_expired:
        clock.advance(7200)
        ledger.sweep()
    else:
        ledger.execute(Settle("p", "old", 10, 0))
    ledger.execute(Record("p", "more", ("user:ada",), 5))
    with ledger.read() as reader:
        settled = [period.settled for period in reader.periods()]
        assert audit(reader).findings == []
    assert settled == [10, 75]
    ledger.close()


def test_a_charge_and_a_new_one_in_one_batch_add_up(store: Store, clock: FakeClock) -> None:
    ledger = Ledger(store)
    ledger.execute(PutBudget(Budget("p", "b", "user:ada", "usd", 100, Window.parse("1d"))))
    ledger.reserve(Reserve("p", "held", ("user:ada",), {"usd": Amount(10)}, hold_micros=10**9))
    ledger.execute(PutAccount(Account("p", "user:bob")))
    books = ledger.writer._books
    commands: list[Command] = [Settle("p", "held", 10, 0), Record("p", "more", ("user:ada",), 5)]
    with store.transaction() as tx:
        books.begin(tx)
        books.load(commands)
        for command in commands:
            books.decide(command)
        books.finish()
    with ledger.read() as reader:
        assert [period.settled for period in reader.periods()] == [15]
        assert audit(reader).findings == []
    ledger.close()
