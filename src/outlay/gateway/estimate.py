"""Estimate: the most that the request can cost, before it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from outlay.charging import put_standard_tier
from outlay.errors import CostUnboundedError, InvalidValueError, PriceUnknownError
from outlay.gateway.exchange import Exchange
from outlay.gateway.failures import param_of
from outlay.gateway.parse import invalid
from outlay.pricing.book import price_from_fields
from outlay.pricing.bound.estimate import Estimate
from outlay.pricing.bound.estimate import estimate as bound_of
from outlay.pricing.dimensions import asked_of
from outlay.pricing.price import Price
from outlay.pricing.request_fields import unproven_reason

LONG_BYTES: Final = 100_000
"""A longer body is measured on a thread, so that others need not wait."""
_FREE: Final = price_from_fields({"free": True})


def find_price(exchange: Exchange) -> None:
    """Say what the model costs; None if nobody knows."""
    exchange.price = _price(exchange)


async def estimate(exchange: Exchange, *, counted_input_tokens: int | None = None) -> None:
    """Bound the request; without a price only its tokens, without a bound say why.

    Raises:
        GatewayError: 400, naming a field that the provider would misread.
    """
    exchange.settings = _settings(exchange)
    try:
        await _measure(exchange, exchange.price or _FREE, counted_input_tokens)
    except PriceUnknownError:  # it has a price for a part only
        exchange.price = None
        await _measure(exchange, _FREE, counted_input_tokens)


async def _measure(exchange: Exchange, price: Price, counted_input_tokens: int | None) -> None:
    try:
        if exchange.size > LONG_BYTES:
            exchange.bound = await asyncio.to_thread(_bound, exchange, price, counted_input_tokens)
        else:
            exchange.bound = _bound(exchange, price, counted_input_tokens)
    except CostUnboundedError as error:
        exchange.unbounded_reason, exchange.unbounded_field = error.message, error.field
    except InvalidValueError as error:
        raise invalid(error.message, param_of(error)) from error
    unknown = () if exchange.bound is None else exchange.bound.unknown_fields
    if unknown and exchange.services.config.unknown_request_fields == "refuse":
        exchange.unproven_reason, exchange.unbounded_field = unproven_reason(unknown), unknown[0]


def _price(exchange: Exchange) -> Price | None:
    deployment = exchange.upstream
    provider, model = deployment.priced_as
    try:
        return exchange.services.book.price(
            provider,
            model,
            at=exchange.at,
            own=deployment.own_price or None,
        )
    except PriceUnknownError as error:
        exchange.price_reason = error.message if error.field is not None else None
        return None


def _settings(exchange: Exchange) -> Mapping[str, str]:
    """What the deployment sets where the request says nothing, at the endpoints that know it."""
    settings, body = exchange.upstream.settings, exchange.body
    if not settings or exchange.endpoint == "embeddings":
        return {}
    return {
        name: value
        for name, value in settings.items()
        if body.get(name) is None and (name == "service_tier" or exchange.endpoint == "messages")
    }


def _asked(exchange: Exchange, price: Price) -> dict[str, str]:
    """What will be asked for: by the request, by the deployment, and else the standard tier where it can be.

    A deployment's region is a fact wherever the request goes.
    """
    target = exchange.upstream.target
    asked = {**exchange.upstream.asked, **asked_of(exchange.body)}
    exchange.is_standard_tier_put = put_standard_tier(asked, target, exchange.endpoint, price)
    return asked


def _bound(exchange: Exchange, price: Price, counted_input_tokens: int | None) -> Estimate:
    config, headers = exchange.services.config, exchange.upstream_headers
    allowed, own = config.allowed_request_fields, exchange.upstream.allowed_request_fields
    provider, model = exchange.upstream.priced_as
    return bound_of(
        exchange.body,
        endpoint=exchange.endpoint,
        provider=provider,
        model=model,
        price=price,
        book=exchange.services.book,
        method=config.estimate,
        default_max_tokens=config.default_max_tokens,
        default_max_tool_calls=config.default_max_tool_calls,
        counted_input_tokens=counted_input_tokens,
        betas=headers.get("anthropic-beta") if headers else None,
        allowed_fields=allowed | own if own else allowed,
        asked=_asked(exchange, price),
    )
