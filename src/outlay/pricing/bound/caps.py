"""Caps: how many answers a request asks for, and how long each may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from outlay.errors import InvalidValueError

Endpoint = Literal["chat", "completions", "embeddings", "responses", "messages"]

DEFAULT_MAX_TOKENS: Final = 16_384
UNKNOWN_MODEL_MAX_TOKENS: Final = 4_096
COMPLETIONS_DEFAULT: Final = 16
"""`/v1/completions` stops there by itself: https://platform.openai.com/docs/api-reference/completions"""
LEAST_TOKENS: Final = 16
LEAST_REASONING_TOKENS: Final = 1_024
_MOST_TOKENS: Final = 10**9
_MOST_ANSWERS: Final = 10_000

CAP_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "completions": ("max_tokens",),
    "responses": ("max_output_tokens",),
    "messages": ("max_tokens",),
    "embeddings": (),
}


@dataclass(frozen=True, slots=True)
class Caps:
    """Output tokens an answer may have: what is wanted, the least that makes sense, who said so."""

    wanted: int
    least: int
    floor: int
    field: str | None


def read_answers(body: Mapping[str, Any], endpoint: str) -> int:
    """Give how many answers are made to one prompt: the greater of `n` and `best_of`.

    Raises:
        InvalidValueError: `n` or `best_of` is no whole number of at least 1.
    """
    if endpoint not in ("chat", "completions"):
        return 1
    return max(_whole(body, name, 1, _MOST_ANSWERS) or 1 for name in ("n", "best_of"))


def read_caps(
    body: Mapping[str, Any],
    *,
    endpoint: Endpoint,
    is_reasoning: bool,
    default_max_tokens: int,
    max_output_tokens: int | None,
    room: int | None,
) -> Caps:
    """Give the output caps; `room` is the context window less the input bound, if both are known.

    Raises:
        InvalidValueError: a cap is no whole number, or negative.
    """
    if endpoint == "embeddings":
        return Caps(0, 0, 0, None)
    thinking = _thinking(body)
    floor = LEAST_REASONING_TOKENS if is_reasoning else LEAST_TOKENS
    floor = max(floor, thinking + 1) if thinking else floor
    declared = [(name, _whole(body, name, 0, _MOST_TOKENS)) for name in CAP_FIELDS[endpoint]]
    given = [(name, cap) for name, cap in declared if cap is not None]
    if given:
        cap = max(cap for _, cap in given)
        return Caps(cap, cap, min(floor, cap), given[0][0])
    if endpoint == "completions":
        return Caps(COMPLETIONS_DEFAULT, COMPLETIONS_DEFAULT, COMPLETIONS_DEFAULT, None)
    limits = [default_max_tokens + thinking]
    limits += [limit for limit in (max_output_tokens, room) if limit is not None]
    if len(limits) == 1:
        limits.append(UNKNOWN_MODEL_MAX_TOKENS + thinking)
    return Caps(max(floor, min(limits)), floor, floor, None)


def _thinking(body: Mapping[str, Any]) -> int:
    """Give the reasoning budget in tokens: Anthropic's `thinking`, OpenRouter's `reasoning`."""
    for name, key in (("thinking", "budget_tokens"), ("reasoning", "max_tokens")):
        setting = body.get(name)
        if isinstance(setting, Mapping):
            budget = _whole(setting, key, 0, _MOST_TOKENS, f"{name}.")
            if budget:
                return budget
    return 0


def _whole(body: Mapping[str, Any], name: str, least: int, most: int, prefix: str = "") -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidValueError(
            f"{prefix}{name} must be a whole number from {least} to {most:,}, not {value!r}"
        )
    return value
