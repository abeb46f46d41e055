"""Overrides: prices that a deployment or a user states, read strictly.

Two vocabularies are understood: LiteLLM's (`input_cost_per_token` …: USD for one) and genai-prices'
(`input_mtok` …: USD per million, `web_searches_kcount`: per thousand). A model's own price is complete by
itself: nothing is filled in from other sources.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from itertools import combinations
from typing import Any, Final

from outlay.domain.money import NANOS_PER_USD
from outlay.errors import InvalidValueError
from outlay.pricing.rates import Rate, Rates
from outlay.pricing.units import lattice

PER_COUNT_FIELDS: Final[dict[str, str]] = {
    "input_cost_per_token": "input_tokens",
    "output_cost_per_token": "output_tokens",
    "cache_read_input_token_cost": "cache_read_tokens",
    "cache_creation_input_token_cost": "cache_write_tokens",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h_tokens",
    "input_cost_per_audio_token": "input_audio_tokens",
    "output_cost_per_audio_token": "output_audio_tokens",
    "input_cost_per_image_token": "input_image_tokens",
    "output_cost_per_image_token": "output_image_tokens",
    "output_cost_per_reasoning_token": "output_reasoning_tokens",
    "input_cost_per_request": "requests",
}
"""LiteLLM's field → usage key; the value is USD for one."""

SETTING_FIELDS: Final = frozenset({"from", "free", "context_window", "max_output_tokens"})
_FIELD = re.compile(r"(?P<base>.+?)(?:_above_(?P<start>\d+)k_tokens)?(?:_(?P<tier>priority|flex|batches))?")
_MAX_USD_PER_COUNT = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class StatedPrice:
    """One stated price: from when (µs since the epoch, UTC) it holds, its rates, those of service tiers."""

    from_micros: int
    rates: Rates
    tiers: Mapping[str, Rates]
    context_window: int | None = None
    max_output_tokens: int | None = None


def is_price_field(name: str) -> bool:
    """Whether a deployment's parameter states a price, such as `input_cost_per_token`."""
    return _usage_key(name) is not None


def read_prices(value: object, where: str) -> tuple[StatedPrice, ...]:
    """Read a model's prices: one mapping of fields, or a list of dated ones, oldest first in the result.

    Raises:
        InvalidValueError: a field is unknown, or its value is negative, NaN, infinite or no number.
    """
    entries = value if isinstance(value, list) else [value]
    if not entries:
        raise InvalidValueError(f"{where} must hold at least one price")
    read = [
        read_price(entry, f"{where}[{index}]" if isinstance(value, list) else where)
        for index, entry in enumerate(entries)
    ]
    return tuple(sorted(read, key=lambda price: price.from_micros))


def read_price(fields: object, where: str) -> StatedPrice:
    """Read one mapping of price fields. Raises InvalidValueError as `read_prices` does."""
    if not isinstance(fields, Mapping):
        raise InvalidValueError(f"{where} must be a mapping of price fields, not {type(fields).__name__}")
    is_free = fields.get("free", False)
    if not isinstance(is_free, bool):
        raise InvalidValueError(f"{where}.free must be true or false, not {is_free!r}")
    stated: dict[str, dict[str, dict[int, Fraction]]] = {}
    for name, value in fields.items():
        if name in SETTING_FIELDS or value is None:
            continue
        _read_field(stated, name, value, f"{where}.{name}")
    if is_free == bool(stated):
        raise InvalidValueError(
            f"{where} must either be free or state rates such as input_cost_per_token, not "
            f"{'both' if is_free else 'neither'}"
        )
    base = stated.pop("", {})
    if is_free:
        base = {"input_tokens": {0: Fraction(0)}, "output_tokens": {0: Fraction(0)}}
    rates = _rates(base, where)
    return StatedPrice(
        from_micros=_micros(fields.get("from"), f"{where}.from"),
        rates=rates,
        tiers={tier: _covered({**rates, **_rates(own, where)}) for tier, own in stated.items()},
        context_window=_whole(fields.get("context_window"), f"{where}.context_window"),
        max_output_tokens=_whole(fields.get("max_output_tokens"), f"{where}.max_output_tokens"),
    )


def _read_field(
    stated: dict[str, dict[str, dict[int, Fraction]]], name: object, value: object, where: str
) -> None:
    found = _usage_key(name) if isinstance(name, str) else None
    if found is None:
        raise InvalidValueError(f"{where} is no price field; use names such as input_cost_per_token")
    usage_key, per, start, tier = found
    nanos = _rate(value, where) * NANOS_PER_USD / per
    if tier != "batches":  # no call through Outlay is a batch
        stated.setdefault(tier, {}).setdefault(usage_key, {})[start] = nanos


def _usage_key(name: str) -> tuple[str, int, int, str] | None:
    """Give (usage key, how many the price is for, tier start in tokens, service tier) of a field."""
    unit = lattice().by_price_key.get(name)
    if unit is not None:
        return unit.usage_key, unit.per, 0, ""
    if name in PER_COUNT_FIELDS:
        return PER_COUNT_FIELDS[name], 1, 0, ""
    match = _FIELD.fullmatch(name)
    if match is None or match["base"] not in PER_COUNT_FIELDS:
        return None
    return PER_COUNT_FIELDS[match["base"]], 1, int(match["start"] or 0) * 1000, match["tier"] or ""


def _rates(stated: Mapping[str, Mapping[int, Fraction]], where: str) -> Rates:
    rates = {}
    for key, by_start in stated.items():
        if 0 not in by_start:
            raise InvalidValueError(f"{where} states a long-context rate of {key} without its base rate")
        tiers = tuple(sorted((start, rate) for start, rate in by_start.items() if start))
        rates[key] = Rate(by_start[0], tiers)
    return _covered(rates)


def _covered(rates: Rates) -> Rates:
    """Add what overlaps cost where it is not stated, at the dearer rate of the two: never undercharged."""
    units, covered = lattice(), dict(rates)
    for one, other in combinations([key for key in rates if key != "requests"], 2):
        join = units.join(one, other)
        if join is not None and join not in covered:
            covered[join] = max(rates[one], rates[other], key=lambda rate: rate.base)
    return covered


def _rate(value: object, where: str) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise InvalidValueError(f"{where} must be a number of USD, not {value!r}")
    try:
        rate = Decimal(str(value))
    except InvalidOperation:
        raise InvalidValueError(f"{where} must be a number of USD, not {value!r}") from None
    if not rate.is_finite() or not 0 <= rate <= _MAX_USD_PER_COUNT:
        raise InvalidValueError(f"{where} must be between 0 and 1,000,000 USD, but is {value!r}")
    if rate and rate.adjusted() < -30:
        raise InvalidValueError(f"{where} is too small to be a price: {value!r}")
    return Fraction(rate)


def _whole(value: object, where: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidValueError(f"{where} must be a whole number of tokens above 0, not {value!r}")
    return value


def _micros(value: Any, where: str) -> int:
    """Read the start of a dated price: an ISO date or time; without an offset it is UTC."""
    if value is None:
        return 0
    try:
        if isinstance(value, date) and not isinstance(value, datetime):
            value = value.isoformat()
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise InvalidValueError(f"{where} must be a date such as 2026-01-31, not {value!r}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // _MICROSECOND


_MICROSECOND = datetime.resolution
