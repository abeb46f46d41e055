"""Charging: from what was read of an answer to what it is charged, for whoever made the call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from outlay.errors import InvalidValueError, PriceUnknownError, ProviderNonsenseError
from outlay.pricing.book import PriceBook
from outlay.pricing.bound.caps import CAP_FIELDS, Endpoint
from outlay.pricing.bound.estimate import Estimate
from outlay.pricing.dimensions import is_dearer, unknown_of
from outlay.pricing.limits import widest
from outlay.pricing.metering import ABSURD, Claim, Metered, Source, meter, valid_counts
from outlay.pricing.price import Price
from outlay.pricing.reasoning import asks_to_hide, asks_to_reason, is_shown_by_nobody, thinks_by_itself
from outlay.pricing.rounds import cost_of_claim
from outlay.pricing.served import NOTHING_ASKED, prices_as_served, served_price, with_searches
from outlay.pricing.tokens import count_messages, count_text, vocabulary
from outlay.pricing.usage import Usage
from outlay.providers.bills import StatedCost, charged_nanos, stated_cost
from outlay.providers.target import Target
from outlay.providers.wires import Reading


class Charge(NamedTuple):
    """What one answer is charged.

    `nanos` are None where they are not known: with an unknown price, or a usage that is presumed; `tokens`
    are then the held ones. `usage` is by kind, empty if presumed. `claimed` is the provider's claim as it
    came (see `storable`). Where a cost was stated, `priced_nanos` is our own price of the same usage, and
    `stated` what was said.
    """

    nanos: int | None
    tokens: int
    usage: Mapping[str, int]
    source: Source
    price_version: str | None
    is_disputed: bool
    claimed: Claim | None
    priced_nanos: int | None = None
    stated: object = None


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
    asked: Mapping[str, str] = NOTHING_ASKED,
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
        asked: what was asked for beside the body, by dimension, such as a deployment's region.
    """
    provider, model = priced_as or (target.provider.id, target.model)
    served = _served(book, provider, model, reading, at, own, body=body, asked=asked)
    if reading.is_unknown:
        metered = Metered(None, "presumed", True, reading.claim)
    else:
        metered = _metered(reading, body, target, provider, model, bound=bound, book=book, price=served)
        metered = with_searches(_raised(metered, bound), body, model, served)
    priced, usage = _priced(metered, reading, book, provider, served, at)
    nanos, is_disputed, source = priced, metered.is_disputed, metered.source
    stated = stated_cost(reading, target.provider, target.base_url)
    if stated is not None and (usage is not None or _is_settled_by(stated, reading)):
        nanos, is_refused = charged_nanos(priced, stated)
        is_disputed = is_disputed or is_refused
    held = 0 if bound is None else bound.bound(cap)
    if usage is None and nanos is None:
        nanos, usage = _above_the_hold(reading, stated, served, held)
    unknown = {} if served is None or served.is_free else unknown_of(reading.served, served)
    return Charge(
        nanos,
        usage.total_tokens if usage is not None else 0 if bound is None else bound.token_bound(cap),
        {} if usage is None else usage.counts,
        "provider" if nanos is not None and source == "presumed" else source,
        None if price is None else price.version,
        is_disputed or bool(unknown),
        {**(metered.claimed or {}), **unknown} if unknown else metered.claimed,
        priced if stated is not None else None,
        None if stated is None else stated.said,
    )


def _served(
    book: PriceBook,
    provider: str,
    model: str,
    reading: Reading,
    at: int,
    own: Mapping[str, Any] | None,
    *,
    body: Mapping[str, Any],
    asked: Mapping[str, str],
) -> Price | None:
    """The price of how it was served; None if there is none."""
    try:
        return served_price(
            book, provider, model, reading.served, at=at, body=body, asked=asked, own=own or None
        )
    except PriceUnknownError:
        return None


def _priced(
    metered: Metered, reading: Reading, book: PriceBook, provider: str, served: Price | None, at: int
) -> tuple[int | None, Usage | None]:
    """What a metered usage costs by our prices, and all of it; None for what is not known."""
    usage = metered.usage
    if usage is None or served is None:
        return None, usage
    try:
        return cost_of_claim(
            reading.claim, usage, served, prices_as_served(book, provider, reading.served, at=at)
        )
    except PriceUnknownError:  # of a model that the provider asked beside the one that was wanted
        return None, usage


def _is_settled_by(stated: StatedCost, reading: Reading) -> bool:
    """Whether a bill alone settles an answer, though it does not say what it used."""
    return stated.is_bill and stated.nanos is not None and reading.is_complete and not reading.is_to_come


