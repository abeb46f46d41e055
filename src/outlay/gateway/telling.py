"""Telling: what the metrics and the log hear of a request when it is over."""

from __future__ import annotations

from outlay.domain.money import usd_text
from outlay.errors import OutlayError
from outlay.gateway.answer import refuse
from outlay.gateway.exchange import Exchange
from outlay.gateway.failures import GatewayError
from outlay.gateway.metrics import NO_MODEL


def tell(exchange: Exchange, error: BaseException | None) -> None:
    """Note one request in the metrics and the log."""
    seconds, charge = exchange.seconds(), exchange.charge
    metrics = exchange.services.metrics
    model = exchange.model or NO_MODEL
    metrics.answered(exchange.endpoint, model, exchange.status, seconds, exchange.upstream_seconds)
    who = exchange.principal
    exchange.services.request_log.add(
        {
            "request_id": exchange.request_id,
            "endpoint": exchange.endpoint,
            "status": exchange.status,
            "model": exchange.model or None,
            "deployment": None if exchange.deployment is None else exchange.deployment.id,
            "key": None if who is None else who.alias or who.token[:8],
            "cost": None if charge is None or charge.nanos is None else usd_text(charge.nanos),
            "tokens": None if charge is None else charge.tokens,
            "seconds": round(seconds, 4),
            "added_ms": round((seconds - exchange.upstream_seconds) * 1000, 2),
            "reason": _reason(error),
        }
    )


async def turn_away(exchange: Exchange, error: OutlayError) -> None:
    """Refuse a request that came no further than the gateway, and note it."""
    await refuse(exchange, error)
    tell(exchange, error)


def _reason(error: BaseException | None) -> str | None:
    """The kind of error that an answer names; `fault` for one of the gateway's own."""
    if isinstance(error, GatewayError):
        return error.type
    return error.code if isinstance(error, OutlayError) else None if error is None else "fault"
