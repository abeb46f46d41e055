"""Idempotency keys: a request that is sent twice reaches its provider once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from gateways import HELLO, Gateway, run_gateway
from journal import eventually

from outlay.testing.provider import FakeProvider

pytest_plugins = ["gateway_fixtures"]

KEY = "order-4711"


def chat(gateway: Gateway, key: str | None = None, *, idempotency_key: str = KEY, **more: Any) -> Any:
    """One chat under an Idempotency-Key."""
    body = {"model": "demo", "messages": HELLO, "max_tokens": 5, **more}
    with gateway.http(key, headers={"idempotency-key": idempotency_key}) as client:
        return client.post("/v1/chat/completions", json=body)


def code(answer: Any) -> tuple[int, str]:
    """An error's status and code."""
    return answer.status_code, answer.json()["error"]["code"]


def billed(gateway: Gateway) -> int:
    """How many calls are on the provider's bill."""
    return len(gateway.provider.bill.calls)


def test_a_repeat_gets_the_same_bytes_and_says_that_it_is_one(gateway: Gateway) -> None:
    first, second = chat(gateway), chat(gateway)
    assert first.status_code == second.status_code == 200
    assert second.content == first.content
    assert second.headers["x-outlay-replayed"] == "true"
    assert "x-outlay-replayed" not in first.headers
    assert second.headers["x-outlay-cost"] == first.headers["x-outlay-cost"]
    assert billed(gateway) == 1
    gateway.settled()
    assert gateway.journal.charged_nanos() == gateway.provider.bill.total_nanos


def test_a_stream_is_repeated_to_the_byte(gateway: Gateway) -> None:
    first, second = chat(gateway, stream=True), chat(gateway, stream=True)
    assert first.content.endswith(b"\n\n")
    assert second.content == first.content
    assert second.headers["content-type"] == first.headers["content-type"]
    assert billed(gateway) == 1


def test_another_body_under_the_same_key_is_refused(gateway: Gateway) -> None:
    assert chat(gateway).status_code == 200
    assert code(chat(gateway, max_tokens=6)) == (422, "idempotency_key_reused")
    assert billed(gateway) == 1


def test_a_repeat_while_the_first_is_under_way_is_told_to_wait(gateway: Gateway) -> None:
    gateway.provider.script([{"hang_after_chunks": 1}])
    with gateway.http(headers={"idempotency-key": KEY}) as client:
        body = {"model": "demo", "messages": HELLO, "max_tokens": 5, "stream": True}
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            pieces = answer.iter_raw()
            next(pieces)
            early = client.post("/v1/chat/completions", json=body)
            assert code(early) == (409, "request_in_progress")
            assert early.headers["retry-after"] == "2"
            gateway.provider.release()
            list(pieces)
    late = chat(gateway, stream=True)
    assert late.headers["x-outlay-replayed"] == "true"
    assert billed(gateway) == 1


@pytest.mark.parametrize("is_stream", [False, True])
def test_fifty_repeats_at_once_make_one_call(gateway: Gateway, is_stream: bool) -> None:
    async def all_at_once() -> list[httpx.Response]:
        headers = {"authorization": f"Bearer {gateway.master_key}", "idempotency-key": KEY}
        body = {"model": "demo", "messages": HELLO, "max_tokens": 5, "stream": is_stream}
        url = gateway.root_url
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
            sending = [client.post("/v1/chat/completions", json=body) for _ in range(50)]
            return await asyncio.gather(*sending)

    answers = asyncio.run(all_at_once())
    assert {answer.status_code for answer in answers} <= {200, 409}
    served = [answer for answer in answers if answer.status_code == 200]
    assert len({answer.content for answer in served}) == 1
    assert billed(gateway) == 1
    gateway.settled()
    assert gateway.journal.charged_nanos() == gateway.provider.bill.total_nanos


def test_after_a_restart_the_charge_is_told_and_nothing_is_sent(
    provider: FakeProvider, tmp_path: Path
) -> None:
    with run_gateway(provider, tmp_path) as gateway:
        cost = chat(gateway).headers["x-outlay-cost"]
        gateway.settled()
    with run_gateway(provider, tmp_path) as gateway:
        answer = chat(gateway)
        assert code(answer) == (409, "already_completed")
        assert answer.json()["error"]["cost"] == cost
        assert answer.headers["x-should-retry"] == "false"
        assert code(chat(gateway, max_tokens=6)) == (422, "idempotency_key_reused")
        assert billed(gateway) == 1


