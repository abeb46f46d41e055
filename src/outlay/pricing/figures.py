"""Figures: what the counts of one usage say together.

Providers disagree on whether reasoning, cached, audio and tool tokens are part of the input and the output or
stand beside them; the total tells. A part that is larger than its whole stands beside it. Where the total is
above the counts, the parts that make it exact stand beside; if none do (Gemini's thinking is in the total
alone), what is left is output, or input where output has no rate. A total below the counts says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final, TypeGuard

TOTAL: Final = "total_tokens"
CACHE_BESIDE: Final = "cache_beside_input"
"""A key of a claim: its cached tokens are named as if beside the input, unless the total says otherwise."""
ITERATIONS: Final = "iterations"
"""A key of a claim: the usages of the rounds of a call, each a claim with its `type` and maybe `model`."""

_ENDS: Final = ("input_tokens", "output_tokens")
_PARTS: Final[dict[str, str]] = {
    "cache_read_tokens": "input_tokens",
    "cache_write_tokens": "input_tokens",
    "input_audio_tokens": "input_tokens",
    "input_tool_tokens": "input_tokens",
    "output_reasoning_tokens": "output_tokens",
    "output_audio_tokens": "output_tokens",
    "output_citation_tokens": "output_tokens",
}
_MOST_DIGITS: Final = 18
_CACHED: Final[tuple[str, ...]] = ("cache_read_tokens", "cache_write_tokens")

Counts = dict[str, int]


@dataclass(frozen=True, slots=True)
class Figures:
    """Each way to read the counts, and whether they contradict each other."""

    readings: tuple[Counts, ...]
    is_contradictory: bool = False


def is_count(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number from 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def as_count(value: Any) -> Any:
    """A whole number as an int, however it is written (`12.0`, `"12"`); anything else as it is.

    JSON of protocol buffers writes long whole numbers as text: https://protobuf.dev/programming-guides/json/.
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and len(value) <= _MOST_DIGITS and value.isascii() and value.isdecimal():
        return int(value)
    return value


def read_figures(
    counts: Mapping[str, int],
    *,
    most_total: int,
    has_output_rate: bool = True,
    is_cache_beside: bool = False,
    is_reasoning_beside: bool = False,
) -> Figures:
    """Say in which ways the counts of a usage can be read.

    Args:
        counts: valid counts by unit, with `TOTAL` if it was stated.
        most_total: no call has more tokens; a total above it is no total.
        has_output_rate: whether output has a price.
        is_cache_beside: whether the names of its cached tokens say that they are beside the input.
        is_reasoning_beside: whether this provider counts reasoning beside the output, if no total tells.
    """
    total = counts.get(TOTAL)
    whole = {unit: count for unit, count in counts.items() if unit != TOTAL}
    beside = _too_large(whole)
    if total == _sum(whole) and not beside:
        return Figures((whole,))
    parts = [unit for unit in _PARTS if whole.get(unit)]
    if total is not None and total <= most_total:
        exact = tuple(_moved(whole, chosen) for chosen in _exact(parts, whole, total - _sum(whole)))
        if exact:
            return Figures(exact)
    if total is not None and total > most_total:
        is_odd, total = True, None
    else:
        is_odd = bool(beside)
    whole = _moved(whole, beside)
    parts = [unit for unit in parts if unit not in beside]
    cached = [unit for unit in _CACHED if unit in parts]
    rest = 0 if total is None else total - _sum(whole)
    if rest <= 0:
        named = cached if is_cache_beside else []
        if is_reasoning_beside and "output_reasoning_tokens" in parts and TOTAL not in counts:
            named = [*named, "output_reasoning_tokens"]
        return Figures((_moved(whole, named),), is_odd)
    end = _ENDS[1] if has_output_rate else _ENDS[0]
    readings = [{**whole, end: whole.get(end, 0) + rest}]
    rest -= sum(counts[unit] for unit in cached)
    if is_cache_beside and cached and rest > 0:
        moved = _moved(whole, cached)
        readings.append({**moved, end: moved.get(end, 0) + rest})
    return Figures(tuple(readings), is_odd)


def _sum(counts: Mapping[str, int]) -> int:
    return sum(counts.get(end, 0) for end in _ENDS)


def _too_large(counts: Mapping[str, int]) -> list[str]:
    """The parts that cannot all be in their whole."""
    if counts.keys().isdisjoint(_PARTS):
        return []
    sent, made = counts.get("input_tokens", 0), counts.get("output_tokens", 0)
    found = [
        unit for unit, end in _PARTS.items() if counts.get(unit, 0) > (sent if end == _ENDS[0] else made)
    ]
    cached = [unit for unit in _CACHED if counts.get(unit)]
    if len(cached) == 2 and sum(counts[unit] for unit in cached) > sent:  # both
        found = [*cached, *(unit for unit in found if unit not in cached)]
    return found


def _moved(counts: Counts, beside: list[str] | tuple[str, ...]) -> Counts:
    """The counts with some parts added to their wholes."""
    if not beside:
        return counts
    moved = dict(counts)
    for unit in beside:
        end = _PARTS[unit]
        moved[end] = moved.get(end, 0) + counts[unit]
    return moved


def _exact(parts: list[str], counts: Counts, missing: int) -> Iterator[tuple[str, ...]]:
    """Each choice of parts that adds up to what is missing, where the others fit into their wholes."""
    for size in range(1, len(parts) + 1):
        for chosen in combinations(parts, size):
            if sum(counts[unit] for unit in chosen) == missing:
                inside = {unit: count for unit, count in counts.items() if unit not in chosen}
                if not _too_large(inside):
                    yield chosen
