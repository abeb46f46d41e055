"""OpenAI's wire, and those who speak it with an accent. Bodies after the providers' public references."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import BaseModel

from outlay.errors import InvalidValueError
from outlay.providers.catalogue import PROVIDERS, Endpoint
from outlay.providers.sse import Event
from outlay.providers.target import Target, resolve
from outlay.providers.wires import Reading, wire_of
from outlay.providers.wires.openai import build, read
from outlay.providers.wires.openai_stream import StreamReader

pytestmark = pytest.mark.once("rules that are the same on every Python")

CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-2024-08-06",
    "service_tier": "default",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"},
        {"index": 1, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "length"},
    ],
    "usage": {
        "prompt_tokens": 1117,
        "completion_tokens": 46,
        "total_tokens": 1163,
        "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 3},
        "completion_tokens_details": {
            "reasoning_tokens": 8,
            "audio_tokens": 2,
            "accepted_prediction_tokens": 5,
            "rejected_prediction_tokens": 1,
        },
    },
}


def target(model: str = "gpt-4o", **options: Any) -> Target:
    return resolve(model, api_key="sk-key", environ={}, **options)


def sent(model: str, body: Mapping[str, Any], endpoint: Endpoint = "chat") -> Any:
    return json.loads(build(target(model), endpoint, body).body)


def streamed(*events: object, endpoint: Endpoint = "chat", provider: str = "openai") -> Reading:
    reader = StreamReader(endpoint, PROVIDERS[provider].quirks)
    for event in events:
        data = event if isinstance(event, bytes) else json.dumps(event).encode()
        reader.read(Event(data))
    return reader.reading


def chunk(delta: object = None, *, index: int = 0, finish: str | None = None, **more: object) -> object:
    choices = [] if delta is None else [{"index": index, "delta": delta, "finish_reason": finish}]
    return {"id": "chatcmpl-1", "model": "gpt-4o", "choices": choices, **more}


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [
        ("chat", "/chat/completions"),
        ("completions", "/completions"),
        ("embeddings", "/embeddings"),
        ("responses", "/responses"),
    ],
)
def test_a_request_goes_to_its_endpoint_with_the_key(endpoint: Endpoint, path: str) -> None:
    request = build(target("openai/gpt-4o"), endpoint, {"model": "openai/gpt-4o", "seed": 7})
    assert request.url == f"https://api.openai.com/v1{path}"
    assert request.headers["authorization"] == "Bearer sk-key"
    assert json.loads(request.body) == {"model": "gpt-4o", "seed": 7}
    assert "sk-key" not in repr(request)


def test_without_a_key_no_header_is_sent() -> None:
    request = build(resolve("ollama/llama3", environ={}), "chat", {})
    assert "authorization" not in request.headers


def test_a_stream_is_asked_for_its_usage() -> None:
    body = sent("gpt-4o", {"stream": True, "stream_options": {"include_obfuscation": False}})
    assert body["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    assert "stream_options" not in sent("gpt-4o", {})
    assert "stream_options" not in sent("gpt-4o", {"stream": True}, "responses")


def test_mistral_is_not_asked_what_it_would_refuse() -> None:
    body = sent("mistral/mistral-large-latest", {"stream": True, "stream_options": {"include_usage": True}})
    assert "stream_options" not in body


def test_models_of_an_sdk_are_written_as_json() -> None:
    class Message(BaseModel):
        role: str
        content: str
        refusal: str | None = None

    body = sent("gpt-4o", {"messages": [Message(role="assistant", content="hi")]})
    assert body["messages"] == [{"role": "assistant", "content": "hi"}]


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="object"):
        build(target(), "chat", {"messages": [object()]})
    with pytest.raises(InvalidValueError, match="messages"):
        build(target(), "messages", {})


def test_a_chat_is_read() -> None:
    reading = read(CHAT, "chat")
    assert (reading.response_id, reading.model) == ("chatcmpl-1", "gpt-4o-2024-08-06")
    assert reading.claim == {
        "input_tokens": 1117,
        "output_tokens": 46,
        "cache_read_tokens": 1024,
        "input_audio_tokens": 3,
        "output_audio_tokens": 2,
        "output_reasoning_tokens": 8,
        "total_tokens": 1163,
    }
    assert reading.texts == ("Hello", "Hi")
    assert reading.finish_reasons == {0: "stop", 1: "length"}
    assert (reading.choices, reading.is_complete, reading.served["service_tier"]) == (2, True, "default")


@pytest.mark.parametrize("value", [-1, "12", 1.5, 10**30, True, [1], {"a": 1}])
def test_odd_values_are_passed_on_as_they_are(value: object) -> None:
    claim = read({"usage": {"prompt_tokens": value, "completion_tokens": 1}}, "chat").claim
    assert claim == {"input_tokens": value, "output_tokens": 1}


@pytest.mark.parametrize(
    ("body", "claim"),
    [({}, None), ({"usage": None}, None), ({"usage": "many"}, {}), ({"usage": []}, {}), ({"usage": {}}, {})],
)
def test_missing_usage_is_told_from_odd_usage(body: dict[str, Any], claim: object) -> None:
    assert read(body, "chat").claim == claim


def test_embeddings_are_read() -> None:
    body = {"object": "list", "model": "e", "data": [], "usage": {"prompt_tokens": 8, "total_tokens": 8}}
    assert read(body, "embeddings").claim == {"input_tokens": 8, "total_tokens": 8}


def test_completions_are_read() -> None:
    body = {
        "id": "cmpl-1",
        "choices": [{"index": 0, "text": " upon a time", "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
    }
    reading = read(body, "completions")
    claim = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
    assert (reading.text, reading.claim) == (" upon a time", claim)


def test_responses_are_read() -> None:
    body = {
        "id": "resp_1",
        "model": "gpt-4.1",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "output": [
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
            {"type": "function_call", "name": "look_up", "arguments": '{"a":1}'},
            {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]},
            {"type": "message", "content": [{"type": "refusal", "refusal": "No."}]},
        ],
        "usage": {
            "input_tokens": 36,
            "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
            "output_tokens": 87,
            "output_tokens_details": {"reasoning_tokens": 64},
            "total_tokens": 123,
        },
    }
    reading = read(body, "responses")
    assert reading.claim == {
        "input_tokens": 36,
        "output_tokens": 87,
        "cache_read_tokens": 4,
        "cache_write_tokens": 2,
        "output_reasoning_tokens": 64,
        "web_searches": 1,
        "total_tokens": 123,
    }
    assert reading.text == 'look_up{"a":1}HelloNo.'
    assert (reading.finish_reason, reading.error, reading.is_complete) == ("completed", None, True)


def test_tool_calls_refusals_and_reasoning_are_text() -> None:
    message = {
        "reasoning_content": "R",
        "reasoning": "R",
        "content": None,
        "refusal": "N",
        "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}],
        "function_call": {"name": "g", "arguments": "[]"},
        "audio": {"transcript": "A"},
    }
    assert read({"choices": [{"message": message}]}, "chat").text == "RNf{}g[]A"


def test_an_error_in_a_200_is_seen() -> None:
    reading = read({"error": {"message": "out of credits", "code": 402}}, "chat")
    failure = reading.failure("OpenRouter")
    assert failure is not None
    assert failure.is_unknown_outcome
    assert "out of credits" in str(failure)


def test_a_stream_is_read_to_its_end() -> None:
    reading = streamed(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Hel"}),
        chunk({"content": "Hi"}, index=1),
        chunk({"content": "lo"}),
        chunk({}, finish="stop"),
        chunk({}, index=1, finish="stop"),
        chunk(usage={"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}),
        b"[DONE]",
    )
    assert reading.texts == ("Hello", "Hi")
    assert reading.claim == {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12}
    assert (reading.choices, reading.is_final, reading.finish_reason) == (2, True, "stop")


def test_the_last_of_growing_usages_counts_and_null_takes_nothing_back() -> None:
    usages = [{"prompt_tokens": 9, "completion_tokens": count} for count in (1, 2, 3)]
    reading = streamed(*(chunk({"content": "x"}, usage=usage) for usage in usages), chunk({}, usage=None))
    assert reading.claim == {"input_tokens": 9, "output_tokens": 3}


def test_a_stream_that_broke_is_not_complete() -> None:
    reading = streamed(chunk({"content": "Hel"}), b'{"id": "chatcm', b"[1]")
    assert (reading.text, reading.is_complete, reading.malformed) == ("Hel", False, 2)
    assert reading.claim is None


def test_a_stream_without_done_is_complete_when_all_choices_ended() -> None:
    assert streamed(chunk({"content": "x"}), chunk({}, finish="stop")).is_complete


def test_an_error_in_the_middle_is_kept() -> None:
    reading = streamed(
        chunk({"content": "Hel"}), {"error": {"message": "overloaded", "type": "server_error"}}
    )
    assert reading.error == {"message": "overloaded", "type": "server_error"}
    assert reading.text == "Hel"


def test_text_that_is_not_utf8_is_mended() -> None:
    reading = streamed(b'{"choices":[{"index":0,"delta":{"content":"caf\xff"}}]}')
    assert (reading.text, reading.malformed) == ("caf�", 0)


def test_groq_hides_usage_in_its_own_field() -> None:
    usage = {"queue_time": 0.07, "prompt_tokens": 23, "completion_tokens": 19, "total_tokens": 42}
    reading = streamed(chunk({}, finish="stop", x_groq={"id": "req_1", "usage": usage}), provider="groq")
    assert reading.claim == {"input_tokens": 23, "output_tokens": 19, "total_tokens": 42}


def test_deepseek_names_its_cache_hits_otherwise() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "prompt_cache_hit_tokens": 64,
        "prompt_cache_miss_tokens": 36,
        "completion_tokens_details": {"reasoning_tokens": 12},
    }
    assert read({"usage": usage}, "chat").claim == {
        "input_tokens": 100,
        "output_tokens": 20,
        "cache_read_tokens": 64,
        "output_reasoning_tokens": 12,
    }


def test_openrouter_usage_is_read() -> None:
    usage = {
        "prompt_tokens": 194,
        "completion_tokens": 2,
        "cost": 0.95,
        "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 100, "audio_tokens": 0},
        "server_tool_use": {"web_search_requests": 2},
    }
    claim = read({"usage": usage}, "chat").claim
    assert claim is not None
    assert (claim["cache_write_tokens"], claim["web_searches"]) == (100, 2)


def test_mistral_content_comes_in_parts() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm. "}]},
        {"type": "text", "text": "Yes."},
    ]
    assert streamed(chunk({"content": parts}), provider="mistral").text == "Hm. Yes."


def test_responses_streams_are_read() -> None:
    usage = {"input_tokens": 3, "output_tokens": 2, "output_tokens_details": {"reasoning_tokens": 0}}
    reading = streamed(
        {"type": "response.created", "response": {"id": "resp_1", "model": "gpt-4.1", "usage": None}},
        {"type": "response.output_item.added", "item": {"type": "function_call", "name": "f"}},
        {"type": "response.function_call_arguments.delta", "delta": "{}"},
        {"type": "response.reasoning_summary_text.delta", "delta": "not billed as text"},
        {"type": "response.output_text.delta", "delta": "Hel"},
        {"type": "response.output_text.delta", "delta": "lo"},
        {"type": "response.output_text.done", "text": "Hello"},
        {
            "type": "response.incomplete",
            "response": {
                "id": "resp_1",
                "status": "incomplete",
                "incomplete_details": {"reason": "max_output_tokens"},
                "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}],
                "usage": usage,
            },
        },
        endpoint="responses",
    )
    assert reading.text == "f{}Hello"
    assert reading.claim == {"input_tokens": 3, "output_tokens": 2, "output_reasoning_tokens": 0}
    assert (reading.is_final, reading.finish_reason) == (True, "max_output_tokens")
    assert (reading.response_id, reading.model) == ("resp_1", "gpt-4.1")


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "code": "server_error", "message": "broken", "param": None},
        {
            "type": "response.failed",
            "response": {"status": "failed", "error": {"code": "server_error", "message": "broken"}},
        },
    ],
)
def test_a_responses_stream_that_fails_says_so(event: object) -> None:
    failure = streamed(event, endpoint="responses").failure("OpenAI")
    assert failure is not None
    assert str(failure) == "OpenAI broke off its answer: broken"


@pytest.mark.parametrize("endpoint", ["chat", "completions", "responses"])
@pytest.mark.parametrize(
    "data",
    [
        b"null",
        b"{}",
        b"",
        b'{"choices": 3, "usage": 4, "id": 5}',
        b'{"choices": [1, {"delta": 5}, {"index": "x", "delta": {"content": 7, "tool_calls": [3]}}]}',
        b'{"x_groq": 3, "error": "boom"}',
        b'{"type": 5, "response": 6, "item": 7}',
        b'{"type": "response.completed", "response": {"output": [3, {"content": 4}], "status": 5}}',
        b'{"type": "response.output_text.delta", "delta": {"a": 1}}',
        b"[" * 100_000,
    ],
)
def test_no_event_breaks_the_reader(endpoint: Endpoint, data: bytes) -> None:
    streamed(data, endpoint=endpoint)


def test_a_target_finds_its_wire() -> None:
    assert wire_of(target()).name == "openai"
    assert wire_of(target("claude-3-5-haiku"), "messages").name == "anthropic"


def test_a_chat_with_claude_goes_to_anthropics_own_compatible_endpoint() -> None:
    claude = target("claude-3-5-haiku")
    request = wire_of(claude, "chat").build(claude, "chat", {"messages": []})
    assert request.url == "https://api.anthropic.com/v1/chat/completions"
    assert claude.cap_field("chat") == "max_tokens"
