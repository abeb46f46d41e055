"""What a usage is charged, whatever its counters are called and however they contradict each other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gateways import CREDENTIAL, HELLO, Gateway, run_gateway

from outlay.routing.configured import Row
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

IN, OUT, READ, WRITE = 3_000, 15_000, 300, 3_750
PRICE = {
    "input_cost_per_token": 3e-6,
    "output_cost_per_token": 1.5e-5,
    "cache_read_input_token_cost": 3e-7,
    "cache_creation_input_token_cost": 3.75e-6,
}
CLAUDE = "claude-sonnet-4-6"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with FakeProvider() as provider:
        base, root = provider.base_url, provider.root_url
        rows = [
            Row("chat", "openai_compatible/m", "chat", api_key=CREDENTIAL, api_base=base, own_price=PRICE),
            Row("grok", "xai/grok-4", "grok", api_key=CREDENTIAL, api_base=base, own_price=PRICE),
            Row(CLAUDE, f"anthropic/{CLAUDE}", "claude", api_key=CREDENTIAL, api_base=root),
            Row("opus", "anthropic/claude-opus-5", "opus", api_key=CREDENTIAL, api_base=root),
            Row("embed", "openai/text-embedding-3-small", "embed", api_key=CREDENTIAL, api_base=base),
            Row("gemini", "openai_compatible/gemini-9", "g", api_key="k", api_base=base, own_price=PRICE),
        ]
        folder = tmp_path_factory.mktemp("usages")
        with run_gateway(provider, Path(folder), rows_of=rows) as running:
            yield running


def charged(gateway: Gateway, path: str, request: dict[str, Any], body: str) -> Any:
    """The entry of a call that is answered with this body."""
    gateway.provider.script([{"body": body}])
    assert gateway.post(path, request).status_code == 200
    gateway.settled()
    return gateway.journal.entries()[-1]


def chat(gateway: Gateway, *usages: Any, stream: bool = False, model: str = "chat", **more: Any) -> Any:
    """A chat with one usage, or a stream with several, one a chunk."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"content": "Rhine, Elbe"}}
    body = json.dumps({"id": "c", "choices": [choice], "usage": usages[-1]})
    if stream:
        delta = {"index": 0, "delta": {"content": "Rhine, Elbe"}, "finish_reason": "stop"}
        chunks = [{"id": "c", "choices": [delta]}, *({"choices": [], "usage": usage} for usage in usages)]
        body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    request = {"model": model, "messages": HELLO, "max_tokens": 9_000, "stream": stream, **more}
    return charged(gateway, "/v1/chat/completions", request, body)


def message(gateway: Gateway, start: Any, *deltas: Any, model: str = CLAUDE, **more: Any) -> Any:
    """A stream of Anthropic's: the usage of its start, and of each delta; None for a delta without one."""
    part = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Rhine"}}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": {"id": "m", "usage": start}}, part]
    for usage in deltas:
        delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
        events.append(delta if usage is None else {**delta, "usage": usage})
    events.append({"type": "message_stop"})
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    request = {"model": model, "messages": HELLO, "max_tokens": 9_000, "stream": True, **more}
    return charged(gateway, "/v1/messages", request, body)


CHAT: dict[str, tuple[dict[str, Any], int]] = {
    "plain": ({"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}, 100 * IN + 10 * OUT),
    "thinking in the total alone": (
        {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109},
        35 * IN + 74 * OUT,
    ),
    "reasoning beside the output": (
        {
            "prompt_tokens": 12,
            "completion_tokens": 100,
            "total_tokens": 162,
            "completion_tokens_details": {"reasoning_tokens": 50},
        },
        12 * IN + 150 * OUT,
    ),
    "reasoning within the output": (
        {
            "prompt_tokens": 12,
            "completion_tokens": 100,
            "total_tokens": 112,
            "completion_tokens_details": {"reasoning_tokens": 50},
        },
        12 * IN + 100 * OUT,
    ),
    "a total below its parts": (
        {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 3},
        100 * IN + 10 * OUT,
    ),
    "Anthropic's names": ({"input_tokens": 100, "output_tokens": 10}, 100 * IN + 10 * OUT),
    "both names": (
        {"prompt_tokens": 0, "completion_tokens": 10, "input_tokens": 100, "output_tokens": 0},
        100 * IN + 10 * OUT,
    ),
    "Anthropic's cache beside the prompt": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 10,
            "cache_read_input_tokens": 40,
            "cache_creation_input_tokens": 20,
        },
        100 * IN + 40 * READ + 20 * WRITE + 10 * OUT,
    ),
    "Anthropic's cache within the total": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 10,
            "total_tokens": 110,
            "cache_read_input_tokens": 40,
            "cache_creation_input_tokens": 20,
        },
        40 * IN + 40 * READ + 20 * WRITE + 10 * OUT,
    ),
    "cached tokens that cannot be within": (
        {
            "prompt_tokens": 10,
            "completion_tokens": 10,
            "total_tokens": 920,
            "prompt_tokens_details": {"cached_tokens": 900},
        },
        10 * IN + 900 * READ + 10 * OUT,
    ),
    "cached tokens by the name of vLLM": (
        {"prompt_tokens": 100, "completion_tokens": 10, "num_cached_tokens": 40},
        60 * IN + 40 * READ + 10 * OUT,
    ),
    "cache writes by another name": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 10,
            "total_tokens": 110,
            "prompt_tokens_details": {"cache_creation_tokens": 40},
        },
        60 * IN + 40 * WRITE + 10 * OUT,
    ),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", CHAT)
