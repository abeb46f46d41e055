"""Budgets that are created again with another `created_at`, as a program may do at every restart."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

import outlay
from outlay import BudgetExceededError, BudgetManager
from outlay.domain.windows import SECOND
from outlay.ledger.audit import audit
from outlay.testing.clock import FakeClock

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def manager(tmp_path: Path, clock: FakeClock) -> BudgetManager:
    return BudgetManager("p", mode="hard", clock=clock, database_url=str(tmp_path / "outlay.db"))


def seconds(clock: FakeClock) -> float:
    return clock.wall() / SECOND


def spend(manager: BudgetManager) -> float:
    manager.update_cost("ann", model="gpt-4o", input_text="hello", output_text="world")
    return manager.get_current_cost("ann")


@pytest.mark.parametrize("duration", [None, "daily", "weekly", "monthly", "yearly"])
def test_a_restart_that_gives_created_at_anew_keeps_what_was_spent(
    manager: BudgetManager, clock: FakeClock, duration: str | None
) -> None:
    manager.create_budget(10, "ann", duration, created_at=seconds(clock))
    spent = spend(manager)
    for _ in range(3):
        clock.advance(timedelta(hours=5))
        record = manager.create_budget(10, "ann", duration, created_at=seconds(clock))
        assert record["current_cost"] == spent
    with manager._ledger.read() as reader:
        assert audit(reader).findings == []


def test_a_daily_budget_still_resets_however_often_it_is_created_again(
    manager: BudgetManager, clock: FakeClock
) -> None:
    manager.create_budget(10, "ann", "daily", created_at=seconds(clock))
    spend(manager)
    for _ in range(6):
        clock.advance(timedelta(hours=5))
        manager.create_budget(10, "ann", "daily", created_at=seconds(clock))
    assert manager.get_current_cost("ann") == 0


def test_a_new_duration_with_created_at_now_forgets_nothing_of_its_period(
    manager: BudgetManager, clock: FakeClock
) -> None:
    manager.create_budget(10, "ann")
    spent = spend(manager)
    clock.advance(timedelta(hours=5))
    assert manager.create_budget(10, "ann", "daily", created_at=seconds(clock))["current_cost"] == spent


def test_what_is_held_stays_held(
    manager: BudgetManager, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlay, "budget_wait_seconds", 0.0)
    manager.create_budget(0.001, "ann")
    with manager.reserve("ann", "gpt-4o", HELLO, max_tokens=60) as first:
        clock.advance(1)
        manager.create_budget(0.001, "ann", created_at=seconds(clock))
        with (
            pytest.raises(BudgetExceededError),
            manager.reserve("ann", "gpt-4o", HELLO, max_tokens=60),
        ):
            pass
        first.void()


def test_an_earlier_created_at_counts_what_was_spent_since(manager: BudgetManager, clock: FakeClock) -> None:
    started_at = seconds(clock)
    clock.advance(timedelta(days=40))
    manager.create_budget(10, "ann", "monthly")
    spent = spend(manager)
    assert manager.create_budget(10, "ann", created_at=started_at)["current_cost"] == spent
