"""Rounds: what the parts of one call cost, where a provider lists them (Anthropic's `usage.iterations`).

The usage at the top is that of the message rounds alone; a compaction and an advisor's rounds are billed
beside it, an advisor's at its own model's price
(https://platform.claude.com/docs/en/agents-and-tools/tool-use/advisor-tool, and `BetaUsage` of the SDK).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from outlay.pricing.figures import ITERATIONS
from outlay.pricing.metering import valid_counts
from outlay.pricing.price import Price
from outlay.pricing.usage import Usage

_WITHIN: Final = ("message", "fallback_message")
"""The types of rounds that the usage at the top has in it."""


def cost_of_claim(
    claim: Mapping[str, object] | None, top: Usage, price: Price, price_of: Callable[[str], Price]
) -> tuple[int, Usage]:
    """Give the cost in nanos of what was metered of a claim, with the rounds that it lists.

    Raises:
        PriceUnknownError: the provider asked a model beside the call's own, and it has no price.
    """
    rounds = (claim or {}).get(ITERATIONS)
    if not isinstance(rounds, list) or not rounds:
        return price.cost(top), top
    return _cost_of_rounds(rounds, top, price, price_of)


def _cost_of_rounds(
    rounds: Sequence[Mapping[str, object]], top: Usage, price: Price, price_of: Callable[[str], Price]
) -> tuple[int, Usage]:
    """Give the cost in nanos of a call whose usage lists its rounds, and all that it used.

    Args:
        rounds: a claim each, with its `type`, and its `model` where it says one.
        top: what the call claims to have used as a whole.
        price: the price of the call's own model.
        price_of: gives the price of another model, or raises PriceUnknownError.
    """
    within, beside = 0, 0
    counts_within: dict[str, int] = {}
    counts_beside: dict[str, int] = {}
    for each in rounds:
        usage = Usage({"input_tokens": 0, "output_tokens": 0, **valid_counts(each)})
        model = each.get("model")
        its_price = price_of(model) if isinstance(model, str) and model else price
        if each.get("type") in _WITHIN:
            within += its_price.cost(usage)
            _add(counts_within, usage.counts)
        else:
            beside += its_price.cost(usage)
            _add(counts_beside, usage.counts)
    whole = {unit: max(top.counts.get(unit, 0), count) for unit, count in counts_within.items()}
    whole = {**top.counts, **whole}
    _add(whole, counts_beside)
    return max(price.cost(top), within) + beside, Usage(whole)


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for unit, count in more.items():
        counts[unit] = counts.get(unit, 0) + count
