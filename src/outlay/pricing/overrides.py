"""Overrides: prices that a deployment or a user states, read strictly.

Two vocabularies are understood: LiteLLM's (`input_cost_per_token` …: USD for one; its model-price file is
https://github.com/BerriAI/litellm/blob/main/model_prices_and_context_window.json) and genai-prices'
(`input_mtok` …: USD per million, `web_searches_kcount`: per thousand). A field of either that says what
nothing here counts (seconds, characters, pages, images) is *uncounted*: the model's price is then unknown,
unless it says 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from itertools import combinations
from typing import Any, Final

from outlay.domain.money import NANOS_PER_USD
from outlay.errors import InvalidValueError
from outlay.pricing.price import Choice
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
    "input_cost_per_video_token": "input_video_tokens",
    "output_cost_per_video_token": "output_video_tokens",
    "input_cost_per_token_cache_hit": "cache_read_tokens",
    "cache_read_input_audio_token_cost": "cache_audio_read_tokens",
    "cache_creation_input_audio_token_cost": "cache_audio_write_tokens",
    "cache_read_input_image_token_cost": "cache_image_read_tokens",
    "citation_cost_per_token": "output_citation_tokens",
    "input_cost_per_request": "requests",
}
"""LiteLLM's field → usage key; the value is USD for one."""

SETTING_FIELDS: Final = frozenset({"from", "free", "context_window", "max_output_tokens"})
_PER_THOUSAND_FIELDS: Final = {"file_search_cost_per_1k_calls": "storage_searches"}
_REGIONAL_FIELDS: Final = frozenset(
    {"regional_processing_uplift_multiplier_eu", "regional_processing_uplift_multiplier_us"}
)
_REGIONAL: Final = ("processing_region", "regional")
_NESTED_FIELDS: Final = frozenset(
    {"tiered_pricing", "search_context_cost_per_query", "provider_specific_entry"}
)
_UNCOUNTED_FIELDS: Final = re.compile(
    r"off_peak_pricing|explicit_cache_read_input_token_cost|guardrail_cost_per_unit|(cost|output_cost)_per_second"
    r"|(input|output)_cost_per_(audio_per_second|character|image|pixel|query|second|text_message"
    r"|video_per_second)(_above_\w+)?|output_cost_per_(image|second)_\w+|(input|output)_dbu_cost_per_token"
    r"|(annotation|ocr)_cost_per_(credit|page)|google_maps_grounding_cost_per_query"
    r"|(file_search|vector_store)_cost_per_gb_per_day|code_interpreter_cost_per_session"
    r"|computer_use_(input|output)_cost_per_1k_tokens|regional_\w+_uplift_multiplier"
)
"""LiteLLM's fields that state what is not counted here; with a tier behind them too."""
_LIKE_A_PRICE: Final = re.compile(r".*_cost(_.*)?|cost_per_.*|.*_uplift_multiplier(_.*)?")
"""How a field is called that LiteLLM may add and that states a price."""
_FIELD = re.compile(
    r"(?P<base>.+?)(?:_above_(?P<start>\d+)k_tokens)?"
    r"(?:_(?P<tier>priority|flex|batches|fast|ultrafast|balanced|decisions))?"
)
_TIERS: Final = {"batches": "batch"}
_COUNTED_FAMILIES: Final = frozenset({"tokens", "requests", "tool_calls"})
_MULTIPLIERS: Final = {"us": ("inference_geo", "us"), "fast": ("speed", "fast")}
_MAX_USD_PER_COUNT = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class StatedPrice:
    """One stated price: from when (µs since the epoch, UTC) it holds, its rates, those of service tiers.

    `tiers` are complete only together with `rates`; `sizes` are fees of a search by `search_context_size`,
    `multipliers` what a region or a speed multiplies token rates by. `uncounted` are the fields that state
    what nothing here counts.
    """

    from_micros: int
    rates: Rates
    tiers: Mapping[str, Rates]
    context_window: int | None = None
    max_output_tokens: int | None = None
    sizes: Mapping[str, Fraction] = field(default_factory=dict)
    multipliers: Mapping[Choice, Fraction] = field(default_factory=dict)
    uncounted: tuple[str, ...] = ()
    is_free: bool = False


