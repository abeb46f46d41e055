"""Served: what a usage costs as it was served, as far as the answer and the request say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from outlay.errors import InvalidValueError
from outlay.pricing.book import PriceBook
from outlay.pricing.bound.caps import read_answers
from outlay.pricing.bound.hosted import is_searching
from outlay.pricing.dimensions import asked_of, served
from outlay.pricing.metering import Metered
from outlay.pricing.price import Price
from outlay.pricing.usage import Usage

NOTHING_ASKED: Final[Mapping[str, str]] = {}


_SAMPLE: Final = Usage.of(1_000, 1_000)
"""What tells which of several prices is the dearest: those of one model's tiers differ alike."""


def served_price(
    book: PriceBook,
    provider: str,
    model: str,
    answered: Mapping[str, str],
    *,
    at: int,
    body: Mapping[str, Any] | None = None,
    asked: Mapping[str, str] = NOTHING_ASKED,
    own: Mapping[str, Any] | None = None,
    answers: int = 1,
) -> Price:
    """Give the price of what was served; where more than one is possible, the dearest of them.

    Args:
        book: the prices.
        provider: Outlay's id of the provider.
        model: the model's name as the provider knows it.
        answered: how the answer says it was served, in lower case, by dimension.
        at: when the call was made, in µs since the epoch.
        body: the request, if it is known.
        asked: what was asked for beside the body, by dimension: a deployment's region.
        own: the deployment's own price fields.
        answers: how many answers pay the fee of a request, where the body does not say.

    Raises:
        PriceUnknownError: the model has no price.
    """
    price = book.price(provider, model, at=at, own=own)
    asked = {**asked, **_asked(body)} if body else asked
    if asked or answered:
        prices = [
            book.price(provider, model, at=at, own=own, choices=choices) if choices else price
            for choices in served(asked, answered, price)
        ]
        price = max(prices, key=lambda each: each.cost(_SAMPLE)) if len(prices) > 1 else prices[0]
    if not price.per_request_nanos:
        return price
    return price.for_answers(_answers(body) if body else answers)


def prices_as_served(
    book: PriceBook, provider: str, answered: Mapping[str, str], *, at: int
) -> Callable[[str], Price]:
    """Give what prices a model that was asked beside the call's own, as that was served."""
    return lambda model: served_price(book, provider, model, answered, at=at)


def with_searches(metered: Metered, body: Mapping[str, Any], model: str, price: Price | None) -> Metered:
    """Add the searches that `web_search_options` asked for, where the answer does not count any."""
    usage = metered.usage
    if usage is None or price is None or body.get("web_search_options") is None:
        return metered
    if "web_searches" in usage.counts or not is_searching(body, model) or not price.has_rate("web_searches"):
        return metered
    return replace(metered, usage=Usage({**usage.counts, "web_searches": _answers(body)}))


def _asked(body: Mapping[str, Any]) -> Mapping[str, str]:
    try:
        return asked_of(body)
    except InvalidValueError:  # the provider took what is no text
        return {}


def _answers(body: Mapping[str, Any]) -> int:
    try:
        return read_answers(body, "chat")
    except InvalidValueError:
        return 1
