"""A request's body is let go when its call is over, whatever became of it: no collector is waited for."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from gateways import DEMO_RATE, HELLO, Gateway, run_gateway
from journal import eventually

from outlay.errors import LedgerBusyError
from outlay.gateway.exchange import Exchange
from outlay.providers.transport import Timeouts
from outlay.testing.provider import FakeProvider

QUICK = Timeouts(connect_seconds=1, first_byte_seconds=0.5, between_chunks_seconds=0.5, total_seconds=5)
LONG = [{"role": "user", "content": "Name three rivers. " * 6_000}]
ASKED: dict[str, tuple[int, dict[str, Any], dict[str, Any]]] = {
    "served": (200, {}, {}),
    "a key that has nothing": (402, {"max_budget": 0}, {}),
    "a key that has nothing, and a long body": (402, {"max_budget": 0}, {"messages": LONG}),
    "no such model": (404, {}, {"model": "nonsense"}),
    "a model that is not the key's": (403, {"models": ["unpriced"]}, {}),
    "an unknown field": (403, {"max_budget": 1}, {"nonsense": "?" * 1000}),
    "a field that is the operator's": (400, {}, {"api_base": "http://example.com"}),
    "a cap that is no number": (400, {"max_budget": 1}, {"max_tokens": "five"}),
    "no price": (403, {"max_budget": 1}, {"model": "unpriced"}),
}
ENDED: dict[str, dict[str, Any]] = {
    "a refusal of the provider's": {"status": 400},
    "a 504 that may be billed": {"status": 504, "bills_failure": True},
    "no answer in time": {"hang_after_chunks": 0},
    "half an answer": {"cut_after_chunks": 2},
    "no JSON": {"nonsense": "html"},
    "nothing": {"nonsense": "empty"},
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with (
        FakeProvider(default_rate=DEMO_RATE) as provider,
        run_gateway(provider, tmp_path_factory.mktemp("bodies"), timeouts=QUICK) as running,
    ):
        eventually(lambda: running.chat().status_code == 200)  # the first call of a process takes longest
        yield running


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Nothing is collected but what nobody refers to."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def exchanges() -> int:
    return sum(isinstance(each, Exchange) for each in gc.get_objects())


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("kind", ASKED)
def test_of_a_request_that_was_answered_nothing_is_kept(gateway: Gateway, kind: str, is_stream: bool) -> None:
    status, limits, fields = ASKED[kind]
    answer = gateway.chat(gateway.new_key(**limits), stream=is_stream, **fields)
    assert answer.status_code == status, answer.text
    eventually(lambda: exchanges() == 0)


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("kind", ENDED)
def test_of_a_call_that_failed_nothing_is_kept(gateway: Gateway, kind: str, is_stream: bool) -> None:
    gateway.provider.script([ENDED[kind]])
    answer = gateway.chat(gateway.new_key(max_budget=1), stream=is_stream)
    assert answer.status_code != 200 or "error" in answer.text
    eventually(lambda: exchanges() == 0)


@pytest.mark.usefixtures("uncollected")
def test_of_a_request_that_the_ledger_could_not_take_nothing_is_kept(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object, **__: object) -> None:
        raise LedgerBusyError("the queue is full")

    key = gateway.new_key()
    with monkeypatch.context() as patch:
        patch.setattr(gateway.services.ledger.writer, "submit", busy)
        assert gateway.chat(key, messages=HELLO).status_code == 503
    eventually(lambda: exchanges() == 0)
