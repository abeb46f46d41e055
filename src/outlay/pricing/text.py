"""Text in, text out: what texts cost where no provider reported a usage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from outlay.errors import PriceUnknownError
from outlay.pricing.book import PriceBook
from outlay.pricing.price import Price
from outlay.pricing.tokens import Quality, count_messages
from outlay.pricing.usage import Usage


@dataclass(frozen=True, slots=True)
class TextCost:
    """What texts cost: the usage counted, the nanos, the price used, and how exact the count is."""

    usage: Usage
    nanos: int
    price: Price
    quality: Quality


def cost_of_text(
    book: PriceBook, provider: str, model: str, input_text: str, output_text: str, *, at: int
) -> TextCost:
    """Price texts, each counted as one chat message; an empty or missing text is no tokens.

    `at` is µs since the epoch, UTC.

    Raises:
        PriceUnknownError: the model has no price, or none for output where there is output.
        InvalidValueError: a text holds a lone surrogate.
    """
    quality: Quality = "exact"
    tokens = []
    for text in (input_text, output_text):
        count = count_messages([{"role": "user", "content": text}] if text else [], provider, model)
        tokens.append(count.tokens if text else 0)
        quality = count.quality
    return _priced(book, provider, model, Usage.of(*tokens), quality, at)


def cost_of_prompt(
    book: PriceBook, provider: str, model: str, messages: Sequence[Mapping[str, Any]], *, at: int
) -> TextCost:
    """Price a prompt: its messages' texts (content may be text, a list of parts, or None).

    Raises:
        PriceUnknownError: the model has no price.
        InvalidValueError: a message's content is of another type, or holds a lone surrogate.
    """
    count = count_messages(messages, provider, model)
    return _priced(book, provider, model, Usage.of(count.tokens, 0), count.quality, at)


def _priced(book: PriceBook, provider: str, model: str, usage: Usage, quality: Quality, at: int) -> TextCost:
    price = book.price(provider, model, at=at)
    needed = {
        "input": (usage.input_tokens, price.is_input_priced),
        "output": (usage.output_tokens, price.is_output_priced),
    }
    for end, (tokens, is_priced) in needed.items():
        if tokens and not is_priced:
            raise PriceUnknownError(
                f"The price of {provider}/{model} has no rate for {end} tokens: add one to the price file."
            )
    return TextCost(usage, price.cost(usage), price, quality)