def test_after_a_restart_a_request_without_a_known_end_is_not_sent_again(
    provider: FakeProvider, tmp_path: Path
) -> None:
    provider.script([{"cut_after_chunks": 0}])
    with run_gateway(provider, tmp_path) as gateway:
        assert chat(gateway).status_code == 502
        assert gateway.journal.pending() == 1
    with run_gateway(provider, tmp_path) as gateway:
        assert code(chat(gateway)) == (409, "request_in_progress")
        gateway.journal.expire()
        answer = chat(gateway)
        assert code(answer) == (409, "already_completed")
        assert answer.json()["error"]["source"] == "presumed"
        assert billed(gateway) == 1


def test_what_may_have_been_billed_is_not_sent_again_but_answered_as_it_was(gateway: Gateway) -> None:
    gateway.provider.script([{"cut_after_chunks": 0}])
    first, second = chat(gateway), chat(gateway)
    assert first.status_code == second.status_code == 502
    assert second.content == first.content
    assert len(gateway.provider.requests) == 1


def test_a_refused_request_frees_its_key(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=0.00001)
    assert chat(gateway, key).status_code == 402
    gateway.post("/key/update", {"key": key, "max_budget": 1})
    assert chat(gateway, key).status_code == 200
    assert billed(gateway) == 1


def test_a_request_that_was_not_billed_frees_its_key(gateway: Gateway) -> None:
    gateway.provider.script([{"status": 429}, {"status": 400}])
    assert [chat(gateway).status_code for _ in range(3)] == [429, 400, 200]
    assert chat(gateway).headers["x-outlay-replayed"] == "true"
    gateway.settled()
    kinds = [entry.kind for entry in gateway.journal.entries()]
    assert kinds == ["void", "void", "settle"]
    assert billed(gateway) == 1


def test_a_freed_key_is_free_after_a_restart_too(provider: FakeProvider, tmp_path: Path) -> None:
    provider.script([{"status": 429}])
    with run_gateway(provider, tmp_path) as gateway:
        assert chat(gateway).status_code == 429
    with run_gateway(provider, tmp_path) as gateway:
        assert chat(gateway).status_code == 200
        assert billed(gateway) == 1


def test_an_answer_too_long_to_be_kept_is_not_sent_again_but_its_charge_is_told(gateway: Gateway) -> None:
    gateway.provider.set({"output_tokens": 8_000})
    first = chat(gateway, stream=True, max_tokens=8_000)
    assert len(first.content) > 2**20
    gateway.settled()
    answer = chat(gateway, stream=True, max_tokens=8_000)
    assert code(answer) == (409, "already_completed")
    assert float(answer.json()["error"]["cost"]) == gateway.provider.bill.total_nanos / 1e9
    assert billed(gateway) == 1


def test_one_callers_key_is_not_anothers(gateway: Gateway) -> None:
    one, other = gateway.new_key(), gateway.new_key()
    assert chat(gateway, one).status_code == chat(gateway, other).status_code == 200
    assert billed(gateway) == 2


def test_a_repeat_whose_caller_left_is_answered_all_the_same(gateway: Gateway) -> None:
    gateway.provider.script([{"hang_after_chunks": 2}])
    body = {"model": "demo", "messages": HELLO, "max_tokens": 5, "stream": True}
    with (
        gateway.http(headers={"idempotency-key": KEY}) as client,
        client.stream("POST", "/v1/chat/completions", json=body) as answer,
    ):
        next(answer.iter_raw())
    gateway.provider.release()
    eventually(lambda: chat(gateway, stream=True).status_code == 200)
    whole = chat(gateway, stream=True)
    assert b"data: [DONE]" in whole.content
    assert billed(gateway) == 1


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_that_is_none_is_refused(gateway: Gateway, key: str) -> None:
    answer = chat(gateway, idempotency_key=key)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "Idempotency-Key"
    assert billed(gateway) == 0


def test_a_blocked_key_gets_no_answer_that_is_kept(gateway: Gateway) -> None:
    key = gateway.new_key()
    assert chat(gateway, key).status_code == 200
    gateway.post("/key/block", {"key": key})
    assert chat(gateway, key).status_code == 401


def test_messages_are_repeated_as_well(gateway: Gateway) -> None:
    headers = {"idempotency-key": KEY}
    client = gateway.anthropic(default_headers=headers)
    create = client.messages.with_raw_response.create
    first = create(model="claude-sonnet-4-6", max_tokens=5, messages=HELLO)
    second = create(model="claude-sonnet-4-6", max_tokens=5, messages=HELLO)
    assert second.headers["x-outlay-replayed"] == "true"
    assert second.parse() == first.parse()
    assert billed(gateway) == 1
