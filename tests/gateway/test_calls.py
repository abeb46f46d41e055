"""Calls through the gateway, by the clients that people have."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from gateways import HELLO, Gateway

pytest_plugins = ["gateway_fixtures"]

WEATHER: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a town.",
            "parameters": {"type": "object", "properties": {"text": {"type": "string"}}},
        },
    }
]
WEATHER_CHOSEN: Any = {"type": "function", "function": {"name": "weather"}}


def check_charged_as_billed(gateway: Gateway) -> None:
    """One charge, by the provider's own usage, of what the provider bills."""
    gateway.settled()
    (entry,) = gateway.journal.entries()
    assert entry.usd_nanos == gateway.provider.bill.total_nanos > 0
    assert entry.source == "provider"


def test_a_chat_is_answered_charged_and_billed_the_same(gateway: Gateway) -> None:
    client = gateway.openai()
    answer = client.chat.completions.with_raw_response.create(model="demo", messages=HELLO, max_tokens=7)
    usage = answer.parse().usage
    assert usage is not None
    assert usage.completion_tokens == 7
    check_charged_as_billed(gateway)
    (entry,) = gateway.journal.entries()
    assert float(answer.headers["x-outlay-cost"]) == pytest.approx((entry.usd_nanos or 0) / 1e9)


def test_a_stream_is_passed_on_without_the_usage_that_nobody_asked_for(gateway: Gateway) -> None:
    client = gateway.openai()
    chunks = list(client.chat.completions.create(model="demo", messages=HELLO, max_tokens=4, stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks).count(" ") == 3
    check_charged_as_billed(gateway)


def test_the_asynchronous_client_chats_and_streams(gateway: Gateway) -> None:
    async def both() -> tuple[str | None, str]:
        async with openai.AsyncOpenAI(base_url=gateway.base_url, api_key=gateway.master_key) as client:
            create = client.chat.completions.create
            whole = await create(model="demo", messages=HELLO, max_tokens=6)
            stream = await create(model="demo", messages=HELLO, max_tokens=6, stream=True)
            texts = [chunk.choices[0].delta.content or "" async for chunk in stream]
            return whole.choices[0].message.content, "".join(texts)

    whole, streamed = asyncio.run(both())
    assert whole == streamed != ""
    gateway.settled()
    assert gateway.journal.charged_nanos() == gateway.provider.bill.total_nanos


def test_a_tool_is_called(gateway: Gateway) -> None:
    answer = gateway.openai().chat.completions.create(
        model="demo", messages=HELLO, max_tokens=30, tools=WEATHER, tool_choice=WEATHER_CHOSEN
    )
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "weather"
    assert call.function.arguments.startswith('{"text":')
    check_charged_as_billed(gateway)


def test_a_streamed_tool_call_arrives_in_pieces_that_make_the_whole(gateway: Gateway) -> None:
    asked: dict[str, Any] = {"tools": WEATHER, "tool_choice": WEATHER_CHOSEN, "max_tokens": 30}
    create = gateway.openai().chat.completions.create
    (whole,) = create(model="demo", messages=HELLO, **asked).choices[0].message.tool_calls or []
    pieces = [
        call.function.arguments or ""
        for chunk in create(model="demo", messages=HELLO, stream=True, **asked)
        for call in chunk.choices[0].delta.tool_calls or ()
        if call.function is not None
    ]
    assert whole.type == "function"
    assert "".join(pieces) == whole.function.arguments
    assert len(pieces) > 2


def test_several_answers_are_charged_together(gateway: Gateway) -> None:
    answer = gateway.openai().chat.completions.create(model="demo", messages=HELLO, max_tokens=5, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    check_charged_as_billed(gateway)


def test_legacy_completions_are_answered_and_charged(gateway: Gateway) -> None:
    answer = gateway.openai().completions.create(model="demo", prompt="Three rivers:", max_tokens=6)
    assert answer.choices[0].text
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 6
    check_charged_as_billed(gateway)


def test_legacy_completions_are_streamed(gateway: Gateway) -> None:
    stream = gateway.openai().completions.create(
        model="demo", prompt="Three rivers:", max_tokens=6, stream=True
    )
    chunks = list(stream)
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert "".join(chunk.choices[0].text for chunk in chunks).count(" ") == 5
    check_charged_as_billed(gateway)


def test_what_the_gateway_does_not_know_reaches_the_provider(gateway: Gateway) -> None:
    gateway.openai().chat.completions.create(
        model="demo",
        messages=HELLO,
        max_tokens=5,
        seed=7,
        response_format={"type": "json_object"},
        extra_body={"a_field_of_tomorrow": {"deep": [1, None]}},
    )
    sent = gateway.provider.requests[-1].json()
    assert sent["seed"] == 7
    assert sent["response_format"] == {"type": "json_object"}
    assert sent["a_field_of_tomorrow"] == {"deep": [1, None]}
    assert sent["max_tokens"] == 5


def test_the_callers_key_stays_here_and_the_operators_credential_goes_up(gateway: Gateway) -> None:
    key = gateway.new_key()
    assert gateway.chat(key).status_code == 200
    received = gateway.provider.requests[-1]
    assert received.headers["authorization"] == "Bearer sk-upstream-credential-of-the-operator"
    assert key not in str(received.headers) + received.body.decode()


def test_models_are_listed_and_found_one_by_one(gateway: Gateway) -> None:
    client = gateway.openai()
    assert {model.id for model in client.models.list()} == {"demo", "claude-sonnet-4-6", "unpriced"}
    assert client.models.retrieve("demo").object == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-99")


def test_a_key_sees_only_the_models_it_may_use(gateway: Gateway) -> None:
    client = gateway.openai(gateway.new_key(models=["demo"]))
    assert [model.id for model in client.models.list()] == ["demo"]
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("unpriced")


def test_every_endpoint_is_there_without_its_version_too(gateway: Gateway) -> None:
    client = gateway.openai().with_options(base_url=gateway.root_url)
    chat = client.chat.completions.create(model="demo", messages=HELLO, max_tokens=5)
    assert chat.choices[0].message.content
    assert client.completions.create(model="demo", prompt="One", max_tokens=5).choices[0].text
    assert client.embeddings.create(model="demo", input="One").data
    assert client.responses.create(model="demo", input="One", max_output_tokens=20).output_text
    assert "demo" in {model.id for model in client.models.list()}
    assert client.models.retrieve("demo").id == "demo"


def test_a_key_may_come_in_any_of_three_headers(gateway: Gateway) -> None:
    key = gateway.master_key
    with gateway.http() as client:
        del client.headers["authorization"]
        for name, value in (
            ("authorization", f"Bearer {key}"),
            ("x-api-key", key),
            ("x-litellm-api-key", key),
        ):
            assert client.get("/v1/models", headers={name: value}).status_code == 200
        assert client.get("/v1/models").status_code == 401


def test_a_budget_that_cannot_hold_the_request_refuses_once_and_is_not_retried(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=0.0001)
    with pytest.raises(openai.APIStatusError) as caught:
        gateway.openai(key, max_retries=3).chat.completions.create(
            model="demo", messages=HELLO, max_tokens=1000
        )
    assert caught.value.status_code == 402
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["type"] == "budget_exceeded"
    assert gateway.provider.requests == []
    metrics = gateway.get("/metrics").text
    assert 'outlay_requests_total{endpoint="chat",model="demo",status="402"} 1.0' in metrics
