"""Bundled: the prices that ship with genai-prices, compiled.

`https://github.com/pydantic/genai-prices`; each of its entries carries its own sources.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from outlay.domain.money import NANOS_PER_USD
from outlay.pricing.model_fees import ModelFees, model_fees
from outlay.pricing.names import bare_model, maker_of, price_provider
from outlay.pricing.price import FEE_DIMENSIONS, FOREVER_MICROS, Choice, Price, compile_price
from outlay.pricing.rates import Rate, Rates, scaled
from outlay.pricing.units import lattice

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice, Provider, StartDateConstraint, TimeOfDateConstraint

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
LONGEST_CALL: Final = timedelta(hours=1)
"""A price that begins within this time after a call counts in the call's bound."""

_MOST_FOUND: Final = 4096
_FREE_WITHOUT_RATES = frozenset({("openai", "moderation")})
_MINIMUM_AUDIO_SECONDS: Final = 10
"""Groq bills at least this much a transcription: https://groq.com/pricing"""


class BundledPrices:
    """Looks models up in genai-prices' current data (the bundled one, or what its updater fetched)."""

    def __init__(self) -> None:
        self._get_snapshot: Callable[[], DataSnapshot] | None = None
        self._found: dict[tuple[str, str], tuple[Provider, ModelInfo] | None] = {}
        self._found_in: object = None

    def snapshot(self) -> DataSnapshot:
        """Give the data in use; another object after a refresh."""
        if self._get_snapshot is None:
            from genai_prices.data_snapshot import get_snapshot

            self._get_snapshot = get_snapshot
        return self._get_snapshot()

    def price(self, provider: str, model: str, *, at: int, choices: Mapping[str, str]) -> Price | None:
        """Compile a model's price at a time (µs since the epoch, UTC); None if it is not known.

        A model whose entry states no rate at all is unknown too, unless its name says it is free. What a
        reseller's entry leaves out (fees, image tokens, tiers) is the maker's. `choices` are values of
        `dimensions` that were served.
        """
        found = self._find(provider, model)
        if found is None:
            return None
        source, info = found
        moment = _EPOCH + timedelta(microseconds=at)
        # genai-prices applies request contexts only to a provider's own entries, not to borrowed ones.
        is_own = any(info is own for own in source.models)
        rates = _rates(info.get_prices(moment, choices if is_own else None))
        if not rates:
            if not info.id.endswith(":free") and (source.id, info.id) not in _FREE_WITHOUT_RATES:
                return None
            rates = {"input_tokens": Rate(Fraction(0)), "output_tokens": Rate(Fraction(0))}
        valid_from, valid_until, changes = _validity(info, moment)
        moments = [moment, *changes]
        variants = native = _variants(info, moments) if is_own else {}
        dearer = tuple(_rates(info.get_prices(later, choices if is_own else None)) for later in changes)
        fees = self._fees(model)
        if any(rate.base for rate in rates.values()):
            maker = self._maker(source, model)
            if maker is not None:
                ours = _rates(maker.get_prices(moment, None))
                variants = variants or _variants(maker, moments)
                rates = completed(rates, ours, is_cache_ttl=True)
                dearer = tuple(completed(table, ours, is_cache_ttl=True) for table in dearer)
            rates = with_fees(rates, fees)
            dearer = tuple(with_fees(table, fees) for table in dearer)
            variants = {
                choice: tuple(with_fees(completed(table, rates), fees) for table in tables)
                for choice, tables in variants.items()
            }
            variants |= fee_variants(rates, fees)
        for choice in choices.items():
            if choice in variants and choice not in native and choice[0] not in FEE_DIMENSIONS:
                rates = variants[choice][0]
        return compile_price(
            rates,
            version=self._version(),
            origin="genai-prices",
            choices=choices,
            valid_from=_micros(valid_from) if valid_from else 0,
            valid_until=_micros(valid_until) if valid_until else FOREVER_MICROS,
            dearer=dearer,
            variants=variants,
            factors=region_factors(fees),
            minimum_audio_seconds=_minimum_audio_seconds(source, info),
        )

    def maker_rates(self, model: str, *, at: int) -> Rates:
        """Give the rates that a model has at its maker; none if that is not known."""
        maker = self._maker(None, model)
        return {} if maker is None else _rates(maker.get_prices(_EPOCH + timedelta(microseconds=at), None))

    def _fees(self, model: str) -> ModelFees:
        """What the model adds, whoever sells it."""
        return model_fees(model)

    def _maker(self, source: Provider | None, model: str) -> ModelInfo | None:
        """The entry of a model at who made it, unless that is the one looked at."""
        maker = maker_of(model)
        if maker is None or (source is not None and source.id == maker):
            return None
        found = self._find(maker, bare_model(model))
        return None if found is None else found[1]

    def context_window(self, provider: str, model: str) -> int | None:
        """Give the model's context window in tokens, if genai-prices has it."""
        found = self._find(provider, model)
        return found[1].context_window if found else None

    def _find(self, provider: str, model: str) -> tuple[Provider, ModelInfo] | None:
        """Look a model up, once for each snapshot: its many rules are tried one by one."""
        snapshot, key = self.snapshot(), (provider, model)
        if snapshot is not self._found_in or len(self._found) >= _MOST_FOUND:
            self._found, self._found_in = {}, snapshot
        found = self._found
        if key not in found:
            found[key] = self._look_up(snapshot, provider, model)
        return found[key]

    @staticmethod
    def _look_up(snapshot: DataSnapshot, provider: str, model: str) -> tuple[Provider, ModelInfo] | None:
        wanted = price_provider(provider)
        source = next((each for each in snapshot.providers if each.id == wanted), None)
        if source is None:
            return None
        try:
            return snapshot.find_provider_model(model, source, None, None)
        except LookupError:
            return None

    def _version(self) -> str:
        from genai_prices import __version__

        snapshot = self.snapshot()
        refreshed = f"+{snapshot.timestamp:%Y%m%dT%H%M%S}" if snapshot.from_auto_update else ""
        return f"genai-prices {__version__}{refreshed}"


