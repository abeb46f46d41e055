"""A compiled price equals genai-prices' own answer to the nano, and never errs where that refuses."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices
from hypothesis import given, settings
from hypothesis import strategies as st

from outlay.domain.money import NANOS_PER_USD, round_half_up
from outlay.pricing.book import PriceBook
from outlay.pricing.bundled import BundledPrices
from outlay.pricing.dimensions import possible
from outlay.pricing.model_fees import ModelFees
from outlay.pricing.overrides import read_price
from outlay.pricing.price import Price, compile_price
from outlay.pricing.rates import Rate
from outlay.pricing.units import lattice
from outlay.pricing.usage import Usage

pytestmark = pytest.mark.once("rules that are the same on every Python")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AT = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
KEYS = sorted(set(lattice().units) - {"requests"})


def micros(moment: datetime) -> int:
    return (moment - EPOCH) // datetime.resolution


def all_models() -> Iterator[tuple[Provider, ModelInfo]]:
    for provider in get_snapshot().providers:
        for model in provider.models:
            yield provider, model


def conditions(model: ModelInfo) -> list[Any]:
    listed = model.prices if isinstance(model.prices, list) else []
    found = [each.constraint for each in listed] + [each.constraint for each in model.price_variants or ()]
    return [each for each in found if each is not None]


def moments(model: ModelInfo) -> list[datetime]:
    """The edges of every condition, just before and at each, on dates old and new."""
    found = {AT, datetime(2024, 1, 1, tzinfo=UTC)}
    for condition in conditions(model):
        start = getattr(condition, "start_date", None)
        if start is not None:
            found.add(datetime.combine(start, time(), UTC))
            found.add(datetime.combine(start, time(), UTC) - timedelta(microseconds=1))
            continue
        for edge in (condition.start_time, condition.end_time):
            moment = datetime.combine(AT.date(), edge.replace(tzinfo=None), UTC)
            found |= {moment, moment - timedelta(microseconds=1)}
    return sorted(found)


def contexts(model: ModelInfo) -> list[dict[str, str]]:
    return [{}, *(dict(variant.when) for variant in model.price_variants or ())]


def usages(model_price: ModelPrice, rng: random.Random) -> list[dict[str, int]]:
    """Random usages around the tiers' edges, made of priced and unpriced parts that add up."""
    starts = [
        tier.start
        for value in model_price.__dict__.values()
        if isinstance(value, TieredPrices)
        for tier in value.tiers
    ]
    totals = [0, 1, 999, rng.randrange(1, 2_000_000)]
    totals += [start + step for start in starts for step in (-1, 0, 1)]
    return [consistent(total, rng) for total in totals]


def consistent(total: int, rng: random.Random) -> dict[str, int]:
    output = rng.randrange(0, 50_000)
    counts = {"input_tokens": total, "output_tokens": output}
    if rng.random() < 0.7:
        counts["cache_read_tokens"] = read = rng.randint(0, total)
        counts["cache_write_tokens"] = write = rng.randint(0, total - read)
        counts["cache_write_1h_tokens"] = rng.randint(0, write)
        counts["output_reasoning_tokens"] = rng.randint(0, output)
    if rng.random() < 0.3:
        counts = {"input_tokens": total, "output_tokens": output}
        counts["input_audio_tokens"] = audio = rng.randint(0, total)
        counts["input_image_tokens"] = image = rng.randint(0, total - audio)
        counts["cache_audio_read_tokens"] = heard = rng.randint(0, audio)
        counts["cache_image_read_tokens"] = seen = rng.randint(0, image)
        counts["cache_read_tokens"] = heard + seen + rng.randint(0, total - audio - image)
    if rng.random() < 0.3:
        counts["web_searches"] = rng.randrange(0, 9)
        counts["audio_seconds"] = counts["input_audio_seconds"] = rng.randrange(0, 5000)
        counts["input_characters"] = rng.randrange(0, 100_000)
    return counts


def theirs(
    provider: Provider, model: ModelInfo, counts: dict[str, int], at: datetime, context: dict[str, str]
) -> int:
    calculated = model.calc_price(
        TheirUsage(**counts), provider, genai_request_timestamp=at, price_context=context or None
    )
    return round_half_up(calculated.total_price * NANOS_PER_USD)


