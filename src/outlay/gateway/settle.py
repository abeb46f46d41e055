"""Settle: the hold becomes a charge, or a void with its proof; what nobody knows stays held."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from outlay.charging import storable
from outlay.domain.commands import Settle, Void
from outlay.domain.entries import VoidReason
from outlay.errors import (
    LedgerBusyError,
    LedgerError,
    LedgerUnavailableError,
    OutlayError,
    ProviderError,
    StoreError,
)
from outlay.gateway import idempotency
from outlay.gateway.config import PROJECT
from outlay.gateway.exchange import Exchange
from outlay.gateway.failures import failure_of
from outlay.gateway.services import Services
from outlay.providers.failure import void_reason

log = logging.getLogger("outlay")


async def settle(exchange: Exchange) -> None:
    """Charge what was metered. A usage that nobody knows leaves the whole hold as the charge, at once."""
    charge = exchange.charge
    assert charge is not None  # noqa: S101 # `meter` comes first
    exchange.state = "settled"
    exchange.services.metrics.settled(exchange.held_nanos, charge.nanos, charge.source)
    command = Settle(
        PROJECT,
        exchange.reservation_id,
        charge.nanos,
        charge.tokens,
        charge.usage,
        charge.source,
        charge.price_version,
        detail=_detail(exchange),
    )
    await _resolve(exchange.services, command)


async def fail(exchange: Exchange, error: OutlayError) -> None:
    """Void what cannot have been billed; leave held what may have been, until it expires."""
    reason = void_reason(error) if isinstance(error, ProviderError) else "never_sent"
    if reason is None:
        exchange.services.metrics.presumed(exchange.held_nanos)
        return
    await void(exchange, reason, error)


async def void(exchange: Exchange, reason: VoidReason, error: BaseException | None = None) -> None:
    """Give the hold back, for a reason that proves nothing was billed."""
    exchange.state = "voided"
    idempotency.release(exchange)
    exchange.services.metrics.voided(exchange.held_nanos)
    detail = _detail(exchange)
    if isinstance(error, OutlayError):  # its code only: a provider's message may quote the prompt
        detail["error"], detail["status"] = error.code, exchange.status or failure_of(error).status
    await _resolve(exchange.services, Void(PROJECT, exchange.reservation_id, reason, detail))


async def settle_late(services: Services) -> None:
    """Try again what the ledger could not take when it was told; called every now and then."""
    for _ in range(len(services.unsettled)):
        await _resolve(services, services.unsettled.popleft())


async def _resolve(services: Services, command: Settle | Void) -> None:
    """Tell the ledger. One that fails is told again later; the caller's answer does not depend on it."""
    kind = type(command).__name__.lower()
    try:
        await services.ledger.execute_async(command, is_unawaited=True)
    except (LedgerBusyError, LedgerUnavailableError, StoreError, asyncio.CancelledError) as error:
        services.unsettled.append(command)
        log.warning("could not %s %s yet (it stays held): %s", kind, command.id, error)
        if isinstance(error, asyncio.CancelledError):
            raise
    except LedgerError as error:  # such as one that somebody corrected by hand: it is as the journal says
        log.error("could not %s %s: %s", kind, command.id, error)


def _detail(exchange: Exchange) -> dict[str, Any]:
    """What the journal says of the exchange beside its cost. No text of the caller's or the model's."""
    deployment, reading, charge, who = exchange.upstream, exchange.reading, exchange.charge, exchange.who
    detail: dict[str, Any] = {
        "endpoint": exchange.endpoint,
        "upstream_model": deployment.target.model,
        "deployment": deployment.id,
        "stream": exchange.is_stream,
        "status": exchange.status,
        "latency_seconds": round(exchange.upstream_seconds, 3),
        "key_alias": who.alias,
        "user_id": who.user_id,
    }
    if exchange.first_chunk_at:
        detail["first_chunk_seconds"] = round(exchange.first_chunk_at - exchange.sent_at, 3)
    if reading is not None and reading.response_id is not None:
        detail["response_id"] = storable(reading.response_id)
    if exchange.bound is not None:
        detail["estimate"] = exchange.bound.quality
    if exchange.is_unproven:
        detail["unproven"] = True
    if exchange.is_client_gone:
        detail["client_gone"] = True
    if charge is not None and charge.is_disputed:
        detail["disputed"], detail["claimed"] = True, storable(charge.claimed)
    if charge is not None and charge.stated is not None:
        detail["stated"] = storable(charge.stated)
    return detail
