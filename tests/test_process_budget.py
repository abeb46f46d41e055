"""`outlay.max_budget`: the budget of a process, and LiteLLM's page run as it stands."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest
from journal import HELLO

import outlay
from outlay import BudgetExceededError, CostUnboundedError, InvalidValueError, PriceUnknownError
from outlay.testing.provider import FakeProvider

pytest_plugins = ["front_doors"]
pytestmark = pytest.mark.usefixtures("process_budget")

CALL = (15 * 2_500 + 24 * 10_000) / 1e9


def call(**options: Any) -> Any:
    return outlay.completion(model="gpt-4o", messages=HELLO, **{"service_tier": "default", **options})


@pytest.mark.parametrize("off", [None, 0, 0.0])
def test_off_counts_and_refuses_nothing(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, off: float | None
) -> None:
    monkeypatch.setattr(outlay, "max_budget", off)
    for _ in range(3):
        call()
    assert outlay._current_cost == outlay.current_cost() == pytest.approx(3 * CALL)


def test_crossing_is_the_default_and_ends_less_than_a_call_above(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlay, "max_budget", 2.5 * CALL)
    for _ in range(3):
        call()
    with pytest.raises(BudgetExceededError):
        call()
    assert outlay.current_cost() == provider.bill.total_nanos / 1e9 == pytest.approx(3 * CALL)


def test_hard_admits_only_what_surely_fits(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlay, "max_budget", 2.5 * CALL)
    monkeypatch.setattr(outlay, "budget_mode", "hard")
    for _ in range(2):
        call(max_tokens=24)
    with pytest.raises(BudgetExceededError) as caught:
        call(max_tokens=24)
    assert 0 < (caught.value.affordable_max_tokens or 0) < 24
    assert "max_tokens" in str(caught.value)
    assert provider.bill.total_nanos <= 2.5 * CALL * 1e9


def test_soft_refuses_nothing(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlay, "max_budget", 0.5 * CALL)
    monkeypatch.setattr(outlay, "budget_mode", "soft")
    for _ in range(3):
        call()
    assert outlay.current_cost() == pytest.approx(3 * CALL)


def test_soft_warns_once_when_the_limit_is_reached(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outlay, "max_budget", 1.5 * CALL)
    monkeypatch.setattr(outlay, "budget_mode", "soft")
    for _ in range(3):
        call(max_tokens=24)
    assert [record.getMessage() for record in caplog.records] == [
        "global has 100 % of budget global/usd spent or held"
    ]


def test_soft_sends_and_counts_what_has_no_bound(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlay, "max_budget", 1)
    monkeypatch.setattr(outlay, "budget_mode", "soft")
    call(tools=[{"type": "web_search"}])
    assert outlay.current_cost() == provider.bill.total_nanos / 1e9 > 0


def test_the_error_reads_as_litellms(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlay, "max_budget", 0.0001)
    call()
    with pytest.raises(BudgetExceededError) as caught:
        call()
    error, spent = caught.value, outlay.current_cost()
    assert (error.current_cost, error.max_budget) == (spent, 0.0001)
    assert (
        str(error) == error.message == f"Budget has been exceeded! Current cost: {spent}, Max budget: 0.0001"
    )
    assert (error.budget, error.unit, error.limit, error.settled) == ("global/usd", "usd", 0.0001, spent)


@pytest.mark.parametrize("value", [-1, -0.001, math.nan, math.inf, -math.inf, "ten", True, [], 1e30])
def test_a_budget_that_cannot_be_is_named_and_nothing_is_sent(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, value: Any
) -> None:
    monkeypatch.setattr(outlay, "max_budget", value)
    with pytest.raises(ValueError, match=r"outlay\.max_budget"):
        call()
    with pytest.raises(ValueError, match=r"outlay\.max_budget"):
        asyncio.run(outlay.acompletion(model="gpt-4o", messages=HELLO))
    assert provider.requests == []


@pytest.mark.parametrize("mode", ["strict", None, "", 1, []])
def test_a_mode_that_is_none_is_named(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, mode: Any
) -> None:
    monkeypatch.setattr(outlay, "max_budget", 1)
    monkeypatch.setattr(outlay, "budget_mode", mode)
    with pytest.raises(InvalidValueError, match=r"outlay\.budget_mode.*hard"):
        call()


def test_the_variables_are_read_at_each_call(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlay, "max_budget", 0.5 * CALL)
    call()
    with pytest.raises(BudgetExceededError):
        call()
    monkeypatch.setattr(outlay, "max_budget", 5 * CALL)
    call()
    monkeypatch.setattr(outlay, "max_budget", None)
    call()
    assert outlay.current_cost() == pytest.approx(3 * CALL)


def test_current_cost_can_be_set(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlay, "max_budget", 0.5 * CALL)
    call()
    with pytest.raises(BudgetExceededError):
        call()
    outlay._current_cost = 0
    assert outlay._current_cost == 0.0
    call()
    outlay._current_cost = 0.25
    assert outlay.current_cost() == outlay._current_cost == 0.25
    with pytest.raises(BudgetExceededError):
        call()
    for wrong in (-1, math.nan, "much"):
        with pytest.raises(ValueError, match=r"outlay\._current_cost"):
            outlay._current_cost = wrong  # type: ignore[assignment] # that is the point
    assert outlay.current_cost() == 0.25


def test_to_set_the_cost_or_to_count_leaves_a_limit_in_force(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a call without a limit counts, late, must not lift the limit that others run under."""
    from outlay.process_budget import PROCESS_BUDGET

    monkeypatch.setattr(outlay, "max_budget", CALL / 2)
    guard = PROCESS_BUDGET.guard()
    assert guard is not None
    asyncio.run(PROCESS_BUDGET.count(1))
    outlay._current_cost = 0
    with guard.ledger.read() as reader:
        budget = reader.budget(guard.project, "global/usd")
    assert budget is not None
    assert (budget.mode, budget.limit) == ("crossing", round(CALL / 2 * 1e9))


