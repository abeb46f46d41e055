"""Embeddings through the gateway, by OpenAI's own client."""

from __future__ import annotations

import openai
import pytest
from gateways import Gateway

pytest_plugins = ["gateway_fixtures"]


def test_a_text_is_embedded_and_charged_for_its_input(gateway: Gateway) -> None:
    answer = gateway.openai().embeddings.create(model="demo", input="The Danube flows east.")
    assert len(answer.data[0].embedding) == 8
    gateway.settled()
    (entry,) = gateway.journal.entries()
    assert entry.usd_nanos == gateway.provider.bill.total_nanos == 2_500 * answer.usage.prompt_tokens


def test_many_texts_come_back_in_their_order(gateway: Gateway) -> None:
    texts = ["The Danube", "The Rhine", "The Loire"]
    answer = gateway.openai().embeddings.create(
        model="demo", input=texts, dimensions=3, encoding_format="float"
    )
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert all(len(item.embedding) == 3 for item in answer.data)
    gateway.settled()
    assert gateway.journal.charged_nanos() == gateway.provider.bill.total_nanos


def test_token_ids_are_embedded_too(gateway: Gateway) -> None:
    answer = gateway.openai().embeddings.create(model="demo", input=[[1, 2, 3], [4, 5]])
    assert answer.usage.prompt_tokens == 5
    gateway.settled()
    assert gateway.journal.charged_nanos() == gateway.provider.bill.total_nanos


def test_texts_that_a_budget_cannot_pay_are_refused(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=0.00001)
    client = gateway.openai(key)
    with pytest.raises(openai.APIStatusError) as caught:
        client.embeddings.create(model="demo", input="A river of words. " * 100)
    assert caught.value.status_code == 402
    assert gateway.provider.requests == []
