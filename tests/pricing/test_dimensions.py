"""The table of dimensions: the bound and the charge read the same ones, each from its own entry."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from outlay.errors import CostUnboundedError
from outlay.pricing.book import PriceBook
from outlay.pricing.bound.caps import Endpoint
from outlay.pricing.bound.estimate import estimate
from outlay.pricing.dimensions import ANSWERED, DIMENSIONS
from outlay.pricing.served import served_price
from outlay.pricing.units import lattice
from outlay.pricing.usage import Usage

pytestmark = pytest.mark.once("rules that are the same on every Python")

NOW = 1_793_500_000_000_000
BOOK = PriceBook()
HELLO = [{"role": "user", "content": "Hello"}]


class Example(NamedTuple):
    """A request that asks for a dearer value of one dimension, and for the plain one."""

    provider: str
    model: str
    dear: dict[str, Any]
    plain: dict[str, Any]
    answered: str
    endpoint: Endpoint = "chat"


EXAMPLES = {
    "service_tier": Example(
        *("openai", "gpt-5", {"service_tier": "priority"}, {"service_tier": "default"}, "priority")
    ),
    "speed": Example(
        *("anthropic", "claude-opus-5", {"speed": "fast"}, {"speed": "standard"}, "fast"), "messages"
    ),
    "inference_geo": Example(
        *("anthropic", "claude-opus-5", {"inference_geo": "us"}, {"inference_geo": "global"}, "us"),
        "messages",
    ),
    "processing_region": Example(*("openai", "gpt-5.5", {"processing_region": "regional"}, {}, "regional")),
    "search_context_size": Example(
        "perplexity",
        "sonar",
        {"web_search_options": {"search_context_size": "high"}},
        {"web_search_options": {"search_context_size": "low"}},
        "high",
    ),
    "web_search_tool": Example(
        "openai",
        "gpt-4.1",
        {"input": "x", "tools": [{"type": "web_search_preview"}], "max_tool_calls": 1},
        {"input": "x", "tools": [{"type": "web_search"}], "max_tool_calls": 1},
        "preview",
        "responses",
    ),
}
UNITS = Usage.of(1_000, 1_000, web_searches=1)


def bound_of(example: Example, asked: dict[str, Any]) -> int:
    """The bound, without the tokens that a tool's name or a field adds."""
    base = {"messages": HELLO, "max_tokens": 100, "service_tier": "default", "inference_geo": "global"}
    if example.endpoint == "responses":
        base = {"max_output_tokens": 100, "service_tier": "default"}
    if example.endpoint == "chat":
        del base["inference_geo"]
    price = BOOK.price(example.provider, example.model, at=NOW)
    return estimate(
        {**base, **asked},
        endpoint=example.endpoint,
        provider=example.provider,
        model=example.model,
        price=price,
        book=BOOK,
        counted_input_tokens=10,
    ).bound(100)


def charge_of(example: Example, asked: dict[str, Any], answered: dict[str, str]) -> int:
    given = {"body": asked, "at": NOW}
    return served_price(BOOK, example.provider, example.model, answered, **given).cost(UNITS)  # type: ignore[arg-type]


def test_every_dimension_has_an_example() -> None:
    assert set(EXAMPLES) == set(ANSWERED) == {dimension.name for dimension in DIMENSIONS}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_bound_and_the_charge_read_the_same_dimension(name: str) -> None:
    example = EXAMPLES[name]
    if name == "web_search_tool":  # what the preview tool finds is free of tokens: only its fee is dearer
        price = BOOK.price(example.provider, example.model, at=NOW)
        assert price.bound_fee("web_searches", frozenset({(name, "preview")})) == 25_000_000
        assert price.bound_fee("web_searches") == 10_000_000
    else:
        assert bound_of(example, example.dear) > bound_of(example, example.plain)
    plain = charge_of(example, example.plain, {})
    assert charge_of(example, example.dear, {}) > plain, "what was asked is not charged"
    assert charge_of(example, {}, {name: example.answered}) > plain, "what was answered is not charged"


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_price_has_a_value_that_one_of_the_two_would_not_see(name: str) -> None:
    example = EXAMPLES[name]
    price = BOOK.price(example.provider, example.model, at=NOW)
    assert set(price.values) <= set(ANSWERED)
    for value in price.values[name]:
        served = BOOK.price(example.provider, example.model, at=NOW, choices={name: value})
        most = price.bound_rates(choices=frozenset({(name, value)}))
        fees = sum(
            price.bound_fee(key, frozenset({(name, value)})) or 0 for key in ("requests", "web_searches")
        )
        assert served.cost(UNITS) <= most.input * 1_000 + most.output * 1_000 + fees


def test_every_kind_of_token_and_of_call_that_has_a_rate_is_in_the_bound_and_in_the_charge() -> None:
    for unit in lattice().units.values():
        family = dict(unit.dimensions)["family"]
        if family not in ("tokens", "requests", "tool_calls"):
            continue
        fields: dict[str, Any] = {"input_mtok": 1, "output_mtok": 1, unit.price_key: 100}
        price = PriceBook({"a/b": fields}).price("a", "b", at=NOW)
        usage = Usage({"input_tokens": 1_000, "output_tokens": 1_000, unit.usage_key: 1_000})
        charged = price.cost(usage)
        assert charged > 2_000_000, unit.usage_key
        rates = price.bound_rates(has_media=True)
        fee = (price.bound_fee(unit.usage_key) or 0) if family != "tokens" else 0
        count = 1 if family == "requests" else 1_000
        assert rates.input * 1_000 + rates.output * 1_000 + fee * count >= charged, unit.usage_key


@pytest.mark.parametrize("value", ["brand-new", "ultrafast"])
def test_a_tier_without_a_price_is_refused_when_asked_and_the_dearest_when_answered(value: str) -> None:
    example = EXAMPLES["service_tier"]
    with pytest.raises(CostUnboundedError, match="service_tier"):
        bound_of(example, {"service_tier": value})
    dearest = charge_of(example, {}, {"service_tier": "priority"})
    assert charge_of(example, {}, {"service_tier": value}) == dearest
    assert charge_of(example, {"service_tier": "flex"}, {"service_tier": value}) == dearest
