"""Our reading of usage agrees with genai-prices' own extraction, provider by provider."""

from __future__ import annotations

from typing import Any

import pytest
from genai_prices import data_snapshot

from outlay.providers.catalogue import PROVIDERS, Endpoint
from outlay.providers.wires import WIRES

CHAT = {
    "prompt_tokens": 1117,
    "completion_tokens": 46,
    "total_tokens": 1163,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 8, "audio_tokens": 2},
}
RESPONSES = {
    "input_tokens": 36,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
    "output_tokens": 87,
    "output_tokens_details": {"reasoning_tokens": 64},
}
MESSAGES = {
    "input_tokens": 25,
    "cache_creation_input_tokens": 10,
    "cache_read_input_tokens": 100,
    "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 6},
    "output_tokens": 50,
    "server_tool_use": {"web_search_requests": 2},
}
CASES: list[tuple[str, Endpoint, str, dict[str, Any]]] = [
    ("openai", "chat", "chat", CHAT),
    ("openai", "responses", "responses", RESPONSES),
    ("openai", "embeddings", "embeddings", {"prompt_tokens": 8, "total_tokens": 8}),
    ("groq", "chat", "default", CHAT),
    ("mistral", "chat", "default", CHAT),
    ("deepseek", "chat", "chat", CHAT),
    ("openrouter", "chat", "chat", CHAT),
    ("fireworks", "chat", "chat", CHAT),
    ("xai", "responses", "responses", RESPONSES),
    ("cerebras", "chat", "chat", CHAT),
    ("anthropic", "messages", "default", MESSAGES),
]


@pytest.mark.parametrize(("name", "endpoint", "flavor", "usage"), CASES)
def test_every_count_the_price_data_knows_is_read_the_same(
    name: str, endpoint: Endpoint, flavor: str, usage: dict[str, Any]
) -> None:
    provider = PROVIDERS[name]
    body = {"model": "some-model", "usage": usage}
    ours = WIRES[provider.wire].read(body, endpoint, provider.quirks).claim
    priced = next(it for it in data_snapshot.get_snapshot().providers if it.id == provider.pricing_id)
    _, theirs = priced.extract_usage(body, api_flavor=flavor)
    assert ours is not None
    for unit in ours:
        known = getattr(theirs, unit, None)  # 0 where the price data has no such kind for this provider
        assert not known or ours[unit] == known, unit
    for unit in ("input_tokens", "output_tokens"):
        assert ours.get(unit, 0) == (getattr(theirs, unit, None) or 0), unit
