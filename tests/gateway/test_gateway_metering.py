"""Metering: what is charged is what the provider bills, however the answer ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest
from gateways import HELLO, Gateway, run_gateway
from journal import plain_server

from outlay.domain.commands import Settle
from outlay.gateway.config import PROJECT
from outlay.providers.transport import Timeouts
from outlay.routing.configured import Row
from outlay.testing.clock import FakeClock
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["gateway_fixtures"]

STREAM: dict[str, Any] = {"model": "demo", "messages": HELLO, "max_tokens": 5, "stream": True}


def streamed(gateway: Gateway, key: str | None = None, **more: Any) -> list[Any]:
    """One stream of a chat: its events' JSON."""
    answer = gateway.post("/v1/chat/completions", {**STREAM, **more}, key)
    assert answer.status_code == 200, answer.text
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def hang_up(gateway: Gateway, key: str | None = None, **more: Any) -> None:
    """Begin a stream, take its first piece, and leave."""
    with gateway.http(key) as client, client.stream("POST", "/v1/chat/completions", json=STREAM | more) as it:
        next(it.iter_raw())


def check_covered(gateway: Gateway) -> None:
    """Everything the provider bills is charged, and nothing is held."""
    gateway.settled()
    assert gateway.journal.charged_nanos() >= gateway.provider.bill.total_nanos > 0


# the usage of a stream


def test_the_usage_is_asked_of_the_provider_and_taken_out_again(gateway: Gateway) -> None:
    chunks = streamed(gateway)
    assert gateway.provider.requests[-1].json()["stream_options"] == {"include_usage": True}
    assert not [chunk for chunk in chunks if chunk.get("usage") or not chunk["choices"]]
    gateway.settled()
    assert gateway.journal.charged_nanos() == gateway.provider.bill.total_nanos


def test_a_usage_that_was_asked_for_stays_as_the_provider_wrote_it(gateway: Gateway) -> None:
    chunks = streamed(gateway, stream_options={"include_usage": True})
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 5
    assert "cost" not in chunks[-1]["usage"]


def test_the_cost_comes_with_the_usage_where_it_is_asked_for(gateway: Gateway) -> None:
    chunks = streamed(gateway, stream_options={"include_cost": True})
    assert gateway.provider.requests[-1].json()["stream_options"] == {"include_usage": True}
    assert chunks[-1]["usage"]["cost"] == pytest.approx(gateway.provider.bill.total_nanos / 1e9)
    gateway.settled()
    assert gateway.journal.charged_nanos() == gateway.provider.bill.total_nanos


def test_the_openai_client_reads_the_cost(gateway: Gateway) -> None:
    options: Any = {"include_usage": True, "include_cost": True}
    stream = gateway.openai().chat.completions.create(
        model="demo", messages=HELLO, max_tokens=5, stream=True, stream_options=options
    )
    *_, last = stream
    assert last.usage is not None
    extra = last.usage.model_extra
    assert extra is not None
    assert extra["cost"] == pytest.approx(gateway.provider.bill.total_nanos / 1e9)


def test_every_stream_ends_with_its_cost_as_a_comment(gateway: Gateway) -> None:
    answer = gateway.post("/v1/chat/completions", STREAM)
    *_, comment = answer.text.strip().split("\n\n")
    assert comment.startswith(": x-outlay-cost: ")
    cost = float(comment.rpartition(" ")[2])
    assert cost == pytest.approx(gateway.provider.bill.total_nanos / 1e9)


@pytest.mark.parametrize("place", ["last", "every", "x_groq"])
def test_a_usage_is_found_wherever_the_provider_puts_it(gateway: Gateway, place: str) -> None:
    gateway.provider.set({"usage_in": place, "is_usage_unasked": True})
    assert "".join(
        choice["delta"].get("content") or "" for chunk in streamed(gateway) for choice in chunk["choices"]
    )
    gateway.settled()
    (entry,) = gateway.journal.entries()
    assert entry.source == "provider"
    assert entry.usd_nanos == gateway.provider.bill.total_nanos


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_provider_that_tells_no_usage_or_a_wrong_one_is_counted(gateway: Gateway, is_stream: bool) -> None:
    for lie in ("missing", "null", "zero", "negative", "string"):
        gateway.provider.set({"usage": lie})
        assert gateway.chat(None, stream=is_stream).status_code == 200
        check_covered(gateway)


