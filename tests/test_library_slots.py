"""The library's calls give their slots of concurrency back when they are over, whatever they cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from journal import HELLO, Journal, eventually

import outlay
from outlay import BudgetExceededError, BudgetManager, OutlayError
from outlay.bootstrap import open_ledger
from outlay.domain.budgets import Budget
from outlay.domain.commands import PutBudget
from outlay.domain.windows import Window
from outlay.settings import Settings
from outlay.testing.provider import FakeProvider

pytest_plugins = ["front_doors"]

UNKNOWN: list[dict[str, Any]] = [
    {"hang_after_chunks": 0, "bills_after_hangup": True},
    {"hang_after_chunks": 2, "bills_after_hangup": True},
    {"cut_after_chunks": 2, "bills_after_hangup": True},
    {"status": 504, "bills_failure": True},
    {"nonsense": "html"},
]


@pytest.fixture
def one_slot(manager: BudgetManager, database: Path) -> BudgetManager:
    """A manager whose alice runs one call at a time."""
    ledger = open_ledger(Settings(database))
    slots = Budget("tests", "slots", "user:alice", "concurrency", 1, Window.parse("total"))
    ledger.execute(PutBudget(slots))
    ledger.close()
    return manager


def taken(database: Path) -> int:
    journal = Journal(database)
    with journal._ledger.read() as reader:
        budget = reader.budget("tests", "slots")
        assert budget is not None
        reserved = reader.newest_periods([budget.key])[budget.key].reserved
    journal.close()
    return reserved


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("behaviour", UNKNOWN, ids=[str(each) for each in UNKNOWN])
def test_the_next_call_is_admitted_at_once_and_the_money_stays_held_or_is_presumed(
    provider: FakeProvider,
    one_slot: BudgetManager,
    journal: Journal,
    behaviour: dict[str, Any],
    is_stream: bool,
) -> None:
    provider.script([behaviour])
    options: dict[str, Any] = {"user": "alice", "model": "gpt-4o", "messages": HELLO, "max_tokens": 9}
    with pytest.raises(OutlayError):
        list(one_slot.completion(**options, stream=is_stream, timeout=0.3))
    list(one_slot.completion(**options, stream=is_stream))
    assert journal.pending() + len(journal.entries("expire")) == 1
    journal.check()


def test_a_reservation_that_its_block_left_open_takes_no_slot(
    one_slot: BudgetManager, journal: Journal, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlay, "budget_wait_seconds", 0)
    with one_slot.reserve(user="alice", model="gpt-4o", messages=HELLO, max_tokens=9) as held:
        assert taken(database) == 1
        with (
            pytest.raises(BudgetExceededError),
            one_slot.reserve(user="alice", model="gpt-4o", messages=HELLO, max_tokens=9),
        ):
            pass
    eventually(lambda: taken(database) == 0)
    assert journal.pending() == 1
    held.settle(cost=0.001)
    assert journal.pending() == 0
    journal.check()
