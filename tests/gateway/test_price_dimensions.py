"""What changes a call's rates is held before it is sent and charged as it was served, whatever the format."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from gateways import CREDENTIAL, Gateway, run_gateway, usd_budget
from raw_provider import SSE_HEAD, RawProvider, raw_provider

from outlay.providers.catalogue import PROVIDERS
from outlay.routing.configured import Row
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

HELLO: list[Any] = [{"role": "user", "content": "river " * 1_200}]
"""No fewer than the 1,000 tokens that each answer says went in."""
OWN = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
MODELS = (
    "openai/gpt-5",
    "openai/gpt-4o-search-preview",
    "openai/gpt-4o-mini-search-preview",
    "openai/gpt-5-search-api",
    "openai/gpt-4.1-mini",
    "openai/gpt-6-astra",
    "anthropic/claude-opus-5",
    "anthropic/claude-sonnet-4-6",
    "anthropic/claude-haiku-4-5",
    "openrouter/perplexity/sonar",
    "openrouter/openai/gpt-4o-search-preview",
    "openrouter/openai/gpt-5-image",
    "openrouter/openai/gpt-5",
    "groq/llama-3.3-70b-versatile",
    "xai/grok-4",
)


class Door(NamedTuple):
    """One gateway before a provider that says what a test makes it say."""

    gateway: Gateway
    upstream: RawProvider


def rows_at(address: str) -> list[Row]:
    root = address.removesuffix("/v1")

    def row(model: str, name: str = "", **more: Any) -> Row:
        base = root if model.startswith("anthropic/") else address
        return Row(name or model, model, name or model, api_key=CREDENTIAL, api_base=base, **more)

    tiers = {**OWN, "input_cost_per_token_priority": 3e-6, "output_cost_per_token_priority": 6e-6}
    return [
        *(row(model) for model in MODELS),
        row("openai/priced", "tiers", own_price=tiers),
        row("openai_compatible/perplexity/sonar", "own-sonar", own_price=OWN),
        row("openai_compatible/openai/gpt-5-image", "own-image", own_price=OWN),
        row("openai/gpt-5", "flex", settings={"service_tier": "flex"}),
        row("anthropic/claude-opus-5", "global", settings={"inference_geo": "global"}),
        row("anthropic/claude-opus-5", "us", settings={"inference_geo": "us"}),
    ]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A gateway with a budget that everything fits."""
    folder = tmp_path_factory.mktemp("dimensions")
    budgets = [usd_budget("global", 1_000_000.0)]
    with (
        raw_provider() as upstream,
        FakeProvider() as provider,
        run_gateway(provider, folder, budgets=budgets, rows_of=rows_at(upstream.base_url)) as gateway,
    ):
        yield Door(gateway, upstream)


PATHS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
}


def whole_answer(format: str, usage: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """A finished answer of each format that used 1,000 tokens of input and 100 of output."""
    if format == "chat":
        message = {"role": "assistant", "content": "Hello there"}
        return {
            "id": "x",
            "object": "chat.completion",
            "model": "m",
            "created": 1,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1_000, "completion_tokens": 100, **usage},
            **top,
        }
    if format == "messages":
        return {
            "id": "x",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "stop_reason": "end_turn",
            "content": [{"type": "text", "text": "Hello there"}],
            "usage": {"input_tokens": 1_000, "output_tokens": 100, **usage},
            **top,
        }
    part = {"type": "output_text", "text": "Hello there", "annotations": []}
    return {
        "id": "x",
        "object": "response",
        "model": "m",
        "created_at": 1,
        "status": "completed",
        "output": [{"type": "message", "id": "y", "role": "assistant", "content": [part]}],
        "usage": {"input_tokens": 1_000, "output_tokens": 100, **usage},
        **top,
    }