def test_a_provider_that_refuses_stream_options_is_heard_and_nothing_is_charged(gateway: Gateway) -> None:
    gateway.provider.set({"rejects_stream_options": True})
    answer = gateway.post("/v1/chat/completions", STREAM)
    gateway.settled()
    assert answer.status_code == 422
    assert gateway.journal.charged_nanos() == 0


def test_the_cost_is_the_gateways_own_wish_and_leaves_no_trace_in_a_whole_chat(gateway: Gateway) -> None:
    assert gateway.chat(None, stream_options={"include_cost": True}).status_code == 200
    assert "stream_options" not in gateway.provider.requests[-1].json()


def test_plain_json_in_place_of_a_stream_stays_json(provider: FakeProvider, tmp_path: Path) -> None:
    usage = {"prompt_tokens": 15, "completion_tokens": 2, "total_tokens": 17}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Rhine"}}
    whole = {"id": "chatcmpl-1", "model": "demo", "choices": [choice], "usage": usage}
    with plain_server(json.dumps(whole).encode()) as url:
        price = {"input_cost_per_token": 2.5e-6, "output_cost_per_token": 1e-5}
        plain = Row("demo", "openai/demo", "plain-1", api_key="sk-x", api_base=f"{url}/v1", own_price=price)
        with run_gateway(provider, tmp_path, rows_of=[plain]) as gateway:
            answer = gateway.post("/v1/chat/completions", STREAM)
            assert answer.headers["content-type"] == "application/json"
            assert answer.json() == whole
            gateway.settled()
            assert gateway.journal.charged_nanos() == 15 * 2_500 + 2 * 10_000


# callers that leave


def test_a_stream_whose_caller_leaves_is_read_to_its_end_and_charged(gateway: Gateway) -> None:
    gateway.provider.script([{"hang_after_chunks": 2}])
    hang_up(gateway)
    assert gateway.journal.pending() == 1
    gateway.provider.release()
    gateway.settled()
    (entry,) = gateway.journal.entries()
    assert entry.usd_nanos == gateway.provider.bill.total_nanos
    assert gateway.provider.bill.calls[0].outcome == "served"
    assert entry.detail["client_gone"] is True


def test_a_caller_that_leaves_before_a_whole_answer_is_charged_for_it(gateway: Gateway) -> None:
    gateway.provider.script([{"hang_after_chunks": 0}])

    async def ask_and_leave() -> None:
        headers = {"authorization": f"Bearer {gateway.master_key}"}
        async with httpx.AsyncClient(base_url=gateway.root_url, headers=headers) as client:
            asking = asyncio.create_task(
                client.post("/v1/chat/completions", json={**STREAM, "stream": False})
            )
            while gateway.provider.bill.serving == 0:
                await asyncio.sleep(0.002)
            asking.cancel()

    asyncio.run(asyncio.wait_for(ask_and_leave(), 20))
    gateway.provider.release()
    gateway.settled()
    (entry,) = gateway.journal.entries()
    assert entry.usd_nanos == gateway.provider.bill.total_nanos > 0


def test_callers_that_leave_take_no_more_than_the_budget_has(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=0.01)
    gateway.provider.set({"hang_after_chunks": 2, "output_tokens": 200})
    for _ in range(10):
        answer = gateway.http(key)
        with answer, answer.stream("POST", "/v1/chat/completions", json=STREAM | {"max_tokens": 200}) as it:
            next(it.iter_raw())
    gateway.provider.set({"hang_after_chunks": None})
    gateway.provider.release()
    check_covered(gateway)
    assert gateway.provider.bill.total_nanos <= 10_000_000


# answers that break


def test_an_error_in_the_midst_of_a_stream_reaches_the_caller_and_is_presumed(gateway: Gateway) -> None:
    gateway.provider.script([{"error_after_chunks": 3}])
    with pytest.raises(openai.APIError) as caught:
        list(
            gateway.openai(max_retries=0).chat.completions.create(
                model="demo", messages=HELLO, max_tokens=5, stream=True
            )
        )
    assert "had an error" in str(caught.value)
    gateway.settled()
    assert gateway.journal.charged_nanos() >= gateway.provider.bill.total_nanos > 0


