"""OpenAI's Responses API through the gateway, by OpenAI's own client."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest
from gateways import CREDENTIAL, Gateway, run_gateway
from openai.types.responses import ResponseTextDeltaEvent

from outlay.routing.configured import Row
from outlay.testing.provider import FakeProvider

pytest_plugins = ["gateway_fixtures"]


def test_a_response_is_answered_and_charged(gateway: Gateway) -> None:
    answer = gateway.openai().responses.create(
        model="demo", input="Name three rivers.", instructions="Be brief.", max_output_tokens=20
    )
    assert answer.output_text
    assert answer.usage is not None
    assert answer.usage.output_tokens == 20
    gateway.settled()
    (entry,) = gateway.journal.entries()
    assert entry.usd_nanos == gateway.provider.bill.total_nanos > 0
    assert entry.detail["endpoint"] == "responses"


def test_a_response_is_streamed_event_by_event(gateway: Gateway) -> None:
    stream = gateway.openai().responses.create(
        model="demo", input="Name three rivers.", max_output_tokens=20, stream=True
    )
    events = list(stream)
    assert events[0].type == "response.created"
    assert events[-1].type == "response.incomplete"  # the cap cut it
    text = "".join(event.delta for event in events if isinstance(event, ResponseTextDeltaEvent))
    assert events[-1].response.output_text == text != ""
    usage = events[-1].response.usage
    assert usage is not None
    assert usage.output_tokens == 20
    gateway.settled()
    (entry,) = gateway.journal.entries()
    assert entry.usd_nanos == gateway.provider.bill.total_nanos
    assert entry.source == "provider"


def test_a_cap_is_put_into_a_response_that_declares_none_under_a_budget(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=0.01)
    answer = gateway.openai(key).responses.with_raw_response.create(model="demo", input="Name a river.")
    cap = gateway.provider.requests[-1].json()["max_output_tokens"]
    assert answer.headers["x-outlay-max-tokens"] == str(cap)
    assert 16 <= cap < 1_000


def test_a_conversation_that_lies_with_the_provider_is_not_bounded_under_a_budget(gateway: Gateway) -> None:
    client = gateway.openai(gateway.new_key(max_budget=1))
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.responses.create(model="demo", input="And more?", previous_response_id="resp_1")
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["type"] == "cost_unbounded"
    assert "previous_response_id" in caught.value.body["message"]
    assert gateway.provider.requests == []


def test_a_group_of_several_wires_serves_responses_by_those_that_have_them(
    provider: FakeProvider, tmp_path: Path
) -> None:
    base, root, name = provider.base_url, provider.root_url, "claude-sonnet-4-6"
    mixed = [
        Row("mixed", f"anthropic/{name}", "by-anthropic", api_key=CREDENTIAL, api_base=root, weight=1000),
        Row("mixed", "openai/demo", "by-openai", api_key=CREDENTIAL, api_base=base, weight=0.001),
        Row("claude", f"anthropic/{name}", "alone", api_key=CREDENTIAL, api_base=root),
    ]
    with run_gateway(provider, tmp_path, rows_of=mixed) as gateway:
        body = {"input": "Name a river.", "max_output_tokens": 16}
        answer = gateway.post("/v1/responses", {**body, "model": "mixed"})
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-outlay-model-id"] == "by-openai"
        refused = gateway.post("/v1/responses", {**body, "model": "claude"})
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "model"
        assert "/v1/chat/completions" in refused.json()["error"]["message"]
        gateway.settled()
        assert len(gateway.journal.entries()) == 1
