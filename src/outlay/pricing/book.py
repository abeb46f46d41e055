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
from outlay.pricing.model_fees import model_fees
from outlay.pricing.names import is_reasoning_model, price_provider
from outlay.pricing.overrides import StatedPrice, read_price, read_prices
from outlay.pricing.price import FOREVER_MICROS, Origin, Price
from outlay.pricing.stated import OfModel, changed, compiled, is_partial

_MAX_CACHED: Final = 4096
_MAX_MICROS: Final = 250_000_000_000_000_000
_Key = tuple[str, str, tuple[tuple[str, Any], ...], tuple[tuple[str, str], ...]]


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
        self._models: dict[str, tuple[StatedPrice, ...]] = {}
        for name, value in models.items():
            if name.lower() in self._models:
                raise InvalidValueError(f"{where} states {name} twice, in another case: keep one")
            self._models[name.lower()] = read_prices(value, f"{where}.{name}")

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
        own: Mapping[str, Any] | None = None,
        choices: Mapping[str, str] | None = None,
    ) -> Price:
        """Give the price of a model at a time.

        An `own` price that leaves out what tokens in or out cost changes the price that the model has without
        it. What it leaves out beside the text (a search model's fee, image tokens) is the model's.

        Args:
            provider: Outlay's id of the provider, such as `openai`.
            model: the model's name as the provider knows it.
            at: µs since the epoch, UTC.
            own: the deployment's own price fields, such as `input_cost_per_token`.
            choices: what was served, by dimension, such as `{"service_tier": "priority"}`.

        Raises:
            PriceUnknownError: no source has a price, or it states what is not counted; the message names the
                field, and says how to add one.
            InvalidValueError: `own` has an unknown field or a value that is no price, or `at` is absurd.
        """
        snapshot = self._bundled.snapshot()
        if snapshot is not self._snapshot:
            self._cache.clear()
            self._snapshot = snapshot
        key = (
            provider,
            model,
            tuple(own.items()) if own else (),
            tuple(choices.items()) if choices else (),
        )
        try:
            cached = self._cache.get(key)
        except TypeError:  # a field holds a list or a mapping
            key = (provider, model, (("", repr(own)),), key[3])
            cached = self._cache.get(key)
        if cached is not None and cached.valid_from <= at < cached.valid_until:
            return cached
        price = self._resolve(provider, model, at, own, choices or {})
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
        self, provider: str, model: str, at: int, own: Mapping[str, Any] | None, choices: Mapping[str, str]
    ) -> Price:
        if not 0 <= at <= _MAX_MICROS:
            raise InvalidValueError(f"at must be microseconds since 1970, not {at!r}")
        if own:
            return self._own(provider, model, at, own, choices)
        until = FOREVER_MICROS
        for source in self._sources:
            stated = source.find(provider, model)
            active = [each for each in stated if each.from_micros <= at]
            if active:
                later = stated[len(active)].from_micros if len(active) < len(stated) else FOREVER_MICROS
                of_model = self._of_model(provider, model, at, active[-1])
                return compiled(
                    active[-1],
                    of_model,
                    choices,
                    version=source.version,
                    origin=source.origin,
                    valid=(active[-1].from_micros, min(until, later)),
                )
            until = min([until, *(each.from_micros for each in stated)])
        bundled = self._bundled.price(provider, model, at=at, choices=choices)
        if bundled is None and provider in self._free_providers:
            free = read_price({"free": True}, "provider")
            return compiled(
                free, OfModel(), choices, version="free unless priced", origin="provider", valid=(0, until)
            )
        if bundled is None:
            raise PriceUnknownError(
                f"No price is known for {provider}/{model}. Add one: pass "
                f"input_cost_per_token and output_cost_per_token (USD), or add "
                f'"{provider}/{model}": {{"input_mtok": …, "output_mtok": …}} to the price file that '
                f'OUTLAY_PRICES names; {{"free": true}} declares a local model free.'
            )
        return replace(bundled, valid_until=min(until, bundled.valid_until))

    def _own(
        self, provider: str, model: str, at: int, own: Mapping[str, Any], choices: Mapping[str, str]
    ) -> Price:
        """The price that a deployment states; where it states a part only, upon the one without it."""
        stated, known = read_price(own, "deployment", is_strict=False), None
        if is_partial(stated) and not stated.uncounted:
            try:
                known = self._resolve(provider, model, at, None, {})
            except PriceUnknownError:
                if "input_tokens" not in stated.rates:  # with that alone it prices embeddings
                    raise
        if known is not None:
            return changed(known, stated, choices, f"{known.version} + deployment {_digest(own)}")
        of_model = self._of_model(provider, model, at, stated)
        version = f"deployment {_digest(own)}"
        return compiled(stated, of_model, choices, version=version, origin="deployment")

    def _of_model(self, provider: str, model: str, at: int, stated: StatedPrice) -> OfModel:
        is_priced = any(rate.base for rate in stated.rates.values())
        return OfModel(
            model_fees(model),
            self._bundled.maker_rates(model, at=at) if is_priced else {},
            price_provider(provider) == "anthropic",
        )


def price_from_fields(fields: Mapping[str, Any], *, choices: Mapping[str, str] | None = None) -> Price:
    """Compile a deployment's own price fields (LiteLLM's or genai-prices' names), whatever the model is.

    Raises:
        InvalidValueError: a field is unknown, or its value is negative, NaN, infinite or no number.
        PriceUnknownError: a field states what is not counted.
    """
    stated = read_price(fields, "deployment")
    version = f"deployment {_digest(fields)}"
    return compiled(stated, OfModel(), choices or {}, version=version, origin="deployment")


def _digest(stated: Mapping[str, object]) -> str:
    """Name prices by their content, so that a charge says which it used."""
    return hashlib.sha256(repr(sorted(stated.items(), key=repr)).encode()).hexdigest()[:12]


def _read_file(path: Path) -> _Source:
    try:
        raw = path.read_bytes()
        data = json.loads(raw, parse_float=Decimal, object_pairs_hook=_once)
    except OSError as error:
        raise InvalidValueError(f"The price file {path} cannot be read: {error.strerror}") from error
    except InvalidValueError as error:
        raise InvalidValueError(f"The price file {path} {error.message}") from error
    except ValueError as error:
        raise InvalidValueError(f"The price file {path} is not JSON: {error}") from error
    if not isinstance(data, dict) or set(data) - {"version", "models"} or "models" not in data:
        raise InvalidValueError(f'The price file {path} must be {{"version": …, "models": {{…}}}}')
    version = str(data.get("version") or hashlib.sha256(raw).hexdigest()[:12])
    return _Source(data["models"], version=f"{path.name} {version}", origin="user", where="models")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object as it is, unless one of its names is there twice: one of the two would have no effect."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidValueError(f"states {twice!r} twice: keep one")
    return found
