"""Providers and databases that fail: what was not billed is given back, what may have been stays held."""

from __future__ import annotations

import fcntl
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from gateways import (
    DEMO_RATE,
    HELLO,
    MASTER_KEY,
    Gateway,
    ServeProcess,
    litellm_config,
    run_gateway,
    usd_budget,
)
from journal import eventually, script

from outlay.providers.transport import Timeouts
from outlay.testing.clock import FakeClock
from outlay.testing.provider import FakeProvider

CHAT = "/v1/chat/completions"
QUICK = Timeouts(connect_seconds=1, first_byte_seconds=0.3, between_chunks_seconds=0.3, total_seconds=5)


class WatchedClock(FakeClock):
    """A clock that counts how often it was asked for the time since boot."""

    asked = 0

    def boot(self) -> int:
        """As the clock, and counted."""
        self.asked += 1
        return super().boot()


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider(default_rate=DEMO_RATE) as running:
        yield running


@pytest.fixture
def gateway(provider: FakeProvider, tmp_path: Path) -> Iterator[Gateway]:
    budgets = [usd_budget("global", 10.0)]
    with run_gateway(provider, tmp_path, budgets=budgets, timeouts=QUICK) as running:
        yield running


def is_held_and_then_presumed(gateway: Gateway) -> bool:
    """Whether one reservation is held, and is a charge of no less than the bill once it has expired."""
    assert gateway.journal.pending() == 1
    gateway.journal.expire()
    sources = [entry.source for entry in gateway.journal.entries()]
    gateway.journal.check()
    return sources == ["presumed"] and gateway.journal.charged_nanos() >= gateway.provider.bill.total_nanos


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("after", [0, 2])
def test_a_provider_that_hangs_is_given_up_and_what_it_may_bill_stays_held(
    gateway: Gateway, after: int, is_stream: bool
) -> None:
    gateway.provider.set({"hang_after_chunks": after, "bills_after_hangup": True})
    answer = gateway.chat(stream=is_stream)
    if is_stream and after:
        assert answer.status_code == 200
        assert "provider_timeout" in answer.text
        assert "[DONE]" not in answer.text
    else:
        assert answer.status_code == 504
        assert answer.json()["error"]["type"] == "provider_timeout"
    gateway.provider.wait_until(lambda it: it.bill.serving == 0)
    assert is_held_and_then_presumed(gateway)


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("after", [0, 3])
def test_a_provider_that_resets_may_have_billed(gateway: Gateway, after: int, is_stream: bool) -> None:
    gateway.provider.set({"cut_after_chunks": after, "bills_after_hangup": True})
    answer = gateway.chat(stream=is_stream)
    is_begun = is_stream and after > 0
    assert answer.status_code == (200 if is_begun else 502)
    assert "provider_error" in answer.text
    gateway.provider.wait_until(lambda it: it.bill.serving == 0)
    assert is_held_and_then_presumed(gateway)


def test_a_provider_that_is_not_there_was_never_sent_anything(tmp_path: Path) -> None:
    with FakeProvider() as gone:
        pass
    with run_gateway(gone, tmp_path, budgets=[usd_budget("global", 10.0)]) as gateway:
        for is_stream in (False, True):
            assert gateway.chat(stream=is_stream).status_code == 502
        gateway.settled()
        assert [entry.kind for entry in gateway.journal.entries()] == ["void", "void"]
        gateway.journal.check()


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_5xx_before_any_content_is_passed_on_and_given_back(gateway: Gateway, is_stream: bool) -> None:
    for status in (500, 502, 503, 529):
        gateway.provider.script([{"status": status, "retry_after_seconds": 7}])
        answer = gateway.chat(stream=is_stream)
        assert answer.status_code == status
        assert answer.headers["retry-after"] == "7"
    gateway.settled()
    assert {entry.kind for entry in gateway.journal.entries()} == {"void"}
    assert gateway.provider.bill.total_nanos == 0
    gateway.journal.check()


def test_a_504_of_the_provider_may_have_been_billed(gateway: Gateway) -> None:
    gateway.provider.script([{"status": 504, "bills_failure": True}])
    assert gateway.chat().status_code == 504
    assert is_held_and_then_presumed(gateway)


def test_an_error_after_content_ends_the_stream_and_what_may_be_billed_stays_held(gateway: Gateway) -> None:
    gateway.provider.set({"error_after_chunks": 3, "output_tokens": 9})
    answer = gateway.chat(stream=True)
    assert answer.status_code == 200
    assert "had an error while processing" in answer.text
    assert "[DONE]" not in answer.text
    if gateway.journal.pending():
        gateway.journal.expire()
    assert gateway.journal.charged_nanos() >= gateway.provider.bill.total_nanos > 0


LOCK = """
import sqlite3, sys
other = sqlite3.connect(sys.argv[1], isolation_level=None)
other.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
"""


