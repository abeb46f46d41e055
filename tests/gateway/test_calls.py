"""Calls through the gateway, by the clients that people have."""

from __future__ import annotations

import openai
import pytest
from gateways import HELLO, Gateway

pytest_plugins = ["gateway_fixtures"]


def test_a_chat_is_answered_charged_and_billed_the_same(gateway: Gateway) -> None:
    client = gateway.openai()
    answer = client.chat.completions.with_raw_response.create(model="demo", messages=HELLO, max_tokens=7)
    usage = answer.parse().usage
    assert usage is not None
    assert usage.completion_tokens == 7
    gateway.settled()
    (entry,) = gateway.journal.entries()
    assert entry.usd_nanos == gateway.provider.bill.total_nanos > 0
    assert float(answer.headers["x-outlay-cost"]) == pytest.approx(entry.usd_nanos / 1e9)
    assert gateway.journal.pending() == 0


def test_a_stream_is_passed_on_without_the_usage_that_nobody_asked_for(gateway: Gateway) -> None:
    client = gateway.openai()
    chunks = list(client.chat.completions.create(model="demo", messages=HELLO, max_tokens=4, stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    gateway.settled()
    (entry,) = gateway.journal.entries()
    assert entry.usd_nanos == gateway.provider.bill.total_nanos
    assert entry.source == "provider"


def test_a_budget_that_cannot_hold_the_request_refuses_once_and_is_not_retried(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=0.0001)
    with pytest.raises(openai.APIStatusError) as caught:
        gateway.openai(key, max_retries=3).chat.completions.create(
            model="demo", messages=HELLO, max_tokens=1000
        )
    assert caught.value.status_code == 402
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["type"] == "budget_exceeded"
    assert gateway.provider.bill.total_nanos == 0
