"""What the gateway answers when it does not serve, as OpenAI's own client sees it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from gateways import CREDENTIAL, HELLO, Gateway, run_gateway
from journal import eventually, script

from outlay.gateway.config import Limits
from outlay.providers.transport import Timeouts
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["gateway_fixtures"]

LOCK = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1], isolation_level=None) as database:
    database.execute("begin immediate")
    print("locked", flush=True)
    sys.stdin.read()
database.close()
"""
"""Holds a database's lock until its stdin ends."""


def refused(gateway: Gateway, key: str | None = None, **more: Any) -> tuple[openai.APIStatusError, Any]:
    """One chat that is refused: the client's exception and the error's document."""
    body = {"model": "demo", "messages": HELLO, "max_tokens": 5, **more}
    client = gateway.openai(key, max_retries=0)
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**body)
    return caught.value, caught.value.body


def check_nothing_happened(gateway: Gateway) -> None:
    """Nothing was sent, billed, held or charged."""
    assert gateway.provider.requests == []
    assert gateway.journal.pending() == 0
    assert gateway.journal.entries() == []


def test_a_budget_that_is_too_small_tells_all_its_facts(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=0.001, budget_duration="1d")
    error, facts = refused(gateway, key, max_tokens=1000)
    assert error.status_code == 402
    assert error.response.headers["x-should-retry"] == "false"
    assert facts["type"] == facts["code"] == "budget_exceeded"
    assert facts["account"].startswith("key:")
    assert facts["budget"] == f"{facts['account']}/usd"
    assert facts["unit"] == "usd"
    assert (facts["limit"], facts["settled"], facts["reserved"]) == ("0.001", "0", "0")
    assert float(facts["needed"]) > 0.01  # 1,000 tokens out at $10 a million, and those in
    assert 0 < facts["affordable_max_tokens"] < 100
    assert facts["resets_at"].endswith("00:00:00+00:00")
    assert str(facts["affordable_max_tokens"]) in facts["message"]
    check_nothing_happened(gateway)


def test_what_a_refusal_calls_affordable_is_admitted_and_one_token_more_is_not(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=0.001)
    _, facts = refused(gateway, key, max_tokens=1000)
    most = facts["affordable_max_tokens"]
    refused(gateway, key, max_tokens=most + 1)
    assert gateway.chat(key, max_tokens=most).status_code == 200


def test_a_budget_that_only_others_reservations_fill_is_worth_another_try(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=0.01)
    gateway.provider.script([{"hang_after_chunks": 1}])
    stream = gateway.openai(key).chat.completions.create(
        model="demo", messages=HELLO, max_tokens=500, stream=True
    )
    next(iter(stream))
    error, facts = refused(gateway, key, max_tokens=500)
    assert isinstance(error, openai.RateLimitError)
    assert facts["type"] == "budget_exceeded"
    assert facts["can_wait"] is True
    assert error.response.headers["retry-after"] == "1"
    gateway.provider.release()
    list(stream)
    gateway.settled()


def test_what_was_refused_for_others_reservations_is_served_once_they_are_gone(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=0.01)
    gateway.provider.script([{"hang_after_chunks": 1}])
    stream = gateway.openai(key).chat.completions.create(
        model="demo", messages=HELLO, max_tokens=500, stream=True
    )
    next(iter(stream))
    refused(gateway, key, max_tokens=500)
    gateway.provider.release()
    list(stream)
    gateway.settled()
    assert gateway.chat(key, max_tokens=500).status_code == 200


@pytest.mark.parametrize("status", [400, 429])
def test_those_who_come_from_litellm_get_the_status_and_the_words_they_know(
    provider: FakeProvider, tmp_path: Path, status: int
) -> None:
    with run_gateway(provider, tmp_path, budget_exceeded_status=status) as gateway:
        error, facts = refused(gateway, gateway.new_key(max_budget=0.0001), max_tokens=1000)
        assert error.status_code == status
        assert facts["type"] == "budget_exceeded"
        assert facts["message"].startswith("Budget has been exceeded! Current cost: 0, Max budget: 0.0001")
        assert error.response.headers["x-should-retry"] == "false"


