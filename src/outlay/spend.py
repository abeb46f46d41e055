"""Spend that already happened: what a finished completion, or texts, cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from outlay.answers import completion_key
from outlay.domain.entries import Source
from outlay.errors import InvalidValueError
from outlay.pricing.book import PriceBook
from outlay.pricing.limits import widest
from outlay.pricing.metering import meter
from outlay.pricing.names import is_priced_provider
from outlay.pricing.rounds import cost_of_claim
from outlay.pricing.served import prices_as_served, served_price
from outlay.pricing.text import cost_of_text
from outlay.pricing.usage import Usage
from outlay.providers.bills import charged_nanos, stated_cost
from outlay.providers.catalogue import Endpoint, provider_named
from outlay.providers.target import split_model
from outlay.providers.wires import WIRES


@dataclass(frozen=True, slots=True)
class Spend:
    """What to charge: nanos, the usage behind them, and where they come from."""

    nanos: int
    usage: Usage
    source: Source
    provider: str
    model: str
    price_version: str
    completion_key: str | None = None
    priced_nanos: int | None = None
    """Our own price of it, where its provider stated a bill."""


def spend_of_text(
    book: PriceBook, model: str, input_text: str | None, output_text: str | None, *, at: int
) -> Spend:
    """Price texts by our own count of their tokens; None is no text.

    Raises:
        InvalidValueError: the model or a text is not a string.
        PriceUnknownError: the model has no price.
    """
    input_text = "" if input_text is None else input_text
    output_text = "" if output_text is None else output_text
    for field, value in (("model", model), ("input_text", input_text), ("output_text", output_text)):
        if not isinstance(value, str) or (field == "model" and not value):
            raise InvalidValueError(f"{field} must be text, not {value!r}")
    provider, name = split_model(model)
    cost = cost_of_text(book, provider, name, input_text, output_text, at=at)
    return Spend(cost.nanos, cost.usage, "counted", provider, model, cost.price.version)


def spend_of_completion(book: PriceBook, completion: object, *, model: str | None, at: int) -> Spend:
    """Price a finished completion by the usage in it: Outlay's, OpenAI's or LiteLLM's object, or a dict.

    `model` overrides the completion's own, as `provider/model`, where that alone has no price.

    Raises:
        InvalidValueError: it is no completion, or has no usage that could be charged.
        PriceUnknownError: its model has no price.
    """
    content = _content(completion)
    named = model or content.get("model")
    if not isinstance(named, str) or not named:
        raise InvalidValueError("completion_obj has no model: pass model as well")
    provider, name = split_model(named)
    hidden = getattr(completion, "_hidden_params", None)
    stated = hidden.get("custom_llm_provider") if isinstance(hidden, Mapping) else None
    if model is None and isinstance(stated, str) and (provider_named(stated) or is_priced_provider(stated)):
        provider, name = split_model(f"{stated}/{named.removeprefix(f'{stated}/')}")
    known = provider_named(provider)
    endpoint = _endpoint(content)
    wire = WIRES["anthropic" if endpoint == "messages" else "openai"]
    try:
        reading = wire.read(content, endpoint, None if known is None else known.quirks)
    except RecursionError:
        raise InvalidValueError("completion_obj is nested too deeply") from None
    if reading.is_to_come:
        raise InvalidValueError("completion_obj is not finished: pass it when its answer has come")
    answers = max(1, reading.choices)
    price = served_price(book, provider, name, reading.served, at=at, answers=answers)
    metered = meter(
        reading.claim,
        counted=None,
        has_text=reading.has_text,
        price=price,
        is_reasoning_beside=known is not None and known.quirks.is_reasoning_beside_output,
        most_total=widest(book.context_window(provider, name)) * answers,
    )
    if metered.usage is None:
        raise InvalidValueError(
            "completion_obj has no usage that could be charged (its input and output tokens): "
            "pass model, input_text and output_text instead"
        )
    prices = prices_as_served(book, provider, reading.served, at=at)
    priced, usage = cost_of_claim(reading.claim, metered.usage, price, prices)
    nanos, stated = priced, None if known is None else stated_cost(reading, known, None)
    if stated is not None:
        nanos = charged_nanos(priced, stated)[0] or 0
    return Spend(
        nanos,
        usage,
        "provider",
        provider,
        named,
        price.version,
        completion_key(content),
        None if stated is None else priced,
    )


def _content(completion: object) -> Mapping[str, Any]:
    if isinstance(completion, Mapping):
        return completion
    for method in ("model_dump", "to_dict", "dict"):
        dump = getattr(completion, method, None)
        content = dump() if callable(dump) else None
        if isinstance(content, Mapping):
            return content
    raise InvalidValueError(
        f"completion_obj must be a completion or a dict, not {type(completion).__name__}: "
        "pass model, input_text and output_text for anything else"
    )


def _endpoint(content: Mapping[str, Any]) -> Endpoint:
    if content.get("type") == "message":
        return "messages"
    if content.get("object") == "response" or "output" in content:
        return "responses"
    return "embeddings" if "data" in content and "choices" not in content else "chat"
