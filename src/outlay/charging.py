"""Charging: from what was read of an answer to what it is charged, for whoever made the call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from outlay.errors import InvalidValueError, PriceUnknownError
from outlay.pricing.book import PriceBook
from outlay.pricing.caps import CAP_FIELDS, Endpoint
from outlay.pricing.estimate import Estimate
from outlay.pricing.metering import ABSURD, Claim, Metered, Source, meter
from outlay.pricing.price import Price
from outlay.pricing.tokens import count_messages, count_text, vocabulary
from outlay.pricing.usage import Usage
from outlay.providers.target import Target
from outlay.providers.wires import Reading
from outlay.spend import served_price


class Charge(NamedTuple):
    """What one answer is charged.

    `nanos` are None where they are not known: with an unknown price, or a usage that is presumed; `tokens`
    are then the held ones. `usage` is by kind, empty if presumed. `claimed` is the provider's claim as it
    came (see `storable`).
    """

    nanos: int | None
    tokens: int
    usage: Mapping[str, int]
    source: Source
    price_version: str | None
    is_disputed: bool
    claimed: Claim | None


def charge_of(
    reading: Reading,
    *,
    body: Mapping[str, Any],
    target: Target,
    bound: Estimate | None,
    cap: int,
    book: PriceBook,
    at: int,
    own: Mapping[str, Any] | None,
    price: Price | None,
    priced_as: tuple[str, str] | None = None,
) -> Charge:
    """Say what an answer is charged. It never raises on what a provider sends.

    Args:
        reading: what was read of the answer.
        body: the request, to count what went in.
        target: who served it.
        bound: what was held for it; None if nothing was.
        cap: the granted output cap; 0 if there is none.
        book: the prices.
        at: when the call was made, in microseconds.
        own: the caller's or the deployment's own price fields; None for the book's.
        price: the standard price it was admitted with; None if it is not known.
        priced_as: the provider and the model whose price and vocabulary count; None for the target's.
    """
    provider, model = priced_as or (target.provider.id, target.model)
    metered = _raised(_metered(reading, body, target, provider, model, bound=bound, book=book), bound)
    usage = metered.usage
    version = None if price is None else price.version
    if usage is None:
        held = 0 if bound is None else bound.token_bound(cap)
        return Charge(None, held, {}, metered.source, version, metered.is_disputed, metered.claimed)
    try:
        served = served_price(book, provider, model, reading.served, at=at, own=own or None)
        nanos: int | None = served.cost(usage)
    except PriceUnknownError:
        nanos = None
    return Charge(
        nanos,
        usage.total_tokens,
        usage.counts,
        metered.source,
        version,
        metered.is_disputed,
        metered.claimed,
    )


def _metered(
    reading: Reading,
    body: Mapping[str, Any],
    target: Target,
    provider: str,
    model: str,
    *,
    bound: Estimate | None,
    book: PriceBook,
) -> Metered:
    window = book.context_window(provider, model)
    answers = max(1, bound.output_multiplier if bound else 1)
    is_shown = target.provider.quirks.is_reasoning_streamed or not book.is_reasoning(provider, model)
    is_seen = is_shown and not reading.malformed  # what could not be read may have been text
    most = ABSURD if window is None else 2 * window * answers

    def metered(counted: Usage | None) -> Metered:
        return meter(
            reading.claim, counted=counted, has_text=reading.has_text, can_count=is_seen, most_tokens=most
        )

    output = _count_output(reading, provider, model)
    if output is None:
        return metered(None)
    if bound is not None and bound.quality == "exact":
        likely = metered(Usage.of(bound.input_tokens, output))
        if not likely.is_disputed:  # the bound is no less than our count, which need not be made
            return likely
    try:
        return metered(Usage.of(count_input(body, provider, model), output))
    except (InvalidValueError, TypeError):  # the provider took what we cannot count
        return metered(None)


def _count_output(reading: Reading, provider: str, model: str) -> int | None:
    """Our own count. From a vocabulary that is not the model's it serves only where there is no claim."""
    is_exact_needed = reading.claim is not None
    if is_exact_needed and not vocabulary(provider, model).is_exact:
        return None
    try:
        counts = [count_text(text, provider, model) for text in reading.texts]
    except InvalidValueError:  # the provider sent what we cannot count
        return None
    if is_exact_needed and any(count.quality != "exact" for count in counts):
        return None
    return sum(count.tokens for count in counts)


def _raised(metered: Metered, bound: Estimate | None) -> Metered:
    """Where a claim is not believed, charge the input's bound: our count has no tools and no pictures."""
    usage = metered.usage
    is_counted = metered.source == "counted" or (bound is not None and bound.quality == "exact")
    if bound is None or usage is None or not (metered.is_disputed and is_counted):
        return metered
    input_tokens = max(usage.input_tokens, bound.input_tokens)
    return replace(metered, usage=Usage({**usage.counts, "input_tokens": input_tokens}))


def count_input(body: Mapping[str, Any], provider: str, model: str) -> int:
    """Count what a request puts in, as near as texts alone allow. Not a bound.

    Raises:
        InvalidValueError: a message or a text cannot be counted.
    """
    if isinstance(body.get("messages"), list):
        return count_messages(body["messages"], provider, model).tokens
    given = body.get("input", body.get("prompt"))
    total = 0
    for each in given if isinstance(given, list) else [given]:
        if isinstance(each, str):
            total += count_text(each, provider, model).tokens
        else:
            total += len(each) if isinstance(each, list) else int(isinstance(each, int))
    return total


def put_cap(body: dict[str, Any], cap: int | None, endpoint: Endpoint, field: str) -> None:
    """Write the granted cap where the provider looks for it.

    A `max_tokens` of the caller's stays: every provider obeys it or refuses it. Other fields some ignore.
    """
    declared = [name for name in CAP_FIELDS[endpoint] if body.get(name) is not None]
    if declared != ["max_tokens"]:
        for name in declared:
            del body[name]
        body[field] = cap


def is_uncalled_for(chunk: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Whether a chunk is there only because Outlay asked for the usage."""
    if chunk.get("choices") != [] or chunk.get("usage") is None:
        return False
    options = body.get("stream_options")
    return not (isinstance(options, Mapping) and options.get("include_usage"))


def is_told(reading: Reading) -> bool:
    """Whether a stream that broke had said all: every answer to its end, and what it used."""
    return reading.is_complete and reading.claim is not None and reading.error is None


def storable(said: object) -> Any:
    """What a provider said as JSON that any database keeps: long numbers as text, no lone surrogates."""
    if said is None or (isinstance(said, str) and said.isascii()):
        return said
    written = json.dumps(said, default=str, ensure_ascii=False).encode("utf-8", "replace")
    return json.loads(written, parse_int=lambda digits: int(digits) if len(digits) < 19 else digits)
