"""OpenAI's Responses endpoint, as the provider's side writes it: the answer and its stream of named events.

Shapes after OpenAI's API reference and the types of its SDK.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from outlay.testing.provider.openai_wire import CREATED, Event, sse, with_usage
from outlay.testing.provider.plan import Plan


def body(plan: Plan) -> dict[str, Any]:
    """The whole answer."""
    return with_usage(plan, _response(plan, _status(plan)), usage(plan))


def usage(plan: Plan) -> dict[str, Any]:
    """The `usage` of an answer."""
    return {
        "input_tokens": plan.claimed(plan.input_tokens),
        "input_tokens_details": {"cached_tokens": plan.behaviour.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": plan.claimed(plan.produced),
        "output_tokens_details": {"reasoning_tokens": plan.hidden},
        "total_tokens": plan.claimed(plan.input_tokens + plan.produced),
    }


def _response(plan: Plan, status: str, *, has_output: bool = True) -> dict[str, Any]:
    return {
        "id": plan.id,
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": plan.body.get("instructions"),
        "metadata": {},
        "model": plan.model,
        "output": [_item(plan, "completed")] if has_output else [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": plan.body.get("tools") or [],
        "top_p": 1.0,
    }


def _item(plan: Plan, status: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": "".join(plan.choices[0]), "annotations": []}
    content = [part] if status == "completed" else []
    return {
        "id": f"msg_{plan.id}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def events(plan: Plan) -> Iterator[Event]:
    """The whole stream, event by event."""
    step = max(plan.behaviour.tokens_per_chunk, 1)
    place = {"item_id": f"msg_{plan.id}", "output_index": 0, "content_index": 0}
    text = "".join(plan.choices[0])
    part = {"type": "output_text", "text": text, "annotations": []}
    number = 0

    def event(name: str, made: int, **fields: Any) -> Event:
        nonlocal number
        number += 1
        return sse({"type": name, "sequence_number": number - 1, **fields}, name), made

    made = plan.hidden
    opened = _response(plan, "in_progress", has_output=False)
    yield event("response.created", made, response=opened)
    yield event("response.output_item.added", made, output_index=0, item=_item(plan, "in_progress"))
    yield event("response.content_part.added", made, **place, part={**part, "text": ""})
    for start in range(0, len(plan.choices[0]), step):
        pieces = plan.choices[0][start : start + step]
        made += len(pieces)
        yield event("response.output_text.delta", made, **place, delta="".join(pieces), logprobs=[])
    yield event("response.output_text.done", made, **place, text=text, logprobs=[])
    yield event("response.content_part.done", made, **place, part=part)
    yield event("response.output_item.done", made, output_index=0, item=_item(plan, "completed"))
    final = body(plan)
    yield event(f"response.{_status(plan)}", plan.produced, response=final)


def _status(plan: Plan) -> str:
    return "incomplete" if plan.is_capped else "completed"