def test_a_rate_says_when_to_come_back(gateway: Gateway) -> None:
    key = gateway.new_key(rpm_limit=1)
    assert gateway.chat(key).status_code == 200
    error, facts = refused(gateway, key)
    assert isinstance(error, openai.RateLimitError)
    assert facts["type"] == "rate_limit_exceeded"
    assert "needs up to 1; of 1 requests, 1 are spent and 0 reserved." in facts["message"]
    headers = error.response.headers
    assert 1 <= int(headers["retry-after"]) <= 60
    assert headers["x-ratelimit-limit-requests"] == "1"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-reset-requests"] == f"{headers['retry-after']}s"


def test_tokens_that_no_minute_could_hold_are_a_bad_request(gateway: Gateway) -> None:
    error, facts = refused(gateway, gateway.new_key(tpm_limit=100), max_tokens=1000)
    assert isinstance(error, openai.BadRequestError)
    assert facts["code"] == "tokens_above_limit"
    assert facts["limit"] == 100
    check_nothing_happened(gateway)


def test_tokens_that_the_next_minute_can_hold_are_a_rate_limit(gateway: Gateway) -> None:
    key = gateway.new_key(tpm_limit=1000)
    gateway.provider.set({"output_tokens": 500})
    assert gateway.chat(key, max_tokens=500).status_code == 200
    gateway.settled()
    error, facts = refused(gateway, key, max_tokens=500)
    assert isinstance(error, openai.RateLimitError)
    assert facts["unit"] == "tokens"
    assert error.response.headers["x-ratelimit-limit-tokens"] == "1000"


def test_a_model_without_a_price_is_refused_under_a_budget_with_the_way_to_add_it(gateway: Gateway) -> None:
    error, facts = refused(gateway, gateway.new_key(max_budget=100), model="unpriced")
    assert isinstance(error, openai.PermissionDeniedError)
    assert facts["type"] == "price_unknown"
    assert "input_cost_per_token" in facts["message"]
    assert facts["account"].removeprefix("key:") not in facts["message"]  # its start is enough
    check_nothing_happened(gateway)


def test_a_model_without_a_price_is_served_where_no_budget_counts_money(gateway: Gateway) -> None:
    assert gateway.chat(gateway.new_key(rpm_limit=10), model="unpriced").status_code == 200
    gateway.settled()
    (entry,) = gateway.journal.entries()
    assert entry.usd_nanos is None
    assert (entry.tokens or 0) > 5


def test_what_cannot_be_bounded_is_refused_under_a_budget_and_served_without(gateway: Gateway) -> None:
    searching: dict[str, Any] = {"tools": [{"type": "web_search"}], "input": "News?", "max_output_tokens": 16}
    capped = gateway.openai(gateway.new_key(max_budget=100))
    with pytest.raises(openai.PermissionDeniedError) as caught:
        capped.responses.create(model="demo", **searching)
    facts: Any = caught.value.body
    assert facts["type"] == "cost_unbounded"
    assert "web_search" in facts["message"]
    check_nothing_happened(gateway)
    assert gateway.openai().responses.create(model="demo", **searching).output_text


def test_whatever_is_wrong_with_a_key_the_answer_is_the_same(gateway: Gateway) -> None:
    path, body = "/v1/chat/completions", {"model": "demo"}
    blocked, deleted = gateway.new_key(), gateway.new_key()
    gateway.post("/key/block", {"key": blocked})
    gateway.post("/key/delete", {"keys": [deleted]})
    unknown = gateway.post(path, body, "sk-somebody")
    assert unknown.status_code == 401
    assert unknown.json()["error"]["code"] == "invalid_api_key"
    with gateway.http() as client:
        for key in ("sk-ü", "x" * 1000, blocked, deleted):
            answer = client.post(path, json=body, headers=[(b"authorization", b"Bearer " + key.encode())])
            assert (answer.status_code, answer.content) == (401, unknown.content)


