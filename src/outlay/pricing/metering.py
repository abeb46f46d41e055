"""Metering: from what a provider claims was used to what is charged.

Best first: the provider's usage, our own count of the text that came through, nothing (the hold is then
presumed). A claim that is missing, malformed, absurd, or below half of what was counted is disputed: the
larger of its valid part and our count is charged, and the claim kept as it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from outlay.pricing.units import lattice
from outlay.pricing.usage import Usage

Claim = Mapping[str, object]
"""What the wire read, raw: values of any kind under genai-prices' usage keys."""

Source = Literal["provider", "counted", "presumed"]

ABSURD: Final = 10**9
"""No call uses more of anything."""


@dataclass(frozen=True, slots=True)
class Metered:
    """What to charge (a valid usage, or None: the whole hold), its source, and the claim as it came."""

    usage: Usage | None
    source: Source
    is_disputed: bool
    claimed: Claim | None


def meter(
    claimed: object,
    *,
    counted: Usage | None,
    has_text: bool,
    can_count: bool = True,
    most_tokens: int = ABSURD,
) -> Metered:
    """Decide what a call is charged for.

    Args:
        claimed: the provider's usage as raw values by usage key; None or anything else if it sent none.
        counted: our count of what went in and came through; None if nothing was counted.
        has_text: whether any output came through.
        can_count: whether our count can stand for the whole output (False where reasoning is not streamed).
        most_tokens: a count above this is absurd, such as the context window times the answers.
    """
    claim = claimed if isinstance(claimed, Mapping) else None
    valid, is_sound = _valid_counts(claim or {}, min(most_tokens, ABSURD))
    ends = {"input_tokens": counted.input_tokens, "output_tokens": counted.output_tokens} if counted else {}
    has_output = valid.get("output_tokens", 0) > 0 or not has_text
    is_likely = all(2 * valid.get(key, 0) > count for key, count in ends.items() if count)
    if claim is not None and is_sound and has_output and is_likely:
        return Metered(Usage({"input_tokens": 0, "output_tokens": 0, **valid}), "provider", False, claim)
    if counted is None or not can_count:
        return _without_count(valid, claim, has_text=has_text, is_likely=is_likely)
    whole = {key: max(valid.get(key, 0), count) for key, count in counted.counts.items()}
    is_claimed = all(valid.get(key, -1) >= count for key, count in ends.items())
    return Metered(_raised({**valid, **whole}), "provider" if is_claimed else "counted", True, claim)


def _without_count(
    valid: Mapping[str, int], claim: Claim | None, *, has_text: bool, is_likely: bool
) -> Metered:
    """Charge a disputed claim that no count can replace by its totals, if it has them, else the hold."""
    is_silent = not has_text and "output_tokens" not in (claim or {})
    has_output = is_silent or valid.get("output_tokens", -1) >= int(has_text)
    if not has_output or not is_likely or valid.get("input_tokens", 0) == 0:
        return Metered(None, "presumed", True, claim)
    return Metered(_raised(valid), "provider", True, claim)


def _valid_counts(claim: Claim, limit: int) -> tuple[dict[str, int], bool]:
    """Give the counts that can be used, and whether the claim needed no repair."""
    units = lattice().units
    valid: dict[str, int] = {}
    is_sound = True
    for key, value in claim.items():
        if key not in units or key == "requests" or value is None:
            continue
        count = _whole(value)
        if count is None or not 0 <= count <= limit:
            is_sound = False
        else:
            valid[key] = count
    used = {key: count for key, count in valid.items() if count}
    totals = ("input_tokens", "output_tokens")
    is_sound = is_sound and "input_tokens" in valid
    return valid, is_sound and all(lattice().raised(key, used) == used.get(key, 0) for key in totals)


def _whole(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _raised(counts: Mapping[str, int]) -> Usage:
    """Raise totals, and totals of parts, to what their parts add up to."""
    units = lattice()
    keys = {"input_tokens": 0, "output_tokens": 0, **counts}
    return Usage({key: units.raised(key, counts) for key in keys})
