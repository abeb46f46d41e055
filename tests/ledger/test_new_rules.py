"""What a new rule of a budget does to the reservations that are pending."""

from __future__ import annotations

from outlay.domain.budgets import Budget, Unit
from outlay.domain.commands import Amount, PutBudget, Reserve
from outlay.domain.windows import Window
from outlay.ledger.audit import audit
from outlay.ledger.ledger import Ledger
from outlay.stores.memory import MemoryStore
from outlay.testing.clock import FakeClock


def budget(unit: Unit) -> Budget:
    return Budget("p", "b", "user:ada", unit, 1000, Window.parse("1d"))


def test_a_budget_that_counts_in_another_unit_holds_the_amount_in_that_unit() -> None:
    ledger = Ledger(MemoryStore(FakeClock()))
    ledger.execute(PutBudget(budget("requests")))
    ledger.reserve(
        Reserve("p", "r", ("user:ada",), {"usd": Amount(80), "tokens": Amount(7)}, hold_micros=10**9)
    )
    for unit, held in (("usd", 80), ("tokens", 7), ("requests", 1)):
        ledger.execute(PutBudget(budget(unit)))  # type: ignore[arg-type] # the three are units
        with ledger.read() as reader:
            assert [period.reserved for period in reader.periods() if period.reserved] == [held]
            assert audit(reader).findings == []
    ledger.close()
