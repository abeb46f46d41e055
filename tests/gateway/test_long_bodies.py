"""Long bodies cost a gateway nothing that their senders cannot pay for, and keep nobody else waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from gateways import DEMO_RATE, HELLO, Gateway, run_gateway, usd_budget
from journal import eventually

from outlay.domain.commands import Command, Probe, PutBudget, Reserve
from outlay.gateway.depth import check_depth
from outlay.ledger.writer import Job
from outlay.pricing.bound.estimate import estimate as bound_of
from outlay.testing.clock import FakeClock
from outlay.testing.provider import FakeProvider

LONG: list[Any] = [{"role": "user", "content": "Name three rivers in Europe. " * 4_000}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "demo", "messages": LONG, "max_tokens": 5},
    "/v1/completions": {"model": "demo", "prompt": LONG[0]["content"], "max_tokens": 5},
    "/v1/embeddings": {"model": "demo", "input": LONG[0]["content"]},
    "/v1/responses": {"model": "demo", "input": LONG[0]["content"], "max_output_tokens": 16},
    "/v1/messages": {"model": "claude-sonnet-4-6", "messages": LONG, "max_tokens": 5},
}


class Watched:
    """A gateway, how often it counted a request, and what its ledger was asked."""

    def __init__(self, gateway: Gateway, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gateway = gateway
        self.clock = clock
        self.counted: list[str] = []
        self.asked: list[Command] = []
        submit = gateway.services.ledger.writer.submit

        def count(*arguments: Any, **options: Any) -> Any:
            self.counted.append(threading.current_thread().name)
            return bound_of(*arguments, **options)

        def note(job: Job, *, is_unawaited: bool = False) -> None:
            if isinstance(job.command, Probe | Reserve):
                self.asked.append(job.command)
            submit(job, is_unawaited=is_unawaited)

        monkeypatch.setattr("outlay.gateway.estimate.bound_of", count)
        monkeypatch.setattr(gateway.services.ledger.writer, "submit", note)


@pytest.fixture(scope="module")
def clock() -> FakeClock:
    return FakeClock(datetime.fromisoformat("2026-01-01T12:00:00+00:00"))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, clock: FakeClock) -> Iterator[Gateway]:
    with (
        FakeProvider(default_rate=DEMO_RATE) as provider,
        run_gateway(provider, tmp_path_factory.mktemp("long"), clock=clock) as gateway,
    ):
        yield gateway


@pytest.fixture
def watched(running: Gateway, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(running, clock, monkeypatch)


def spend_all(gateway: Gateway, key: str) -> None:
    """Let a key whose budget may be crossed cross it."""
    while gateway.chat(key).status_code == 200:
        gateway.settled()


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("mode", ["hard", "crossing"])
def test_a_key_that_has_nothing_left_is_refused_before_its_body_is_counted(
    watched: Watched, mode: str, path: str
) -> None:
    gateway = watched.gateway
    key = gateway.new_key(max_budget=0.0001, budget_mode="crossing")
    spend_all(gateway, key)
    gateway.post("/key/update", {"key": key, "budget_mode": mode})
    gateway.post("/key/update", {"key": key, "max_budget": 0.00005})
    watched.counted.clear()
    answer = gateway.post(path, BODIES[path], key)
    assert answer.status_code == 402, answer.text
    assert answer.headers["x-should-retry"] == "false"
    assert watched.counted == []
    error = answer.json()["error"]
    small = gateway.chat(key).json()["error"]
    names = ("budget", "account", "unit", "window", "limit", "settled", "reserved", "resets_at", "can_wait")
    assert {name: error[name] for name in names} == {name: small[name] for name in names}
    assert error["needed"] is None, "it was not counted"
    assert float(error["settled"]) >= float(error["limit"]) > 0


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        ({"max_budget": 0}, 402),
        ({"model_max_budget": {"demo": {"budget_limit": 0}}}, 402),
        ({"budget_limits": [{"max_budget": 0, "budget_duration": "1d"}]}, 402),
        ({"tpm_limit": 0}, 400),
        ({"rpm_limit": 0}, 429),
        ({"max_parallel_requests": 0}, 429),
    ],
)
def test_every_budget_that_is_spent_refuses_it_uncounted(
    watched: Watched, limits: dict[str, Any], status: int
) -> None:
    key = watched.gateway.new_key(**limits)
    assert watched.gateway.chat(key, messages=LONG).status_code == status
    assert watched.counted == []


def test_a_rate_that_is_used_up_refuses_it_uncounted_until_its_window_ends(watched: Watched) -> None:
    key = watched.gateway.new_key(rpm_limit=1)
    assert watched.gateway.chat(key).status_code == 200
    watched.counted.clear()
    refused = watched.gateway.chat(key, messages=LONG)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert watched.counted == []
    watched.clock.advance(60)
    assert watched.gateway.chat(key, messages=LONG).status_code == 200


def test_a_budget_of_somebody_above_refuses_it_uncounted_and_tells_nothing_of_it(watched: Watched) -> None:
    gateway = watched.gateway
    gateway.execute(PutBudget(usd_budget("customer:broke", 0)))
    answer = gateway.chat(gateway.new_key(max_budget=1), messages=LONG, user="broke")
    assert answer.status_code == 402
    assert "limit" not in answer.json()["error"]
    assert watched.counted == []


@pytest.mark.parametrize(
    ("limits", "more"), [({}, {}), ({"max_budget": 5}, {}), ({"max_budget": 0.001}, {"max_tokens": 1})]
)
def test_who_has_something_left_is_counted(
    watched: Watched, limits: dict[str, Any], more: dict[str, Any]
) -> None:
    key = watched.gateway.new_key(**limits)
    answer = watched.gateway.chat(key, messages=LONG, **more)
    assert answer.status_code == (402 if limits.get("max_budget") == 0.001 else 200)
    assert [type(each) for each in watched.asked] == [Probe, Reserve]
    assert len(watched.counted) == 1
    assert not watched.counted[0].startswith("MainThread")


def test_a_request_of_usual_length_asks_the_ledger_once(watched: Watched) -> None:
    assert watched.gateway.chat(watched.gateway.new_key(max_budget=5)).status_code == 200
    assert [type(each) for each in watched.asked] == [Reserve]


def test_what_others_hold_refuses_nobody_uncounted(watched: Watched) -> None:
    gateway = watched.gateway
    key = gateway.new_key(max_parallel_requests=1)
    gateway.provider.script([{"hang_after_chunks": 1}])
    stream = gateway.openai(key).chat.completions.create(
        model="demo", messages=HELLO, max_tokens=5, stream=True
    )
    next(iter(stream))
    watched.counted.clear()
    assert gateway.chat(key, messages=LONG).status_code == 429
    assert len(watched.counted) == 1
    gateway.provider.release()
    list(stream)
    eventually(lambda: gateway.chat(key).status_code == 200)


def test_a_model_that_is_free_is_served_though_all_is_spent(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = watched.gateway.services.book
    free: Callable[..., Any] = book.price
    monkeypatch.setattr(book, "price", lambda *names, **_: free(*names, at=0, own={"free": True}))
    key = watched.gateway.new_key(max_budget=0)
    assert watched.gateway.chat(key, messages=LONG).status_code == 200


def test_bodies_of_megabytes_are_read_away_from_the_event_loop(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []

    def noted(data: bytes, most: int) -> None:
        threads.append(threading.current_thread().name)
        check_depth(data, most)

    monkeypatch.setattr("outlay.gateway.parse.check_depth", noted)
    key = watched.gateway.new_key(max_budget=0)
    content = "river " * 400_000
    assert watched.gateway.chat(key, messages=[{"role": "user", "content": content}]).status_code == 402
    assert watched.gateway.chat(key).status_code == 402
    assert threads[0].startswith("outlay-reader")
    assert not threads[1].startswith("outlay-reader")


MILLION = 1_000_000
MANY: dict[str, tuple[str, dict[str, Any]]] = {
    "texts": ("/v1/chat/completions", {"stop": ["s"] * MILLION}),
    "numbers": ("/v1/embeddings", {"model": "demo", "input": [7] * MILLION}),
    "fields": ("/v1/chat/completions", {"logit_bias": dict.fromkeys(map(str, range(MILLION)), 1)}),
    "fields of the body": ("/v1/chat/completions", dict.fromkeys(map(str, range(MILLION)), 1)),
    "a list of lists": ("/v1/embeddings", {"model": "demo", "input": [[7] * 10_000] * 100}),
}


@pytest.mark.parametrize(("path", "fields"), MANY.values(), ids=MANY)
def test_a_body_of_a_million_values_is_refused_before_it_is_read(
    running: Gateway, path: str, fields: dict[str, Any]
) -> None:
    body = {"model": "demo", "messages": HELLO, "max_tokens": 5, **fields}
    answer = running.post(path, body, running.new_key(max_budget=0))
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "request_too_complex"
    assert "500,000 values" in answer.json()["error"]["message"]


@pytest.mark.parametrize("text", ["a,b," * 400_000, '\\",' * 400_000, '",' * 600_000, "[1,2],{}" * 200_000])
def test_signs_within_texts_are_no_values(running: Gateway, text: str) -> None:
    content = [{"role": "user", "content": text}]
    assert running.chat(running.new_key(max_budget=0), messages=content).status_code == 402


def test_as_many_tokens_as_a_provider_takes_at_once_are_no_too_many_values(running: Gateway) -> None:
    body = {"model": "demo", "input": [[7] * 2_000] * 150}
    assert running.post("/v1/embeddings", body, running.new_key(max_budget=5)).status_code == 200
