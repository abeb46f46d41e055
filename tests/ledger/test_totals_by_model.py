"""The running totals by model follow corrections and reversals, downwards too."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlay.domain.budgets import Budget
from outlay.domain.commands import Amount, PutBudget, Record, Reserve, Reverse, Settle
from outlay.domain.windows import Window
from outlay.ledger.audit import audit
from outlay.ledger.ledger import Ledger
from outlay.ledger.store import Store
from outlay.stores.memory import MemoryStore
from outlay.stores.sqlite import SQLiteStore
from outlay.testing.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Store:
    return MemoryStore(clock) if request.param == "memory" else SQLiteStore(tmp_path / "a.db", clock=clock)


def test_a_correction_and_a_reversal_lower_the_total_of_their_model(store: Store, clock: FakeClock) -> None:
    ledger = Ledger(store)
    ledger.execute(
        PutBudget(Budget("p", "b", "user:ada", "usd", 1000, Window.parse("total"), is_by_model=True))
    )
    ledger.reserve(Reserve("p", "r", ("user:ada",), {"usd": Amount(100)}, hold_micros=10**6, model="gpt-4o"))
    clock.advance(2)
    ledger.sweep()
    ledger.execute(Record("p", "c", ("user:ada",), 7, model="gpt-4o"))
    ledger.execute(Settle("p", "r", 30, 0))
    assert totals(ledger) == {"gpt-4o": 37}
    ledger.execute(Reverse("p", "c", "me"))
    ledger.execute(Reverse("p", "r", "me"))
    assert totals(ledger) == {"gpt-4o": 0}
    ledger.close()


def totals(ledger: Ledger) -> dict[str, int]:
    with ledger.read() as reader:
        assert audit(reader).findings == []
        return {key.model: amount for key, amount in reader.all_model_totals()}
