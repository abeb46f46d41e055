"""Headers: what an answer tells of its cost and its way, and what a request's may not do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gateways import CREDENTIAL, HELLO, Gateway, run_gateway, usd_budget

from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["gateway_fixtures"]


def test_an_answer_tells_its_cost_and_what_is_left(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=0.5)
    answer = gateway.chat(key)
    headers, nanos = answer.headers, gateway.provider.bill.total_nanos
    assert float(headers["x-outlay-cost"]) == pytest.approx(nanos / 1e9)
    assert headers["x-litellm-response-cost"] == headers["x-outlay-cost"]
    assert float(headers["x-outlay-remaining"]) == pytest.approx(0.5 - nanos / 1e9)
    assert headers["x-outlay-model-id"] == headers["x-litellm-model-id"] == "demo-1"
    assert headers["x-outlay-attempts"] == "1"
    gateway.settled()


def test_costs_are_decimal_numbers_whatever_their_size(gateway: Gateway) -> None:
    cost = gateway.chat(None, max_tokens=1).headers["x-outlay-cost"]
    assert cost == f"{gateway.provider.bill.total_nanos / 1e9:.9f}".rstrip("0")
    assert "e" not in cost


def test_a_request_has_one_id_in_all_its_headers_and_in_the_journal(gateway: Gateway) -> None:
    headers = gateway.chat().headers
    ids = {headers[name] for name in ("x-outlay-request-id", "x-litellm-call-id", "x-request-id")}
    gateway.settled()
    (entry,) = gateway.journal.entries()
    assert ids == {entry.request_id}


def test_openais_client_finds_the_id_where_it_looks_for_it(gateway: Gateway) -> None:
    answer = gateway.openai().chat.completions.create(model="demo", messages=HELLO, max_tokens=5)
    gateway.settled()
    assert answer._request_id == gateway.journal.entries()[0].request_id


def test_a_keys_spend_and_budget_are_told_as_litellm_tells_them(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=0.5)
    spends = []
    for _ in range(2):
        headers = gateway.chat(key).headers
        assert headers["x-litellm-key-max-budget"] == "0.5"
        spends.append(float(headers["x-litellm-key-spend"]))
        gateway.settled()
    each = gateway.provider.bill.total_nanos / 2e9
    assert spends == pytest.approx([each, 2 * each])


def test_what_is_left_is_that_of_the_tightest_budget_of_the_callers_own(
    provider: FakeProvider, tmp_path: Path
) -> None:
    budgets = [usd_budget("global", 0.2), usd_budget("provider:openai", 0.1)]
    with run_gateway(provider, tmp_path, budgets=budgets) as gateway:
        key = gateway.new_key(budget_limits=[{"max_budget": 0.4, "budget_duration": "1d"}], max_budget=0.3)
        left = gateway.chat(key).headers["x-outlay-remaining"]
        assert float(left) == pytest.approx(0.3 - provider.bill.total_nanos / 1e9)
        left = gateway.chat().headers["x-outlay-remaining"]  # the master key sees all
        assert float(left) == pytest.approx(0.1 - provider.bill.total_nanos / 1e9)


def test_without_a_budget_nothing_is_said_to_be_left(gateway: Gateway) -> None:
    headers = gateway.chat().headers
    assert "x-outlay-remaining" not in headers
    assert "x-litellm-key-max-budget" not in headers


def test_a_model_without_a_price_has_no_cost_to_tell(gateway: Gateway) -> None:
    assert "x-outlay-cost" not in gateway.chat(None, model="unpriced").headers


def test_a_stream_tells_what_is_left_at_its_start_and_its_cost_at_its_end(gateway: Gateway) -> None:
    answer = gateway.chat(gateway.new_key(max_budget=0.5), stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    assert float(answer.headers["x-outlay-remaining"]) < 0.5
    assert "x-outlay-cost" not in answer.headers
    assert "\n: x-outlay-cost: 0.00" in answer.text


def test_no_header_of_a_callers_reaches_the_provider(gateway: Gateway) -> None:
    headers = {"openai-organization": "org-of-mine", "x-forwarded-for": "10.0.0.1", "cookie": "a=b"}
    with gateway.http(headers=headers) as client:
        client.post("/v1/chat/completions", json={"model": "demo", "messages": HELLO, "max_tokens": 5})
    received = gateway.provider.requests[-1].headers
    assert {"openai-organization", "x-forwarded-for", "cookie"}.isdisjoint(received)
    assert gateway.master_key not in str(received)


def test_no_header_of_the_providers_reaches_the_caller(gateway: Gateway) -> None:
    headers = gateway.chat().headers
    assert {"server", "date", "set-cookie"}.isdisjoint(headers)


@pytest.mark.parametrize(
    "name",
    [
        "idempotency-key",
        "x-outlay-customer",
        "x-litellm-end-user-id",
        "x-outlay-tags",
        "x-litellm-tags",
        "anthropic-version",
        "anthropic-beta",
    ],
)
def test_a_header_that_is_there_twice_is_refused(gateway: Gateway, name: str) -> None:
    twice = [(name.encode(), b"a"), (name.encode(), b"b")]
    with gateway.http() as client:
        answer = client.post(
            "/v1/chat/completions",
            json={"model": "demo", "messages": HELLO},
            headers=[*client.headers.raw, *twice],
        )
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == name


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/key/info", "/v1/balances"])
def test_a_key_that_is_there_twice_opens_nothing(gateway: Gateway, path: str) -> None:
    key = f"Bearer {gateway.master_key}".encode()
    with gateway.http() as client:
        answer = client.get(path, headers=[(b"authorization", b"Bearer sk-other"), (b"authorization", key)])
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "authorization"


@pytest.mark.parametrize("value", ["beta one; drop", "b" * 1001, "a\tb"])
def test_a_header_that_cannot_be_passed_on_is_refused_by_name(gateway: Gateway, value: str) -> None:
    body: dict[str, Any] = {"model": "claude-sonnet-4-6", "max_tokens": 5, "messages": HELLO}
    with gateway.http(headers={"anthropic-beta": value}) as client:
        answer = client.post("/v1/messages", json=body)
    assert answer.status_code == 400
    assert "anthropic-beta" in answer.json()["error"]["message"]
    assert gateway.provider.requests == []


def test_the_operators_credential_is_in_no_answer(gateway: Gateway) -> None:
    gateway.provider.script([{"echoes_credential": True, "status": 400}])
    answer = gateway.chat()
    assert answer.status_code == 400
    assert CREDENTIAL not in answer.text + str(answer.headers)


def test_any_header_of_tags_with_a_comma_is_several_tags(gateway: Gateway) -> None:
    with gateway.http(headers={"x-outlay-tags": "a, b ,,c"}) as client:
        client.post("/v1/chat/completions", json={"model": "demo", "messages": HELLO, "max_tokens": 5})
    gateway.settled()
    assert gateway.journal.entries()[0].tags == ("a", "b", "c")
