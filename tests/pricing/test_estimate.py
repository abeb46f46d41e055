"""The bound: no answer that obeys the cap costs more; what has no bound is refused; bad input is named."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlay.errors import CostUnboundedError, InvalidValueError, PriceUnknownError
from outlay.pricing.book import PriceBook
from outlay.pricing.bound.caps import Endpoint
from outlay.pricing.bound.estimate import Estimate, Method, estimate
from outlay.pricing.price import Price
from outlay.pricing.tokens import count_ordinary, vocabulary
from outlay.pricing.usage import Usage

pytestmark = pytest.mark.once("rules that are the same on every Python")

BOOK = PriceBook({"local/*": {"input_mtok": 1, "output_mtok": 2}})
NOW = int(datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp() * 1_000_000)
HELLO = [{"role": "user", "content": "Hello"}]


def price_of(provider: str, model: str) -> Price:
    return BOOK.price(provider, model, at=NOW)


def bound(
    body: dict[str, Any],
    model: str = "gpt-4o",
    provider: str = "openai",
    endpoint: Endpoint = "chat",
    method: Method = "auto",
) -> Estimate:
    return estimate(
        body,
        endpoint=endpoint,
        provider=provider,
        model=model,
        price=price_of(provider, model),
        book=BOOK,
        method=method,
    )


def real_tokens(messages: list[dict[str, Any]], model: str) -> int:
    """What OpenAI counts: 3 a message, 1 a name, 3 for the reply, and the texts."""
    name = vocabulary("openai", model).name
    total = 3
    for message in messages:
        total += 3 + ("name" in message)
        total += sum(count_ordinary(message[key], name) for key in ("role", "name") if key in message)
        content = message["content"]
        parts = content if isinstance(content, list) else [{"text": content or ""}]
        total += count_ordinary("".join(part["text"] for part in parts), name)
    return total


nasty = st.sampled_from(
    [
        "<|endoftext|>",
        "<|im_start|>",
        "日本語テキスト",
        "0123456789" * 5,
        "👩‍👩‍👧‍👦🏳️‍🌈",
        "தமிழ்",
        "\x00\x01",
        "  \n\t ",
        "a" * 300,
        "ﷺ",
    ]
)
texts = st.lists(nasty | st.text(max_size=40), max_size=6).map("".join)
contents = texts | st.lists(texts.map(lambda text: {"type": "text", "text": text}), max_size=4)
messages_of = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "system", "assistant"]), "content": contents},
        optional={"name": st.text("abc_", min_size=1, max_size=10)},
    ),
    min_size=1,
    max_size=5,
)
MODELS = [
    ("openai", "gpt-4o"),
    ("openai", "gpt-5.5"),
    ("openai", "gpt-4"),
    ("openai", "o3"),
    ("anthropic", "claude-sonnet-4-5"),
    ("google", "gemini-2.5-flash"),
    ("groq", "llama-3.3-70b-versatile"),
]


@given(
    target=st.sampled_from(MODELS),
    messages=messages_of,
    cap=st.integers(1, 200_000),
    n=st.none() | st.integers(1, 5),
    method=st.sampled_from(["auto", "bytes", "exact"]),
    tier=st.none() | st.sampled_from(["auto", "default", "priority", "flex"]),
    cached=st.floats(0, 1),
    written=st.floats(0, 1),
    used=st.floats(0, 1),
)
@settings(derandomize=True, deadline=None, max_examples=600)
def test_no_answer_that_obeys_its_cap_costs_more_than_the_bound(
    target: tuple[str, str],
    messages: list[dict[str, Any]],
    cap: int,
    n: int | None,
    method: Method,
    tier: str | None,
    cached: float,
    written: float,
    used: float,
) -> None:
    provider, model = target
    if tier == "priority" and "priority" not in price_of(provider, model).values.get("service_tier", ()):
        tier = "flex"  # what has no price is refused
    body = {"messages": messages, "max_tokens": cap, "n": n, "service_tier": tier}
    held = bound(body, model, provider, method=method)
    total = real_tokens(messages, model if provider == "openai" else "gpt-4o")
    read = int(total * cached)
    write = int((total - read) * written)
    output = int(cap * used) * (n or 1)
    usage = Usage.of(
        total,
        output,
        cache_read_tokens=read,
        cache_write_tokens=write,
        cache_write_1h_tokens=write // 2,
        output_reasoning_tokens=output // 2,
    )
    assert held.input_tokens >= total
    served = {"auto": ("default", "priority", "flex")}.get(tier or "", (tier,))
    for each in served:
        cost = BOOK.price(provider, model, at=NOW, choices={"service_tier": each} if each else None).cost(
            usage
        )
        assert held.bound(cap) >= cost
    assert held.token_bound(cap) >= usage.total_tokens


@given(prompts=st.lists(texts, min_size=1, max_size=4), n=st.integers(1, 3), best_of=st.integers(1, 5))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_each_prompt_of_a_completion_is_answered_n_times(prompts: list[str], n: int, best_of: int) -> None:
    held = bound(
        {"prompt": prompts, "n": n, "best_of": best_of, "max_tokens": 9},
        "gpt-3.5-turbo-instruct",
        "openai",
        "completions",
    )
    assert held.output_multiplier == len(prompts) * max(n, best_of)
    assert held.input_tokens >= sum(count_ordinary(prompt, "cl100k_base") for prompt in prompts)


def test_a_plain_chat_is_bounded_closely() -> None:
    held = bound({"messages": HELLO, "max_tokens": 100})
    assert held.input_tokens <= 8 + 4
    assert (held.quality, held.tokenizer, held.cap_field) == ("exact", "o200k_base", "max_tokens")
    assert (held.wanted_output_tokens, held.least_output_tokens, held.is_cap_declared) == (100, 100, True)
    assert held.nanos_per_output_token == 17_000  # a project's default may be the priority tier
    standard = bound({"messages": HELLO, "max_tokens": 100, "service_tier": "default"})
    assert standard.nanos_per_output_token == 10_000


def test_a_model_whose_vocabulary_is_not_ours_is_measured_in_bytes() -> None:
    held = bound(
        {"messages": [{"role": "user", "content": "日本"}], "max_tokens": 1}, "claude-sonnet-4-5", "anthropic"
    )
    assert held.quality == "bytes"
    assert held.input_tokens >= 6


def test_margin_says_that_it_is_none() -> None:
    assert bound({"messages": HELLO}, method="margin").quality == "margin"


@pytest.mark.parametrize(
    ("provider", "model", "endpoint", "wanted", "least"),
    [
        ("openai", "gpt-4o", "chat", 16_384, 16),
        ("openai", "gpt-4", "chat", 8_192 - 9, 16),
        ("openai", "o3", "chat", 16_384, 1_024),
        ("anthropic", "claude-3-haiku-20240307", "messages", 4_096, 16),
        ("openai", "gpt-3.5-turbo-instruct", "completions", 16, 16),
        ("local", "unheard-of", "chat", 4_096, 16),
    ],
)
def test_without_a_cap_one_is_wanted_by_the_models_limits(
    provider: str, model: str, endpoint: Endpoint, wanted: int, least: int
) -> None:
    body: dict[str, Any] = {"prompt": "Hello"} if endpoint == "completions" else {"messages": HELLO}
    held = bound(body, model, provider, endpoint)
    assert not held.is_cap_declared
    assert held.cap_field is None
    assert held.least_output_tokens == least
    assert wanted - 5 <= held.wanted_output_tokens <= wanted


def test_a_thinking_budget_raises_the_floor_above_it() -> None:
    body = {"messages": HELLO, "thinking": {"type": "enabled", "budget_tokens": 5_000}}
    held = bound(body, "claude-sonnet-4-5", "anthropic", "messages")
    assert held.least_output_tokens == 5_001
    assert held.wanted_output_tokens == 16_384 + 5_000


def test_max_completion_tokens_is_the_cap_of_a_chat() -> None:
    held = bound({"messages": HELLO, "max_completion_tokens": 7})
    assert (held.wanted_output_tokens, held.cap_field) == (7, "max_completion_tokens")


def test_a_rejected_prediction_is_held_as_output() -> None:
    plain = bound({"messages": HELLO, "max_tokens": 5, "service_tier": "default"})
    predicted = bound(
        {
            "messages": HELLO,
            "max_tokens": 5,
            "n": 2,
            "service_tier": "default",
            "prediction": {"type": "content", "content": "x y z"},
        }
    )
    assert predicted.extra_output_tokens == 6
    assert predicted.input_nanos == plain.input_nanos + 6 * 10_000


def test_tools_and_schemas_are_counted() -> None:
    tool = {"type": "function", "function": {"name": "f", "description": "d" * 500, "parameters": {}}}
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"description": "d" * 500}}}
    plain = bound({"messages": HELLO}).input_tokens
    assert bound({"messages": HELLO, "tools": [tool]}).input_tokens > plain + 500
    assert bound({"messages": HELLO, "functions": [tool["function"]]}).input_tokens > plain + 500
    assert bound({"messages": HELLO, "response_format": schema}).input_tokens > plain + 500
    assert bound({"messages": HELLO, "some_new_field": ["d" * 500]}).input_tokens > plain + 500


def test_tool_calls_and_their_results_are_counted() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "9" * 400}}
    body = {"messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]}
    assert bound(body).input_tokens > 400
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "9" * 400}]}
    messages = [{"role": "user", "content": [result]}]
    assert bound({"messages": messages}, "claude-sonnet-4-5", "anthropic", "messages").input_tokens > 400


@pytest.mark.parametrize(
    ("provider", "model", "part"),
    [
        ("openai", "gpt-4o", {"type": "image_url", "image_url": {"url": "u"}, "text": "BIG"}),
        ("openai", "gpt-4o", {"type": "image_url", "image_url": {"url": "u", "caption": "BIG"}}),
        ("openai", "gpt-4o", {"type": "image_url", "image_url": [{"url": "u", "text": "BIG"}]}),
        ("openai", "gpt-4o", {"type": "input_image", "image_url": "u", "notes": [{"text": "BIG"}]}),
        ("anthropic", "claude-sonnet-4-0", {"type": "image", "source": {"data": "A", "content": "BIG"}}),
        (
            "anthropic",
            "claude-sonnet-4-0",
            {"type": "document", "source": {"type": "text", "data": "A", "x": "BIG"}},
        ),
    ],
)
def test_text_beside_media_is_counted(provider: str, model: str, part: dict[str, Any]) -> None:
    def tokens(text: str) -> int:
        written = json.loads(json.dumps(part).replace("BIG", text))
        return bound({"messages": [{"role": "user", "content": [written]}]}, model, provider).input_tokens

    assert tokens("big " * 5_000) >= tokens("") + 5_000


@pytest.mark.parametrize(
    ("provider", "model", "detail", "tokens"),
    [
        ("openai", "gpt-4o", "low", 85),
        ("openai", "gpt-4o", "auto", 1_445),
        ("openai", "gpt-4o-mini", "high", 48_169),
        ("openai", "gpt-4.1-mini", None, 2_489),
        ("anthropic", "claude-sonnet-4-5", None, 1_600),
        ("anthropic", "claude-opus-4-8", None, 4_784),
    ],
)
def test_an_image_counts_by_the_published_maximum_and_not_by_its_base64(
    provider: str, model: str, detail: str | None, tokens: int
) -> None:
    image = {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64," + "A" * 10_000, "detail": detail},
    }
    bare = bound({"messages": [{"role": "user", "content": []}]}, model, provider).input_tokens
    held = bound({"messages": [{"role": "user", "content": [image]}]}, model, provider)
    assert tokens <= held.input_tokens - bare <= tokens + 32


@pytest.mark.parametrize(
    ("provider", "model", "body"),
    [
        ("google", "gemini-2.5-flash", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
        ("anthropic", "claude-sonnet-4-5", {"messages": [{"role": "user", "content": [{"type": "file"}]}]}),
        (
            "openai",
            "gpt-4o",
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
        ),
    ],
)
def test_input_that_cannot_be_seen_is_the_whole_context_window(
    provider: str, model: str, body: dict[str, Any]
) -> None:
    window = BOOK.context_window(provider, model)
    assert window is not None
    assert bound(body, model, provider).input_tokens >= window


def test_a_geminis_stored_cache_is_the_window() -> None:
    body = {"messages": HELLO, "extra_body": {"google": {"cached_content": "cachedContents/1"}}}
    assert bound(body, "gemini-2.5-flash", "google").input_tokens >= 1_048_576


@pytest.mark.parametrize("field", ["previous_response_id", "conversation"])
def test_stored_input_is_the_window_or_unbounded(field: str) -> None:
    body = {"input": "Hello", field: {"id": "x"}}
    assert bound(body, "gpt-4o", "openai", "responses").input_tokens >= 128_000
    with pytest.raises(CostUnboundedError, match=field):
        bound(body, "unheard-of", "local", "responses")


@pytest.mark.parametrize(
    ("endpoint", "model", "body", "field"),
    [
        ("responses", "gpt-4o", {"input": "x", "background": True}, "background"),
        ("responses", "gpt-4o", {"input": "x", "prompt": {"id": "pmpt_1"}}, "prompt"),
        ("responses", "gpt-4o", {"input": "x", "tools": [{"type": "mcp"}]}, "mcp"),
        ("responses", "gpt-4o", {"input": "x", "tools": [{"type": "code_interpreter"}]}, "code_interpreter"),
        ("chat", "gpt-4o", {"messages": HELLO, "tools": [{"type": "web_search"}]}, "web_search"),
        ("chat", "gpt-4o", {"messages": HELLO, "service_tier": "some-new-tier"}, "service_tier"),
        ("chat", "gpt-4o", {"messages": HELLO, "modalities": ["text", "audio"]}, "modalities"),
        ("chat", "gpt-4o", {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "audio"),
        ("messages", "gpt-4o", {"messages": HELLO, "mcp_servers": [{"url": "x"}]}, "mcp_servers"),
        ("messages", "gpt-4o", {"messages": HELLO, "inference_geo": "us"}, "inference_geo"),
        (
            *("messages", "gpt-4o"),
            {"messages": HELLO, "context_management": {"edits": [{"type": "compact_20260112"}]}},
            "context_management",
        ),
        (
            *("responses", "gpt-4o"),
            {"input": "x", "context_management": [{"type": "compaction", "compact_threshold": 1000}]},
            "context_management",
        ),
    ],
)
def test_what_has_no_bound_is_refused_by_name(
    endpoint: Endpoint, model: str, body: dict[str, Any], field: str
) -> None:
    with pytest.raises(CostUnboundedError, match=field):
        bound(body, model, "openai", endpoint)


@pytest.mark.parametrize(
    "more",
    [
        {"inference_geo": "global"},
        {"inference_geo": None, "context_management": None},
        {"context_management": {"edits": []}},
        {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
        {"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}},
    ],
)
def test_clearing_the_context_and_any_region_need_no_more_than_the_price(more: dict[str, Any]) -> None:
    body = {"messages": HELLO, "max_tokens": 100}
    body["inference_geo"] = "global"
    plain = bound(body, "claude-sonnet-4-6", "anthropic", "messages")
    held = bound({**body, **more}, "claude-sonnet-4-6", "anthropic", "messages")
    assert held.bound(100) >= plain.bound(100)


@pytest.mark.parametrize(
    ("provider", "model", "extra"),
    [
        ("openrouter", "openai/gpt-4o", {"plugins": [{"id": "web"}]}),
        ("openrouter", "openai/gpt-4o", {"models": ["a", "b"]}),
        ("xai", "grok-3", {"search_parameters": {"mode": "auto"}}),
        ("perplexity", "sonar-deep-research", {}),
    ],
)
def test_what_a_provider_adds_without_a_cap_is_refused(
    provider: str, model: str, extra: dict[str, Any]
) -> None:
    with pytest.raises(CostUnboundedError):
        bound({"messages": HELLO, **extra}, model, provider)


def test_a_capped_and_priced_search_is_held_with_all_it_may_read() -> None:
    tool = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    held = bound(
        {"messages": HELLO, "max_tokens": 10, "tools": [tool]}, "claude-sonnet-4-5", "anthropic", "messages"
    )
    assert held.input_nanos > 3 * 10_000_000
    assert held.input_tokens >= 4 * 200_000
    assert held.output_multiplier == 1  # max_tokens is for the whole message


def test_the_callers_own_tools_pass() -> None:
    tools = [{"type": "bash_20250124", "name": "bash"}, {"name": "f", "input_schema": {}}]
    held = bound({"messages": HELLO, "tools": tools}, "claude-sonnet-4-5", "anthropic", "messages")
    assert held.input_tokens < 5_000


def test_a_search_model_pays_one_search_an_answer() -> None:
    one = bound({"messages": HELLO, "max_tokens": 1}, "sonar", "perplexity")
    two = bound({"messages": HELLO, "max_tokens": 1, "n": 2}, "sonar", "perplexity")
    assert two.input_nanos - one.input_nanos == price_of("perplexity", "sonar").per_request_nanos > 0


@pytest.mark.parametrize("value", ["Hello", ["Hello", "Hello"], [1, 2, 3], [[1, 2], [3]]])
def test_embeddings_have_input_and_no_output(value: object) -> None:
    held = bound({"input": value}, "text-embedding-3-small", "openai", "embeddings")
    assert held.nanos_per_output_token == held.output_multiplier == held.wanted_output_tokens == 0
    assert held.input_tokens >= 1
    assert held.bound(0) == held.input_nanos > 0


def test_a_chat_with_a_model_that_has_no_output_price_is_refused() -> None:
    with pytest.raises(PriceUnknownError, match="output"):
        bound({"messages": HELLO}, "text-embedding-3-small")
    with pytest.raises(PriceUnknownError, match="input"):
        bound({"messages": HELLO}, "whisper-1")


BAD_CHATS: list[tuple[dict[str, Any], str]] = [
    ({}, "messages"),
    ({"messages": None}, "messages"),
    ({"messages": "Hello"}, "messages"),
    ({"messages": {}}, "messages"),
    ({"messages": ["Hello"]}, r"messages\[0\]"),
    ({"messages": [{"role": "user", "content": 5}]}, r"messages\[0\].content"),
    ({"messages": [{"role": "user", "content": {}}]}, r"messages\[0\].content"),
    ({"messages": [{"role": "user", "content": [5]}]}, r"messages\[0\].content\[0\]"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}, "text"),
    ({"messages": [{"role": "user", "content": "\ud800"}]}, "surrogate"),
    ({"messages": HELLO, "tools": [{"type": "function", "name": "\udfff"}]}, "tools"),
    ({"messages": HELLO, "tools": {}}, "tools"),
    ({"messages": HELLO, "tools": ["f"]}, r"tools\[0\]"),
    ({"messages": HELLO, "prediction": "x"}, "prediction"),
    ({"messages": HELLO, "service_tier": 5}, "service_tier"),
    *[({"messages": HELLO, "n": value}, "n must") for value in (0, -1, 1.5, True, "2", math.nan)],
    *[
        ({"messages": HELLO, "max_tokens": value}, "max_tokens")
        for value in (-1, 1.5, False, "9", math.nan, 10**30)
    ],
    *[({"messages": HELLO, "max_completion_tokens": value}, "max_completion_tokens") for value in (-1, True)],
]


@pytest.mark.parametrize(("body", "field"), BAD_CHATS)
@pytest.mark.parametrize(("provider", "model"), [("openai", "gpt-4o"), ("anthropic", "claude-sonnet-4-5")])
def test_a_bad_chat_is_refused_by_its_field(
    provider: str, model: str, body: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidValueError, match=field):
        bound(body, model, provider)


@pytest.mark.parametrize("value", [None, 5, [], {}, [True], [-1], [[]], [["Hello"]], [None]])
def test_a_bad_embedding_input_is_refused(value: object) -> None:
    with pytest.raises(InvalidValueError, match="input"):
        bound({"input": value}, "text-embedding-3-small", "openai", "embeddings")


def test_a_body_nested_too_deeply_is_refused() -> None:
    content: list[Any] = []
    for _ in range(2000):
        content = [{"type": "tool_result", "content": content}]
    with pytest.raises(InvalidValueError, match="nested"):
        bound({"messages": [{"role": "user", "content": content}]})


def test_an_unknown_endpoint_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="endpoint"):
        bound({"messages": HELLO}, endpoint="speech")  # type: ignore[arg-type]


def test_responses_items_are_counted() -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "9" * 300},
        {"type": "function_call_output", "call_id": "c", "output": "9" * 300},
    ]
    held = bound(
        {"input": items, "instructions": "Be brief.", "max_output_tokens": 50},
        "gpt-4o",
        "openai",
        "responses",
    )
    assert 400 < held.input_tokens < 1_000
    assert (held.wanted_output_tokens, held.cap_field) == (50, "max_output_tokens")