def events_of(format: str, usage: dict[str, Any], top: dict[str, Any]) -> list[dict[str, Any]]:
    """The same answer as a stream's events."""
    answer = whole_answer(format, usage, top)
    if format == "chat":
        same = {"id": "x", "object": "chat.completion.chunk", "model": "m", "created": 1}
        delta = {"index": 0, "delta": {"content": "Hello there"}, "finish_reason": None}
        end = {"index": 0, "delta": {}, "finish_reason": "stop"}
        return [
            {**same, "choices": [delta]},
            {**same, "choices": [end], **top},
            {**same, "choices": [], "usage": answer["usage"]},
        ]
    if format == "messages":
        start = {**answer, "content": [], "stop_reason": None}
        start["usage"] = {**answer["usage"], "output_tokens": 1}
        block = {"type": "text", "text": ""}
        return [
            {"type": "message_start", "message": start},
            {"type": "content_block_start", "index": 0, "content_block": block},
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": "Hello there"},
            },
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": answer["usage"]},
            {"type": "message_stop"},
        ]
    return [
        {"type": "response.created", "response": {"id": "x", "service_tier": "auto", "usage": None}},
        {"type": "response.output_text.delta", "delta": "Hello there"},
        {"type": "response.completed", "response": answer},
    ]


def ask(
    door: Door,
    format: str,
    model: str,
    asked: dict[str, Any],
    answered: dict[str, Any] | None = None,
    top: dict[str, Any] | None = None,
    *,
    is_stream: bool = False,
) -> tuple[int, dict[str, Any], Any]:
    """Make one call; give what it was charged in nanos, what was sent, and the answer."""
    answered, top = answered or {}, top or {}
    if is_stream:
        events = events_of(format, answered, top)
        lines = [f"event: {event.get('type', '')}\ndata: {json.dumps(event)}\n\n" for event in events]
        lines += ["data: [DONE]\n\n"] if format == "chat" else []
        door.upstream.says(SSE_HEAD, "".join(lines).encode())
    else:
        door.upstream.says_whole(json.dumps(whole_answer(format, answered, top)).encode())
    given = {"input": HELLO} if format == "responses" else {"messages": HELLO}
    cap = {"chat": "max_completion_tokens", "messages": "max_tokens", "responses": "max_output_tokens"}
    body = {"model": model, **given, cap[format]: 100, "stream": is_stream, **asked}
    before = len(door.gateway.journal.entries("settle"))
    answer = door.gateway.post(PATHS[format], {name: each for name, each in body.items() if each is not None})
    assert answer.status_code == 200, answer.text
    entry = door.gateway.journal.wait_for(before + 1, "settle")[-1]
    assert not [post for post in entry.posts if post.overrun], "it was charged above its hold"
    sent = json.loads(door.upstream.requests[-1].partition(b"\r\n\r\n")[2])
    return entry.usd_nanos or 0, sent, answer


GPT_5 = 1_000 * 1_250 + 100 * 10_000
GPT_5_PRIORITY = 2 * GPT_5
GPT_5_FLEX = GPT_5 // 2
OPUS = 1_000 * 5_000 + 100 * 25_000
US = OPUS * 11 // 10
TIERED = 1_000 * 1_000 + 100 * 2_000
SONAR = 1_000 * 1_000 + 100 * 1_000

