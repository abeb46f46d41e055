"""Anthropic's Messages API through the gateway, by Anthropic's own client."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import pytest
from gateways import CLAUDE_RATE, HELLO, Gateway

pytest_plugins = ["gateway_fixtures"]

CLAUDE: Any = "claude-sonnet-4-6"
LONG: list[Any] = [{"role": "user", "content": "Rivers run through the quiet garden. " * 200}]


def test_a_message_is_answered_charged_and_billed_the_same(gateway: Gateway) -> None:
    message = gateway.anthropic().messages.create(model=CLAUDE, max_tokens=12, messages=HELLO)
    assert message.content[0].type == "text"
    assert message.usage.output_tokens == 12
    gateway.settled()
    (entry,) = gateway.journal.entries()
    assert entry.usd_nanos == gateway.provider.bill.total_nanos > 0
    assert entry.detail["endpoint"] == "messages"


def test_a_message_is_streamed_with_its_usage(gateway: Gateway) -> None:
    with gateway.anthropic().messages.stream(model=CLAUDE, max_tokens=12, messages=HELLO) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text.count(" ") == 11
    assert final.usage.output_tokens == 12
    gateway.settled()
    (entry,) = gateway.journal.entries()
    assert entry.usd_nanos == gateway.provider.bill.total_nanos
    assert entry.source == "provider"


def test_the_asynchronous_client_streams_a_message(gateway: Gateway) -> None:
    async def streamed() -> str:
        client = anthropic.AsyncAnthropic(base_url=gateway.root_url, api_key=gateway.master_key)
        async with client, client.messages.stream(model=CLAUDE, max_tokens=8, messages=HELLO) as stream:
            return "".join([text async for text in stream.text_stream])

    assert asyncio.run(streamed()).count(" ") == 7
    gateway.settled()
    assert gateway.journal.charged_nanos() == gateway.provider.bill.total_nanos


def test_tokens_are_counted_for_nothing(gateway: Gateway) -> None:
    client = gateway.anthropic(gateway.new_key(max_budget=0))
    counted = client.messages.count_tokens(model=CLAUDE, messages=HELLO)
    with_system = client.messages.count_tokens(model=CLAUDE, messages=HELLO, system="Be brief, please.")
    assert 0 < counted.input_tokens < with_system.input_tokens
    assert gateway.journal.entries() == []
    assert gateway.provider.bill.calls == []


def test_counting_needs_a_key_and_a_model_that_it_may_use(gateway: Gateway) -> None:
    with pytest.raises(anthropic.AuthenticationError):
        gateway.anthropic("sk-nobody").messages.count_tokens(model=CLAUDE, messages=HELLO)
    narrow = gateway.anthropic(gateway.new_key(models=["demo"]))
    with pytest.raises(anthropic.PermissionDeniedError):
        narrow.messages.count_tokens(model=CLAUDE, messages=HELLO)
    assert gateway.provider.requests == []


def test_what_a_client_says_it_understands_goes_along_and_nothing_else(gateway: Gateway) -> None:
    headers = {"anthropic-beta": "fine-grained-tool-streaming-2025-05-14", "x-mine": "stays"}
    client = gateway.anthropic(default_headers=headers)
    client.messages.create(model=CLAUDE, max_tokens=5, messages=HELLO)
    received = gateway.provider.requests[-1].headers
    assert received["anthropic-beta"] == "fine-grained-tool-streaming-2025-05-14"
    assert received["anthropic-version"] == client.default_headers["anthropic-version"]
    assert "x-mine" not in received
    assert received["x-api-key"] == "sk-upstream-credential-of-the-operator"


def test_a_refusal_has_anthropics_shape_and_is_not_retried(gateway: Gateway) -> None:
    client = gateway.anthropic(gateway.new_key(max_budget=0.0001), max_retries=3)
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(model=CLAUDE, max_tokens=1000, messages=HELLO)
    assert caught.value.status_code == 402
    document: Any = caught.value.body
    assert document["type"] == "error"
    assert document["error"]["type"] == "billing_error"
    assert document["error"]["reason"] == "budget_exceeded"
    assert document["error"]["limit"] == "0.0001"
    assert document["request_id"] == caught.value.response.headers["request-id"]
    assert gateway.provider.bill.calls == []
    assert 'model="claude-sonnet-4-6",status="402"} 1.0' in gateway.get("/metrics").text


def test_bad_keys_and_unknown_models_have_anthropics_shape(gateway: Gateway) -> None:
    with pytest.raises(anthropic.AuthenticationError) as unknown_key:
        gateway.anthropic("sk-nobody").messages.create(model=CLAUDE, max_tokens=5, messages=HELLO)
    with pytest.raises(anthropic.NotFoundError) as unknown_model:
        gateway.anthropic().messages.create(model="claude-99", max_tokens=5, messages=HELLO)
    kinds = [error.value.body["error"]["type"] for error in (unknown_key, unknown_model)]  # type: ignore[index]
    assert kinds == ["authentication_error", "not_found_error"]


def test_a_model_of_another_wire_is_refused_with_the_way_out(gateway: Gateway) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        gateway.anthropic().messages.create(model="demo", max_tokens=5, messages=HELLO)
    assert "/v1/chat/completions" in caught.value.message
    assert gateway.provider.requests == []


@pytest.mark.parametrize("fault", ["error_after_chunks", "cut_after_chunks"])
def test_a_stream_that_breaks_off_is_not_charged_by_the_usage_it_began_with(
    gateway: Gateway, fault: str
) -> None:
    gateway.provider.script([{fault: 6, "output_tokens": 10, "bills_after_hangup": True}])
    with (
        pytest.raises(anthropic.APIStatusError),
        gateway.anthropic(max_retries=0).messages.stream(
            model=CLAUDE, max_tokens=10, messages=HELLO
        ) as stream,
    ):
        list(stream.text_stream)
    if fault == "cut_after_chunks":
        assert gateway.journal.pending() == 1
        gateway.journal.expire()
    gateway.settled()
    (entry,) = gateway.journal.entries("expire")
    assert entry.usd_nanos is not None
    assert entry.usd_nanos >= gateway.provider.bill.total_nanos > 0


def test_where_the_bound_by_bytes_does_not_fit_the_providers_count_is_tried(gateway: Gateway) -> None:
    """7,400 bytes are bounded as so many tokens; the provider counts some 1,600, which the budget can pay."""
    key = gateway.new_key(max_budget=0.012)
    gateway.anthropic(key).messages.create(model=CLAUDE, max_tokens=5, messages=LONG)
    paths = [request.path for request in gateway.provider.requests]
    assert paths == ["/v1/messages/count_tokens", "/v1/messages"]
    gateway.settled()
    (entry,) = gateway.journal.entries()
    assert entry.detail["estimate"] == "counted"
    assert entry.usd_nanos == gateway.provider.bill.total_nanos <= 12_000_000


def test_where_the_bound_by_bytes_fits_nobody_is_asked(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=1)
    gateway.anthropic(key).messages.create(model=CLAUDE, max_tokens=5, messages=LONG)
    assert [request.path for request in gateway.provider.requests] == ["/v1/messages"]


def test_a_count_that_does_not_fit_either_is_refused(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=0.002)
    with pytest.raises(anthropic.APIStatusError) as caught:
        gateway.anthropic(key).messages.create(model=CLAUDE, max_tokens=5, messages=LONG)
    assert caught.value.status_code == 402
    assert [request.path for request in gateway.provider.requests] == ["/v1/messages/count_tokens"]


def test_a_thinking_budget_is_never_cut(gateway: Gateway) -> None:
    """Where `max_tokens` would be lowered below what thinking needs, the request is refused instead."""
    key = gateway.new_key(max_budget=1025 * CLAUDE_RATE[1] / 1e9)
    with pytest.raises(anthropic.APIStatusError) as caught:
        gateway.anthropic(key).messages.create(
            model=CLAUDE,
            max_tokens=2048,
            messages=HELLO,
            thinking={"type": "enabled", "budget_tokens": 1024},
        )
    assert caught.value.status_code == 402
