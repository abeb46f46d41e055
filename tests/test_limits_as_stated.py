"""The library's limits are never looser than stated, and none above 0 is read as off."""

from __future__ import annotations

from typing import Any

import pytest
from journal import HELLO

import outlay
from outlay import BudgetExceededError, BudgetManager, InvalidValueError
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["front_doors"]

TINY: list[Any] = [5e-10, 1e-10, "1e-400", "１"]


@pytest.mark.parametrize("tiny", TINY)
def test_a_process_budget_above_zero_is_never_off(
    provider: FakeProvider, process_budget: None, monkeypatch: pytest.MonkeyPatch, tiny: Any
) -> None:
    monkeypatch.setattr(outlay, "max_budget", tiny)
    with pytest.raises(InvalidValueError, match=r"outlay\.max_budget"):
        outlay.completion(model="gpt-4o", messages=HELLO)
    assert provider.bill.total_nanos == 0


def test_the_least_process_budget_holds(
    provider: FakeProvider, process_budget: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlay, "max_budget", 1e-9)
    outlay.completion(model="gpt-4o", messages=HELLO)
    with pytest.raises(BudgetExceededError):
        outlay.completion(model="gpt-4o", messages=HELLO)


@pytest.mark.parametrize("tiny", TINY)
def test_a_users_budget_above_zero_never_becomes_zero(manager: BudgetManager, tiny: Any) -> None:
    with pytest.raises(InvalidValueError, match="total_budget"):
        manager.create_budget(total_budget=tiny, user="bob")
    assert manager.get_users() == ["alice"]


def test_a_users_budget_is_rounded_down(manager: BudgetManager) -> None:
    manager.create_budget(total_budget=1.9999999999, user="bob")
    assert manager.get_total_budget("bob") == 1.999999999


def test_a_users_budget_of_zero_admits_nothing(provider: FakeProvider, manager: BudgetManager) -> None:
    manager.create_budget(total_budget=0, user="bob")
    with pytest.raises(BudgetExceededError):
        manager.completion(model="gpt-4o", messages=HELLO, user="bob")
    assert provider.bill.total_nanos == 0
