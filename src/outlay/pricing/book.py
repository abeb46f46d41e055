"""The price book: which price applies to a call.

Order: the deployment's own price, the prices in the configuration, the user's price file, genai-prices.
A model that none of them prices is unknown, never free.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from outlay.errors import InvalidValueError, PriceUnknownError
from outlay.pricing.bundled import BundledPrices
from outlay.pricing.limits import context_correction, output_maximum
from outlay.pricing.names import is_reasoning_model, price_provider
from outlay.pricing.overrides import StatedPrice, read_price, read_prices
from outlay.pricing.price import FOREVER_MICROS, Origin, Price, compile_price

_MAX_CACHED: Final = 4096
_MAX_MICROS: Final = 250_000_000_000_000_000
_Key = tuple[str, str, str | None, tuple[tuple[str, Any], ...], tuple[tuple[str, str], ...]]


class _Source:
    """Stated prices by `provider/model` (or `provider/*`), with where they come from."""

    def __init__(self, models: object, *, version: str, origin: Origin, where: str) -> None:
        if not isinstance(models, Mapping):
            raise InvalidValueError(f"{where} must map provider/model to its prices")
        self.version = version
        self.origin: Origin = origin
        for name in models:
            if not isinstance(name, str) or "/" not in name:
                raise InvalidValueError(f"{where} must name provider/model or provider/*, not {name!r}")
        self._models = {name.lower(): read_prices(value, f"{where}.{name}") for name, value in models.items()}

    def find(self, provider: str, model: str) -> tuple[StatedPrice, ...]:
        ids, model = (provider.lower(), price_provider(provider)), model.lower()
        keys = [f"{each}/{name}" for name in (model, "*") for each in ids]
        return next((self._models[key] for key in keys if key in self._models), ())


class PriceBook:
    """Resolves (provider, model, service tier, time) to a compiled `Price`, and caches it. Thread-safe.

    `overrides` (configuration) and the JSON file at `user_file` (`{"version": …, "models": {…}}`) map
    `provider/model` or `provider/*` to a mapping of price fields, or to a list of dated ones with `from`;
    `free: true` declares a local model free, `context_window` and `max_output_tokens` state its limits.
    What `free_providers` serve (by Outlay's ids) is free where nothing states a price.

    Raises:
        InvalidValueError: an override or the file cannot be used; the message names the field.
    """

    def __init__(
        self,
        overrides: Mapping[str, object] | None = None,
        user_file: str | Path | None = None,
        free_providers: Collection[str] = (),
    ) -> None:
        self._free_providers = frozenset(free_providers)
        self._sources: list[_Source] = []
        if overrides:
            version = f"config {_digest(overrides)}"
            self._sources.append(
                _Source(overrides, version=version, origin="deployment", where="outlay.prices")
            )
        if user_file is not None:
            self._sources.append(_read_file(Path(user_file)))
        self._bundled = BundledPrices()
        self._snapshot: object = None
        self._cache: dict[_Key, Price] = {}

    def price(
        self,
        provider: str,
        model: str,
        *,
        at: int,
        service_tier: str | None = None,
        own: Mapping[str, Any] | None = None,
        context: Mapping[str, str] | None = None,
    ) -> Price:
        """Give the price of a model at a time.

        Args:
            provider: Outlay's id of the provider, such as `openai`.
            model: the model's name as the provider knows it.
            at: µs since the epoch, UTC.
            service_tier: the tier the call was served in, such as `priority` (None: the standard one).
            own: the deployment's own price fields, such as `input_cost_per_token`.
            context: further request facts that genai-prices' variants know, such as `speed`.

        Raises:
            PriceUnknownError: no source has a price; the message says how to add one.
            InvalidValueError: `own` has an unknown field or a value that is no price, or `at` is absurd.
        """
        snapshot = self._bundled.snapshot()
        if snapshot is not self._snapshot:
            self._cache.clear()
            self._snapshot = snapshot
        key = (
            provider,
            model,
            service_tier,
            tuple(own.items()) if own else (),
            tuple(context.items()) if context else (),
        )
        try:
            cached = self._cache.get(key)
        except TypeError:  # a field holds a list or a mapping: reading it names the field
            return self._resolve(provider, model, at, service_tier, own, context)
        if cached is not None and cached.valid_from <= at < cached.valid_until:
            return cached
        price = self._resolve(provider, model, at, service_tier, own, context)
        if len(self._cache) >= _MAX_CACHED:
            self._cache.clear()
        self._cache[key] = price
        return price

    def context_window(self, provider: str, model: str) -> int | None:
        """Give how many tokens input and output may have together, if known."""
        for stated in self._stated(provider, model):
            if stated.context_window is not None:
                return stated.context_window
        return context_correction(model) or self._bundled.context_window(provider, model)

    def max_output_tokens(self, provider: str, model: str) -> int | None:
        """Give how many tokens one answer can have at most, if that is published."""
        for stated in self._stated(provider, model):
            if stated.max_output_tokens is not None:
                return stated.max_output_tokens
        return output_maximum(model)

    def is_reasoning(self, provider: str, model: str) -> bool:  # noqa: ARG002 - one shape for all questions
        """Whether the model reasons before it answers, unasked."""
        return is_reasoning_model(model)

    def _stated(self, provider: str, model: str) -> list[StatedPrice]:
        return [stated for source in self._sources for stated in reversed(source.find(provider, model))]

    def _resolve(
        self,
        provider: str,
        model: str,
        at: int,
        service_tier: str | None,
        own: Mapping[str, Any] | None,
        context: Mapping[str, str] | None,
    ) -> Price:
        if not 0 <= at <= _MAX_MICROS:
            raise InvalidValueError(f"at must be microseconds since 1970, not {at!r}")
        if own:
            return price_from_fields(own, service_tier=service_tier)
        until = FOREVER_MICROS
        for source in self._sources:
            stated = source.find(provider, model)
            found = _dated(source, stated, at, service_tier)
            if found is not None:
                return replace(found, valid_until=min(until, found.valid_until))
            until = min([until, *(each.from_micros for each in stated)])
        facts = {**(context or {}), **({"service_tier": service_tier} if service_tier else {})}
        bundled = self._bundled.price(provider, model, at=at, context=facts)
        if bundled is None and provider in self._free_providers:
            free = read_price({"free": True}, "provider")
            return _compiled(free, service_tier, "free unless priced", "provider", 0, until)
        if bundled is None:
            raise PriceUnknownError(
                f"No price is known for {provider}/{model}. Add one: pass "
                f"input_cost_per_token and output_cost_per_token (USD), or add "
                f'"{provider}/{model}": {{"input_mtok": …, "output_mtok": …}} to the price file that '
                f'OUTLAY_PRICES names; {{"free": true}} declares a local model free.'
            )
        return replace(bundled, valid_until=min(until, bundled.valid_until))


def price_from_fields(fields: Mapping[str, Any], *, service_tier: str | None = None) -> Price:
    """Compile a deployment's own price fields (LiteLLM's or genai-prices' names).

    Raises:
        InvalidValueError: a field is unknown, or its value is negative, NaN, infinite or no number.
    """
    stated = read_price(fields, "deployment")
    version = f"deployment {_digest(fields)}"
    return _compiled(stated, service_tier, version, "deployment", 0, FOREVER_MICROS)


def _digest(stated: Mapping[str, object]) -> str:
    """Name prices by their content, so that a charge says which it used."""
    return hashlib.sha256(repr(sorted(stated.items(), key=repr)).encode()).hexdigest()[:12]


def _dated(
    source: _Source, prices: tuple[StatedPrice, ...], at: int, service_tier: str | None
) -> Price | None:
    active = [index for index, stated in enumerate(prices) if stated.from_micros <= at]
    if not active:
        return None
    stated = prices[active[-1]]
    later = prices[active[-1] + 1].from_micros if active[-1] + 1 < len(prices) else FOREVER_MICROS
    return _compiled(stated, service_tier, source.version, source.origin, stated.from_micros, later)


def _compiled(
    stated: StatedPrice, service_tier: str | None, version: str, origin: Origin, start: int, end: int
) -> Price:
    return compile_price(
        stated.tiers.get(service_tier or "", stated.rates),
        version=version,
        origin=origin,
        service_tier=service_tier,
        valid_from=start,
        valid_until=end,
        variants={("service_tier", tier): (rates,) for tier, rates in stated.tiers.items()},
    )


def _read_file(path: Path) -> _Source:
    try:
        raw = path.read_bytes()
        data = json.loads(raw, parse_float=Decimal)
    except OSError as error:
        raise InvalidValueError(f"The price file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidValueError(f"The price file {path} is not JSON: {error}") from error
    if not isinstance(data, dict) or set(data) - {"version", "models"} or "models" not in data:
        raise InvalidValueError(f'The price file {path} must be {{"version": …, "models": {{…}}}}')
    version = str(data.get("version") or hashlib.sha256(raw).hexdigest()[:12])
    return _Source(data["models"], version=f"{path.name} {version}", origin="user", where="models")