def is_price_field(name: str) -> bool:
    """Whether a deployment's parameter states a price, such as `input_cost_per_token`, or seems to."""
    return _usage_key(name) is not None or _is_special(name) or _LIKE_A_PRICE.fullmatch(name) is not None


def _is_special(name: str) -> bool:
    if name in _NESTED_FIELDS or name in _REGIONAL_FIELDS:
        return True
    plain = re.sub(r"_(priority|flex|batches)$", "", name)
    return _UNCOUNTED_FIELDS.fullmatch(plain) is not None


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


def read_price(fields: object, where: str, *, is_strict: bool = True) -> StatedPrice:
    """Read one mapping of price fields. Raises InvalidValueError as `read_prices` does.

    If it is not strict, a field that nobody knows and that is called like a price is uncounted.
    """
    if not isinstance(fields, Mapping):
        raise InvalidValueError(f"{where} must be a mapping of price fields, not {type(fields).__name__}")
    is_free = fields.get("free", False)
    if not isinstance(is_free, bool):
        raise InvalidValueError(f"{where}.free must be true or false, not {is_free!r}")
    read = _Fields()
    for name, value in sorted(fields.items(), key=lambda item: item[0] == "tiered_pricing"):  # its rates win
        if name not in SETTING_FIELDS and value is not None:
            _read_field(read, name, value, f"{where}.{name}", is_strict=is_strict)
    if is_free == read.is_anything:
        raise InvalidValueError(
            f"{where} must either be free or state rates such as input_cost_per_token, not "
            f"{'both' if is_free else 'neither'}"
        )
    base = read.rates.pop("", {})
    if is_free:
        base = {"input_tokens": {0: Fraction(0)}, "output_tokens": {0: Fraction(0)}}
    return StatedPrice(
        from_micros=_micros(fields.get("from"), f"{where}.from"),
        rates=_rates(base, where),
        tiers={tier: _rates(own, where) for tier, own in read.rates.items()},
        context_window=_whole(fields.get("context_window"), f"{where}.context_window"),
        max_output_tokens=_whole(fields.get("max_output_tokens"), f"{where}.max_output_tokens"),
        sizes=read.sizes,
        multipliers=read.multipliers,
        uncounted=tuple(read.uncounted),
        is_free=is_free,
    )


@dataclass(slots=True)
class _Fields:
    """What was read so far: rates by tier, usage key and start of a context; the rest of a StatedPrice."""

    rates: dict[str, dict[str, dict[int, Fraction]]] = field(default_factory=dict)
    sizes: dict[str, Fraction] = field(default_factory=dict)
    multipliers: dict[Choice, Fraction] = field(default_factory=dict)
    uncounted: list[str] = field(default_factory=list)
    is_anything: bool = False


def _read_field(read: _Fields, name: object, value: object, where: str, *, is_strict: bool) -> None:
    found = _usage_key(name) if isinstance(name, str) else None
    is_known = isinstance(name, str) and (_is_special(name) if is_strict else is_price_field(name))
    if found is None and not is_known:
        raise InvalidValueError(f"{where} is no price field; use names such as input_cost_per_token")
    read.is_anything = True
    if found is not None:
        usage_key, per, start, tier = found
        nanos = _rate(value, where) * NANOS_PER_USD / per
        if nanos and dict(lattice().units[usage_key].dimensions)["family"] not in _COUNTED_FAMILIES:
            read.uncounted.append(str(name))
            return
        read.rates.setdefault(tier, {}).setdefault(usage_key, {})[start] = nanos
    elif name == "search_context_cost_per_query":
        _read_sizes(read, value, where)
    elif name == "provider_specific_entry":
        _read_multipliers(read, value, where)
    elif name == "tiered_pricing":
        _read_tiered(read, value, where)
    elif name in _REGIONAL_FIELDS:
        stated = read.multipliers.get(_REGIONAL, Fraction(0))
        read.multipliers[_REGIONAL] = max(stated, _rate(value, where))
    elif isinstance(value, Mapping | list) or _says_something(value, where):
        read.uncounted.append(str(name))


