"""The library charges what was served as the gateway does, and asks OpenAI for the standard tier."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import outlay
from outlay import BudgetManager
from outlay.errors import CostUnboundedError, InvalidValueError
from outlay.providers.catalogue import PROVIDERS
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["front_doors"]

HELLO = [{"role": "user", "content": "Name three rivers in Europe, please."}]


@pytest.fixture
def own_host(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> FakeProvider:
    """The provider is at OpenAI's own address."""
    monkeypatch.delenv("OPENAI_API_BASE")
    monkeypatch.setitem(PROVIDERS, "openai", replace(PROVIDERS["openai"], base_url=provider.base_url))
    return provider


@pytest.mark.parametrize("mode", ["hard", "crossing", "soft"])
@pytest.mark.parametrize("is_stream", [False, True])
def test_the_standard_tier_is_asked_for_where_a_budget_counts_money(
    own_host: FakeProvider, manager: BudgetManager, mode: Any, is_stream: bool
) -> None:
    manager.create_budget(total_budget=10, user="bob", mode=mode)
    answer = manager.completion(user="bob", model="gpt-4o", messages=HELLO, max_tokens=5, stream=is_stream)
    if is_stream:
        assert list(answer)
    sent = own_host.requests[-1].json()
    assert sent.get("service_tier") == (None if mode == "soft" else "default")


def test_a_tier_of_ones_own_stays_and_without_a_budget_none_is_asked_for(
    own_host: FakeProvider, manager: BudgetManager
) -> None:
    options: dict[str, Any] = {"model": "gpt-4o", "messages": HELLO, "max_tokens": 5}
    manager.completion(user="alice", service_tier="priority", **options)
    assert own_host.requests[-1].json()["service_tier"] == "priority"
    outlay.completion(**options)
    assert "service_tier" not in own_host.requests[-1].json()


def test_a_relay_is_asked_for_no_tier(provider: FakeProvider, manager: BudgetManager) -> None:
    manager.completion(user="alice", model="gpt-4o", messages=HELLO, max_tokens=5)
    assert "service_tier" not in provider.requests[-1].json()


def test_a_tier_that_has_no_price_is_refused(provider: FakeProvider, manager: BudgetManager) -> None:
    with pytest.raises(CostUnboundedError, match="service_tier"):
        manager.completion(user="alice", model="gpt-4o", messages=HELLO, service_tier="brand-new")
    assert not provider.requests


def chat(usage: dict[str, Any], **top: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "Hello"}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        **top,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1_000, "completion_tokens": 100, **usage},
    }


def message(usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "x",
        "type": "message",
        "role": "assistant",
        "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "Hello"}],
        "usage": {"input_tokens": 1_000, "output_tokens": 100, **usage},
    }


GPT_5, OPUS = 2_250_000, 7_500_000


@pytest.mark.parametrize(
    ("model", "completion", "nanos"),
    [
        ("gpt-5", chat({}, service_tier="Priority"), 2 * GPT_5),
        ("gpt-5", chat({"service_tier": "priority"}), 2 * GPT_5),
        ("gpt-5", chat({}, service_tier="default"), GPT_5),
        ("gpt-5", chat({}, service_tier="brand-new"), 2 * GPT_5),
        ("anthropic/claude-opus-5", message({"speed": "fast"}), 2 * OPUS),
        ("anthropic/claude-opus-5", message({"inference_geo": "us"}), OPUS * 11 // 10),
        ("anthropic/claude-opus-5", message({"inference_geo": "global"}), OPUS),
        ("gpt-4o-mini-search-preview", chat({}), 25_000_000 + 210_000),
        ("openrouter/openai/gpt-4o-search-preview", chat({}), 25_000_000 + 3_500_000),
        ("openrouter/perplexity/sonar", chat({}), 12_000_000 + 1_100_000),
        ("perplexity/sonar", chat({"search_context_size": "low"}), 5_000_000 + 1_100_000),
    ],
)
def test_a_completion_is_charged_as_it_says_that_it_was_served(
    manager: BudgetManager, model: str, completion: dict[str, Any], nanos: int
) -> None:
    record = manager.update_cost("alice", {**completion, "model": model})["user"]
    assert record["current_cost"] == pytest.approx(nanos / 1e9)


@pytest.mark.parametrize("value", [0, -1, 1_001, True, "8", 1.5])
def test_a_cap_on_searches_that_is_none_is_refused(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    monkeypatch.setattr(outlay, "default_max_tool_calls", value)
    with pytest.raises(InvalidValueError, match="default_max_tool_calls"):
        outlay.completion(model="gpt-4o", messages=HELLO)
    assert not provider.requests
