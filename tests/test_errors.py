"""Errors as a script meets them: few frames of ours, LiteLLM's arguments and words, and pickled whole."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from journal import HELLO

import outlay
from outlay import BudgetExceededError, BudgetManager, CostUnboundedError, PriceUnknownError, errors
from outlay.testing.provider import FakeProvider

pytest_plugins = ["front_doors"]

MODEL = "gpt-4o"
OURS = str(Path(outlay.__file__).parent)
MOST_FRAMES = 3
AskManager = Callable[..., Any]


def ours(error: BaseException) -> list[str]:
    """The functions of Outlay in a traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    return [frame.name for frame in frames if frame.filename.startswith(OURS)]


# Few frames.

WAYS: dict[str, AskManager] = {
    "completion": lambda manager, **options: manager.completion(
        user="bob", model=MODEL, messages=HELLO, **options
    ),
    "acompletion": lambda manager, **options: asyncio.run(
        manager.acompletion(user="bob", model=MODEL, messages=HELLO, **options)
    ),
    "stream": lambda manager, **options: manager.completion(
        user="bob", model=MODEL, messages=HELLO, stream=True, **options
    ),
    "async stream": lambda manager, **options: asyncio.run(
        manager.acompletion(user="bob", model=MODEL, messages=HELLO, stream=True, **options)
    ),
    "outlay.completion": lambda manager, **options: outlay.completion(
        MODEL, HELLO, user="bob", budget_manager=manager, **options
    ),
    "embedding": lambda manager, **options: outlay.embedding(
        "text-embedding-3-small", "a text", user="bob", budget_manager=manager, **options
    ),
    "aembedding": lambda manager, **options: asyncio.run(
        outlay.aembedding("text-embedding-3-small", "a text", user="bob", budget_manager=manager, **options)
    ),
    "reserve": lambda manager, **options: manager.reserve("bob", MODEL, HELLO, **options).__enter__(),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["crossing", "hard"])
def test_a_refusal_has_few_frames_of_ours(
    provider: FakeProvider, manager: BudgetManager, way: str, mode: Any
) -> None:
    manager.create_budget(0, "bob", mode=mode)
    with pytest.raises(BudgetExceededError) as caught:
        WAYS[way](manager)
    assert len(ours(caught.value)) <= MOST_FRAMES
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_refusal_of_the_process_budget_has_few_frames_of_ours(
    provider: FakeProvider, process_budget: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlay, "max_budget", 1e-9)
    outlay.completion(MODEL, HELLO)
    with pytest.raises(BudgetExceededError) as caught:
        outlay.completion(MODEL, HELLO)
    assert len(ours(caught.value)) <= MOST_FRAMES
    with pytest.raises(BudgetExceededError) as caught:
        asyncio.run(outlay.acompletion(MODEL, HELLO))
    assert len(ours(caught.value)) <= MOST_FRAMES


@pytest.mark.parametrize(
    ("refusal", "options"),
    [
        (CostUnboundedError, {"background": True}),
        (PriceUnknownError, {"custom_llm_provider": "openai_compatible", "api_base": "http://127.0.0.1:9"}),
    ],
)
def test_a_refusal_for_want_of_a_bound_or_a_price_has_few_frames_of_ours(
    provider: FakeProvider, manager: BudgetManager, refusal: type[Exception], options: dict[str, Any]
) -> None:
    manager.create_budget(1, "bob", mode="hard")
    with pytest.raises(refusal) as caught:
        WAYS["completion"](manager, **options)
    assert len(ours(caught.value)) <= MOST_FRAMES


def test_a_refusal_while_another_error_is_handled_keeps_that_one(
    provider: FakeProvider, manager: BudgetManager
) -> None:
    manager.create_budget(0, "bob")
    error = ValueError("the script's own")

    def call_while_handling() -> None:
        try:
            raise error
        except ValueError:
            WAYS["completion"](manager)

    with pytest.raises(BudgetExceededError) as caught:
        call_while_handling()
    assert caught.value.__context__ is error
    assert not caught.value.__suppress_context__


def test_a_script_that_is_refused_prints_a_short_traceback(provider: FakeProvider, tmp_path: Path) -> None:
    script = (
        "import outlay as litellm\n"
        "litellm.max_budget = 0.0000001\n"
        "messages = [{'role': 'user', 'content': 'Hi'}]\n"
        "for _ in range(2):\n"
        "    litellm.completion(model='gpt-4', messages=messages)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.stderr.count("File ") <= 1 + MOST_FRAMES
    assert "BudgetExceededError: Budget has been exceeded! Current cost: 0.00" in done.stderr.splitlines()[-1]


# LiteLLM's error.


def test_budget_exceeded_is_made_as_litellms() -> None:
    parameters = list(inspect.signature(BudgetExceededError).parameters.values())
    positional = [each for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert [(each.name, each.default) for each in positional] == [
        ("current_cost", inspect.Parameter.empty),
        ("max_budget", inspect.Parameter.empty),
        ("message", None),
    ]
    error = BudgetExceededError(0.5, 0.25)
    assert (error.current_cost, error.max_budget) == (0.5, 0.25)
    text = "Budget has been exceeded! Current cost: 0.5, Max budget: 0.25"
    assert str(error) == error.message == error.args[0] == text
    assert error.args == (text,)
    assert str(BudgetExceededError(0.5, 0.25, "No more.")) == "No more."
    assert str(BudgetExceededError(current_cost=1, max_budget=0, message="")).startswith("Budget has been")


# Pools of processes pickle errors.


def _made(kind: type[errors.OutlayError]) -> errors.OutlayError:
    if issubclass(kind, BudgetExceededError):
        facts: dict[str, Any] = {"unit": "usd", "limit": 0.25, "settled": 0.5, "affordable_max_tokens": 7}
        return kind(0.5, 0.25, "No more.", account="user:bob", resets_at=datetime.now(UTC), **facts)
    if issubclass(kind, errors.ProviderError):
        return kind("it failed", status=429, body="{}", is_unknown_outcome=True, headers={"retry-after": "3"})
    return kind("it failed")


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_pickled_and_copied_whole(name: str) -> None:
    error = _made(getattr(errors, name))
    error.add_note("a note")
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301 # our own
        assert type(other) is type(error)
        assert (str(other), repr(other), other.args) == (str(error), repr(error), error.args)
        assert vars(other) == vars(error)


def _refused(_: int) -> None:
    raise BudgetExceededError(0.5, 0.25, account="user:bob")


def test_a_refusal_in_a_process_of_a_pool_reaches_its_parent() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        (done,) = [pool.submit(_refused, 1)]
        error = done.exception(timeout=60)
    assert isinstance(error, BudgetExceededError)
    assert (error.account, error.max_budget) == ("user:bob", 0.25)
