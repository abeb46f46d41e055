"""Usage: what the usage object of an answer claims, whatever family's names it has.

OpenAI's names (`prompt_tokens`, with its parts in it) and Anthropic's (`input_tokens`, with cached tokens
beside it) are read in every format, and what others call the same: DeepSeek's `prompt_cache_hit_tokens`,
vLLM's `num_cached_tokens`, Moonshot's `cached_tokens` and its usage inside a choice, Groq's `x_groq`,
Perplexity's `reasoning_tokens`, OpenRouter's `server_tool_use_details`, xAI's
`server_side_tool_usage_details`. Nothing is judged here: see `pricing.figures`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from math import isfinite
from typing import Any, Final

from outlay.pricing.figures import CACHE_BESIDE, ITERATIONS, TOTAL, as_count, is_count

Claim = dict[str, object]
"""What a provider says it used: genai-prices' unit names → the raw values it sent, unjudged.

`input_tokens` and `output_tokens` are totals with their parts in them, unless `pricing.figures` finds that
some stand beside them. A value that is null or absent is left out; a negative one, a text or a fraction is
passed on as it is.
"""

_NAMES: Final[Mapping[str, str]] = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "output_tokens": "output_tokens",
    "total_tokens": TOTAL,
    "prompt_cache_hit_tokens": "cache_read_tokens",
    "cached_tokens": "cache_read_tokens",
    "num_cached_tokens": "cache_read_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "tool_use_prompt_tokens": "input_tool_tokens",
    "reasoning_tokens": "output_reasoning_tokens",
    "citation_tokens": "output_citation_tokens",
    "num_search_queries": "web_searches",
}
_OWN: Final = "input_tokens"
"""Anthropic's name of the input without what was cached; in the Responses format, of all of it."""
_BESIDE: Final[Mapping[str, str]] = {
    "cache_read_input_tokens": "cache_read_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
}
"""Anthropic's names: by definition beside `input_tokens`."""
_INPUT_DETAILS: Final[Mapping[str, str]] = {
    "cached_tokens": "cache_read_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_read_input_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cache_creation_tokens": "cache_write_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
    "audio_tokens": "input_audio_tokens",
    "tool_tokens": "input_tool_tokens",
    "tool_use_prompt_tokens": "input_tool_tokens",
}
_OUTPUT_DETAILS: Final[Mapping[str, str]] = {
    "reasoning_tokens": "output_reasoning_tokens",
    "thinking_tokens": "output_reasoning_tokens",
    "audio_tokens": "output_audio_tokens",
    "image_tokens": "output_image_tokens",
}
_LIFETIMES: Final[Mapping[str, str]] = {
    "ephemeral_5m_input_tokens": "cache_write_5m_tokens",
    "ephemeral_1h_input_tokens": "cache_write_1h_tokens",
}
_TOOLS: Final[Mapping[str, str]] = {
    "web_search_requests": "web_searches",
    "web_search_calls": "web_searches",
    "code_execution_requests": "code_executions",
    "code_interpreter_calls": "code_executions",
    "x_search_calls": "social_searches",
    "file_search_calls": "storage_searches",
}
_WITHIN: Final[Mapping[str, Mapping[str, str]]] = {
    "prompt_tokens_details": _INPUT_DETAILS,
    "input_tokens_details": _INPUT_DETAILS,
    "completion_tokens_details": _OUTPUT_DETAILS,
    "output_tokens_details": _OUTPUT_DETAILS,
    "cache_creation": _LIFETIMES,
    "cache_creation_token_details": _LIFETIMES,
    "server_tool_use": _TOOLS,
    "server_tool_use_details": _TOOLS,
    "server_side_tool_usage_details": _TOOLS,
}
_MAPPING: Final = (dict, Mapping)
"""A plain dict, as nearly all are, is known without a look at what else a mapping may be."""
_HOLDERS: Final = frozenset(("x_groq", "message", "delta", "response", "item"))
"""Where a usage may stand beside the top of an answer, a chunk or an event."""
_SPENT: Final = ("output_", "web_searches")
"""What each choice of an answer adds to; the input is the same for all."""


