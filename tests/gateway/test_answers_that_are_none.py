"""A 2xx that is no answer and does not say what it used: presumed at once, and passed on as it came."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gateways import HELLO, Gateway, run_gateway

from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["front_doors"]

REAL_NANOS = 75_800_000
PATHS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"model": "demo", "messages": HELLO, "max_tokens": 9_000}),
    "completions": ("/v1/completions", {"model": "demo", "prompt": "Three rivers:", "max_tokens": 9_000}),
    "responses": ("/v1/responses", {"model": "demo", "input": "Three rivers.", "max_output_tokens": 9_000}),
    "messages": (
        "/v1/messages",
        {"model": "claude-sonnet-4-6", "messages": HELLO, "max_tokens": 9_000},
    ),
    "embeddings": ("/v1/embeddings", {"model": "demo", "input": "The Danube. " * 5_000}),
}


def said(document: object) -> str:
    return json.dumps(document)


def events(*documents: object, end: str = "") -> str:
    return "".join(f"data: {json.dumps(document)}\n\n" for document in documents) + end


def chat(**more: Any) -> dict[str, Any]:
    return {"id": "c-1", "object": "chat.completion", "model": "demo", **more}


def response(status: str, **more: Any) -> dict[str, Any]:
    return {"id": "r-1", "object": "response", "model": "demo", "status": status, "output": [], **more}


USED = {"prompt_tokens": 15, "completion_tokens": 5, "total_tokens": 20}
OUT = {"input_tokens": 15, "output_tokens": 5}
DELTA = {"index": 0, "delta": {"content": "Rhine"}, "finish_reason": None}
PART = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Rhine"}}
START = {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 15, "output_tokens": 1}}}
STOP = {"type": "message_stop"}
IN_PROGRESS = response("in_progress")
FAILED = response("failed", usage=OUT, error={"message": "no"})
DONE = "data: [DONE]\n\n"

WHOLE = {
    "deferred": ("chat", said({"request_id": "f8a1"}), 200),
    "nothing": ("chat", said({}), 200),
    "accepted": ("chat", said(chat(choices=[])), 202),
    "accepted with a usage": ("chat", said(chat(choices=[], usage=USED)), 202),
    "no choices": ("chat", said(chat(choices=[])), 200),
    "choices that are null": ("chat", said(chat(choices=None)), 200),
    "no finish": ("chat", said(chat(choices=[{"index": 0, "message": {"content": "Rhine"}}])), 200),
    "no text": ("chat", said(chat(choices=[{"message": {"content": ""}, "finish_reason": "stop"}])), 200),
    "a state of a chat": ("chat", said(chat(status="queued", usage=USED)), 200),
    "a usage of nulls": ("chat", said(chat(choices=[], usage={"prompt_tokens": None})), 200),
    "no choices of completions": ("completions", said(chat(choices=[])), 200),
    "queued": ("responses", said(response("queued")), 200),
    "queued with a usage": ("responses", said(response("queued", usage=OUT)), 200),
    "in progress": ("responses", said(response("in_progress", usage=None)), 200),
    "in progress with a usage": ("responses", said(response("in_progress", usage=OUT)), 200),
    "completed with nothing": ("responses", said(response("completed")), 200),
    "an empty message": ("messages", said({"type": "message", "content": []}), 200),
    "a message without a stop": ("messages", said({"content": [{"type": "text", "text": "R"}]}), 200),
    "no message at all": ("messages", said({"request_id": "f8a1"}), 200),
    "accepted message": ("messages", said({"id": "m", "stop_reason": "end_turn", "usage": OUT}), 202),
    "no embeddings": ("embeddings", said({"object": "list", "data": []}), 200),
    "embeddings to come": ("embeddings", said({"request_id": "f8a1"}), 202),
}
STREAMS = {
    "only the end": ("chat", DONE),
    "no finish": ("chat", events(chat(choices=[DELTA]), end=DONE)),
    "no finish and a usage so far": ("chat", events(chat(choices=[DELTA], usage=USED))),
    "no choices": ("chat", events(chat(choices=[]), end=DONE)),
    "plain JSON": ("chat", said({"request_id": "f8a1"})),
    "only the end of completions": ("completions", DONE),
    "never completed": (
        "responses",
        events({"type": "response.created", "response": response("in_progress")}),
    ),
    "queued": ("responses", events({"type": "response.queued", "response": response("queued", usage=OUT)})),
    "deltas alone": ("responses", events({"type": "response.output_text.delta", "delta": "Rhine"})),
    "no message_delta": ("messages", events(START, PART, STOP)),
    "no message_delta and no stop": ("messages", events(START, PART)),
    "a stop alone": ("messages", events(STOP)),
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with (
        FakeProvider() as provider,
        run_gateway(provider, Path(tmp_path_factory.mktemp("none"))) as running,
    ):
        yield running


def newest(gateway: Gateway) -> Any:
    gateway.settled()
    return gateway.journal.entries()[-1]


@pytest.mark.parametrize("shape", WHOLE)
def test_a_whole_answer_that_is_none_is_presumed_at_once_and_passed_on(gateway: Gateway, shape: str) -> None:
    endpoint, body, status = WHOLE[shape]
    gateway.provider.script([{"body": body, "status": status, "bills_nanos": REAL_NANOS}])
    path, request = PATHS[endpoint]
    answer = gateway.post(path, request)
    assert (answer.status_code, answer.text) == (status, body)
    entry = newest(gateway)
    assert (entry.kind, entry.source) == ("expire", "presumed")
    if endpoint != "embeddings":
        assert entry.usd_nanos >= REAL_NANOS
    assert entry.usd_nanos > 0


@pytest.mark.parametrize("shape", STREAMS)
def test_a_stream_that_is_no_answer_is_presumed_at_once_and_passed_on(gateway: Gateway, shape: str) -> None:
    endpoint, body = STREAMS[shape]
    gateway.provider.script([{"body": body, "bills_nanos": REAL_NANOS}])
    path, request = PATHS[endpoint]
    answer = gateway.post(path, {**request, "stream": True})
    assert answer.status_code == 200
    assert answer.text.startswith(body.strip().removesuffix(DONE.strip()).strip()[:40])
    entry = newest(gateway)
    assert (entry.kind, entry.source) == ("expire", "presumed")
    assert entry.usd_nanos >= REAL_NANOS


SETTLED: dict[str, tuple[str, str, bool]] = {
    "incomplete": ("responses", said(response("incomplete", usage=OUT)), False),
    "failed": ("responses", said(FAILED), False),
    "an empty answer": (
        "chat",
        said(chat(choices=[{"message": {"content": ""}, "finish_reason": "stop"}], usage=USED)),
        False,
    ),
    "no choices": ("chat", said(chat(choices=[], usage=USED)), False),
    "a usage behind no finish": (
        "chat",
        events(chat(choices=[DELTA]), chat(choices=[], usage=USED), end=DONE),
        True,
    ),
    "an incomplete stream": (
        "responses",
        events({"type": "response.incomplete", "response": response("incomplete", usage=OUT)}),
        True,
    ),
    "a failed stream": (
        "responses",
        events(
            {"type": "response.failed", "response": response("failed", usage=OUT, error={"message": "no"})}
        ),
        True,
    ),
}


@pytest.mark.parametrize("shape", SETTLED)
def test_a_usage_is_the_charge_even_where_the_answer_is_none(gateway: Gateway, shape: str) -> None:
    endpoint, body, is_stream = SETTLED[shape]
    gateway.provider.script([{"body": body}])
    path, request = PATHS[endpoint]
    gateway.post(path, {**request, "stream": is_stream} if is_stream else request)
    entry = newest(gateway)
    assert (entry.source, entry.usd_nanos) == ("provider", 15 * 2_500 + 5 * 10_000)


def test_an_outcome_that_is_not_known_costs_what_it_told_where_that_is_more_than_the_hold(
    gateway: Gateway,
) -> None:
    usage = {"prompt_tokens": 15, "completion_tokens": 90_000}
    gateway.provider.script([{"body": said(chat(choices=[], usage=usage)), "status": 202}])
    path, request = PATHS["chat"]
    gateway.post(path, request)
    entry = newest(gateway)
    assert entry.usd_nanos == 15 * 2_500 + 90_000 * 10_000
    assert sum(post.overrun for post in entry.posts) == 0  # no budget watches it


def test_a_refusal_of_somebody_who_gave_up_waiting_stays_held(tmp_path: Path) -> None:
    with FakeProvider() as provider, run_gateway(provider, tmp_path) as fresh:
        for status in (408, 499):
            provider.script([{"status": status, "bills_failure": True}])
            assert fresh.chat().status_code == status
        assert fresh.journal.pending() == 2
        fresh.journal.expire()
        assert [entry.source for entry in fresh.journal.entries()] == ["presumed", "presumed"]
        assert fresh.journal.charged_nanos() >= provider.bill.total_nanos > 0


def test_the_gateways_metrics_count_what_was_presumed(gateway: Gateway) -> None:
    before = presumed(gateway)
    gateway.provider.script([{"body": "{}"}])
    assert gateway.chat().json() == {}
    newest(gateway)
    assert presumed(gateway) == before + 1


def presumed(gateway: Gateway) -> float:
    text = gateway.get("/metrics").text
    return float(
        next(line for line in text.splitlines() if line.startswith("outlay_presumed_total")).split()[1]
    )
