"""How the gateway ends: asked to, it lets what runs end; killed, it forgets nothing that was sent."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from gateways import DEMO_RATE, HELLO, MASTER_KEY, ServeProcess, litellm_config
from journal import Journal, eventually

from outlay.bootstrap import open_ledger
from outlay.ledger.audit import audit
from outlay.settings import Settings
from outlay.testing.provider import FakeProvider

CHAT = "/v1/chat/completions"
STREAMS = 100
KILLED = pytest.mark.once("what a killed process leaves in the database")


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider(default_rate=DEMO_RATE) as running:
        yield running


@pytest.fixture
def serve(provider: FakeProvider, tmp_path: Path) -> Iterator[ServeProcess]:
    process = ServeProcess(tmp_path, with_limits(provider))
    process.start()
    yield process
    process.kill()


@pytest.fixture
def journal(serve: ServeProcess) -> Iterator[Journal]:
    found = Journal(serve.path)
    yield found
    found.close()


def with_limits(provider: FakeProvider, **limits: Any) -> dict[str, Any]:
    """A configuration with limits on what a request may take."""
    settings = {"max_budget": 100}
    outlay = {"limits": {"drain_seconds": 20, **limits}}
    return litellm_config(provider, outlay=outlay, litellm_settings=settings)


def chat(serve: ServeProcess, key: str = MASTER_KEY, **more: Any) -> httpx.Response:
    """One chat."""
    body = {"model": "demo", "messages": HELLO, "max_tokens": 5, **more}
    return httpx.post(
        serve.root_url + CHAT, json=body, headers={"authorization": f"Bearer {key}"}, timeout=30
    )


def new_key(serve: ServeProcess, **fields: Any) -> str:
    """A key with limits."""
    headers = {"authorization": f"Bearer {MASTER_KEY}"}
    answer = httpx.post(f"{serve.root_url}/key/generate", json=fields, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    key: str = answer.json()["key"]
    return key


def open_stream(serve: ServeProcess) -> socket.socket:
    """Ask for a stream; nothing is read yet."""
    body = json.dumps({"model": "demo", "messages": HELLO, "max_tokens": 9, "stream": True}).encode()
    connection = socket.create_connection(("127.0.0.1", serve.port), 30)
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {MASTER_KEY}\r\n"
    connection.sendall(b"%bcontent-length: %d\r\n\r\n%b" % (head.encode(), len(body), body))
    return connection


def findings(journal: Journal) -> list[Any]:
    """What the audit finds."""
    ledger = open_ledger(Settings(journal.path))
    with ledger.read() as reader:
        found = list(audit(reader).findings)
    ledger.close()
    return found


def is_listening(serve: ServeProcess) -> bool:
    """Whether it takes connections."""
    try:
        socket.create_connection(("127.0.0.1", serve.port), 5).close()
    except OSError:
        return False
    return True


def read_on(connection: socket.socket, until: bytes) -> bytes:
    """Read until some bytes came, or the connection ends."""
    came = b""
    while until not in came and (more := connection.recv(65_536)):
        came += more
    return came


def test_sigterm_in_a_hundred_streams_lets_all_of_them_end_and_settles_each(
    serve: ServeProcess, provider: FakeProvider, journal: Journal
) -> None:
    provider.set({"hang_after_chunks": 2, "output_tokens": 9})
    streams = [open_stream(serve) for _ in range(STREAMS)]
    starts = [read_on(stream, b"data: ") for stream in streams]
    assert provider.bill.serving == STREAMS
    serve.signal(signal.SIGTERM)
    eventually(lambda: not is_listening(serve))
    provider.release()
    for start, stream in zip(starts, streams, strict=True):
        whole = start + read_on(stream, b"data: [DONE]")
        assert whole.startswith(b"HTTP/1.1 200 ")
        assert b"data: [DONE]" in whole
        stream.close()
    assert serve.wait() == 0
    assert journal.pending() == 0
    assert len(journal.entries()) == STREAMS
    assert journal.charged_nanos() == provider.bill.total_nanos
    assert all(entry.source == "provider" for entry in journal.entries())
    assert findings(journal) == []
    assert "Traceback" not in serve.log.read_text()


def test_sigterm_with_a_provider_that_hangs_ends_at_the_deadline_and_keeps_the_hold(
    provider: FakeProvider, tmp_path: Path
) -> None:
    drain_seconds = 2.0
    serve = ServeProcess(tmp_path, with_limits(provider, drain_seconds=drain_seconds))
    serve.start()
    provider.set({"hang_after_chunks": 0})
    with ThreadPoolExecutor(1) as pool:
        answered_at: list[float] = []
        caller = pool.submit(chat, serve)
        caller.add_done_callback(lambda _: answered_at.append(time.monotonic()))
        stream = open_stream(serve)
        provider.wait_until(lambda it: it.bill.serving == 2)
        serve.signal(signal.SIGTERM)
        assert serve.wait() == 0
        assert time.monotonic() - answered_at[0] < drain_seconds  # there is one deadline, not two
        answer = caller.result(10)
        stream.close()
    assert answer.status_code == 503
    assert answer.json()["error"]["type"] == "gateway_stopping"
    assert "Traceback" not in serve.log.read_text()
    serve.start()
    journal = Journal(serve.path)
    assert journal.pending() == 2
    journal.expire()
    assert {entry.source for entry in journal.entries()} == {"presumed"}
    assert journal.charged_nanos() >= provider.bill.total_nanos
    assert findings(journal) == []
    journal.close()
    serve.kill()


@KILLED
def test_killed_under_load_it_has_charged_all_that_was_billed_and_no_limit_is_broken(
    serve: ServeProcess, provider: FakeProvider, journal: Journal
) -> None:
    limit = 0.02  # the killed calls hold some of it until they expire
    key = new_key(serve, max_budget=limit)
    provider.set({"delay_seconds": 0.01})
    is_over = threading.Event()
    statuses: list[int] = []

    def load(client: httpx.Client) -> None:
        body = {"model": "demo", "messages": HELLO, "max_tokens": 5}
        while not is_over.is_set():
            try:
                statuses.append(client.post(CHAT, json=body).status_code)
            except httpx.HTTPError:
                return  # it was killed

    def run(enough: int, end: Callable[[], object]) -> None:
        is_over.clear()
        headers = {"authorization": f"Bearer {key}"}
        with (
            httpx.Client(base_url=serve.root_url, headers=headers, timeout=30) as client,
            ThreadPoolExecutor(8) as pool,
        ):
            loads = [pool.submit(load, client) for _ in range(8)]
            try:
                eventually(lambda: statuses.count(200) >= enough or all(each.done() for each in loads))
                assert statuses.count(200) >= enough, (statuses, serve.log.read_text()[-3000:])
                end()
            finally:
                is_over.set()
            for each in loads:
                each.result(20)

    run(20, serve.kill)
    serve.start()
    run(40, is_over.set)
    with httpx.Client(base_url=serve.root_url, headers={"authorization": f"Bearer {key}"}) as client:
        body = {"model": "demo", "messages": HELLO, "max_tokens": 5}
        while (status := client.post(CHAT, json=body).status_code) == 200:
            assert provider.bill.total_nanos <= limit * 1e9
    assert status in (402, 429)
    provider.wait_until(lambda it: it.bill.serving == 0)
    journal.expire()
    assert provider.bill.total_nanos <= journal.charged_nanos() <= limit * 1e9
    assert set(statuses) <= {200, 402, 429}
    assert findings(journal) == []


@KILLED
def test_the_slots_of_a_killed_gateway_are_free_when_it_is_back(
    serve: ServeProcess, provider: FakeProvider
) -> None:
    key = new_key(serve, max_parallel_requests=2)
    provider.set({"hang_after_chunks": 0})
    with ThreadPoolExecutor(2) as pool:
        callers = [pool.submit(chat, serve, key) for _ in range(2)]
        provider.wait_until(lambda it: it.bill.serving == 2)
        assert chat(serve, key).status_code == 429
        serve.kill()
        for each in callers:
            with pytest.raises(httpx.HTTPError):
                each.result(10)
    serve.start()
    provider.set({"hang_after_chunks": None})
    assert chat(serve, key).status_code == 200


def test_stopped_past_the_expiry_of_a_stream_it_corrects_what_was_presumed(
    serve: ServeProcess, provider: FakeProvider, journal: Journal
) -> None:
    provider.set({"hang_after_chunks": 2, "output_tokens": 9})
    stream = open_stream(serve)
    start = read_on(stream, b"data: ")
    serve.signal(signal.SIGSTOP)
    journal.expire()
    (presumed,) = journal.entries()
    assert presumed.source == "presumed"
    assert journal.charged_nanos() > provider.bill.total_nanos
    provider.release()
    serve.signal(signal.SIGCONT)
    assert b"data: [DONE]" in start + read_on(stream, b"data: [DONE]")
    eventually(lambda: journal.charged_nanos() == provider.bill.total_nanos)
    assert findings(journal) == []
    stream.close()