def completed(rates: Rates, others: Rates, *, is_cache_ttl: bool = False) -> Rates:
    """Add the rates of others for what is no plain text: fees, audio, images, reasoning, citations."""
    missing = {
        key: rate for key, rate in others.items() if key not in rates and _is_beside(key, is_cache_ttl)
    }
    return {**rates, **missing} if missing else rates


def _is_beside(key: str, is_cache_ttl: bool) -> bool:
    dimensions = dict(lattice().units[key].dimensions)
    if dimensions["family"] != "tokens" or dimensions.get("modality", "text") != "text":
        return True
    if "cache_ttl" in dimensions:
        return is_cache_ttl
    return dimensions.get("token_type") in ("reasoning", "citation")


def with_fees(rates: Rates, fees: ModelFees) -> Rates:
    """Add what a model costs beside its text; a search model's fee stands for its searches."""
    if not fees.rates:
        return rates
    kept = {key: rate for key, rate in rates.items() if not (fees.is_search and key == "web_searches")}
    return {**kept, **fees.rates}


def fee_variants(rates: Rates, fees: ModelFees) -> dict[Choice, tuple[Rates, ...]]:
    """Give what a size of search and a tier of the model's own change."""
    variants: dict[Choice, tuple[Rates, ...]] = {
        ("search_context_size", size): ({"requests": Rate(nanos)},) for size, nanos in fees.sizes.items()
    }
    if fees.preview_search is not None:
        variants["web_search_tool", "preview"] = ({"web_searches": Rate(fees.preview_search)},)
    for tier, factor in fees.tiers.items():
        variants["service_tier", tier] = (scaled(rates, factor),)
    return variants


def region_factors(fees: ModelFees) -> dict[Choice, Fraction]:
    """Give by what a region multiplies the rates of tokens."""
    factors = {("inference_geo", region): factor for region, factor in fees.regions.items()}
    if fees.regional_host is not None:
        factors["processing_region", "regional"] = fees.regional_host
    return factors


def _minimum_audio_seconds(source: Provider, info: ModelInfo) -> int:
    is_whisper = info.id in ("whisper-large-v3", "whisper-large-v3-turbo")
    return _MINIMUM_AUDIO_SECONDS if source.id == "groq" and is_whisper else 0


def _rates(stated: ModelPrice) -> Rates:
    units = lattice().by_price_key
    rates = {}
    for name, value in stated.__dict__.items():
        unit = units.get(name)
        if unit is None or value is None:
            continue
        if isinstance(value, Decimal):
            rates[unit.usage_key] = Rate(_nanos(value, unit.per))
        else:
            tiers = tuple((tier.start, _nanos(tier.price, unit.per)) for tier in value.tiers)
            rates[unit.usage_key] = Rate(_nanos(value.base, unit.per), tiers)
    return rates


def _nanos(usd: Decimal, per: int) -> Fraction:
    return Fraction(usd) * NANOS_PER_USD / per


def _variants(info: ModelInfo, moments: list[datetime]) -> dict[tuple[str, str], tuple[Rates, ...]]:
    """Give the rates of each service tier and speed a request can ask for, at each of the moments."""
    asked = {
        pair
        for variant in info.price_variants or ()
        for pair in variant.when.items()
        if pair[0] in ("service_tier", "speed")
    }
    return {
        (kind, value): tuple(_rates(info.get_prices(moment, {kind: value})) for moment in moments)
        for kind, value in sorted(asked)
    }


def _validity(info: ModelInfo, at: datetime) -> tuple[datetime | None, datetime | None, list[datetime]]:
    """Give since when and until when nothing changes, and the price changes within the longest call."""
    changes = sorted(set(_changes(info, at)))
    edges = sorted({*changes, *(change - LONGEST_CALL for change in changes)})
    return (
        max((edge for edge in edges if edge <= at), default=None),
        min((edge for edge in edges if edge > at), default=None),
        [change for change in changes if at < change <= at + LONGEST_CALL],
    )


def _changes(info: ModelInfo, at: datetime) -> Iterator[datetime]:
    """Give the moments near `at`, or dated ones, at which a condition of the model begins or ends."""
    conditions = [each.constraint for each in info.price_variants or ()]
    if isinstance(info.prices, list):
        conditions += [each.constraint for each in info.prices]
    today = datetime.combine(at.date(), time(), UTC)
    for condition in conditions:
        if condition is not None:
            yield from _edges(condition, today)


def _edges(condition: StartDateConstraint | TimeOfDateConstraint, today: datetime) -> Iterator[datetime]:
    start_date = getattr(condition, "start_date", None)
    if start_date is not None:
        yield datetime.combine(start_date, time(), UTC)
        return
    for edge in (condition.start_time, condition.end_time):  # type: ignore[union-attr]
        zoned = edge if edge.tzinfo else edge.replace(tzinfo=UTC)
        for days in (-2, -1, 0, 1, 2):
            yield datetime.combine((today + days * _DAY).date(), zoned).astimezone(UTC)


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // datetime.resolution