def compiled(provider: Provider, model: ModelInfo, at: datetime, context: dict[str, str]) -> Price | None:
    """Compile the very model (names may match an earlier one), as the data alone has it."""

    class Exactly(BundledPrices):
        def _find(self, *_: str) -> tuple[Provider, ModelInfo]:
            return provider, model

        def _fees(self, _model: str) -> ModelFees:
            return ModelFees()

        def _maker(self, *_: object) -> None:
            return None

    return Exactly().price(provider.id, model.id, at=micros(at), choices=context)


@pytest.mark.once("exact arithmetic over all price data")
def test_every_model_costs_what_genai_prices_says_at_every_edge_of_time_and_tier() -> None:
    rng = random.Random(1)
    compared = 0
    for provider, model in all_models():
        for at in moments(model):
            for context in contexts(model):
                price = compiled(provider, model, at, context)
                stated = model.get_prices(at, context)
                if price is None:
                    assert not [value for value in stated.__dict__.values() if value is not None]
                    continue
                samples = usages(stated, rng)
                for counts in samples if context or at == AT else samples[-2:]:
                    expected = theirs(provider, model, counts, at, context)
                    assert price.cost(Usage(counts)) == expected, (provider.id, model.id, counts, at, context)
                    compared += 1
    assert compared > 10_000


def test_a_models_own_entry_is_found_under_its_own_id() -> None:
    book = PriceBook()
    found = book.price("openai", "gpt-4o", at=micros(AT))
    assert found.cost(Usage.of(1_000_000, 1_000_000)) == 12_500_000_000
    assert found.origin == "genai-prices"
    assert found.version.startswith("genai-prices 0.")


def interesting_models() -> list[tuple[Provider, ModelInfo]]:
    wanted = {
        ("openai", "gpt-4o"),
        ("openai", "gpt-5.5"),
        ("openai", "gpt-realtime"),
        ("openai", "gpt-image-1"),
        ("anthropic", "claude-sonnet-4-5"),
        ("google", "gemini-2.5-flash"),
        ("perplexity", "sonar-deep-research"),
        ("groq", "whisper-large-v3"),
    }
    return [(provider, model) for provider, model in all_models() if (provider.id, model.id) in wanted]


PRICES = [
    (provider, model, price)
    for provider, model in interesting_models()
    if (price := compiled(provider, model, AT, {})) is not None
]
any_counts = st.dictionaries(st.sampled_from(KEYS), st.integers(0, 3_000_000), max_size=6)
token_counts = st.dictionaries(
    st.sampled_from([key for key in KEYS if key.endswith("_tokens") and key.count("_") <= 3]),
    st.integers(0, 400_000),
    max_size=6,
)


@given(chosen=st.sampled_from(PRICES), counts=any_counts | token_counts)
@settings(derandomize=True, deadline=None, max_examples=3000)
def test_any_usage_costs_what_genai_prices_says_or_no_less_than_its_parts(
    chosen: tuple[Provider, ModelInfo, Price], counts: dict[str, int]
) -> None:
    provider, model, price = chosen
    cost = price.cost(Usage(counts))
    try:
        expected = theirs(provider, model, counts, AT, {})
    except ValueError:  # inconsistent: they refuse, we charge no less than any one reported count is worth
        least = 0
        for key, count in counts.items():
            below = [rate.base for part, rate in price.rates.items() if part in lattice().parts[key]]
            if key in price.rates:
                least = max(least, int(min([price.rates[key].base, *below]) * count))
        assert cost >= least
    else:
        assert cost == expected


def test_parts_above_their_total_raise_the_total() -> None:
    price = PriceBook().price("anthropic", "claude-sonnet-4-5", at=micros(AT))
    alone = price.cost(Usage({"input_tokens": 5, "output_tokens": 0, "cache_write_1h_tokens": 1000}))
    assert alone == price.cost(
        Usage({"input_tokens": 1000, "cache_write_tokens": 1000, "cache_write_1h_tokens": 1000})
    )


def test_a_missing_total_is_raised_past_a_tier_by_its_parts() -> None:
    price = PriceBook().price("openai", "gpt-5.5", at=micros(AT))
    whole = Usage({"input_tokens": 300_000, "cache_read_tokens": 300_000})
    assert price.cost(Usage({"cache_read_tokens": 300_000})) == price.cost(whole)


