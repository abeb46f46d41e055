"""What a request cost, found by the id of its answer, which is all that a caller's program keeps of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gateways import HELLO, Gateway, run_gateway
from management import shown

from outlay.domain.commands import Reserve, Settle
from outlay.gateway.config import PROJECT
from outlay.testing.clock import FakeClock
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["gateway_fixtures"]

CLAUDE: Any = "claude-sonnet-4-6"


def chat(gateway: Gateway, key: str) -> str:
    made: Any = gateway.openai(key).chat.completions.create(model="demo", messages=HELLO, max_tokens=5)
    return str(made.id)


def chat_stream(gateway: Gateway, key: str) -> str:
    made = gateway.openai(key).chat.completions.create(
        model="demo", messages=HELLO, max_tokens=5, stream=True
    )
    return [chunk.id for chunk in made][-1]


def completion(gateway: Gateway, key: str) -> str:
    return str(gateway.openai(key).completions.create(model="demo", prompt="Hi", max_tokens=5).id)


def response(gateway: Gateway, key: str) -> str:
    return gateway.openai(key).responses.create(model="demo", input="Hi", max_output_tokens=16).id


def response_stream(gateway: Gateway, key: str) -> str:
    made = gateway.openai(key).responses.create(model="demo", input="Hi", max_output_tokens=16, stream=True)
    return next(event.response.id for event in made if event.type == "response.created")


def message(gateway: Gateway, key: str) -> str:
    return gateway.anthropic(key).messages.create(model=CLAUDE, max_tokens=5, messages=HELLO).id


def message_stream(gateway: Gateway, key: str) -> str:
    with gateway.anthropic(key).messages.stream(model=CLAUDE, max_tokens=5, messages=HELLO) as stream:
        return stream.get_final_message().id


CALLS = [chat, chat_stream, completion, response, response_stream, message, message_stream]


@pytest.mark.parametrize("call", CALLS)
def test_a_request_is_found_by_the_id_of_its_answer(
    gateway: Gateway, call: Callable[[Gateway, str], str]
) -> None:
    key, other = gateway.new_key(user_id="ada"), gateway.new_key(user_id="bob")
    chat(gateway, other)
    id = call(gateway, key)
    gateway.settled()
    (row,) = shown(gateway, "/spend/logs", {"request_id": id})
    assert row["metadata"]["response_id"] == id
    assert row["spend"] == gateway.journal.entries()[-1].usd_nanos / 1e9 > 0  # type: ignore[operator] # it has a cost
    assert shown(gateway, "/spend/logs", {"request_id": row["request_id"]}) == [row]
    assert shown(gateway, "/spend/logs", {"request_id": id}, key) == [row]
    assert shown(gateway, "/spend/logs", {"request_id": id}, other) == []
    (entry,) = shown(gateway, "/v1/entries", {"request_id": id}, key)["entries"]
    assert entry["request_id"] == row["request_id"]
    assert shown(gateway, "/v1/entries", {"request_id": id}, other)["entries"] == []
    assert shown(gateway, "/spend/logs", {"request_id": "chatcmpl-made-up"}) == []


def test_a_presumed_charge_is_found_by_the_answer_that_corrected_it(
    provider: FakeProvider, tmp_path: Path
) -> None:
    clock = FakeClock()
    with run_gateway(provider, tmp_path, clock=clock) as gateway:
        held = Reserve(PROJECT, "r1", ("user:ada",), {}, 1_000_000, request_id="req-1")
        gateway.execute(held)
        clock.advance(2)
        gateway.services.ledger.sweep()
        gateway.execute(Settle(PROJECT, "r1", 7, 3, detail={"response_id": "chatcmpl-late"}))
        (row,) = shown(gateway, "/spend/logs", {"request_id": "chatcmpl-late"})
        assert (row["request_id"], row["metadata"]["is_corrected"]) == ("req-1", True)
        assert len(shown(gateway, "/v1/entries", {"request_id": "chatcmpl-late"})["entries"]) == 2
