"""LiteLLM's user_cost.json becomes budgets and records; a file with any fault becomes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from outlay.domain.commands import PutBudget, Record
from outlay.domain.windows import SECOND
from outlay.errors import InvalidValueError
from outlay.ledger.audit import audit
from outlay.ledger.ledger import Ledger
from outlay.ledger.litellm_file import ImportPlan, plan_import, read_users
from outlay.ledger.reports import Balance, balances
from outlay.ledger.store import EntryFilter
from outlay.ledger.user_budgets import duration_of, user_budget
from outlay.stores.memory import MemoryStore
from outlay.testing.clock import FakeClock

NOW = 1_767_225_600.0
"""FakeClock's start, 2026-01-01, in seconds."""
DAY = 86_400


def user(total: object = 10.0, **fields: object) -> dict[str, object]:
    return {"total_budget": total, **fields}


def daily(**fields: object) -> dict[str, object]:
    return user(**{"duration": 1, "created_at": NOW - 3600, "last_updated_at": NOW - 3600, **fields})


def content(**users: object) -> bytes:
    return json.dumps(users).encode()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ledger(clock: FakeClock) -> Ledger:
    return Ledger(MemoryStore(clock))


def run(ledger: Ledger, data: bytes) -> ImportPlan:
    with ledger.read() as reader:
        plan = plan_import(reader, "shop", read_users(data))
    for command in plan.commands:
        ledger.execute(command)
    return plan


def balance(ledger: Ledger, name: str = "ada") -> Balance:
    with ledger.read() as reader:
        assert audit(reader).findings == []
        (found,) = balances(reader, "shop", f"user:{name}")
        return found


def by_model(ledger: Ledger) -> dict[str, int]:
    with ledger.read() as reader:
        return {key.model: amount for key, amount in reader.all_model_totals()}


def test_a_user_becomes_a_budget_and_what_was_spent_by_model(ledger: Ledger) -> None:
    costs = {"gpt-4o": 1.1, "o3": 0.15}
    run(ledger, content(ada=daily(current_cost=1.25, model_cost=costs), bob=user(5)))
    ada, bob = balance(ledger), balance(ledger, "bob")
    assert (ada.budget_id, ada.limit, ada.settled, ada.window, ada.mode) == (
        "user:ada/usd",
        10 * 10**9,
        1_250_000_000,
        "1d",
        "crossing",
    )
    assert ada.starts_at.timestamp() == NOW - 3600
    assert (bob.limit, bob.settled, bob.window) == (5 * 10**9, 0, "total")
    assert by_model(ledger) == {"gpt-4o": 1_100_000_000, "o3": 150_000_000}


@pytest.mark.parametrize(
    ("days", "duration"), [(1, "daily"), (7, "weekly"), (28, "monthly"), (365, "yearly")]
)
def test_each_duration_has_its_window(ledger: Ledger, days: int, duration: str) -> None:
    run(ledger, content(ada=user(1, duration=days, created_at=NOW)))
    with ledger.read() as reader:
        budget = reader.budget("shop", "user:ada/usd")
    assert budget is not None
    assert duration_of(budget.window) == duration
    assert budget.window.anchor_at == NOW * SECOND


def test_a_second_import_changes_nothing(ledger: Ledger, clock: FakeClock) -> None:
    data = content(ada=daily(current_cost=1.25, model_cost={"gpt-4o": 1.25}), bob=user(5, current_cost=2))
    run(ledger, data)
    clock.advance(60)
    plan = run(ledger, data)
    assert (plan.commands, plan.made, plan.kept) == ([], [], ["ada", "bob"])
    clock.advance(2 * DAY)
    assert run(ledger, data).commands == []


def test_an_import_that_was_cut_off_is_completed(ledger: Ledger) -> None:
    data = content(ada=daily(current_cost=3, model_cost={"gpt-4o": 1, "o3": 2}), bob=user(5, current_cost=2))
    with ledger.read() as reader:
        plan = plan_import(reader, "shop", read_users(data))
    for command in plan.commands[:3]:
        ledger.execute(command)
    run(ledger, data)
    assert (balance(ledger).settled, balance(ledger, "bob").settled) == (3 * 10**9, 2 * 10**9)


def test_a_budget_that_is_there_already_is_kept(ledger: Ledger) -> None:
    ledger.execute(PutBudget(user_budget("shop", "ada", 7, None, 0, "hard")))
    plan = run(ledger, content(ada=user(10, current_cost=1)))
    assert (plan.made, plan.kept) == ([], ["ada"])
    assert (balance(ledger).limit, balance(ledger).mode, balance(ledger).settled) == (7, "hard", 10**9)


