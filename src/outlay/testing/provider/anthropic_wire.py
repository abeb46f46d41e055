"""Anthropic's wire, as the provider's side writes it: messages, their stream, errors.

Shapes after Anthropic's API reference (Messages, Streaming messages): `message_start` carries the input,
each `message_delta` the output so far, and cached input is counted beside `input_tokens`, not in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from outlay.testing.provider.openai_wire import Event, sse, with_usage
from outlay.testing.provider.plan import Plan


def error_body(status: int, message: str) -> bytes:
    """An error in Anthropic's shape."""
    kinds = {
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        429: "rate_limit_error",
    }
    kind = kinds.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}})


def body(plan: Plan) -> dict[str, Any]:
    """The whole answer."""
    return with_usage(plan, _message(plan, is_whole=True), usage(plan, plan.produced))


def usage(plan: Plan, produced: int) -> dict[str, Any]:
    """The `usage` of a message."""
    cached = plan.behaviour.cached_tokens
    return {
        "input_tokens": plan.claimed(plan.input_tokens - cached),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": plan.claimed(produced),
    }


def events(plan: Plan) -> Iterator[Event]:
    """The whole stream, event by event."""
    step = max(plan.behaviour.tokens_per_chunk, 1)
    made = plan.hidden
    start = with_usage(plan, _message(plan, is_whole=False), usage(plan, min(1, plan.produced)))
    yield _event("message_start", made, message=start)
    yield _event("content_block_start", made, index=0, content_block={"type": "text", "text": ""})
    yield _event("ping", made)
    for first in range(0, len(plan.choices[0]), step):
        pieces = plan.choices[0][first : first + step]
        made += len(pieces)
        yield _event(
            "content_block_delta", made, index=0, delta={"type": "text_delta", "text": "".join(pieces)}
        )
    yield _event("content_block_stop", made, index=0)
    end: dict[str, Any] = {"delta": {"stop_reason": _reason(plan), "stop_sequence": None}}
    yield _event(
        "message_delta",
        plan.produced,
        **with_usage(plan, end, {"output_tokens": plan.claimed(plan.produced)}),
    )
    yield _event("message_stop", plan.produced)


def _event(name: str, made: int, **fields: Any) -> Event:
    return sse({"type": name, **fields}, name), made


def _reason(plan: Plan) -> str:
    return "max_tokens" if plan.is_capped else "end_turn"


def _message(plan: Plan, *, is_whole: bool) -> dict[str, Any]:
    return {
        "id": plan.id,
        "type": "message",
        "role": "assistant",
        "model": plan.model,
        "content": [{"type": "text", "text": "".join(plan.choices[0])}] if is_whole else [],
        "stop_reason": _reason(plan) if is_whole else None,
        "stop_sequence": None,
    }
