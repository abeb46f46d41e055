"""The plan: what one request will be answered with, before a byte of it is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from outlay.testing.provider import tokens
from outlay.testing.provider.behaviour import Behaviour

_COMPLETIONS_DEFAULT_CAP = 16  # OpenAI's default for the legacy endpoint


class Refusal(Exception):
    """The provider will not serve the request: an HTTP status, what is wrong, and with which parameter."""

    def __init__(self, status: int, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param


@dataclass(slots=True)
class Plan:
    """An answer to be: `choices` has the visible text of each choice, in pieces of one token each.

    `produced` is how many tokens are billed; `tool` names the function a choice calls (its pieces are
    then the arguments); `hidden` counts the reasoning tokens of each choice.
    """

    id: str
    model: str
    endpoint: str
    behaviour: Behaviour
    body: Mapping[str, Any]
    input_tokens: int
    choices: tuple[tuple[str, ...], ...] = ()
    produced: int = 0
    hidden: int = 0
    is_capped: bool = False
    tool: str | None = None

    @property
    def is_stream(self) -> bool:
        """Whether the caller asked for a stream."""
        return bool(self.body.get("stream"))

    @property
    def wants_usage(self) -> bool:
        """Whether a stream of the OpenAI wire carries usage."""
        options = self.body.get("stream_options")
        is_asked = isinstance(options, Mapping) and bool(options.get("include_usage"))
        return is_asked or self.behaviour.is_usage_unasked

    def claimed(self, number: int) -> Any:
        """A count as the provider reports it: true, or a lie."""
        return _LIES.get(self.behaviour.usage, _honest)(number)


def _honest(number: int) -> int:
    return number


_LIES: dict[str, Callable[[int], Any]] = {
    "zero": lambda _: 0,
    "half": lambda number: number // 2,
    "double": lambda number: number * 2,
    "negative": lambda number: -number,
    "string": str,
    "float": lambda number: number + 0.5,
    "huge": lambda _: 10**15,
}


def make_plan(call_id: str, model: str, endpoint: str, body: Mapping[str, Any], behaviour: Behaviour) -> Plan:
    """Read a request and decide what it gets.

    Raises:
        Refusal: the request lacks something, or the behaviour refuses it.
    """
    _refuse(endpoint, body, behaviour)
    plan = Plan(call_id, model, endpoint, behaviour, body, count_input(endpoint, body))
    if endpoint != "embeddings":
        _generate(plan)
    return plan


def _refuse(endpoint: str, body: Mapping[str, Any], behaviour: Behaviour) -> None:
    needed = {"chat": "messages", "messages": "messages", "completions": "prompt"}.get(endpoint, "input")
    if needed not in body:
        raise Refusal(400, f"Missing required parameter: '{needed}'.", needed)
    if needed == "messages" and not isinstance(body[needed], list):
        raise Refusal(400, "Invalid type for 'messages': expected an array of objects.", needed)
    cap = _cap(endpoint, body)
    if cap is not None and (not isinstance(cap, int) or isinstance(cap, bool) or cap < 1):
        raise Refusal(400, f"Invalid value for the output cap: {cap!r}.", "max_tokens")
    if cap is None and (behaviour.needs_cap or endpoint == "messages"):
        raise Refusal(400, "max_tokens: Field required", "max_tokens")
    if behaviour.rejects_max_tokens and endpoint == "chat" and body.get("max_tokens") is not None:
        message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
        raise Refusal(400, message, "max_tokens")
    if behaviour.rejects_stream_options and body.get("stream_options") is not None:
        raise Refusal(422, "stream_options: Extra inputs are not permitted", "stream_options")


def count_input(endpoint: str, body: Mapping[str, Any]) -> int:
    """Count what a request puts in, as it is billed: with its system prompt and its tools."""
    if endpoint == "chat":
        return tokens.count_chat(body["messages"], body.get("tools"))
    if endpoint == "messages":
        system = [{"role": "system", "content": body["system"]}] if body.get("system") else []
        return tokens.count_chat([*system, *body["messages"]], body.get("tools"))
    if endpoint == "responses":
        start = [{"role": "system", "content": body["instructions"]}] if body.get("instructions") else []
        given = body["input"]
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        return tokens.count_chat([*start, *items], body.get("tools"))
    return tokens.count_input(body.get("prompt" if endpoint == "completions" else "input"))


def _cap(endpoint: str, body: Mapping[str, Any]) -> Any:
    match endpoint:
        case "chat":
            cap = body.get("max_completion_tokens")
            return body.get("max_tokens") if cap is None else cap
        case "responses":
            return body.get("max_output_tokens")
        case "completions":
            return body.get("max_tokens", _COMPLETIONS_DEFAULT_CAP)
        case _:
            return body.get("max_tokens")


def _generate(plan: Plan) -> None:
    body, behaviour = plan.body, plan.behaviour
    cap = None if behaviour.ignores_cap else _cap(plan.endpoint, body)
    wanted = behaviour.output_tokens
    allowed = wanted if cap is None else min(wanted, cap)
    plan.is_capped = allowed < wanted
    plan.hidden = min(behaviour.reasoning_tokens, allowed)
    count = body.get("n") or 1
    seed = tokens.seed_of(plan.model, _seed_text(plan))
    plan.tool = _tool(body) if plan.endpoint == "chat" else None
    if plan.tool is not None:
        plan.choices = (_arguments(plan, seed, allowed),) * count
        per_choice = plan.hidden + tokens.count(plan.tool) + len(plan.choices[0])
    else:
        plan.choices = tuple(tokens.words(seed + index, allowed - plan.hidden) for index in range(count))
        per_choice = allowed
    plan.produced = per_choice * max(count, body.get("best_of") or 1)


def _arguments(plan: Plan, seed: int, allowed: int) -> tuple[str, ...]:
    """The arguments of a tool call: as many words as fit beside the JSON around them, cut at the cap."""
    assert plan.tool is not None
    room = max(allowed - plan.hidden - tokens.count(plan.tool), 0)
    for length in range(room, -1, -1):
        pieces = tokens.split('{"text":"' + "".join(tokens.words(seed, length)) + '"}')
        if len(pieces) <= room:
            return pieces
    plan.is_capped = True
    return pieces[:room]


def _tool(body: Mapping[str, Any]) -> str | None:
    """The function the answer calls: the one `tool_choice` names, or the first if it is `required`."""
    tools, choice = body.get("tools"), body.get("tool_choice")
    if not tools or choice in (None, "auto", "none"):
        return None
    chosen = choice if isinstance(choice, Mapping) else tools[0]
    return str(chosen["function"]["name"])


def _seed_text(plan: Plan) -> bytes:
    for key in ("messages", "prompt", "input"):
        if key in plan.body:
            return msgspec.json.encode(plan.body[key])
    return b""