def test_a_usage_of_a_chat_is_charged_by_its_figures(gateway: Gateway, name: str, stream: bool) -> None:
    usage, nanos = CHAT[name]
    assert chat(gateway, usage, stream=stream).usd_nanos == nanos


@pytest.mark.parametrize("stream", [False, True])
def test_xais_reasoning_is_told_by_the_figures(gateway: Gateway, stream: bool) -> None:
    details = {"completion_tokens_details": {"reasoning_tokens": 50}}
    within = {"prompt_tokens": 12, "completion_tokens": 100, "total_tokens": 112, **details}
    assert chat(gateway, within, stream=stream, model="grok").usd_nanos == 12 * IN + 100 * OUT
    beside = {**within, "total_tokens": 162}
    assert chat(gateway, beside, stream=stream, model="grok").usd_nanos == 12 * IN + 150 * OUT


def test_a_total_that_no_window_holds_is_disputed_and_not_charged(gateway: Gateway) -> None:
    entry = chat(gateway, {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 900_000_000})
    assert entry.detail["disputed"] is True
    assert entry.usd_nanos < 20_000_000


def test_of_counters_that_fall_the_larger_is_charged(gateway: Gateway) -> None:
    large = {"prompt_tokens": 25_000, "completion_tokens": 100, "total_tokens": 25_100}
    for later in ({"prompt_tokens": 0, "completion_tokens": 7, "total_tokens": 7}, {"prompt_tokens": 1}):
        assert chat(gateway, large, later, stream=True).usd_nanos == 25_000 * IN + 100 * OUT


def test_a_usage_inside_a_choice_is_read(gateway: Gateway) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    last = {"index": 0, "delta": {"content": "Rhine"}, "finish_reason": "stop", "usage": usage}
    body = f"data: {json.dumps({'choices': [last]})}\n\ndata: [DONE]\n\n"
    request = {"model": "chat", "messages": HELLO, "max_tokens": 9, "stream": True}
    entry = charged(gateway, "/v1/chat/completions", request, body)
    assert entry.usd_nanos == 100 * IN + 10 * OUT


def test_an_input_that_falls_to_nothing_in_a_message_is_charged(gateway: Gateway) -> None:
    entry = message(
        gateway, {"input_tokens": 25_000, "output_tokens": 1}, {"input_tokens": 0, "output_tokens": 100}
    )
    assert entry.usd_nanos == 25_000 * IN + 100 * OUT


@pytest.mark.parametrize("stream", [False, True])
def test_an_input_of_nothing_is_disputed_and_costs_its_bound(gateway: Gateway, stream: bool) -> None:
    entry = chat(gateway, {"prompt_tokens": 0, "completion_tokens": 10, "total_tokens": 10}, stream=stream)
    assert entry.detail["disputed"] is True
    assert entry.usd_nanos - 10 * OUT >= len(HELLO[0]["content"]) / 5 * IN
    body = json.dumps({"content": [{"type": "text", "text": "x"}], "stop_reason": "end_turn"})
    usage = {"usage": {"input_tokens": 0, "output_tokens": 10}}
    request = {"model": CLAUDE, "messages": HELLO, "max_tokens": 90}
    entry = charged(gateway, "/v1/messages", request, json.dumps(json.loads(body) | usage))
    assert entry.usd_nanos > 10 * OUT