def test_embeddings_and_streams_count_too(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlay, "max_budget", 1.0)
    outlay.embedding("text-embedding-3-small", ["a river", "a town"])
    list(call(stream=True))
    assert outlay.current_cost() == provider.bill.total_nanos / 1e9 > CALL


def test_a_limit_needs_a_price_and_a_bound(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlay, "max_budget", 1.0)
    with pytest.raises(PriceUnknownError, match="my-model"):
        outlay.completion(model="my-model", messages=HELLO)
    with pytest.raises(CostUnboundedError):
        call(tools=[{"type": "mcp", "server_url": "https://example.org"}])
    assert provider.requests == []


def test_both_budgets_watch_a_users_call(
    provider: FakeProvider, manager: outlay.BudgetManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlay, "max_budget", 1.5 * CALL)
    for _ in range(2):
        manager.completion(user="alice", model="gpt-4o", messages=HELLO)
    assert manager.get_current_cost("alice") == outlay.current_cost() == pytest.approx(2 * CALL)
    with pytest.raises(BudgetExceededError) as caught:
        manager.completion(user="alice", model="gpt-4o", messages=HELLO)
    assert caught.value.account == "global"
    manager.create_budget(CALL, "alice")
    monkeypatch.setattr(outlay, "max_budget", 10)
    with pytest.raises(BudgetExceededError) as caught:
        manager.completion(user="alice", model="gpt-4o", messages=HELLO)
    assert caught.value.account == "user:alice"
    monkeypatch.setattr(outlay, "max_budget", None)
    assert outlay.current_cost() == pytest.approx(2 * CALL)


# LiteLLM's page, with `import outlay as litellm`: https://docs.litellm.ai/docs/budget_manager

QUICK_START = """
import outlay as litellm, os
from outlay import completion

litellm.max_budget = 0.001 # sets a max budget of $0.001

messages = [{"role": "user", "content": "Hey, how's it going"}]
completion(model="gpt-4", messages=messages)
print(litellm._current_cost)
completion(model="gpt-4", messages=messages)
"""

PER_USER = """
from outlay import BudgetManager, completion

budget_manager = BudgetManager(project_name="test_project")

user = "1234"

# create a budget if new user user
if not budget_manager.is_valid_user(user):
    budget_manager.create_budget(total_budget=10, user=user)

# check if a given call can be made
if budget_manager.get_current_cost(user=user) <= budget_manager.get_total_budget(user):
    # call your llm
    messages = [{"role": "user", "content": "Hey, how's it going?"}]
    response = completion(model="gpt-3.5-turbo", messages=messages)
    budget_manager.update_cost(completion_obj=response, user=user)
else:
    response = "Sorry - no budget!"

print(budget_manager.get_model_cost(user=user))
budget_manager.save_data()
"""

WITH_DURATION = """
from outlay import BudgetManager, completion

budget_manager = BudgetManager(project_name="test_project", client_type="local")
user = "12345"
for duration in ("daily", "weekly", "monthly", "yearly"):
    budget_manager.create_budget(total_budget=10, user=user, duration=duration)
messages = [{"role": "user", "content": "Hey, how's it going?"}]
projected = budget_manager.projected_cost(model="gpt-3.5-turbo", messages=messages, user=user)
if projected <= budget_manager.get_total_budget(user):
    response = completion(model="gpt-3.5-turbo", messages=messages)
    budget_manager.update_cost(completion_obj=response, user=user)
budget_manager.update_budget_all_users()
budget_manager.reset_on_duration(user)
print(budget_manager.user_dict)
"""

TEXTS = """
from outlay import BudgetManager

budget_manager = BudgetManager(project_name="test_project")
budget_manager.create_budget(total_budget=10, user="12345", duration="daily")

input_text = "hello world"
output_text = "it's a sunny day in san francisco"
model = "gpt-3.5-turbo"

budget_manager.update_cost(user="12345", model=model, input_text=input_text, output_text=output_text) # 👈
print(budget_manager.get_current_cost("12345"))
"""


def run_page(source: str, capsys: pytest.CaptureFixture[str]) -> str:
    exec(compile(source, "page", "exec"), {"__name__": "__main__"})  # noqa: S102 # a page's own code
    return capsys.readouterr().out


def test_the_pages_quick_start(
    provider: FakeProvider, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlay, "max_budget", None)
    with pytest.raises(BudgetExceededError, match=r"Budget has been exceeded! Current cost: 0\.00"):
        run_page(QUICK_START, capsys)
    assert float(capsys.readouterr().out) == outlay.current_cost() > 0.001


def test_the_pages_user_budgets(
    provider: FakeProvider, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = run_page(PER_USER, capsys)
    costs = eval(printed)  # noqa: S307 # printed by the page
    assert costs.keys() == {"gpt-3.5-turbo"}
    assert costs["gpt-3.5-turbo"] == pytest.approx(outlay.current_cost())


def test_the_pages_durations(
    provider: FakeProvider, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = eval(run_page(WITH_DURATION, capsys))  # noqa: S307 # printed by the page
    assert records["12345"]["duration"] == 365
    assert records["12345"]["current_cost"] == pytest.approx(outlay.current_cost())


def test_the_pages_texts(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 < float(run_page(TEXTS, capsys)) < 0.0001
