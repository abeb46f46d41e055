"""Completions that the library or another SDK made: charged by the same rules as in the gateway."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from journal import Journal

from outlay import BudgetManager
from outlay.errors import InvalidValueError, ProviderError
from outlay.providers.catalogue import PROVIDERS
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["front_doors"]

HELLO = [{"role": "user", "content": "Name three rivers in Europe, please."}]
IN, OUT = 2_500, 10_000
TEXT = {"index": 0, "finish_reason": "stop", "message": {"content": "Rhine, Elbe"}}


def completion(model: str = "gpt-4o", **usage: Any) -> dict[str, Any]:
    return {"id": "c-1", "object": "chat.completion", "model": model, "choices": [TEXT], "usage": usage}


def newest(journal: Journal) -> Any:
    return journal.entries()[-1]


def test_a_completions_figures_are_read_as_everywhere(manager: BudgetManager, journal: Journal) -> None:
    manager.update_cost(
        "alice", completion_obj=completion(prompt_tokens=35, completion_tokens=12, total_tokens=109)
    )
    assert newest(journal).usd_nanos == 35 * IN + 74 * OUT


@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": 0, "completion_tokens": 5}, {"prompt_tokens": 0, "completion_tokens": 0}]
)
def test_a_completion_that_used_no_input_is_not_taken_as_cheap(
    manager: BudgetManager, journal: Journal, usage: dict[str, Any]
) -> None:
    with pytest.raises(InvalidValueError, match="no usage that could be charged"):
        manager.update_cost("alice", completion_obj=completion(**usage))
    assert journal.entries() == []


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_response_that_is_not_finished_is_refused(manager: BudgetManager, status: str) -> None:
    usage = {"input_tokens": 15, "output_tokens": 5}
    response = {"id": "r", "object": "response", "model": "gpt-4o", "status": status, "output": []}
    with pytest.raises(InvalidValueError, match="not finished"):
        manager.update_cost("alice", completion_obj={**response, "usage": usage})


@pytest.mark.parametrize(
    ("model", "usage", "nanos"),
    [
        ("openrouter/openai/gpt-4o", {"cost": 0.0612}, 61_200_000),
        ("openrouter/openai/gpt-4o", {"cost": 0.00006}, 60_000),
        ("openrouter/openai/gpt-4o", {"cost": 0.000001}, 15 * IN + 5 * OUT),
        ("gpt-4o", {"cost": 0.0612}, 61_200_000),
        ("gpt-4o", {"cost": 0.00006}, 15 * IN + 5 * OUT),
    ],
)
def test_a_bill_in_a_completion_is_charged_with_our_price_beside_it(
    manager: BudgetManager, journal: Journal, model: str, usage: dict[str, Any], nanos: int
) -> None:
    told = completion(prompt_tokens=15, completion_tokens=5, total_tokens=20, **usage)
    manager.update_cost("alice", completion_obj=told, model=model)
    entry = newest(journal)
    assert (entry.usd_nanos, entry.priced_nanos, entry.source) == (nanos, 15 * IN + 5 * OUT, "provider")
    journal.check()


def test_a_reservation_settles_at_the_bill(manager: BudgetManager, journal: Journal) -> None:
    told = completion(prompt_tokens=15, completion_tokens=5, total_tokens=20, cost=0.0612)
    with manager.reserve("alice", "openrouter/openai/gpt-4o", HELLO, max_tokens=5) as held:
        held.settle(told)
    entry = newest(journal)
    assert (entry.usd_nanos, entry.priced_nanos) == (61_200_000, 15 * IN + 5 * OUT)
    assert entry.posts[0].overrun > 0


NONE = {
    "deferred": json.dumps({"request_id": "f8a1"}),
    "nothing": "{}",
    "no choices": json.dumps({"choices": []}),
    "no finish": json.dumps({"choices": [{"message": {"content": "Rhine"}}]}),
}


@pytest.mark.parametrize("shape", [*NONE, "accepted", "only the end", "no finish in a stream"])
def test_a_call_that_is_answered_with_none_is_presumed_at_once(
    provider: FakeProvider, manager: BudgetManager, journal: Journal, shape: str
) -> None:
    usage = {"prompt_tokens": 15, "completion_tokens": 5}
    delta = {"choices": [{"index": 0, "delta": {"content": "Rhine"}}]}
    streams = {
        "only the end": "data: [DONE]\n\n",
        "no finish in a stream": f"data: {json.dumps(delta)}\n\ndata: [DONE]\n\n",
    }
    body = NONE.get(shape) or streams.get(shape) or json.dumps({"choices": [TEXT], "usage": usage})
    provider.script([{"body": body, "status": 202 if shape == "accepted" else 200}])
    answer = manager.completion(
        user="alice", model="gpt-4o", messages=HELLO, max_tokens=9_000, stream=shape in streams
    )
    if shape in streams:
        list(answer)
    else:
        assert answer == json.loads(body)
    (entry,) = journal.entries()
    assert (entry.kind, entry.source, journal.pending()) == ("expire", "presumed", 0)
    assert entry.usd_nanos is not None
    assert entry.usd_nanos >= 9_000 * OUT
    journal.check()


@pytest.mark.parametrize("status", [408, 499])
def test_somebody_who_gave_up_waiting_may_have_been_billed(
    provider: FakeProvider, manager: BudgetManager, journal: Journal, status: int
) -> None:
    provider.script([{"status": status, "bills_failure": True}])
    with pytest.raises(ProviderError) as caught:
        manager.completion(user="alice", model="gpt-4o", messages=HELLO, max_tokens=9)
    assert caught.value.is_unknown_outcome
    assert journal.pending() == 1


@pytest.mark.parametrize("stream", [False, True])
def test_the_librarys_own_calls_are_charged_the_bill(
    provider: FakeProvider,
    manager: BudgetManager,
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
    stream: bool,
) -> None:
    monkeypatch.setitem(PROVIDERS, "openrouter", replace(PROVIDERS["openrouter"], base_url=provider.base_url))
    provider.script([{"usage_more": json.dumps({"cost": 0.0612})}])
    answer = manager.completion(
        user="alice",
        model="openrouter/openai/gpt-4o",
        messages=HELLO,
        max_tokens=9,
        stream=stream,
        api_key="k",
    )
    if stream:
        list(answer)
    assert answer.cost == 0.0612
    entry = newest(journal)
    assert entry.usd_nanos == 61_200_000
    assert entry.priced_nanos == entry.usage["input_tokens"] * IN + entry.usage["output_tokens"] * OUT
