"""OpenAI's wire, as the provider's side writes it: chat, completions, embeddings, and errors.

Shapes after OpenAI's API reference and the types of its SDK.
"""

from __future__ import annotations

import base64
from array import array
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from outlay.testing.provider import tokens
from outlay.testing.provider.plan import Plan

CREATED = 1_700_000_000  # a fixed time, so that answers are the same every run
_encode = msgspec.json.Encoder().encode
Event = tuple[bytes, int]
"""One server-sent event, and how many output tokens have been produced once it is out."""

DONE = b"data: [DONE]\n\n"


def error_body(status: int, message: str, param: str | None = None) -> bytes:
    """An error in OpenAI's shape."""
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return _encode({"error": {"message": message, "type": kind, "param": param, "code": None}})


def sse(data: Mapping[str, Any], event: str | None = None) -> bytes:
    """One server-sent event."""
    name = f"event: {event}\n".encode() if event else b""
    return name + b"data: " + _encode(data) + b"\n\n"


def usage(plan: Plan, produced: int | None = None) -> dict[str, Any]:
    """The `usage` of chat and completions; `produced` for what is out so far."""
    out = plan.claimed(plan.produced if produced is None else produced)
    sent = plan.claimed(plan.input_tokens)
    total = plan.claimed(plan.input_tokens + (plan.produced if produced is None else produced))
    return {
        "prompt_tokens": sent,
        "completion_tokens": out,
        "total_tokens": total,
        "prompt_tokens_details": {"cached_tokens": plan.behaviour.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": plan.hidden * len(plan.choices),
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def with_usage(plan: Plan, body: dict[str, Any], usage: Mapping[str, Any]) -> dict[str, Any]:
    """Put usage into a body, or nothing, or null: as the behaviour wants it."""
    usage = with_more(plan, usage)
    if plan.behaviour.usage != "missing":
        body["usage"] = None if plan.behaviour.usage == "null" else usage
    return body


def with_more(plan: Plan, usage: Mapping[str, Any]) -> Mapping[str, Any]:
    """A usage with what the behaviour puts into it, or takes out."""
    if plan.behaviour.usage_more is None:
        return usage
    more = {**usage, **msgspec.json.decode(plan.behaviour.usage_more)}
    return {name: value for name, value in more.items() if value is not None}


def body(plan: Plan) -> dict[str, Any]:
    """The whole answer of chat, completions or embeddings."""
    match plan.endpoint:
        case "embeddings":
            return with_usage(plan, _embeddings(plan), _embeddings_usage(plan))
        case endpoint:
            name = "chat.completion" if endpoint == "chat" else "text_completion"
            choices = [_choice(plan, index) for index in range(len(plan.choices))]
            answer = {
                "id": plan.id,
                "object": name,
                "created": CREATED,
                "model": plan.model,
                "choices": choices,
            }
            return with_usage(plan, answer, usage(plan))


def _finish(plan: Plan) -> str:
    if plan.is_capped:
        return "length"
    return "tool_calls" if plan.tool else "stop"


def _choice(plan: Plan, index: int) -> dict[str, Any]:
    text = "".join(plan.choices[index])
    start: dict[str, Any] = {"index": index, "finish_reason": _finish(plan), "logprobs": None}
    if plan.endpoint == "completions":
        return {**start, "text": text}
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if plan.tool:
        function = {"name": plan.tool, "arguments": text}
        message["content"] = None
        message["tool_calls"] = [{"id": f"call_{plan.id}_{index}", "type": "function", "function": function}]
    return {**start, "message": message}


def _chunk(plan: Plan, choices: list[dict[str, Any]], **more: Any) -> bytes:
    name = "chat.completion.chunk" if plan.endpoint == "chat" else "text_completion"
    start = {"id": plan.id, "object": name, "created": CREATED, "model": plan.model, "choices": choices}
    if plan.wants_usage and "usage" not in more and plan.behaviour.usage_in == "final":
        more["usage"] = None
    return sse({**start, **more})


def events(plan: Plan) -> Iterator[Event]:
    """The whole stream of chat or completions, event by event."""
    indexes = range(len(plan.choices))
    step = max(plan.behaviour.tokens_per_chunk, 1)
    made = plan.hidden * len(plan.choices)
    if plan.endpoint == "chat":
        for index in indexes:
            made += tokens.count(plan.tool) if plan.tool else 0
            yield (
                _chunk(plan, [{"index": index, "delta": _first_delta(plan, index), "finish_reason": None}]),
                made,
            )
    for start in range(0, max(map(len, plan.choices), default=0), step):
        for index in indexes:
            pieces = plan.choices[index][start : start + step]
            made += len(pieces)
            choice = {"index": index, "finish_reason": None, **_delta(plan, "".join(pieces))}
            yield _chunk(plan, [choice], **_running_usage(plan, made)), made
    for index in indexes:
        is_last = index == indexes[-1]
        end = {"index": index, "finish_reason": _finish(plan), **_delta(plan, None)}
        yield _chunk(plan, [end], **(_last_usage(plan) if is_last else {})), plan.produced
    if plan.wants_usage and plan.behaviour.usage_in == "final" and plan.behaviour.usage != "missing":
        claim = None if plan.behaviour.usage == "null" else with_more(plan, usage(plan))
        yield _chunk(plan, [], usage=claim), plan.produced
    yield DONE, plan.produced


def _first_delta(plan: Plan, index: int) -> dict[str, Any]:
    if plan.tool is None:
        return {"role": "assistant", "content": "", "refusal": None}
    function = {"name": plan.tool, "arguments": ""}
    call = {"index": 0, "id": f"call_{plan.id}_{index}", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _delta(plan: Plan, text: str | None) -> dict[str, Any]:
    if plan.endpoint == "completions":
        return {"text": text or ""}
    if text is None:
        return {"delta": {}}
    if plan.tool:
        return {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}}
    return {"delta": {"content": text}}


def _running_usage(plan: Plan, made: int) -> dict[str, Any]:
    is_wanted = plan.behaviour.usage_in == "every" and plan.behaviour.usage != "missing"
    return {"usage": with_more(plan, usage(plan, made))} if is_wanted else {}


def _last_usage(plan: Plan) -> dict[str, Any]:
    if plan.behaviour.usage == "missing":
        return {}
    match plan.behaviour.usage_in:
        case "last" | "every":
            return {"usage": with_more(plan, usage(plan))}
        case "x_groq":
            return {"x_groq": {"id": f"req_{plan.id}", "usage": with_more(plan, usage(plan))}}
        case _:
            return {}


def _embeddings(plan: Plan) -> dict[str, Any]:
    given = plan.body["input"]
    is_many = isinstance(given, list) and bool(given) and not isinstance(given[0], int)
    size = plan.body.get("dimensions") or 8
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(plan, item, size)}
        for index, item in enumerate(given if is_many else [given])
    ]
    return {"object": "list", "data": data, "model": plan.model}


def _embeddings_usage(plan: Plan) -> dict[str, Any]:
    count = plan.claimed(plan.input_tokens)
    return {"prompt_tokens": count, "total_tokens": count}


def _vector(plan: Plan, item: Any, size: int) -> list[float] | str:
    seed = tokens.seed_of(plan.model, _encode(item))
    numbers = [((seed >> (index % 24)) & 0xFF) / 255 for index in range(size)]
    if plan.body.get("encoding_format") != "base64":
        return numbers
    return base64.b64encode(array("f", numbers).tobytes()).decode()
