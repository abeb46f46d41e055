"""A slot of concurrency is free when its call is over, whatever became of the call's money."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from gateways import DEMO_RATE, HELLO, Gateway, a_budget, run_gateway, usd_budget
from journal import eventually

from outlay.domain.commands import FreeSlot, PutBudget
from outlay.errors import LedgerBusyError
from outlay.gateway.records import key_account
from outlay.ledger.writer import Job
from outlay.providers.transport import Timeouts
from outlay.testing.provider import FakeProvider

QUICK = Timeouts(connect_seconds=1, first_byte_seconds=0.2, between_chunks_seconds=0.2, total_seconds=5)
PATIENT = Timeouts(connect_seconds=5, first_byte_seconds=20, between_chunks_seconds=20, total_seconds=20)
UNKNOWN: dict[str, dict[str, Any]] = {
    "no answer in time": {"hang_after_chunks": 0, "bills_after_hangup": True},
    "half an answer, and then nothing": {"hang_after_chunks": 2, "bills_after_hangup": True},
    "a reset before the answer": {"cut_after_chunks": 0, "bills_after_hangup": True},
    "a reset within the answer": {"cut_after_chunks": 2, "bills_after_hangup": True},
    "a 504": {"status": 504, "bills_failure": True},
    "a 520": {"status": 520, "bills_failure": True},
    "no JSON": {"nonsense": "html"},
    "nothing": {"nonsense": "empty"},
    "garbage": {"nonsense": "garbage"},
    "half of it": {"nonsense": "truncated"},
}
SLOTS = ("user:ada", "team:red", "deployment:demo-1", "global")
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "demo", "messages": HELLO, "max_tokens": 5},
    "/v1/responses": {"model": "demo", "input": "Rivers.", "max_output_tokens": 16},
    "/v1/messages": {"model": "claude-sonnet-4-6", "messages": HELLO, "max_tokens": 5},
}


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway_at(tmp_path_factory.mktemp("slots"), QUICK) as running:
        yield running


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Gateway]:
    with gateway_at(tmp_path, PATIENT) as running:
        yield running


@contextmanager
def gateway_at(folder: Path, timeouts: Timeouts) -> Iterator[Gateway]:
    """A gateway with one slot on every level."""
    budgets = [usd_budget("global", 100.0), *(a_budget(each, "concurrency", 1) for each in SLOTS)]
    with (
        FakeProvider(default_rate=DEMO_RATE) as provider,
        run_gateway(
            provider,
            folder,
            budgets=budgets,
            timeouts=timeouts,
            is_user_budget_on_team_keys=True,
        ) as running,
    ):
        running.post("/team/new", {"team_id": "red"})
        running.post("/user/new", {"user_id": "ada"})
        running.post("/team/member_add", {"team_id": "red", "member": {"role": "user", "user_id": "ada"}})
        yield running


def key_of(gateway: Gateway) -> str:
    """A key with one slot, of a user and a team that have one each."""
    return gateway.new_key(max_parallel_requests=1, user_id="ada", team_id="red")


def slots_taken(gateway: Gateway, key: str) -> dict[str, int]:
    """How many slots are taken on each account that has some."""
    with gateway.services.ledger.read() as reader:
        budgets = [each for each in reader.budgets() if each.unit == "concurrency"]
        newest = reader.newest_periods([each.key for each in budgets])
    wanted = (*SLOTS, key_account(key))
    return {
        each.account: newest[each.key].reserved
        for each in budgets
        if each.account in wanted and each.key in newest
    }


def held_or_presumed(gateway: Gateway) -> int:
    """How many calls ended and nobody knows at what cost."""
    return gateway.journal.pending() + len(gateway.journal.entries("expire"))


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("behaviour", UNKNOWN)
def test_the_next_call_is_admitted_at_once_and_the_money_stays_held_or_is_presumed(
    quick: Gateway, behaviour: str, is_stream: bool
) -> None:
    key, unknown = key_of(quick), held_or_presumed(quick)
    quick.provider.script([UNKNOWN[behaviour]])
    with quick.http(key) as client:
        body = {**BODIES["/v1/chat/completions"], "stream": is_stream}
        broken = client.post("/v1/chat/completions", json=body)
        assert broken.status_code != 200 or "error" in broken.text
        answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    eventually(lambda: held_or_presumed(quick) == unknown + 1)
    assert set(slots_taken(quick, key).values()) == {0}
    quick.journal.check()


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("path", BODIES)
def test_it_is_so_at_every_endpoint(quick: Gateway, path: str, is_stream: bool) -> None:
    key = key_of(quick)
    quick.provider.script([UNKNOWN["half an answer, and then nothing"]])
    with quick.http(key) as client:
        body = {**BODIES[path], "stream": is_stream}
        client.post(path, json=body)
        answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text


def test_a_call_that_is_still_read_keeps_its_slot_though_its_caller_left(patient: Gateway) -> None:
    key = key_of(patient)
    patient.provider.script([{"hang_after_chunks": 2}])
    with patient.http(key) as client:
        body = {**BODIES["/v1/chat/completions"], "stream": True}
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            next(answer.iter_raw())
        refused = patient.chat(key)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert refused.json()["error"]["can_wait"] is True
    assert set(slots_taken(patient, key).values()) == {1}
    patient.provider.release()
    eventually(lambda: set(slots_taken(patient, key).values()) == {0})
    assert patient.chat(key).status_code == 200


@pytest.fixture
def sweeping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    monkeypatch.setattr("outlay.gateway.app.SWEEP_SECONDS", 0.01)
    with gateway_at(tmp_path, PATIENT) as running:
        yield running


def test_a_slot_that_the_ledger_could_not_free_is_freed_later(
    sweeping: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = key_of(sweeping)
    writer = sweeping.services.ledger.writer
    original = writer.submit
    refused: list[Job] = []

    def submit(job: Job, *, is_unawaited: bool = False) -> None:
        if isinstance(job.command, FreeSlot) and len(refused) < 3:
            refused.append(job)
            raise LedgerBusyError("the queue is full")
        original(job, is_unawaited=is_unawaited)

    monkeypatch.setattr(writer, "submit", submit)
    sweeping.provider.script([UNKNOWN["a 504"]])
    assert sweeping.chat(key).status_code == 504
    eventually(lambda: set(slots_taken(sweeping, key).values()) == {0})
    assert len(refused) == 3
    assert sweeping.journal.pending() == 1


def test_many_calls_that_time_out_leave_no_slot_taken(quick: Gateway) -> None:
    key = quick.new_key(max_parallel_requests=8)
    quick.execute(PutBudget(a_budget("global", "concurrency", 8)))
    quick.execute(PutBudget(a_budget("deployment:demo-1", "concurrency", 8)))
    quick.provider.script([UNKNOWN["no answer in time"]] * 8)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: quick.chat(key).status_code, range(8)))
        assert statuses == [504] * 8
        assert list(pool.map(lambda _: quick.chat(key).status_code, range(8))) == [200] * 8
    assert quick.journal.pending() >= 8


def test_a_fault_of_the_gateways_own_leaves_no_slot_taken(
    patient: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(*_: object) -> None:
        raise RuntimeError("a fault")

    key = key_of(patient)
    with monkeypatch.context() as patch:
        patch.setattr("outlay.gateway.pipeline.meter", fault)
        assert patient.chat(key).status_code == 500
    assert patient.chat(key).status_code == 200
    eventually(lambda: patient.journal.pending() == 1)
    assert "a fault" in caplog.text


def test_a_client_that_is_gone_when_its_call_fails_leaves_no_slot_taken(quick: Gateway) -> None:
    key = key_of(quick)
    quick.provider.script([UNKNOWN["half an answer, and then nothing"]])
    body = {**BODIES["/v1/chat/completions"], "stream": True}
    with quick.http(key) as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert isinstance(answer, httpx.Response)
        next(answer.iter_raw())
    eventually(lambda: set(slots_taken(quick, key).values()) == {0})
    assert quick.chat(key).status_code == 200


def test_a_refusal_says_to_wait_only_for_calls_that_run(patient: Gateway) -> None:
    key = patient.new_key(max_budget=0.002)
    patient.execute(PutBudget(a_budget("global", "concurrency", 9)))
    patient.execute(PutBudget(a_budget("deployment:demo-1", "concurrency", 9)))
    patient.provider.script([{"hang_after_chunks": 2}, UNKNOWN["a 504"]])
    body = {**BODIES["/v1/chat/completions"], "max_tokens": 60, "stream": True}
    with patient.http(key) as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        waiting = patient.chat(key, max_tokens=60)
        assert waiting.status_code == 429, waiting.text
        assert waiting.headers["retry-after"] == "1"
        assert waiting.json()["error"]["can_wait"] is True
        patient.provider.release()
        list(pieces)
    assert patient.chat(key, max_tokens=60).status_code == 504
    refused = patient.chat(key, max_tokens=60)
    assert refused.status_code == 402, "what the 504 holds will be presumed spent"
    assert refused.headers["x-should-retry"] == "false"
    assert "retry-after" not in refused.headers
    assert refused.json()["error"]["can_wait"] is False
    assert float(refused.json()["error"]["reserved"]) > 0


def test_a_rate_that_a_running_call_uses_up_says_when_its_window_ends(patient: Gateway) -> None:
    patient.execute(PutBudget(a_budget("global", "concurrency", 9)))
    patient.execute(PutBudget(a_budget("deployment:demo-1", "concurrency", 9)))
    key = patient.new_key(rpm_limit=1)
    patient.provider.script([{"hang_after_chunks": 2}])
    body = {**BODIES["/v1/chat/completions"], "stream": True}
    with patient.http(key) as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        refused = patient.chat(key)
        assert refused.status_code == 429
        error = refused.json()["error"]
        assert (error["unit"], error["can_wait"]) == ("requests", False)
        assert error["resets_at"] is not None
        assert int(refused.headers["retry-after"]) >= 1
        patient.provider.release()
        list(pieces)