@contextmanager
def locked(gateway: Gateway, how: str) -> Iterator[None]:
    """The database, locked by another program: by the engine's own lock, or by the file beside it."""
    if how == "BEGIN IMMEDIATE":
        with script(LOCK, str(gateway.path)) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "locked\n"
            yield
            other.communicate("\n", timeout=10)
        return
    with open(f"{gateway.path}.lock", "r+b") as lock:  # a name with two suffixes
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.mark.parametrize("how", ["BEGIN IMMEDIATE", "flock"])
def test_a_database_that_another_process_locks_fails_closed_and_recovers(gateway: Gateway, how: str) -> None:
    assert gateway.chat().status_code == 200
    gateway.settled()
    gateway.services.ledger.answer_seconds = 0.3
    sent = len(gateway.provider.requests)
    with locked(gateway, how):
        for is_stream in (False, True):
            answer = gateway.chat(stream=is_stream)
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            assert answer.json()["error"]["type"] == "ledger_unavailable"
        assert len(gateway.provider.requests) == sent
    gateway.services.ledger.answer_seconds = 20.0
    assert gateway.chat().status_code == 200
    gateway.settled()
    assert len(gateway.provider.requests) == sent + 1
    assert gateway.journal.charged_nanos() == gateway.provider.bill.total_nanos
    gateway.journal.check()


def test_what_was_sent_is_charged_though_the_database_was_locked_when_its_answer_came(
    gateway: Gateway,
) -> None:
    gateway.provider.set({"hang_after_chunks": 1})
    gateway.services.ledger.answer_seconds = 0.3
    with ThreadPoolExecutor(1) as pool:
        caller = pool.submit(gateway.chat, stream=True)
        gateway.provider.wait_until(lambda it: it.bill.serving == 1)
        with locked(gateway, "flock"):
            gateway.provider.release()
            assert "[DONE]" in caller.result(20).text
            eventually(lambda: gateway.services.unsettled or gateway.services.ledger.writer.queue_length == 0)
    gateway.services.ledger.answer_seconds = 20.0
    gateway.settled()
    assert gateway.journal.charged_nanos() == gateway.provider.bill.total_nanos
    gateway.journal.check()


def test_a_full_queue_of_the_ledger_is_told_as_busy_and_nothing_is_sent(gateway: Gateway) -> None:
    gateway.services.ledger.writer._max_queue = 1  # the default is 10,000
    with ThreadPoolExecutor(4) as pool, locked(gateway, "flock"):
        callers = [pool.submit(gateway.chat) for _ in range(4)]
        eventually(lambda: any(caller.done() for caller in callers))
        assert gateway.provider.requests == []
    answers = [caller.result(20) for caller in callers]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert refused
    for answer in refused:
        assert answer.status_code == 503
        assert answer.json()["error"]["type"] == "ledger_busy"
        assert answer.headers["retry-after"]
    assert len(gateway.provider.requests) == len(answers) - len(refused) > 0
    gateway.settled()
    gateway.journal.check()


def test_a_gateway_that_stood_still_sends_nothing_on_a_hold_that_is_over(
    provider: FakeProvider, tmp_path: Path
) -> None:
    clock = WatchedClock()
    with run_gateway(provider, tmp_path, budgets=[usd_budget("global", 10.0)], clock=clock) as gateway:
        assert gateway.chat().status_code == 200
        gateway.settled()
        sent, asked = len(provider.requests), clock.asked
        with ThreadPoolExecutor(1) as pool:
            with locked(gateway, "flock"):
                caller = pool.submit(gateway.chat)
                eventually(lambda: clock.asked > asked)
                clock.advance(timedelta(hours=3))
            answer = caller.result(20)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert len(provider.requests) == sent
        gateway.settled()
        assert gateway.journal.charged_nanos() == provider.bill.total_nanos


def test_a_full_disk_fails_closed_and_recovers(provider: FakeProvider, tmp_path: Path) -> None:
    serve = ServeProcess(tmp_path, litellm_config(provider, litellm_settings={"max_budget": 100}))
    serve.start()
    try:
        with httpx.Client(
            base_url=serve.root_url, headers={"authorization": f"Bearer {MASTER_KEY}"}, timeout=30
        ) as client:
            body: dict[str, Any] = {"model": "demo", "messages": HELLO, "max_tokens": 5}
            assert client.post(CHAT, json=body).status_code == 200
            assert serve.process is not None
            full = max(path.stat().st_size for path in tmp_path.iterdir())
            resource.prlimit(serve.process.pid, resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
            eventually(lambda: client.post(CHAT, json=body).status_code == 503)
            sent = len(provider.requests)
            for is_stream in (False, True):
                answer = client.post(CHAT, json={**body, "stream": is_stream})
                assert answer.status_code == 503
                assert answer.json()["error"]["type"] == "ledger_unavailable"
                assert answer.headers["retry-after"]
            assert len(provider.requests) == sent
            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(serve.process.pid, resource.RLIMIT_FSIZE, unlimited)
            assert client.post(CHAT, json=body).status_code == 200
    finally:
        serve.kill()