def _above_the_hold(
    reading: Reading, stated: StatedCost | None, served: Price | None, held: int
) -> tuple[int | None, Usage | None]:
    """Of an outcome that is not known, what was told is the least: it counts where it is above the hold."""
    told: list[tuple[int, Usage | None]] = []
    counts = valid_counts(reading.claim or {})
    if served is not None and any(counts.values()):
        usage = Usage({"input_tokens": 0, "output_tokens": 0, **counts})
        told.append((served.cost(usage), usage))
    if stated is not None and stated.nanos:
        told.append((stated.nanos, None))
    nanos, usage_told = max(told, key=lambda each: each[0], default=(0, None))
    return (nanos, usage_told) if nanos > held else (None, None)


def _metered(
    reading: Reading,
    body: Mapping[str, Any],
    target: Target,
    provider: str,
    model: str,
    *,
    bound: Estimate | None,
    book: PriceBook,
    price: Price | None,
) -> Metered:
    window = book.context_window(provider, model)
    answers = max(1, bound.output_multiplier if bound else 1, _prompts(body))
    quirks = target.provider.quirks
    most = ABSURD if window is None else 2 * window * answers

    def metered(counted: Usage | None) -> Metered:
        believed = metered_if(counted, can_count=True)
        if not believed.is_disputed or not (
            reading.malformed or _is_hidden(body, target, provider, model, book)
        ):
            return believed
        return metered_if(counted, can_count=False)

    def metered_if(counted: Usage | None, *, can_count: bool) -> Metered:
        return meter(
            reading.claim,
            counted=counted,
            has_text=reading.has_text,
            can_count=can_count,
            most_tokens=most,
            most_total=widest(window) * answers,
            price=price,
            is_reasoning_beside=quirks.is_reasoning_beside_output,
            is_doubtful=reading.is_doubtful,
        )

    output = _count_output(reading, provider, model)
    if output is None and not _lacks_input(reading):
        return metered(None)
    if bound is not None and bound.quality == "exact" and output is not None:
        likely = metered(Usage.of(bound.input_tokens, output))
        if not likely.is_disputed:  # the bound is no less than our count, which need not be made
            return likely
    sent = _count_sent(body, provider, model, bound)
    return metered(None if sent is None else Usage.of(sent, output or 0))


def _prompts(body: Mapping[str, Any]) -> int:
    """How many texts an embedding or a completion has: each has the model's window to itself."""
    given = body.get("input", body.get("prompt"))
    return len(given) if isinstance(given, list) and not isinstance(next(iter(given), 0), int) else 1


def _is_hidden(body: Mapping[str, Any], target: Target, provider: str, model: str, book: PriceBook) -> bool:
    """Whether the answer may hold reasoning that cannot be seen, and so not be counted."""
    if asks_to_hide(body):
        return True
    if target.provider.quirks.is_reasoning_streamed and not is_shown_by_nobody(model):
        return False
    return book.is_reasoning(provider, model) or thinks_by_itself(model) or asks_to_reason(body)


def _lacks_input(reading: Reading) -> bool:
    """Whether a usage says that nothing went in, or says no number."""
    sent = None if reading.claim is None else reading.claim.get("input_tokens")
    return reading.claim is not None and not (isinstance(sent, int | float) and sent > 0)


def _count_sent(body: Mapping[str, Any], provider: str, model: str, bound: Estimate | None) -> int | None:
    """Our own count of what went in; its bound where it cannot be counted; None if there is neither."""
    try:
        return count_input(body, provider, model)
    except (InvalidValueError, TypeError):  # the provider took what we cannot count
        return None if bound is None else bound.input_tokens


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


def put_standard_tier(asked: dict[str, str], target: Target, endpoint: Endpoint, price: Price) -> bool:
    """Ask for the standard tier where nobody asked for one and a project's setting may be dearer.

    Gives whether it was put into `asked`; the request must then say so too.
    """
    is_open = "service_tier" not in asked and target.takes_standard_tier(endpoint)
    if not (is_open and is_dearer(price, "service_tier")):
        return False
    asked["service_tier"] = "default"
    return True


def is_uncalled_for(chunk: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Whether a chunk is there only because Outlay asked for the usage."""
    if chunk.get("choices") != [] or chunk.get("usage") is None:
        return False
    options = body.get("stream_options")
    return not (isinstance(options, Mapping) and options.get("include_usage"))


def is_told(reading: Reading) -> bool:
    """Whether a stream that broke had said all: every answer to its end, and what it used."""
    return reading.has_usable_usage and not reading.is_unknown and reading.error is None


def is_no_answer(error: Exception) -> bool:
    """Whether a failure is a 2xx with something that is no answer: nothing more will be known of it."""
    status = error.status if isinstance(error, ProviderNonsenseError) else None
    return status is not None and 200 <= status < 300


def storable(said: object) -> Any:
    """What a provider said as JSON that any database keeps: long numbers as text, no lone surrogates."""
    if said is None or (isinstance(said, str) and said.isascii()):
        return said
    written = json.dumps(said, default=str, ensure_ascii=False).encode("utf-8", "replace")
    return json.loads(written, parse_int=lambda digits: int(digits) if len(digits) < 19 else digits)
