"""Metering: from what a provider claims was used to what is charged.

Best first: the provider's usage, our own count of the text that came through, nothing (the hold is then
presumed). A claim that is missing, malformed, absurd, doubtful, or below half of what was counted is
disputed: the larger of its valid part and our count is charged, and the claim kept as it came. Where its
figures can be read in several ways, the dearest is charged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final, Literal

from outlay.pricing.figures import CACHE_BESIDE, TOTAL, as_count, read_figures
from outlay.pricing.limits import WIDEST_WINDOW
from outlay.pricing.price import Price
from outlay.pricing.units import lattice
from outlay.pricing.usage import Usage

Claim = Mapping[str, object]
"""What the wire read, raw: values of any kind under genai-prices' usage keys."""

Source = Literal["provider", "counted", "presumed"]

ABSURD: Final = 10**9
"""No call uses more of anything."""
_ENDS: Final = ("input_tokens", "output_tokens")
_PLAIN: Final = frozenset((*_ENDS, TOTAL))


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
    most_total: int = WIDEST_WINDOW,
    price: Price | None = None,
    is_reasoning_beside: bool = False,
    is_doubtful: bool = False,
) -> Metered:
    """Decide what a call is charged for.

    Args:
        claimed: the provider's usage as raw values by usage key; None or anything else if it sent none.
        counted: our count of what went in and came through; None if nothing was counted.
        has_text: whether any output came through.
        can_count: whether our count can stand for the whole output (False where reasoning is not streamed).
        most_tokens: a count above this is absurd, such as the context window times the answers.
        most_total: a stated total above this is disputed, and no total.
        price: what tells which of several ways to read the claim is the dearest.
        is_reasoning_beside: whether this provider counts reasoning beside the output, if no total tells.
        is_doubtful: whether the claim cannot be the last word on the output.
    """
    claim = claimed if isinstance(claimed, Mapping) else None
    limit = min(most_tokens, ABSURD)
    if claim is not None and _is_plain(claim, limit):
        valid, is_sound = {end: claim[end] for end in _ENDS}, True
    else:
        valid, is_sound = _valid_counts(claim or {}, limit)
        figures = read_figures(
            valid,
            most_total=most_total,
            has_output_rate=price is None or price.is_output_priced,
            is_cache_beside=bool(claim and claim.get(CACHE_BESIDE)),
            is_reasoning_beside=is_reasoning_beside,
        )
        valid = _dearest(figures.readings, price)
        is_sound = is_sound and not figures.is_contradictory and _is_whole(valid)
    ends = {"input_tokens": counted.input_tokens, "output_tokens": counted.output_tokens} if counted else {}
    if counted is None and not valid.get("input_tokens"):
        is_sound = False  # every prompt has a token
    has_output = (valid.get("output_tokens", 0) > 0 or not has_text) and not is_doubtful
    is_likely = all(2 * valid.get(key, 0) > count for key, count in ends.items() if count)
    if claim is not None and is_sound and has_output and is_likely:
        return Metered(Usage({"input_tokens": 0, "output_tokens": 0, **valid}), "provider", False, claim)
    is_output_sound = has_output and "output_tokens" in valid
    if counted is None or not (can_count or (is_output_sound and _is_likely(valid, ends))):
        is_told = is_likely and not is_doubtful
        return _without_count(valid, claim, has_text=has_text, is_likely=is_told)
    if has_text and not is_output_sound and not counted.output_tokens:
        return Metered(None, "presumed", True, claim)  # only the input was counted
    whole = {key: max(valid.get(key, 0), count) for key, count in counted.counts.items()}
    is_claimed = all(valid.get(key, -1) >= count for key, count in ends.items())
    return Metered(_raised({**valid, **whole}), "provider" if is_claimed else "counted", True, claim)


def _is_plain(claim: Claim, limit: int) -> bool:
    """Whether a claim is input, output and their exact total, which can be read in one way only."""
    if len(claim) != len(_PLAIN) or claim.keys() != _PLAIN:
        return False
    sent, made, total = claim["input_tokens"], claim["output_tokens"], claim[TOTAL]
    if type(sent) is not int or type(made) is not int:
        return False
    return 0 < sent <= limit and 0 < made <= limit and total == sent + made


def valid_counts(claim: Claim) -> dict[str, int]:
    """Give the counts of a claim that can be used; its total is none of them."""
    valid, _ = _valid_counts(claim, ABSURD)
    return {unit: count for unit, count in valid.items() if unit != TOTAL}


def _is_likely(valid: Mapping[str, int], ends: Mapping[str, int]) -> bool:
    """Whether the output that was claimed is not below half of what came through."""
    return 2 * valid.get("output_tokens", 0) > ends.get("output_tokens", 0) or not ends.get("output_tokens")


def _dearest(readings: tuple[dict[str, int], ...], price: Price | None) -> dict[str, int]:
    if len(readings) == 1:
        return readings[0]
    if price is None:
        return max(
            readings, key=lambda counts: counts.get("input_tokens", 0) + counts.get("output_tokens", 0)
        )
    return max(readings, key=lambda counts: price.cost(Usage(counts)))


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
        if (key not in units and key != TOTAL) or key == "requests" or value is None:
            continue
        count = _whole(value)
        if count is None and isinstance(value, float) and 0 < value <= limit:
            count, is_sound = ceil(value), False  # no provider counts halves, yet it says about how much
        if key == TOTAL:
            if count is not None and count >= 0:
                valid[key] = count
        elif count is None or not 0 <= count <= limit:
            is_sound = False
        else:
            valid[key] = count
            is_sound = is_sound and not isinstance(value, str)
    return valid, is_sound and "input_tokens" in valid


def _is_whole(counts: Mapping[str, int]) -> bool:
    """Whether each total is no less than its parts."""
    used = {key: count for key, count in counts.items() if count}
    units = lattice()
    return all(units.raised(key, used) == used.get(key, 0) for key in _ENDS)


def _whole(value: object) -> int | None:
    count = as_count(value)
    return count if isinstance(count, int) and not isinstance(count, bool) else None


def _raised(counts: Mapping[str, int]) -> Usage:
    """Raise totals, and totals of parts, to what their parts add up to."""
    units = lattice()
    keys = {"input_tokens": 0, "output_tokens": 0, **counts}
    return Usage({key: units.raised(key, counts) for key in keys})
