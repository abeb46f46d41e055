"""Whoever has read an answer finds its charge in what they read next; and waits for no commit."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx2 as httpx
import pytest
from gateways import CLAUDE_RATE, DEMO_RATE, HELLO, Gateway, run_gateway
from journal import eventually
from management import hashed
from raw_provider import SSE_HEAD, raw_provider

from outlay.domain.commands import Settle
from outlay.ledger.writer import Job
from outlay.testing.provider import FakeProvider

READS = 20
EMBEDDED = {"model": "demo", "input": "Name three rivers."}
MESSAGES = {"model": "claude-sonnet-4-6", "messages": HELLO, "max_tokens": 5}
WHOLE: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "demo", "messages": HELLO, "max_tokens": 5},
    "/v1/completions": {"model": "demo", "prompt": "Name three rivers.", "max_tokens": 5},
    "/v1/embeddings": EMBEDDED,
    "/v1/responses": {"model": "demo", "input": "Name three rivers.", "max_output_tokens": 16},
    "/v1/messages": MESSAGES,
}
END_MARKS = {
    "/v1/chat/completions": b"data: [DONE]",
    "/v1/completions": b"data: [DONE]",
    "/v1/responses": b"event: response.incomplete",
    "/v1/messages": b"message_stop",
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with (
        FakeProvider(default_rate=DEMO_RATE, rates={"claude-sonnet-4-6": CLAUDE_RATE}) as provider,
        run_gateway(provider, tmp_path_factory.mktemp("reads")) as running,
    ):
        yield running


def billed(gateway: Gateway) -> float:
    return gateway.provider.bill.total_nanos / 1e9


def spend_of(client: httpx.Client, key: str) -> float:
    spend: float = client.get("/key/info", params={"key": key}).json()["info"]["spend"]
    return spend


@pytest.mark.parametrize("path", WHOLE)
def test_a_read_right_after_a_whole_answer_sees_it(gateway: Gateway, path: str) -> None:
    key = gateway.new_key(max_budget=10)
    with gateway.http(key) as caller, gateway.http() as operator:
        before, seen = billed(gateway), []
        for _ in range(READS):
            assert caller.post(path, json=WHOLE[path]).status_code == 200
            seen.append(spend_of(operator, key) == pytest.approx(billed(gateway) - before) != 0)
    assert seen == [True] * READS


@pytest.mark.parametrize("path", END_MARKS)
def test_a_read_right_after_the_end_mark_of_a_stream_sees_it(gateway: Gateway, path: str) -> None:
    key = gateway.new_key(max_budget=10)
    with gateway.http(key) as caller, gateway.http() as operator:
        before, seen = billed(gateway), []
        for _ in range(READS):
            with caller.stream("POST", path, json={**WHOLE[path], "stream": True}) as answer:
                came = b""
                for piece in answer.iter_raw():
                    came += piece
                    if END_MARKS[path] in came:
                        break
                assert END_MARKS[path] in came
                seen.append(spend_of(operator, key) == pytest.approx(billed(gateway) - before) != 0)
    assert seen == [True] * READS


def test_the_sdks_streams_are_seen_when_their_loop_ends(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=10)
    openai, anthropic = gateway.openai(key), gateway.anthropic(key)
    with gateway.http() as operator:
        before, seen = billed(gateway), []
        for _ in range(READS):
            list(openai.chat.completions.create(model="demo", messages=HELLO, max_tokens=5, stream=True))
            seen.append(spend_of(operator, key) == pytest.approx(billed(gateway) - before))
            with anthropic.messages.stream(model="claude-sonnet-4-6", messages=HELLO, max_tokens=5) as events:
                events.until_done()
            seen.append(spend_of(operator, key) == pytest.approx(billed(gateway) - before))
    assert seen == [True] * READS * 2


READ: list[tuple[str, Callable[[Any, str], object]]] = [
    ("/key/info", lambda shown, _: shown["info"]["spend"]),
    (
        "/key/list?return_full_object=true",
        lambda shown, key: _row(shown["keys"], "token", hashed(key))["spend"],
    ),
    ("/user/info?user_id=ada", lambda shown, _: shown["user_info"]["spend"]),
    ("/team/info?team_id=red", lambda shown, _: shown["team_info"]["spend"]),
    ("/customer/info?end_user_id=acme", lambda shown, _: shown["spend"]),
    ("/spend/logs?user_id=ada", lambda shown, _: sum(row["spend"] for row in shown)),
    ("/v1/entries", lambda shown, _: shown["entries"][0]["number"]),
    ("/v1/balances?account=user:ada", lambda shown, _: str(shown["balances"])),
]


def _row(rows: Sequence[dict[str, Any]], field: str, value: str) -> dict[str, Any]:
    (found,) = (row for row in rows if row[field] == value)
    return found


@pytest.mark.parametrize(("path", "spend"), READ, ids=[path for path, _ in READ])
def test_every_read_of_spend_waits_for_what_is_queued(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, path: str, spend: Callable[[Any, str], object]
) -> None:
    for kind, body in (
        ("user", {"user_id": "ada", "max_budget": 10}),
        ("team", {"team_id": "red", "max_budget": 10}),
        ("customer", {"user_id": "acme", "max_budget": 10}),
    ):
        gateway.post(f"/{kind}/new", body)
    key = gateway.new_key(
        max_budget=10, user_id="ada" if "red" not in path else None, team_id="red" if "red" in path else None
    )
    with gateway.http() as client, gate(gateway, monkeypatch) as opened:
        params = {"key": key} if path == "/key/info" else None
        opened.set()
        first = spend(client.get(path, params=params).json(), key)
        opened.clear()
        assert gateway.chat(key, user="acme").status_code == 200, "the answer waits for no commit"
        timer = threading.Timer(0.05, opened.set)
        timer.start()
        assert spend(client.get(path, params=params).json(), key) != first
        timer.join()


def test_a_read_waits_no_longer_than_its_barrier(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlay.gateway.management.authorise.BARRIER_SECONDS", 0.05)
    key = gateway.new_key(max_budget=10)
    with gateway.http() as client, gate(gateway, monkeypatch) as opened:
        assert gateway.chat(key).status_code == 200
        assert spend_of(client, key) == 0
        opened.set()
        eventually(lambda: spend_of(client, key) > 0)


class gate:
    """Lets no charge be committed while it is closed."""

    def __init__(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = threading.Event()
        writer = gateway.services.ledger.writer
        original = writer._transact

        def transact(batch: Sequence[Job]) -> None:
            if any(isinstance(job.command, Settle) for job in batch):
                assert self.opened.wait(20)
            original(batch)

        monkeypatch.setattr(writer, "_transact", transact)

    def __enter__(self) -> threading.Event:
        return self.opened

    def __exit__(self, *_: object) -> None:
        self.opened.set()


def test_a_provider_that_keeps_its_connection_open_keeps_no_caller_waiting(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    chunk = {"id": "c-1", "choices": [{"index": 0, "delta": {"content": "Po"}, "finish_reason": "stop"}]}
    usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}}
    released = threading.Event()

    def answer() -> Iterator[bytes]:
        yield SSE_HEAD
        for data in (json.dumps(chunk), json.dumps(usage), "[DONE]"):
            yield b"data: %b\n\n" % data.encode()
        released.wait(20)

    with raw_provider() as raw, FakeProvider() as provider:
        raw.answer = answer()
        with run_gateway(provider, tmp_path_factory.mktemp("open"), rows_of=[raw.row()]) as running:
            body = {"model": "raw", "messages": HELLO, "max_tokens": 5, "stream": True}
            with (
                running.http() as client,
                client.stream("POST", "/v1/chat/completions", json=body) as answered,
            ):
                came = b""
                for piece in answered.iter_raw():
                    came += piece
                    if b"[DONE]" in came:
                        break
            released.set()
            running.settled()
            assert running.journal.charged_nanos() == 9 * 2_500 + 10_000
