"""Metrics: what Prometheus sees of a gateway, and what it must never see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from gateways import HELLO, Gateway, rows, run_gateway
from prometheus_client.parser import text_string_to_metric_families

from outlay.testing.provider import FakeProvider

pytest_plugins = ["gateway_fixtures"]

Samples = dict[str, list[tuple[dict[str, str], float]]]


def scraped(gateway: Gateway) -> Samples:
    """All samples, by name, as Prometheus reads them."""
    answer = gateway.get("/metrics")
    assert answer.status_code == 200
    found: Samples = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    """The sum of the samples of a name that have these labels."""
    return sum(number for given, number in samples[name] if labels.items() <= given.items())


def test_requests_are_counted_by_endpoint_model_and_status(gateway: Gateway) -> None:
    gateway.chat()
    gateway.chat(None, stream=True)
    gateway.chat(gateway.new_key(max_budget=0), stream=False)
    gateway.settled()
    samples = scraped(gateway)
    assert value(samples, "outlay_requests_total", endpoint="chat", model="demo", status="200") == 2
    assert value(samples, "outlay_requests_total", endpoint="chat", model="demo", status="402") == 1
    assert value(samples, "outlay_request_seconds_count", endpoint="chat") == 3
    assert value(samples, "outlay_added_seconds_count", endpoint="chat") == 3
    assert value(samples, "outlay_first_chunk_added_seconds_count", endpoint="chat") == 1


def test_what_is_settled_is_what_the_provider_bills(gateway: Gateway) -> None:
    gateway.chat(gateway.new_key(max_budget=1))
    gateway.settled()
    samples = scraped(gateway)
    settled = value(samples, "outlay_settled_usd_total", source="provider")
    assert round(settled * 1e9) == gateway.provider.bill.total_nanos
    assert value(samples, "outlay_held_to_settled_ratio_count") == 1
    assert value(samples, "outlay_reserved_usd_total") >= settled
    assert value(samples, "outlay_overruns_total") == 0


def test_what_is_held_goes_up_with_a_call_and_down_again(gateway: Gateway) -> None:
    gateway.provider.script([{"hang_after_chunks": 1}])
    body = {"model": "demo", "messages": HELLO, "max_tokens": 100, "stream": True}
    with gateway.http() as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        during = scraped(gateway)
        gateway.provider.release()
        list(pieces)
    gateway.settled()
    after = scraped(gateway)
    assert value(during, "outlay_held_usd") >= 0.001
    assert value(during, "outlay_requests_in_flight") == 1
    assert value(during, "outlay_upstream_calls_in_flight") == 1
    assert value(after, "outlay_held_usd") == 0
    assert value(after, "outlay_requests_in_flight") == 0


def test_a_void_gives_back_what_was_held(gateway: Gateway) -> None:
    gateway.provider.script([{"status": 503}])
    gateway.chat()
    gateway.settled()
    samples = scraped(gateway)
    assert value(samples, "outlay_held_usd") == 0
    assert value(samples, "outlay_upstream_calls_total", outcome="provider_failed") == 1


def test_refusals_are_counted_by_their_reason(gateway: Gateway) -> None:
    gateway.chat(gateway.new_key(max_budget=0))
    gateway.chat(gateway.new_key(max_budget=1), model="unpriced")
    gateway.chat("sk-nobody")
    gateway.chat(None, model="gpt-99")
    samples = scraped(gateway)
    reasons = {labels["reason"] for labels, _ in samples["outlay_refusals_total"]}
    assert {"budget_exceeded", "price_unknown"} <= reasons
    assert value(samples, "outlay_refusals_total", reason="budget_exceeded") == 1


def test_an_unknown_outcome_is_counted_as_presumed(gateway: Gateway) -> None:
    gateway.provider.script([{"cut_after_chunks": 0}])
    assert gateway.chat().status_code == 502
    samples = scraped(gateway)
    assert value(samples, "outlay_presumed_total") == 1


def test_the_ledgers_queue_and_commits_are_seen(gateway: Gateway) -> None:
    gateway.chat()
    gateway.settled()
    samples = scraped(gateway)
    assert value(samples, "outlay_ledger_queue_commands") == 0
    assert value(samples, "outlay_ledger_commit_commands") >= 1
    assert value(samples, "outlay_ledger_failed_commits_total") == 0


def test_no_name_of_a_callers_becomes_a_label(gateway: Gateway) -> None:
    key = gateway.new_key(key_alias="alias-of-somebody", user_id="user-of-somebody")
    gateway.chat(key, user="customer-of-somebody", metadata={"tags": ["tag-of-somebody"]})
    gateway.chat(key, model="model-of-somebody")
    gateway.settled()
    text = gateway.get("/metrics").text
    assert "of-somebody" not in text
    assert key not in text


def test_only_an_administrator_sees_the_metrics(gateway: Gateway) -> None:
    assert gateway.get("/metrics", gateway.new_key()).status_code == 403
    assert gateway.get("/metrics", "sk-nobody").status_code == 401


def test_made_up_names_take_no_label_and_listed_ones_always_have_theirs(
    provider: FakeProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlay.gateway.metrics.MAX_MODELS", 2)
    listed = [*rows(provider), *(replace(rows(provider)[0], group="vip", id="vip-1"),)]
    star = replace(rows(provider)[0], group="any/*", model="openai/*", id="star")
    with run_gateway(provider, tmp_path, rows_of=[*listed, star]) as gateway, gateway.http() as client:

        def called(model: str, status: int) -> None:
            provider.script([{"status": status}] if status != 200 else [])
            body = {"model": model, "messages": HELLO, "max_tokens": 5}
            assert client.post("/v1/chat/completions", json=body).status_code == status

        for number in range(5):
            called(f"any/made-up-{number}", 404)
        for number in range(3):
            called(f"any/real-{number}", 200)
        called("vip", 200)
        called("vip", 404)
        samples = scraped(gateway)
    labels = {given["model"] for given, _ in samples["outlay_requests_total"]}
    assert labels == {"other", "any/real-0", "any/real-1", "vip"}
    assert value(samples, "outlay_requests_total", model="other", status="404") == 5