CASES: list[tuple[str, str, dict[str, Any], dict[str, Any], dict[str, Any], int]] = [
    # format, model, asked, usage, top of the answer, nanos
    # service tiers: what the answer says, in any case; where it is silent, what was asked
    ("chat", "openai/gpt-5", {}, {}, {"service_tier": "default"}, GPT_5),
    ("chat", "openai/gpt-5", {}, {}, {"service_tier": "priority"}, GPT_5_PRIORITY),
    ("chat", "openai/gpt-5", {}, {}, {"service_tier": "Priority"}, GPT_5_PRIORITY),
    ("chat", "openai/gpt-5", {}, {}, {"service_tier": "fast"}, GPT_5_PRIORITY),
    ("chat", "openai/gpt-5", {"service_tier": "priority"}, {}, {}, GPT_5_PRIORITY),
    ("chat", "openai/gpt-5", {"service_tier": "Priority"}, {}, {}, GPT_5_PRIORITY),
    ("chat", "openai/gpt-5", {"service_tier": "priority"}, {}, {"service_tier": "default"}, GPT_5),
    ("chat", "openai/gpt-5", {"service_tier": "priority"}, {}, {"service_tier": None}, GPT_5_PRIORITY),
    ("chat", "openai/gpt-5", {"service_tier": "flex"}, {}, {"service_tier": "default"}, GPT_5),
    ("chat", "openai/gpt-5", {"service_tier": "flex"}, {}, {"service_tier": "flex"}, GPT_5_FLEX),
    ("chat", "openai/gpt-5", {"service_tier": "flex"}, {}, {}, GPT_5_FLEX),
    ("chat", "openai/gpt-5", {"service_tier": "auto"}, {}, {}, GPT_5_PRIORITY),
    ("chat", "openai/gpt-5", {"service_tier": "auto"}, {}, {"service_tier": "default"}, GPT_5),
    ("chat", "openai/gpt-5", {}, {}, {"service_tier": "brand-new"}, GPT_5_PRIORITY),
    ("chat", "openai/gpt-5", {}, {"service_tier": "priority"}, {}, GPT_5_PRIORITY),
    ("chat", "openai/gpt-6-astra", {"service_tier": "ultrafast"}, {}, {}, 6 * (10_000_000 + 5_000_000)),
    ("chat", "openrouter/openai/gpt-5", {"service_tier": "priority"}, {}, {}, GPT_5_PRIORITY),
    ("chat", "groq/llama-3.3-70b-versatile", {"service_tier": "on_demand"}, {}, {}, 669_000),
    ("chat", "tiers", {"service_tier": "priority"}, {}, {}, 3 * TIERED),
    ("chat", "tiers", {"service_tier": "priority"}, {}, {"service_tier": "default"}, TIERED),
    ("chat", "tiers", {"service_tier": "flex"}, {}, {"service_tier": "flex"}, TIERED),
    ("responses", "openai/gpt-5", {"service_tier": "priority"}, {}, {}, GPT_5_PRIORITY),
    ("responses", "openai/gpt-5", {}, {}, {"service_tier": "PRIORITY"}, GPT_5_PRIORITY),
    ("responses", "openai/gpt-5", {"service_tier": "priority"}, {}, {"service_tier": "default"}, GPT_5),
    # a deployment's own setting
    ("chat", "flex", {}, {}, {}, GPT_5_FLEX),
    ("chat", "flex", {"service_tier": "priority"}, {}, {}, GPT_5_PRIORITY),
    # speed
    ("messages", "anthropic/claude-opus-5", {"speed": "fast"}, {"speed": "fast"}, {}, 2 * OPUS),
    ("messages", "anthropic/claude-opus-5", {"speed": "fast"}, {}, {}, 2 * OPUS),
    ("messages", "anthropic/claude-opus-5", {"speed": "fast"}, {"speed": "standard"}, {}, OPUS),
    # regions
    ("messages", "anthropic/claude-opus-5", {}, {"inference_geo": "us"}, {}, US),
    ("messages", "anthropic/claude-opus-5", {}, {"inference_geo": "US"}, {}, US),
    ("messages", "anthropic/claude-opus-5", {}, {"inference_geo": "global"}, {}, OPUS),
    ("messages", "anthropic/claude-opus-5", {"inference_geo": "us"}, {}, {}, US),
    ("messages", "anthropic/claude-opus-5", {"inference_geo": "global"}, {}, {}, OPUS),
    ("messages", "anthropic/claude-opus-5", {}, {"inference_geo": "moon"}, {}, US),
    ("messages", "anthropic/claude-haiku-4-5", {}, {"inference_geo": "not_available"}, {}, 1_500_000),
    (
        *("messages", "anthropic/claude-opus-5", {"speed": "fast"}),
        {"speed": "fast", "inference_geo": "us"},
        *({}, 2 * US),
    ),
    ("messages", "us", {}, {}, {}, US),
    ("messages", "global", {}, {}, {}, OPUS),
    # fees of search models, and by the size of the search
    ("chat", "openai/gpt-4o-mini-search-preview", {}, {}, {}, 25_000_000 + 210_000),
    ("chat", "openai/gpt-4o-search-preview", {}, {}, {}, 25_000_000 + 3_500_000),
    ("chat", "openrouter/openai/gpt-4o-search-preview", {}, {}, {}, 25_000_000 + 3_500_000),
    ("chat", "openrouter/perplexity/sonar", {}, {}, {}, 12_000_000 + SONAR),
    ("chat", "openrouter/perplexity/sonar", {}, {"search_context_size": "low"}, {}, 5_000_000 + SONAR),
    (
        *("chat", "openrouter/perplexity/sonar"),
        *({"web_search_options": {"search_context_size": "medium"}}, {}, {}, 8_000_000 + SONAR),
    ),
    ("chat", "own-sonar", {}, {}, {}, 12_000_000 + TIERED),
    ("chat", "openrouter/perplexity/sonar", {"n": 2}, {}, {}, 24_000_000 + SONAR),
]


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{case[2]}-{case[3]}-{case[4]}")
def test_a_call_is_charged_as_it_was_served_and_never_above_its_hold(
    door: Door, case: tuple[str, str, dict[str, Any], dict[str, Any], dict[str, Any], int], is_stream: bool
) -> None:
    format, model, asked, answered, top, nanos = case
    charged, _, _ = ask(door, format, model, asked, answered, top, is_stream=is_stream)
    assert charged == nanos