class Tally:
    """The usage of one answer, as it grows: of each counter the largest value counts, in whatever order.

    `merged` is all of it, `is_doubtful` whether a value that is no count came behind one that is.
    """

    def __init__(self, *, is_beside: bool = False) -> None:
        self.merged: dict[str, Any] = {}
        self.is_doubtful = False
        self._is_beside = is_beside
        self._is_found = False
        self._of_choices: dict[int, dict[str, Any]] = {}

    def add(self, usage: object, choice: int | None = None) -> bool:
        """Take in a usage, of the whole or of one choice; gives whether there was one."""
        if usage is None:
            return False
        self._is_found = True
        if isinstance(usage, list):
            for each in usage:
                self.add(each, choice)
        elif isinstance(usage, _MAPPING):
            merged = self.merged if choice is None else self._of_choices.setdefault(choice, {})
            if not merged:
                merged.update(usage)
            elif not _merge(merged, usage):
                self.is_doubtful = True
        return True

    def add_all(self, body: Mapping[str, Any]) -> bool:
        """Take in the usage of an answer, a chunk or an event, wherever it stands; whether there was one."""
        is_found = self.add(body.get("usage"))
        for name in _HOLDERS & body.keys():
            holder = body[name]
            if holder and isinstance(holder, _MAPPING) and "usage" in holder:
                is_found = self.add(holder["usage"]) or is_found
        choices = body.get("choices")
        for position, choice in enumerate(choices) if isinstance(choices, list) else ():
            if isinstance(choice, _MAPPING):
                index = choice.get("index")
                at = index if isinstance(index, int) else position
                for place in (choice, choice.get("message"), choice.get("delta")):
                    if isinstance(place, _MAPPING) and "usage" in place:
                        is_found = self.add(place["usage"], at) or is_found
        return is_found

    def usages(self) -> list[Mapping[str, Any]]:
        """The usage of the whole, if it has one, else those of its choices."""
        return [self.merged] if self.merged else list(self._of_choices.values())

    def claim(self) -> Claim | None:
        """What all of it claims; None if there was no usage."""
        if not self._is_found:
            return None
        claim = claim_of(self.merged, is_beside=self._is_beside)
        if self._of_choices:
            parts = [claim_of(usage, is_beside=self._is_beside) for usage in self._of_choices.values()]
            for unit, value in _together(parts).items():
                _put(claim, unit, value)
        return claim


def claim_of(usage: Mapping[str, Any], *, is_beside: bool) -> Claim:
    """Read one usage object.

    `is_beside`: whether it is of Anthropic's format, where cached tokens always stand beside the input. In
    other formats Anthropic's names say so too, unless the total says that they are in it.
    """
    claim: Claim = {}
    beside: Claim = {}
    for name, value in usage.items():
        if value is None:
            continue
        if name in _NAMES:
            _put(claim, _NAMES[name], value)
        elif name in _BESIDE:
            _put(beside, _BESIDE[name], value)
        elif name in _WITHIN:
            for details in value if isinstance(value, list) else (value,):
                if isinstance(details, _MAPPING):
                    _read_within(details, _WITHIN[name], claim)
    _add_lifetimes(claim, beside)
    is_inside = any(unit in claim for unit in beside)
    for unit, value in beside.items():
        _put(claim, unit, value)
    _add_own(usage, claim, beside, is_beside=is_beside, is_inside=is_inside)
    iterations = usage.get(ITERATIONS)
    if isinstance(iterations, list):
        claim[ITERATIONS] = [_iteration(each) for each in iterations if isinstance(each, Mapping)]
    return claim


def with_uses(claim: Claim, uses: Mapping[str, int]) -> Claim:
    """A claim in which each unit is no less than the uses that an answer shows."""
    raised = dict(claim)
    for unit, count in uses.items():
        _put(raised, unit, count)
    return raised


def _read_within(details: Mapping[str, Any], names: Mapping[str, str], claim: Claim) -> None:
    for name, value in details.items():
        if value is None:
            continue
        if name in names:
            _put(claim, names[name], value)
        elif isinstance(value, Mapping) and _WITHIN.get(name) is _LIFETIMES:
            _read_within(value, _LIFETIMES, claim)