def test_models_are_refused_by_name(gateway: Gateway) -> None:
    unknown, facts = refused(gateway, model="gpt-99")
    assert isinstance(unknown, openai.NotFoundError)
    assert (facts["type"], facts["param"]) == ("model_not_found", "model")
    denied, facts = refused(gateway, gateway.new_key(models=["claude-sonnet-4-6"]))
    assert isinstance(denied, openai.PermissionDeniedError)
    assert facts["type"] == facts["code"] == "key_model_access_denied"
    check_nothing_happened(gateway)


def test_a_field_that_is_wrong_is_named(gateway: Gateway) -> None:
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("model", {"model": None}),
        ("model", {"model": 7}),
        ("stream", {"stream": "yes"}),
        ("stream_options", {"stream_options": []}),
        ("stream_options.include_cost", {"stream_options": {"include_cost": 1}}),
        ("api_base", {"api_base": "http://127.0.0.1:1"}),
        ("api_key", {"api_key": "sk-mine"}),
        ("metadata.tags", {"metadata": {"tags": "a"}}),
        ("user", {"user": 7}),
    ]
    for param, fields in wrong:
        answer = gateway.post("/v1/chat/completions", {"model": "demo", "messages": HELLO, **fields})
        error = answer.json()["error"]
        assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
        assert error["param"] == param
        assert param.rpartition(".")[2] in error["message"]
    check_nothing_happened(gateway)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("PUT", "/v1/messages/count_tokens", "POST"),
        ("POST", "/v1/models", "GET"),
        ("OPTIONS", "/models/demo", "GET"),
        ("TRACE", "/metrics", "GET"),
        ("DELETE", "/health/readiness", "GET"),
        ("GET", "/key/generate", "POST"),
    ],
)
def test_a_method_that_a_route_does_not_take_is_told_in_the_shape_of_all_errors(
    gateway: Gateway, method: str, path: str, allowed: str
) -> None:
    with gateway.http() as client:
        answer = client.request(method, path)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (405, "invalid_request_error")
    assert error["code"] == "method_not_allowed"
    assert allowed in answer.headers["allow"]
    assert method in error["message"]


def test_a_number_that_cannot_be_counted_with_is_named(gateway: Gateway) -> None:
    for field, value in (("max_tokens", -5), ("max_tokens", "many"), ("max_tokens", 1.5), ("n", 0)):
        answer = gateway.chat(None, **{field: value})
        assert answer.status_code == 400
        assert answer.json()["error"]["message"].startswith(f"{field} must be")
    check_nothing_happened(gateway)


def test_bodies_that_are_no_json_too_deep_or_too_large_are_refused(
    provider: FakeProvider, tmp_path: Path
) -> None:
    limits = Limits(max_body_bytes=10_000, max_depth=50, drain_seconds=5)
    with run_gateway(provider, tmp_path, limits=limits) as gateway, gateway.http() as client:
        no_json = client.post("/v1/chat/completions", content=b'{"model": ')
        deep = client.post("/v1/chat/completions", content=b'{"model": ' + b"[" * 60 + b"]" * 60 + b"}")
        large = client.post("/v1/chat/completions", content=b" " * 20_000)
        assert [no_json.status_code, deep.status_code, large.status_code] == [400, 400, 413]
        codes = [answer.json()["error"]["code"] for answer in (no_json, deep, large)]
        assert codes == ["invalid_request_error", "request_too_deep", "request_too_large"]


def test_a_providers_refusal_of_our_credential_is_ours_to_explain(gateway: Gateway) -> None:
    gateway.provider.script([{"status": 401, "echoes_credential": True}])
    error, facts = refused(gateway)
    assert error.status_code == 502
    assert facts["type"] == "provider_auth_error"
    assert CREDENTIAL not in error.response.text
    assert "fake provider" not in error.response.text
    gateway.settled()
    (entry,) = gateway.journal.entries()
    assert (entry.kind, entry.reason) == ("void", "rejected")


