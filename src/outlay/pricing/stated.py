"""Stated prices: from what a deployment or a user states to a compiled price.

compiled(stated, of_model, choices, …)    a price that is complete, with what the model adds
changed(known, stated, version)           a known price, in which some rates are others
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from outlay.errors import PriceUnknownError
from outlay.pricing.bundled import completed, fee_variants, region_factors, with_fees
from outlay.pricing.model_fees import ModelFees
from outlay.pricing.overrides import StatedPrice, covered
from outlay.pricing.price import FEE_DIMENSIONS, FOREVER_MICROS, Choice, Origin, Price, compile_price
from outlay.pricing.rates import Rate, Rates, scaled

CACHE_WRITES: Final[Mapping[str, Fraction]] = {
    "cache_write_tokens": Fraction(5, 4),
    "cache_write_1h_tokens": Fraction(2),
}
"""What Anthropic takes for a cache write, times the input's rate: for five minutes, and for an hour.

https://platform.claude.com/docs/en/build-with-claude/prompt-caching#pricing
"""


@dataclass(frozen=True, slots=True)
class OfModel:
    """What a model adds to a stated price, and whether it is served in Anthropic's format."""

    fees: ModelFees = field(default_factory=ModelFees)
    maker: Rates = field(default_factory=dict)
    is_anthropic: bool = False


def is_partial(stated: StatedPrice) -> bool:
    """Whether a price leaves out what a token in or a token out costs."""
    return not stated.is_free and not {"input_tokens", "output_tokens"} <= stated.rates.keys()


def lacks_cache_writes(stated: StatedPrice) -> bool:
    """Whether a complete price says nothing of cache writes, which Anthropic charges at more than input."""
    if stated.is_free or is_partial(stated) or not stated.rates["input_tokens"].base:
        return False
    return not CACHE_WRITES.keys() <= stated.rates.keys()


def compiled(
    stated: StatedPrice,
    of_model: OfModel,
    choices: Mapping[str, str],
    *,
    version: str,
    origin: Origin,
    valid: tuple[int, int] = (0, FOREVER_MICROS),
) -> Price:
    """Compile a stated price.

    Raises:
        PriceUnknownError: it states what is not counted; the message names the field.
    """
    _check_counted(stated)
    rates = _whole(stated.rates, stated, of_model)
    variants: dict[Choice, tuple[Rates, ...]] = fee_variants(rates, _fees_left(stated, of_model.fees))
    variants |= _sizes(stated, of_model.fees)
    for tier, own in stated.tiers.items():
        variants["service_tier", tier] = (_whole({**stated.rates, **own}, stated, of_model),)
    speeds, regions = _multiplied(stated, rates)
    return compile_price(
        _chosen(rates, variants | speeds, choices),
        version=version,
        origin=origin,
        choices=choices,
        valid_from=valid[0],
        valid_until=valid[1],
        variants=variants | speeds,
        factors=region_factors(of_model.fees) | regions,
    )


def changed(known: Price, stated: StatedPrice, choices: Mapping[str, str], version: str) -> Price:
    """Give a known price in which the stated rates are others; in tiers of its own the dearer of both."""
    rates = {**known.rates, **stated.rates}
    variants: dict[Choice, tuple[Rates, ...]] = {
        choice: tuple(_dearer(table, stated.rates) for table in tables)
        for choice, tables in known.variants.items()
    }
    for tier, own in stated.tiers.items():
        variants["service_tier", tier] = ({**rates, **own},)
    sizes = _sizes(stated, ModelFees(is_search="requests" in rates))
    rates = _with_dearest(rates, sizes)
    speeds, regions = _multiplied(stated, rates)
    variants |= speeds
    return compile_price(
        _chosen(covered(rates), variants, choices),
        version=version,
        origin="deployment",
        choices=choices,
        valid_from=known.valid_from,
        valid_until=known.valid_until,
        dearer=tuple({**table, **stated.rates} for table in known.dearer),
        variants={**variants, **sizes},
        factors={**known.factors, **regions},
        minimum_audio_seconds=known.minimum_audio_seconds,
    )


def _chosen(rates: Rates, variants: Mapping[Choice, tuple[Rates, ...]], choices: Mapping[str, str]) -> Rates:
    """The rates of the tier or speed that is served."""
    tables = [
        variants[choice]
        for choice in choices.items()
        if choice in variants and choice[0] not in FEE_DIMENSIONS
    ]
    return tables[0][0] if tables else rates


def _check_counted(stated: StatedPrice) -> None:
    if stated.uncounted:
        raise PriceUnknownError(
            f"The price states {', '.join(stated.uncounted)}, which is not counted here, so what a call "
            "costs is not known: take it out if calls do not cost so, and state input_cost_per_token and "
            "output_cost_per_token.",
            field=stated.uncounted[0],
        )


def _fees_left(stated: StatedPrice, fees: ModelFees) -> ModelFees:
    """What the model adds, but for a request's fee that is stated."""
    return ModelFees(tiers=fees.tiers) if stated.sizes or "requests" in stated.rates else fees


def _whole(table: Rates, stated: StatedPrice, of_model: OfModel) -> Rates:
    """The rates with all that the model adds, with every overlap, and cache writes."""
    if not any(rate.base for rate in table.values()):
        return covered(table)
    rates = dict(completed(table, of_model.maker))
    given = rates.get("input_tokens")
    if of_model.is_anthropic and given is not None:
        for key, factor in CACHE_WRITES.items():
            rates.setdefault(key, given.times(factor))
    rates = _with_dearest(rates, _sizes(stated, of_model.fees))
    return covered({**with_fees(rates, of_model.fees), **table})


def _sizes(stated: StatedPrice, fees: ModelFees) -> dict[Choice, tuple[Rates, ...]]:
    """The stated fees of a search: of a request with a search model, else of each search."""
    key = "requests" if fees.is_search else "web_searches"
    return {("search_context_size", size): ({key: Rate(nanos)},) for size, nanos in stated.sizes.items()}


def _multiplied(
    stated: StatedPrice, rates: Rates
) -> tuple[dict[Choice, tuple[Rates, ...]], dict[Choice, Fraction]]:
    """What the stated multipliers make: the rates of a speed, and the factors of regions."""
    speeds: dict[Choice, tuple[Rates, ...]] = {
        choice: (scaled(rates, factor),)
        for choice, factor in stated.multipliers.items()
        if choice[0] == "speed"
    }
    return speeds, {choice: each for choice, each in stated.multipliers.items() if choice not in speeds}


def _with_dearest(rates: Rates, sizes: Mapping[Choice, tuple[Rates, ...]]) -> dict[str, Rate]:
    """The rates with the dearest fee of all sizes, which counts where none is asked for."""
    dearest = dict(rates)
    for (fees,) in sizes.values():
        dearest = _dearer(dearest, fees)
    return dearest


def _dearer(table: Rates, stated: Rates) -> dict[str, Rate]:
    """The table with the stated rates, each where it is the dearer one."""
    rates = dict(table)
    for key, rate in stated.items():
        rates[key] = max(rates.get(key, rate), rate, key=lambda each: each.base)
    return rates