def _add_lifetimes(claim: Claim, beside: Claim) -> None:
    """Cache writes are at least what their lifetimes add up to."""
    if claim.keys().isdisjoint(_LIFETIMES.values()):
        return
    told = [as_count(claim.get(unit)) for unit in _LIFETIMES.values()]
    parts = [count for count in told if is_count(count)]
    if parts:
        where = claim if "cache_write_tokens" in claim and "cache_write_tokens" not in beside else beside
        _put(where, "cache_write_tokens", sum(parts))


def _add_own(
    usage: Mapping[str, Any], claim: Claim, beside: Claim, *, is_beside: bool, is_inside: bool
) -> None:
    """Read `input_tokens`, which may leave out the cached tokens; say so where only the total can tell."""
    told = usage.get(_OWN)
    if told is None and not beside:
        return
    prompt = as_count(claim.get("input_tokens"))
    cached = sum(count for value in beside.values() if is_count(count := as_count(value)))
    if told is not None:
        own = as_count(told)
        is_said = is_count(own) and bool(own or not prompt)  # a 0 beside the other name says nothing
        if cached and is_said and (is_beside or prompt == own + cached):
            told, cached = own + cached, 0
        _put(claim, "input_tokens", told)
    if cached and not is_inside and "input_tokens" in claim:
        claim[CACHE_BESIDE] = True


def _iteration(usage: Mapping[str, Any]) -> dict[str, object]:
    """One iteration of Anthropic's: its claim, with its `type`, and its `model` where it says one."""
    claim: dict[str, object] = dict(claim_of({**usage, ITERATIONS: None}, is_beside=True))
    return claim | {name: usage[name] for name in ("type", "model") if isinstance(usage.get(name), str)}


def _put(claim: Claim, unit: str, value: Any) -> None:
    """Keep the larger of two counts; a value that is no count gives way to one that is."""
    known = claim.get(unit)
    if known is None or _is_larger_count(as_count(value), as_count(known)):
        claim[unit] = as_count(value) if isinstance(value, float) else value


def _is_larger_count(value: Any, known: Any) -> bool:
    return is_count(value) and (not is_count(known) or value > known)


def _merge(merged: dict[str, Any], newer: Mapping[str, Any]) -> bool:
    """Keep the larger of each number, and the newer of all else; gives whether each number stayed one.

    What has parts keeps them: neither a number nor an empty list takes them away.
    """
    is_sound = True
    for key, value in newer.items():
        known = merged.get(key)
        if value is None:
            continue
        if isinstance(value, Mapping):
            within = dict(known) if isinstance(known, Mapping) else {}
            is_sound = _merge(within, value) and is_sound
            merged[key] = within
        elif isinstance(known, list) and isinstance(value, list):
            merged[key] = _merged_list(known, value)
        elif isinstance(known, Mapping | list):
            continue
        elif not _is_number(number := as_count(known)) or _is_larger(as_count(value), number):
            merged[key] = value
        else:
            is_sound = is_sound and _is_larger(as_count(value), -1)
    return is_sound


def _merged_list(known: list[Any], newer: list[Any]) -> list[Any]:
    """Merge two lists item by item; the longer one's rest stays."""
    merged = []
    for one, other in zip_longest(known, newer):
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            item = dict(one)
            _merge(item, other)
            merged.append(item)
        else:
            merged.append(one if other is None else other)
    return merged


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _is_larger(value: Any, known: float) -> bool:
    return _is_number(value) and value > known


def _together(claims: list[Claim]) -> Claim:
    """What the usages of several choices say together: the outputs add up, the input is one."""
    whole: Claim = {}
    for claim in claims:
        for unit, value in claim.items():
            known, value = as_count(whole.get(unit)), as_count(value)  # noqa: PLW2901 # what it says
            if unit.startswith(_SPENT) and is_count(known) and is_count(value):
                whole[unit] = known + value
            elif unit != TOTAL or len(claims) == 1:
                _put(whole, unit, value)
    return whole