def test_a_stream_that_is_cut_tells_its_caller_and_stays_held(gateway: Gateway) -> None:
    gateway.provider.script([{"cut_after_chunks": 3}])
    with pytest.raises(openai.APIError):
        list(
            gateway.openai(max_retries=0).chat.completions.create(
                model="demo", messages=HELLO, max_tokens=5, stream=True
            )
        )
    assert gateway.journal.pending() == 1
    gateway.journal.expire()
    (entry,) = gateway.journal.entries()
    assert (entry.kind, entry.source) == ("expire", "presumed")
    assert gateway.journal.charged_nanos() >= gateway.provider.bill.total_nanos > 0


def test_a_failure_before_any_content_is_voided_where_it_is_not_billed(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=1, rpm_limit=100)
    gateway.provider.script([{"status": 503}, {"status": 503}])
    assert gateway.chat(key).status_code == 503
    assert gateway.chat(key, stream=True).status_code == 503
    gateway.settled()
    entries = gateway.journal.entries()
    assert [(entry.kind, entry.reason, entry.usd_nanos) for entry in entries] == [
        ("void", "provider_error", 0),
        ("void", "provider_error", 0),
    ]
    assert gateway.get("/key/info", key).json()["info"]["spend"] == 0


# what nobody knows


@pytest.fixture
def clock() -> FakeClock:
    """A clock that the test moves."""
    return FakeClock(datetime(2026, 3, 4, 12, tzinfo=UTC))


@pytest.fixture
def timed(provider: FakeProvider, tmp_path: Path, clock: FakeClock) -> Iterator[Gateway]:
    """A gateway on that clock, which waits a fifth of a second for its provider."""
    with run_gateway(provider, tmp_path, clock=clock, timeouts=Timeouts(first_byte_seconds=0.2)) as running:
        yield running


def test_an_unknown_outcome_is_presumed_when_it_expires(timed: Gateway, clock: FakeClock) -> None:
    key = timed.new_key(max_budget=0.01)
    timed.provider.script([{"hang_after_chunks": 0, "bills_after_hangup": True}])
    assert timed.chat(key).status_code == 504
    ledger = timed.services.ledger
    ledger.sweep()
    assert timed.journal.pending() == 1
    clock.advance(timedelta(minutes=30))
    ledger.sweep()
    assert timed.journal.pending() == 0
    (entry,) = timed.journal.entries()
    assert (entry.kind, entry.source) == ("expire", "presumed")
    assert entry.usd_nanos is not None
    assert entry.usd_nanos >= timed.provider.bill.total_nanos > 0


def test_a_presumed_charge_is_corrected_when_the_truth_is_known(timed: Gateway, clock: FakeClock) -> None:
    key = timed.new_key(max_budget=0.01)
    timed.provider.script([{"hang_after_chunks": 0, "bills_after_hangup": True}])
    assert timed.chat(key).status_code == 504
    clock.advance(timedelta(minutes=30))
    timed.services.ledger.sweep()
    (presumed,) = timed.journal.entries()
    true_nanos, tokens = timed.provider.bill.total_nanos, timed.provider.bill.calls[0].output_tokens
    timed.services.ledger.execute(Settle(PROJECT, presumed.id, true_nanos, tokens, {}, "manual"))
    assert timed.journal.charged_nanos() == true_nanos
    assert timed.get("/key/info", key).json()["info"]["spend"] == pytest.approx(true_nanos / 1e9)


def test_a_call_without_any_budget_is_in_the_journal_too(gateway: Gateway) -> None:
    assert gateway.chat().status_code == 200
    gateway.settled()
    (entry,) = gateway.journal.entries()
    assert entry.usd_nanos == gateway.provider.bill.total_nanos
    assert entry.model == "demo"
    assert entry.detail["deployment"] == "demo-1"


def test_no_text_of_the_callers_or_the_models_is_stored(gateway: Gateway) -> None:
    secret: list[Any] = [{"role": "user", "content": "The password is tulip-42."}]
    text = gateway.chat(None, messages=secret).json()["choices"][0]["message"]["content"]
    gateway.settled()
    stored = b"".join(path.read_bytes() for path in gateway.path.parent.glob("outlay.db*"))
    assert b"tulip-42" not in stored
    assert text.encode() not in stored
