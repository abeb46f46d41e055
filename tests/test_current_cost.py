"""`outlay._current_cost` and `current_cost()` are the provider's bill, whichever way a program calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from journal import HELLO

import outlay as litellm
from outlay import BudgetExceededError, BudgetManager
from outlay.testing.provider import FakeProvider

pytest_plugins = ["front_doors"]
pytestmark = pytest.mark.usefixtures("process_budget")

CALL: dict[str, Any] = {"model": "gpt-4o", "messages": HELLO}
EMBEDDING: dict[str, Any] = {"model": "text-embedding-3-small", "input": ["a river", "a lake"]}
CALLS = 20


def in_threads() -> None:
    with ThreadPoolExecutor(CALLS) as pool:
        list(pool.map(lambda _: litellm.completion(**CALL), range(CALLS)))


def in_loops_of_threads() -> None:
    with ThreadPoolExecutor(CALLS) as pool:
        list(pool.map(lambda _: asyncio.run(litellm.acompletion(**CALL)), range(CALLS)))


async def at_once() -> None:
    await asyncio.gather(*(litellm.acompletion(**CALL) for _ in range(CALLS)))


async def as_stream() -> None:
    async for _ in await litellm.acompletion(**CALL, stream=True):
        pass


def in_threads_as_streams() -> None:
    with ThreadPoolExecutor(CALLS) as pool:
        list(pool.map(lambda _: list(litellm.completion(**CALL, stream=True)), range(CALLS)))


WAYS: dict[str, Callable[[], object]] = {
    "completion": lambda: litellm.completion(**CALL),
    "several choices": lambda: litellm.completion(**CALL, n=3),
    "threads": in_threads,
    "loops of threads": in_loops_of_threads,
    "acompletion": lambda: asyncio.run(litellm.acompletion(**CALL)),
    "at once": lambda: asyncio.run(at_once()),
    "stream": lambda: list(litellm.completion(**CALL, stream=True)),
    "streams in threads": in_threads_as_streams,
    "async stream": lambda: asyncio.run(as_stream()),
    "embedding": lambda: litellm.embedding(**EMBEDDING),
    "aembedding": lambda: asyncio.run(litellm.aembedding(**EMBEDDING)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("limit", "mode"), [(None, "crossing"), (0, "hard"), (100, "crossing"), (100, "hard"), (100, "soft")]
)
def test_the_current_cost_is_the_bill(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, way: str, limit: float | None, mode: str
) -> None:
    monkeypatch.setattr(litellm, "max_budget", limit)
    monkeypatch.setattr(litellm, "budget_mode", mode)
    WAYS[way]()
    assert litellm._current_cost == litellm.current_cost() == provider.bill.total_nanos / 1e9 > 0


@pytest.mark.parametrize("way", WAYS)
def test_no_way_goes_past_a_budget_that_is_used_up(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    litellm._current_cost = 1
    monkeypatch.setattr(litellm, "max_budget", 1)
    with pytest.raises(
        BudgetExceededError, match=r"^Budget has been exceeded! Current cost: 1\.0, Max budget: 1\.0$"
    ):
        WAYS[way]()
    assert provider.requests == []


def test_a_budget_that_is_switched_on_counts_what_was_spent_before(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = litellm.completion(**CALL).cost
    monkeypatch.setattr(litellm, "max_budget", spent)
    with pytest.raises(BudgetExceededError) as caught:
        litellm.completion(**CALL)
    assert (caught.value.current_cost, caught.value.max_budget) == (spent, spent)


# LiteLLM's page once more, on an event loop.


def test_the_pages_quick_start_on_an_event_loop(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def page() -> None:
        monkeypatch.setattr(litellm, "max_budget", 0.001)
        messages = [{"role": "user", "content": "Hey, how's it going"}]
        await litellm.acompletion(model="gpt-4", messages=messages)
        assert litellm._current_cost > 0.001
        await litellm.acompletion(model="gpt-4", messages=messages)

    with pytest.raises(BudgetExceededError, match="Budget has been exceeded"):
        asyncio.run(page())
    assert len(provider.requests) == 1


def test_the_pages_user_budgets_on_an_event_loop(provider: FakeProvider, database: Path) -> None:
    async def page() -> tuple[BudgetManager, float | None]:
        budget_manager = BudgetManager(project_name="test_project")
        user = "1234"
        if not budget_manager.is_valid_user(user):
            budget_manager.create_budget(total_budget=10, user=user, duration="monthly")
        if budget_manager.get_current_cost(user=user) <= budget_manager.get_total_budget(user):
            response = await litellm.acompletion(
                model="gpt-3.5-turbo", messages=[{"role": "user", "content": "Hey, how's it going?"}]
            )
            budget_manager.update_cost(completion_obj=response, user=user)
        return budget_manager, response.cost

    manager, cost = asyncio.run(page())
    assert manager.get_model_cost(user="1234") == {"gpt-3.5-turbo": cost}
    manager.close()