def test_embeddings_that_used_nothing_cost_their_input(gateway: Gateway) -> None:
    data = {"data": [{"index": 0, "embedding": [0.1]}]}
    for usage in ({"prompt_tokens": 0, "total_tokens": 0}, {}, None):
        body = json.dumps({**data, "usage": usage})
        entry = charged(gateway, "/v1/embeddings", {"model": "embed", "input": "The Danube. " * 500}, body)
        assert entry.usd_nanos >= 1_000 * 20


def test_the_rest_of_an_embeddings_total_is_input(gateway: Gateway) -> None:
    data = {"data": [{"index": 0, "embedding": [0.1]}], "usage": {"prompt_tokens": 5, "total_tokens": 50}}
    entry = charged(gateway, "/v1/embeddings", {"model": "embed", "input": "The Danube."}, json.dumps(data))
    assert entry.usd_nanos == 50 * 20


HELD_AT_LEAST = 9_000 * OUT


@pytest.mark.parametrize(
    "asked",
    [
        {"thinking": {"type": "enabled", "budget_tokens": 2_000}},
        {"thinking": {"type": "adaptive"}},
        {"output_config": {"effort": "high"}},
    ],
)
def test_a_claude_that_was_asked_to_think_and_tells_no_usage_costs_its_hold(
    gateway: Gateway, asked: dict[str, Any]
) -> None:
    body = json.dumps({"content": [{"type": "text", "text": "Rhine"}], "stop_reason": "end_turn"})
    request = {"model": CLAUDE, "messages": HELLO, "max_tokens": 9_000}
    entry = charged(gateway, "/v1/messages", {**request, **asked}, body)
    assert (entry.kind, entry.source) == ("expire", "presumed")
    assert entry.usd_nanos >= HELD_AT_LEAST
    assert charged(gateway, "/v1/messages", request, body).source == "counted"


@pytest.mark.parametrize(
    "asked",
    [{}, {"model": "opus"}, {"model": "gemini"}],
    ids=["a placeholder", "a Claude that thinks by itself", "a Gemini behind another name"],
)
def test_what_may_have_been_thought_unseen_costs_its_hold(gateway: Gateway, asked: dict[str, Any]) -> None:
    if "gemini" in asked.values():
        entry = chat(gateway, None, model="gemini")
    else:
        entry = message(gateway, {"input_tokens": 15, "output_tokens": 1}, None, **asked)
    assert entry.source == "presumed"
    assert entry.usd_nanos >= HELD_AT_LEAST


def test_reasoning_that_was_asked_to_be_hidden_is_not_counted(gateway: Gateway) -> None:
    assert chat(gateway, None).source == "counted"
    for asked in ({"reasoning_format": "hidden"}, {"reasoning": {"exclude": True}}):
        assert chat(gateway, None, **asked).source == "presumed"


def test_an_advisors_rounds_and_a_compaction_are_charged_at_their_models_prices(gateway: Gateway) -> None:
    rounds = [
        {"type": "message", "input_tokens": 400, "output_tokens": 90},
        {"type": "advisor_message", "model": "claude-opus-5", "input_tokens": 800, "output_tokens": 500},
        {"type": "compaction", "input_tokens": 1_000, "output_tokens": 30},
        {"type": "message", "input_tokens": 600, "output_tokens": 10},
    ]
    usage = {"input_tokens": 1_000, "output_tokens": 100, "iterations": rounds}
    own = 2_000 * IN + 130 * OUT
    advisor = 800 * 5_000 + 500 * 25_000
    assert message(gateway, {"input_tokens": 400, "output_tokens": 1}, usage).usd_nanos == own + advisor
    body = {"content": [{"type": "text", "text": "R"}], "stop_reason": "end_turn", "usage": usage}
    request = {"model": CLAUDE, "messages": HELLO, "max_tokens": 9_000}
    entry = charged(gateway, "/v1/messages", request, json.dumps(body))
    assert entry.usd_nanos == own + advisor
    assert entry.tokens == 2_000 + 130 + 800 + 500


def test_searches_by_the_names_of_others_are_charged(gateway: Gateway) -> None:
    tokens = {"input_tokens": 100, "output_tokens": 10}
    for tool in ("server_tool_use", "server_tool_use_details"):
        usage = {**tokens, tool: {"web_search_requests": 3}}
        assert message(gateway, tokens, usage).usd_nanos == 100 * IN + 10 * OUT + 3 * 10_000_000