def _says_something(value: object, where: str) -> bool:
    """Whether a price that nothing counts would matter: a multiplier of 1 does not, nor 0."""
    rate = _rate(value, where)
    return rate != (1 if where.endswith(("multiplier", "multiplier_us", "multiplier_eu")) else 0)


def _read_sizes(read: _Fields, value: object, where: str) -> None:
    """Read LiteLLM's `search_context_cost_per_query`: USD for one search, alike or by size."""
    by_size = value if isinstance(value, Mapping) else dict.fromkeys(_SIZES, value)
    for name, usd in by_size.items():
        size = str(name).removeprefix("search_context_size_")
        if size not in _SIZES:
            raise InvalidValueError(f"{where}.{name} is no size of a search: use search_context_size_low …")
        read.sizes[size] = _rate(usd, f"{where}.{name}") * NANOS_PER_USD


_SIZES: Final = ("low", "medium", "high")


def _read_multipliers(read: _Fields, value: object, where: str) -> None:
    """Read LiteLLM's `provider_specific_entry`: `us` and `fast` multiply what tokens cost."""
    if not isinstance(value, Mapping):
        raise InvalidValueError(f"{where} must be a mapping, not {type(value).__name__}")
    for name, factor in value.items():
        choice = _MULTIPLIERS.get(name)
        if choice is not None:
            read.multipliers[choice] = _rate(factor, f"{where}.{name}")
        elif isinstance(factor, int | float | Decimal):
            read.uncounted.append(f"provider_specific_entry.{name}")


def _read_tiered(read: _Fields, value: object, where: str) -> None:
    """Read LiteLLM's `tiered_pricing`: rates by `range` of input tokens, from its start on, below its end."""
    if not isinstance(value, list) or not value:
        raise InvalidValueError(f"{where} must be a list of rates with a range each")
    for index, band in enumerate(value):
        at = f"{where}[{index}]"
        start = band.get("range") if isinstance(band, Mapping) else None
        start = start[0] if isinstance(start, list | tuple) and start else None
        if isinstance(start, bool) or not isinstance(start, int | float) or start < 0 or start != int(start):
            read.uncounted.append("tiered_pricing")
            return
        for name, usd in band.items():
            found = None if name == "range" else _usage_key(str(name))
            if found is None and name != "range":
                read.uncounted.append(f"tiered_pricing.{name}")
            elif found is not None:
                nanos = _rate(usd, f"{at}.{name}") * NANOS_PER_USD / found[1]
                rates = read.rates.setdefault(found[3], {}).setdefault(found[0], {})
                rates[max(0, int(start) - 1)] = nanos


def _usage_key(name: str) -> tuple[str, int, int, str] | None:
    """Give (usage key, how many the price is for, tier start in tokens, service tier) of a field."""
    unit = lattice().by_price_key.get(name)
    if unit is not None:
        return unit.usage_key, unit.per, 0, ""
    if name in PER_COUNT_FIELDS:
        return PER_COUNT_FIELDS[name], 1, 0, ""
    if name in _PER_THOUSAND_FIELDS:
        return _PER_THOUSAND_FIELDS[name], 1000, 0, ""
    match = _FIELD.fullmatch(name)
    if match is None or match["base"] not in PER_COUNT_FIELDS:
        return None
    tier = match["tier"] or ""
    return PER_COUNT_FIELDS[match["base"]], 1, int(match["start"] or 0) * 1000, _TIERS.get(tier, tier)


def _rates(stated: Mapping[str, Mapping[int, Fraction]], where: str) -> Rates:
    rates = {}
    for key, by_start in stated.items():
        if 0 not in by_start:
            raise InvalidValueError(f"{where} states a long-context rate of {key} without its base rate")
        tiers = tuple(sorted((start, rate) for start, rate in by_start.items() if start))
        rates[key] = Rate(by_start[0], tiers)
    return rates


def covered(rates: Rates) -> Rates:
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