def test_a_speed_that_nobody_asked_for_is_charged_all_the_same(door: Door) -> None:
    door.upstream.says_whole(json.dumps(whole_answer("messages", {"speed": "fast"}, {})).encode())
    body = {"model": "anthropic/claude-opus-5", "messages": HELLO, "max_tokens": 100}
    answer = door.gateway.post("/v1/messages", body)
    assert Decimal(answer.headers["x-outlay-cost"]) == Decimal(2 * OPUS) / 10**9


@pytest.mark.parametrize("model", ["openrouter/openai/gpt-5-image", "own-image"])
def test_an_image_models_tokens_of_images_are_held_and_charged(door: Door, model: str) -> None:
    usage = {"completion_tokens_details": {"image_tokens": 100}}
    charged, _, _ = ask(door, "chat", model, {}, usage)
    assert charged >= 100 * 40_000


# what is refused


@pytest.mark.parametrize(
    ("format", "model", "asked", "field"),
    [
        ("chat", "openai/gpt-5", {"service_tier": "ultrafast"}, "service_tier"),
        ("chat", "xai/grok-4", {"service_tier": "priority"}, "service_tier"),
        ("messages", "anthropic/claude-sonnet-4-6", {"speed": "fast"}, "speed"),
        ("messages", "anthropic/claude-opus-5", {"inference_geo": "moon"}, "inference_geo"),
        ("messages", "anthropic/claude-haiku-4-5", {"inference_geo": "us"}, "inference_geo"),
    ],
)
def test_what_is_asked_for_and_has_no_price_is_refused_by_name(
    door: Door, format: str, model: str, asked: dict[str, Any], field: str
) -> None:
    body = {"model": model, "messages": HELLO, "max_tokens": 100, **asked}
    before = len(door.upstream.requests)
    answer = door.gateway.post(PATHS[format], body)
    assert (answer.status_code, len(door.upstream.requests)) == (403, before)
    assert field in answer.json()["error"]["message"]


# the standard tier, asked for where a project's setting may be dearer


@pytest.fixture
def own_host(monkeypatch: pytest.MonkeyPatch, door: Door) -> None:
    """The provider that answers is OpenAI's own address."""
    openai = replace(PROVIDERS["openai"], base_url=door.upstream.base_url)
    monkeypatch.setitem(PROVIDERS, "openai", openai)


def own_door(folder: Path, upstream: RawProvider, **more: Any) -> Any:
    return run_gateway(FakeProvider(), folder, rows_of=rows_at(upstream.base_url), **more)


@pytest.mark.usefixtures("own_host")
@pytest.mark.parametrize("mode", ["hard", "crossing", "soft", None])
def test_openai_is_asked_for_the_standard_tier_where_a_budget_counts_its_money(
    door: Door, tmp_path: Path, mode: Any
) -> None:
    budgets = [usd_budget("global", 100.0, mode=mode)] if mode else []
    with own_door(tmp_path, door.upstream, budgets=budgets) as gateway:
        own = Door(gateway, door.upstream)
        standard = "default" if mode in ("hard", "crossing") else None
        for format in ("chat", "responses"):
            for is_stream in (False, True):
                _, sent, _ = ask(own, format, "openai/gpt-5", {}, is_stream=is_stream)
                assert sent.get("service_tier") == standard
        _, sent, _ = ask(own, "chat", "openai/gpt-5", {"service_tier": "flex"})
        assert sent["service_tier"] == "flex"
        _, sent, _ = ask(own, "chat", "flex", {})
        assert sent["service_tier"] == "flex"
        _, sent, _ = ask(own, "chat", "tiers", {})
        assert sent.get("service_tier") == standard
        _, sent, _ = ask(own, "messages", "anthropic/claude-opus-5", {})
        assert {"service_tier", "inference_geo"}.isdisjoint(sent)


def test_a_relay_is_sent_no_tier_and_the_dearest_is_held(door: Door) -> None:
    _, sent, _ = ask(door, "chat", "openai/gpt-5", {}, {}, {"service_tier": "priority"})
    assert "service_tier" not in sent


