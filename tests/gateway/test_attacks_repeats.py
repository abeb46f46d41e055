"""Repeats under one Idempotency-Key that come at the worst moment."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2 as httpx
from gateways import HELLO, Gateway, run_gateway
from journal import eventually
from raw_provider import raw_provider

from outlay.testing.provider import FakeProvider

REJECTED = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"


def repeat(gateway: Gateway) -> httpx.Response:
    """The one request that is repeated here."""
    with gateway.http(headers={"idempotency-key": "order-4711"}) as client:
        return client.post("/v1/chat/completions", json={"model": "raw", "messages": HELLO, "max_tokens": 5})


def test_a_repeat_while_its_first_is_being_voided_is_not_told_that_it_was_charged(tmp_path: Path) -> None:
    may_answer = threading.Event()

    def answer() -> Iterator[bytes]:
        may_answer.wait(10)
        yield REJECTED

    with (
        raw_provider() as raw,
        FakeProvider() as provider,
        run_gateway(provider, tmp_path, rows_of=[raw.row()]) as gateway,
        ThreadPoolExecutor(2) as pool,
    ):
        raw.answer = answer()
        first = pool.submit(repeat, gateway)
        eventually(lambda: raw.requests)
        services, writer = gateway.services, gateway.services.ledger.writer
        with open(f"{gateway.path}.lock", "r+b") as lock:  # nothing is written until it is closed
            fcntl.flock(lock, fcntl.LOCK_EX)
            may_answer.set()
            eventually(lambda: not services.replays._claims and not (writer._is_idle or writer.queue_length))
            second = pool.submit(repeat, gateway)
            eventually(lambda: services.running.count == 2 and writer.queue_length == 1)
        assert first.result(20).status_code == 400
        told = second.result(20)
    assert (told.status_code, told.json()["error"]["code"]) == (409, "request_in_progress")
    assert int(told.headers["retry-after"]) > 0