def test_an_unreported_overlap_is_taken_the_dearer_way() -> None:
    stated = read_price(
        {"input_mtok": 1, "cache_read_mtok": "0.1", "input_audio_mtok": 10, "cache_audio_read_mtok": 50},
        "test",
    )
    price = compile_price(stated.rates, version="test", origin="user")
    counts = {"input_tokens": 100, "cache_read_tokens": 60, "input_audio_tokens": 60}
    assert price.cost(Usage(counts)) == 40 * 1000 + 60 * 50_000


@pytest.mark.parametrize(("nanos", "expected"), [("0.4", 0), ("0.5", 1), ("1.5", 2), ("2.4999", 2)])
def test_a_cost_is_rounded_half_up_once(nanos: str, expected: int) -> None:
    price = compile_price({"input_tokens": Rate(Fraction(Decimal(nanos)))}, version="v", origin="user")
    assert price.cost(Usage.of(1, 0)) == expected


def test_every_request_pays_its_request_price() -> None:
    stated = read_price({"input_cost_per_token": 0, "output_cost_per_token": 0, "requests_kcount": 5}, "test")
    price = compile_price(stated.rates, version="v", origin="user")
    assert price.cost(Usage.of(0, 0)) == price.per_request_nanos == 5_000_000
    assert not price.is_free


def rates(price: Price, input_tokens: int | None = None, **chosen: str) -> list[Fraction | int]:
    return list(price.bound_rates(input_tokens=input_tokens, choices=frozenset(chosen.items())))


def test_a_speed_that_is_asked_for_is_bounded_at_its_price() -> None:
    price = PriceBook().price("anthropic", "claude-opus-4-8", at=micros(AT))
    assert rates(price, speed="fast")[1] == 2 * rates(price)[1]


def test_bound_rates_reach_only_the_tiers_that_the_input_can_reach() -> None:
    price = PriceBook().price("openai", "gpt-5.5", at=micros(AT))
    assert rates(price, input_tokens=272_000) == [5_000, 30_000]
    assert rates(price, input_tokens=272_001) == [10_000, 45_000]
    assert rates(price) == [10_000, 45_000]


@pytest.mark.parametrize("tier", ["auto", "priority", "fast"])
def test_a_service_tier_that_may_be_dearer_is_bounded_by_the_dearest(tier: str) -> None:
    price = PriceBook().price("openai", "gpt-5.5", at=micros(AT))
    asked = possible({"service_tier": tier}, price, "openai")
    assert list(price.bound_rates(input_tokens=10, choices=asked)) == [12_500, 75_000]
    standard = possible({"service_tier": "default"}, price, "openai")
    assert list(price.bound_rates(input_tokens=10, choices=standard)) == [5_000, 30_000]


def test_a_bound_holds_over_the_price_change_of_the_next_hour() -> None:
    book = PriceBook()
    before = book.price("deepseek", "deepseek-chat", at=micros(datetime(2026, 11, 1, 16, 29, tzinfo=UTC)))
    after = book.price("deepseek", "deepseek-chat", at=micros(datetime(2026, 11, 1, 16, 30, tzinfo=UTC)))
    usage = Usage.of(1_000_000, 1_000_000)
    dearest = max(before.cost(usage), after.cost(usage))
    assert before.cost(usage) != after.cost(usage)
    assert sum(before.bound_rates()) * 1_000_000 >= dearest


@given(
    chosen=st.sampled_from(PRICES),
    total=st.integers(0, 600_000),
    seed=st.integers(0, 10**6),
)
@settings(derandomize=True, deadline=None, max_examples=500)
def test_no_consistent_usage_costs_more_than_its_bound_rates(
    chosen: tuple[Provider, ModelInfo, Price], total: int, seed: int
) -> None:
    price = chosen[2]
    counts = consistent(total, random.Random(seed))
    tokens = {key: count for key, count in counts.items() if key.endswith("_tokens")}
    rates = price.bound_rates(input_tokens=total, has_media=True)
    most = rates.input * total + rates.output * tokens["output_tokens"] + price.per_request_nanos
    assert price.cost(Usage(tokens)) <= most + 1
