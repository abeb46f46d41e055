"""Anthropic's wire. Bodies after its public API reference."""

from __future__ import annotations

import json

import pytest

from outlay.errors import InvalidValueError
from outlay.providers.sse import Event
from outlay.providers.target import resolve
from outlay.providers.wires import Reading
from outlay.providers.wires.anthropic import VERSION, StreamReader, build, read

pytestmark = pytest.mark.once("rules that are the same on every Python")

START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4",
        "content": [],
        "stop_reason": None,
        "usage": {
            "input_tokens": 25,
            "cache_creation_input_tokens": 10,
            "cache_read_input_tokens": 100,
            "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 6},
            "output_tokens": 1,
            "service_tier": "standard",
        },
    },
}


def streamed(*events: object) -> Reading:
    reader = StreamReader()
    for event in events:
        reader.read(Event(event if isinstance(event, bytes) else json.dumps(event).encode()))
    return reader.reading


def delta(**fields: object) -> object:
    return {"type": "content_block_delta", "index": 0, "delta": fields}


@pytest.mark.parametrize("base", [None, "https://proxy.example", "https://proxy.example/v1"])
def test_a_request_carries_key_and_version(base: str | None) -> None:
    target = resolve("claude-3-5-haiku", api_key="sk-key", api_base=base, environ={})
    request = build(target, "messages", {"max_tokens": 5, "messages": []})
    assert request.url == f"{(base or 'https://api.anthropic.com').removesuffix('/v1')}/v1/messages"
    assert (request.headers["x-api-key"], request.headers["anthropic-version"]) == ("sk-key", VERSION)
    assert "authorization" not in request.headers
    assert json.loads(request.body) == {"max_tokens": 5, "messages": [], "model": "claude-3-5-haiku"}


def test_other_endpoints_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="messages"):
        build(resolve("claude-3-5-haiku", api_key="k", environ={}), "chat", {})


def test_an_answer_is_read_and_its_cached_input_added() -> None:
    body = {
        "id": "msg_1",
        "type": "message",
        "model": "claude-sonnet-4",
        "content": [
            {"type": "thinking", "thinking": "Hm. ", "signature": "c2ln"},
            {"type": "text", "text": "Hello"},
            {"type": "tool_use", "id": "t", "name": "look_up", "input": {"a": 1}},
        ],
        "stop_reason": "end_turn",
        "usage": {
            "input_tokens": 25,
            "cache_creation_input_tokens": 10,
            "cache_read_input_tokens": 100,
            "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 6},
            "output_tokens": 50,
            "server_tool_use": {"web_search_requests": 2},
            "service_tier": "priority",
        },
    }
    reading = read(body)
    assert reading.claim == {
        "input_tokens": 135,
        "output_tokens": 50,
        "cache_read_tokens": 100,
        "cache_write_tokens": 10,
        "cache_write_5m_tokens": 4,
        "cache_write_1h_tokens": 6,
        "web_searches": 2,
    }
    assert reading.text == 'Hm. Hellolook_up{"a":1}'
    assert (reading.finish_reason, reading.served["service_tier"]) == ("end_turn", "priority")
    assert reading.is_complete


def test_a_stream_takes_the_newest_counts() -> None:
    reading = streamed(
        START,
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        delta(type="text_delta", text="Hel"),
        delta(type="text_delta", text="lo"),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 5}},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {
                "input_tokens": None,
                "output_tokens": 15,
                "server_tool_use": {"web_search_requests": 1},
            },
        },
        {"type": "message_stop"},
    )
    assert reading.claim == {
        "input_tokens": 135,
        "output_tokens": 15,
        "cache_read_tokens": 100,
        "cache_write_tokens": 10,
        "cache_write_5m_tokens": 4,
        "cache_write_1h_tokens": 6,
        "web_searches": 1,
    }
    assert (reading.text, reading.finish_reason, reading.is_final) == ("Hello", "end_turn", True)
    assert (reading.response_id, reading.model) == ("msg_1", "claude-sonnet-4")
    assert reading.served["service_tier"] == "standard"


def test_input_is_not_added_twice_when_a_delta_repeats_it() -> None:
    usage = {"input_tokens": 25, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 10}
    reading = streamed(START, {"type": "message_delta", "delta": {}, "usage": usage | {"output_tokens": 2}})
    assert reading.claim is not None
    assert reading.claim["input_tokens"] == 135


def test_thinking_and_tool_input_are_text_and_signatures_are_not() -> None:
    reading = streamed(
        {"type": "content_block_start", "content_block": {"type": "tool_use", "name": "f", "input": {}}},
        delta(type="thinking_delta", thinking="Hm."),
        delta(type="signature_delta", signature="c2ln"),
        delta(type="input_json_delta", partial_json='{"a":1}'),
    )
    assert reading.text == 'fHm.{"a":1}'


def test_a_stream_that_broke_keeps_its_input_and_is_not_complete() -> None:
    reading = streamed(START, delta(type="text_delta", text="Hel"))
    assert reading.claim is not None
    assert reading.claim["input_tokens"] == 135
    assert not reading.is_complete


def test_an_error_in_the_middle_is_kept() -> None:
    reading = streamed(START, {"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}})
    failure = reading.failure("Anthropic")
    assert failure is not None
    assert str(failure) == "Anthropic broke off its answer: Busy"


@pytest.mark.parametrize("value", ["25", -3, 2.5, None])
def test_odd_counts_are_passed_on(value: object) -> None:
    claim = read({"usage": {"input_tokens": value, "output_tokens": 1}}).claim
    expected = {} if value is None else {"input_tokens": value}
    assert claim == {**expected, "output_tokens": 1}


@pytest.mark.parametrize(
    "data",
    [
        b"null",
        b"{}",
        b"not json",
        b'{"type": "message_start"}',
        b'{"type": "message_start", "message": {"usage": 3, "id": 4}}',
        b'{"type": "content_block_delta", "delta": [1]}',
        b'{"type": "message_delta", "delta": 3, "usage": "x"}',
        b'{"type": "error"}',
    ],
)
def test_no_event_breaks_the_reader(data: bytes) -> None:
    streamed(data)