@pytest.fixture
def hasty(provider: FakeProvider, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that waits a fifth of a second for its provider."""
    with run_gateway(provider, tmp_path, timeouts=Timeouts(first_byte_seconds=0.2)) as running:
        yield running


def test_a_provider_that_is_too_slow_is_a_timeout_and_what_it_may_bill_stays_held(hasty: Gateway) -> None:
    hasty.provider.script([{"hang_after_chunks": 0}])
    error, facts = refused(hasty)
    assert error.status_code == 504
    assert facts["type"] == "provider_timeout"
    assert hasty.journal.pending() == 1


def test_a_providers_own_failure_is_passed_on_as_it_is(gateway: Gateway) -> None:
    said = '{"error": {"message": "Overloaded, dear.", "type": "server_error", "extra": [1]}}'
    gateway.provider.script([{"status": 503, "error_body": said, "retry_after_seconds": 7}])
    error, facts = refused(gateway)
    assert error.status_code == 503
    assert facts == {"message": "Overloaded, dear.", "type": "server_error", "extra": [1]}
    assert error.response.headers["retry-after"] == "7"


def test_a_providers_rejection_is_passed_on_and_voided(gateway: Gateway) -> None:
    gateway.provider.set({"rejects_max_tokens": True})
    error, facts = refused(gateway)
    assert isinstance(error, openai.BadRequestError)
    assert facts["param"] == "max_tokens"
    gateway.settled()
    assert [entry.kind for entry in gateway.journal.entries()] == ["void"]


def test_a_ledger_that_cannot_be_written_refuses_and_sends_nothing(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=1)
    assert gateway.chat(key).status_code == 200
    gateway.settled()
    sent = len(gateway.provider.requests)
    gateway.services.ledger.answer_seconds = 0.5
    with script(LOCK, str(gateway.path)) as locker:
        assert locker.stdout is not None
        assert locker.stdout.readline() == "locked\n"
        error, facts = refused(gateway, key)
        assert locker.communicate("")[1] == ""
    assert error.status_code == 503
    assert facts["type"] == "ledger_unavailable"
    assert "retry-after" in error.response.headers
    assert len(gateway.provider.requests) == sent
    eventually(lambda: gateway.chat(key).status_code == 200)


def test_more_requests_than_allowed_at_once_are_told_to_come_again(
    provider: FakeProvider, tmp_path: Path
) -> None:
    limits = Limits(max_concurrency=1, drain_seconds=5)
    with run_gateway(provider, tmp_path, limits=limits) as gateway:
        provider.script([{"hang_after_chunks": 1}])
        stream = gateway.openai().chat.completions.create(
            model="demo", messages=HELLO, max_tokens=5, stream=True
        )
        next(iter(stream))
        error, facts = refused(gateway)
        assert error.status_code == 503
        assert facts["type"] == "gateway_busy"
        provider.release()
        list(stream)
        gateway.settled()


def test_a_stream_is_refused_before_it_begins_with_a_status_of_its_own(gateway: Gateway) -> None:
    error, facts = refused(gateway, gateway.new_key(max_budget=0), stream=True)
    assert error.status_code == 402
    assert facts["type"] == "budget_exceeded"


def test_a_value_that_cannot_be_used_is_named_by_its_field(gateway: Gateway) -> None:
    wrong: list[dict[str, Any]] = [{"max_tokens": "5"}, {"messages": "hello"}, {"n": 0}]
    for given in wrong:
        error = gateway.chat(**given).json()["error"]
        assert (error["type"], error["param"]) == ("invalid_request_error", *given)
    error = gateway.post("/key/generate", {"max_budget": -1}).json()["error"]
    assert error["param"] == "max_budget"
