"""Overspend: whatever runs at once, the provider's own bill stays below the limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from journal import HELLO, Journal, script

import outlay
from outlay import BudgetExceededError, BudgetManager
from outlay.testing.provider import FakeProvider

pytest_plugins = ["front_doors"]
pytestmark = pytest.mark.once("sums under load, which the database keeps")

CALLS = 500
FITTING = 10
OUTPUT_TOKENS = 24
PROMPT_TOKENS = 15
CALL_NANOS = PROMPT_TOKENS * 2_500 + OUTPUT_TOKENS * 10_000
LIMIT_NANOS = FITTING * CALL_NANOS + CALL_NANOS // 2
MODEL = "gpt-4o"

Call = Callable[..., Any]


def in_threads(call: Call) -> int:
    """Call 500 times from 32 threads; gives how many were admitted."""

    def one(_: int) -> bool:
        try:
            list(call())
        except BudgetExceededError:
            return False
        return True

    with ThreadPoolExecutor(32) as pool:
        return sum(pool.map(one, range(CALLS)))


def in_tasks(call: Call) -> int:
    """Call 500 times at once on one event loop; gives how many were admitted."""

    async def one() -> bool:
        try:
            answer = await call()
        except BudgetExceededError:
            return False
        if hasattr(answer, "aclose"):
            async for _ in answer:
                pass
        return True

    async def main() -> int:
        return sum(await asyncio.gather(*(one() for _ in range(CALLS))))

    return asyncio.run(main())


def check(provider: FakeProvider, admitted: int, mode: str) -> None:
    """The promise, on the provider's own bill; and that it is not kept by refusing everybody."""
    provider.wait_until(lambda it: it.bill.serving == 0)
    bill = provider.bill
    assert {call.input_tokens for call in bill.calls} == {PROMPT_TOKENS}
    assert len(bill.calls) == admitted
    dearest = max(call.nanos for call in bill.calls)
    assert bill.total_nanos <= LIMIT_NANOS if mode == "hard" else bill.total_nanos < LIMIT_NANOS + dearest
    assert admitted >= 0.8 * FITTING


OPTIONS = pytest.mark.parametrize(
    "options",
    [{"max_tokens": OUTPUT_TOKENS}, {}, {"max_tokens": OUTPUT_TOKENS, "stream": True}, {"stream": True}],
    ids=["capped", "uncapped", "capped-stream", "uncapped-stream"],
)
MODES = pytest.mark.parametrize("mode", ["hard", "crossing"])


@pytest.fixture
def limited(manager: BudgetManager, mode: str) -> BudgetManager:
    manager.create_budget(LIMIT_NANOS / 1e9, "bob", mode="hard" if mode == "hard" else "crossing")
    return manager


@MODES
@OPTIONS
@pytest.mark.parametrize("run", [in_threads, in_tasks])
def test_500_calls_of_one_process_against_a_users_budget(
    provider: FakeProvider,
    limited: BudgetManager,
    journal: Journal,
    mode: str,
    options: dict[str, Any],
    run: Callable[[Call], int],
) -> None:
    face = limited.completion if run is in_threads else limited.acompletion
    admitted = run(lambda: face(user="bob", model=MODEL, messages=HELLO, **options))
    check(provider, admitted, mode)
    assert journal.charged_nanos() == provider.bill.total_nanos
    assert journal.pending() == 0
    journal.check()


@MODES
@OPTIONS
@pytest.mark.parametrize("run", [in_threads, in_tasks])
def test_500_calls_of_one_process_against_max_budget(
    provider: FakeProvider,
    process_budget: None,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    options: dict[str, Any],
    run: Callable[[Call], int],
) -> None:
    monkeypatch.setattr(outlay, "max_budget", LIMIT_NANOS / 1e9)
    monkeypatch.setattr(outlay, "budget_mode", mode)
    face = outlay.completion if run is in_threads else outlay.acompletion
    admitted = run(lambda: face(model=MODEL, messages=HELLO, **options))
    check(provider, admitted, mode)
    assert outlay.current_cost() == provider.bill.total_nanos / 1e9


@MODES
def test_slow_answers_are_waited_for_and_not_overspent(
    provider: FakeProvider, limited: BudgetManager, mode: str
) -> None:
    provider.set({"delay_seconds": 0.02})
    call = lambda: limited.acompletion(user="bob", model=MODEL, messages=HELLO, max_tokens=24)  # noqa: E731
    check(provider, in_tasks(call), mode)


@MODES
def test_unknown_outcomes_count_against_the_limit(
    provider: FakeProvider,
    limited: BudgetManager,
    journal: Journal,
    mode: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every third connection is reset while the provider bills it to the end."""
    monkeypatch.setattr(outlay, "budget_wait_seconds", 0)
    cut = {"cut_after_chunks": 0, "bills_after_hangup": True}
    provider.script([cut if number % 3 == 0 else {} for number in range(40)])
    for _ in range(40):
        with suppress(BudgetExceededError, outlay.ProviderError):
            limited.completion(
                user="bob", model=MODEL, messages=HELLO, max_tokens=OUTPUT_TOKENS, service_tier="default"
            )
    check(provider, len(provider.bill.calls), mode)
    journal.expire()
    assert journal.charged_nanos() >= provider.bill.total_nanos
    journal.check()


WORKER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from outlay import BudgetExceededError, BudgetManager
messages = [{"role": "user", "content": "Name three rivers in Europe, please."}]
options = eval(sys.argv[1])
manager = BudgetManager("tests")
def one(_):
    try:
        list(manager.completion(user="bob", model="gpt-4o", messages=messages, **options))
    except BudgetExceededError:
        return False
    return True
print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(16) as pool:
    print(sum(pool.map(one, range(125))), flush=True)
"""


@MODES
@OPTIONS
def test_500_calls_of_four_processes(
    provider: FakeProvider, limited: BudgetManager, journal: Journal, mode: str, options: dict[str, Any]
) -> None:
    arguments = (WORKER, repr(options))
    with script(*arguments) as a, script(*arguments) as b, script(*arguments) as c, script(*arguments) as d:
        workers = (a, b, c, d)
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        ends = [worker.communicate(timeout=60) for worker in workers]
    assert [complaints for _, complaints in ends] == [""] * 4
    check(provider, sum(int(printed) for printed, _ in ends), mode)
    assert journal.charged_nanos() == provider.bill.total_nanos
    assert journal.pending() == 0
    journal.check()


def test_a_lying_provider_shows_as_an_overrun_and_ends_the_budget(
    provider: FakeProvider, manager: BudgetManager, journal: Journal
) -> None:
    """One that ignores the cap: that shows, and the next call is refused."""
    manager.create_budget(LIMIT_NANOS / 1e9, "bob", mode="hard")
    provider.set({"ignores_cap": True, "output_tokens": 5_000})
    manager.completion(user="bob", model=MODEL, messages=HELLO, max_tokens=OUTPUT_TOKENS)
    assert journal.charged_nanos() == provider.bill.total_nanos > LIMIT_NANOS
    (entry,) = journal.entries()
    assert sum(post.overrun for post in entry.posts) > provider.bill.total_nanos - 2 * CALL_NANOS
    with pytest.raises(BudgetExceededError):
        manager.completion(user="bob", model=MODEL, messages=HELLO, max_tokens=OUTPUT_TOKENS)