def test_a_region_that_a_deployment_states_is_sent_where_the_request_has_none(door: Door) -> None:
    assert ask(door, "messages", "us", {})[1]["inference_geo"] == "us"
    assert ask(door, "messages", "us", {"inference_geo": "global"})[1]["inference_geo"] == "global"


# hosted tools

SEARCH = {"type": "web_search_20250305", "name": "web_search"}


def test_a_search_without_a_cap_gets_one_and_a_header_says_so(door: Door) -> None:
    charged, sent, answer = ask(
        *(door, "messages", "anthropic/claude-sonnet-4-6", {"tools": [SEARCH]}),
        {"server_tool_use": {"web_search_requests": 2}},
    )
    assert sent["tools"] == [{**SEARCH, "max_uses": 8}]
    assert answer.headers["x-outlay-max-tool-calls"] == "8"
    assert charged == 2 * 10_000_000 + 1_000 * 3_000 + 100 * 15_000
    _, sent, answer = ask(door, "responses", "openai/gpt-5", {"tools": [{"type": "web_search"}]})
    assert sent["max_tool_calls"] == 8
    assert answer.headers["x-outlay-max-tool-calls"] == "8"


def test_a_cap_that_the_caller_gave_stays(door: Door) -> None:
    tools = [{**SEARCH, "max_uses": 3}]
    _, sent, answer = ask(door, "messages", "anthropic/claude-sonnet-4-6", {"tools": tools})
    assert sent["tools"] == tools
    assert "x-outlay-max-tool-calls" not in answer.headers
    asked = {"tools": [{"type": "web_search"}], "max_tool_calls": 2}
    assert ask(door, "responses", "openai/gpt-5", asked)[1]["max_tool_calls"] == 2


def test_a_tool_search_that_costs_nothing_passes_with_the_tools_that_it_finds(door: Door) -> None:
    tools = [
        {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"},
        {"name": "f", "input_schema": {"type": "object"}, "defer_loading": True},
    ]
    _, sent, _ = ask(door, "messages", "anthropic/claude-sonnet-4-6", {"tools": tools})
    assert sent["tools"] == tools


def test_running_code_costs_nothing_beside_a_search_that_filters_by_it(door: Door) -> None:
    code = {"type": "code_execution_20260120", "name": "code_execution"}
    tools = [{"type": "web_search_20260209", "name": "web_search", "max_uses": 2}, code]
    _, sent, _ = ask(door, "messages", "anthropic/claude-sonnet-4-6", {"tools": tools})
    assert sent["tools"] == tools
    body = {"model": "anthropic/claude-sonnet-4-6", "messages": HELLO, "max_tokens": 9, "tools": [code]}
    assert door.gateway.post("/v1/messages", body).status_code == 403


def test_a_picture_that_is_asked_for_and_has_no_price_is_refused(door: Door) -> None:
    body = {"model": "openai/gpt-5", "messages": HELLO, "modalities": ["image", "text"]}
    answer = door.gateway.post("/v1/chat/completions", body)
    assert answer.status_code == 403
    assert "modalities" in answer.json()["error"]["message"]


def test_a_search_of_the_preview_tool_costs_what_the_model_makes_of_it(door: Door) -> None:
    output = [{"type": "web_search_call", "id": "s"}, *whole_answer("responses", {}, {})["output"]]
    asked = {"tools": [{"type": "web_search_preview"}]}
    charged, _, _ = ask(door, "responses", "openai/gpt-4.1-mini", asked, {}, {"output": output})
    assert charged == 25_000_000 + 1_000 * 400 + 100 * 1_600
    asked = {"tools": [{"type": "web_search"}]}
    charged, _, _ = ask(door, "responses", "openai/gpt-4.1-mini", asked, {}, {"output": output})
    assert charged == 10_000_000 + 8_000 * 400 + 1_000 * 400 + 100 * 1_600


# caps that do not cover reasoning


def test_reasoning_that_xais_max_tokens_does_not_cap_is_held(door: Door) -> None:
    usage = {"completion_tokens_details": {"reasoning_tokens": 100_000}}
    asked = {"max_tokens": 100, "max_completion_tokens": None}
    charged, sent, _ = ask(door, "chat", "xai/grok-4", asked, usage)
    assert sent["max_tokens"] == 100
    assert charged == 1_000 * 3_000 + 100_100 * 15_000