def test_costs_of_a_period_that_is_over_are_not_carried(ledger: Ledger) -> None:
    old = daily(created_at=NOW - 10 * DAY, last_updated_at=NOW - DAY, current_cost=9)
    running = daily(created_at=NOW - 10.5 * DAY, last_updated_at=NOW - DAY + 1, current_cost=9)
    plan = run(ledger, content(ada=old, bob=running))
    assert plan.ended == ["ada"]
    assert (balance(ledger).settled, balance(ledger, "bob").settled) == (0, 9 * 10**9)


def test_what_no_model_accounts_for_counts_too(ledger: Ledger) -> None:
    run(ledger, content(ada=user(10, current_cost=1.5, model_cost={"gpt-4o": 1})))
    assert balance(ledger).settled == 1_500_000_000
    assert by_model(ledger) == {"gpt-4o": 10**9}


def test_the_sum_is_exact_though_each_model_was_rounded_by_itself(ledger: Ledger) -> None:
    costs = {f"m{n}": 1.4e-9 for n in range(10)}
    run(ledger, content(ada=user(10, current_cost=14e-9, model_cost=costs)))
    assert balance(ledger).settled == 14


def test_a_file_that_was_written_since_the_first_import_is_refused(ledger: Ledger) -> None:
    run(ledger, content(ada=user(10, current_cost=1)))
    with pytest.raises(InvalidValueError, match=r"'ada'.*imported before with another value"):
        run(ledger, content(ada=user(10, current_cost=2)))
    assert balance(ledger).settled == 10**9


def test_names_with_any_characters_do_not_collide(ledger: Ledger) -> None:
    users: dict[str, Any] = {
        "a:b": user(10, current_cost=1, model_cost={"c": 1}),
        "a": user(10, current_cost=2, model_cost={"b:c": 2}),
        "Zoë 👩‍💻": user(10, current_cost=3, model_cost={"m" * 400: 3}),
    }
    run(ledger, json.dumps(users).encode())
    assert [balance(ledger, name).settled for name in users] == [10**9, 2 * 10**9, 3 * 10**9]
    with ledger.read() as reader:
        assert all(len(entry.id) < 60 for entry in reader.entries(EntryFilter()))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not whole JSON"),
        (b'{"ada": {"total_budget": 1', "not whole JSON"),
        (b"\xff\xfe", "not whole JSON"),
        (b"[" * 100_000, "not whole JSON"),
        (b"[]", "must hold an object of users"),
        (content(ada=[]), "'ada' must be an object"),
        (content(ada={}), "'ada': total_budget is missing"),
        (content(ada=user(-1)), "'ada': total_budget must not be negative"),
        (content(ada=user(float("nan"))), "'ada': total_budget must be finite"),
        (content(ada=user(float("inf"))), "'ada': total_budget must be finite"),
        (content(ada=user("a lot")), "'ada': total_budget must be a number"),
        (content(ada=user(1, current_cost=-0.5)), "'ada': current_cost must not be negative"),
        (content(ada=user(1, current_cost=float("nan"))), "'ada': current_cost must be finite"),
        (content(ada=user(1, model_cost=[1])), "'ada': model_cost must be an object"),
        (content(ada=user(1, model_cost={"o3": -1})), r"'ada': model_cost\['o3'\] must not be negative"),
        (content(ada=user(1, model_cost={"": 1})), "'ada': a model in model_cost must have"),
        (content(ada=user(1, current_cost=1, model_cost={"o3": 2})), "'ada': model_cost adds up to more"),
        (content(ada=user(1, duration=30, created_at=NOW)), "'ada': duration must be 1, 7, 28 or 365"),
        (content(ada=user(1, duration=True, created_at=NOW)), "'ada': duration must be"),
        (content(ada=user(1, duration=[1], created_at=NOW)), "'ada': duration must be"),
        (content(ada=user(1, duration=1)), "'ada': created_at is missing"),
        (content(ada=user(1, created_at="now")), "'ada': created_at must be seconds"),
        (content(ada=user(1, duration=1, created_at=NOW, last_updated_at=1e300)), "'ada': last_updated_at"),
        (content(**{"": user(1)}), "user must have 1 to"),
        (content(**{"a" * 501: user(1)}), "user must have"),
        (content(bob=user(1), ada=user(-1)), "'ada'"),
    ],
)
def test_a_file_with_a_fault_names_the_user_and_the_field(data: bytes, said: str) -> None:
    with pytest.raises(InvalidValueError, match=said):
        read_users(data)


def test_what_is_imported_says_so_in_the_journal(ledger: Ledger) -> None:
    plan = run(ledger, content(ada=user(10, current_cost=1)))
    records = [command for command in plan.commands if isinstance(command, Record)]
    assert [(each.source, each.detail, each.requests) for each in records] == [
        ("manual", {"imported_from": "litellm"}, 0)
    ]
