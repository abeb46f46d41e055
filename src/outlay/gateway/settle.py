"""Settle: the hold becomes a charge, or a void with its proof; what nobody knows stays held.

What ends a call is queued before the last byte of its answer is handed to the server, so that whoever read
the answer finds the charge in what they read next. Its commit is waited for afterwards.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from outlay.charging import storable
from outlay.domain.commands import FreeSlot, Settle, Void
from outlay.domain.entries import VoidReason
from outlay.domain.outcomes import Outcome
from outlay.errors import (
    LedgerBusyError,
    LedgerUnavailableError,
    OutlayError,
    ProviderError,
    StoreError,
)
from outlay.gateway import idempotency
from outlay.gateway.config import PROJECT
from outlay.gateway.exchange import Exchange
from outlay.gateway.failures import failure_of
from outlay.gateway.services import Ending, Services
from outlay.providers.failure import void_reason

log = logging.getLogger("outlay")


def begin_settle(exchange: Exchange, status: int) -> None:
    """Queue the charge of what was metered, and is answered with this status.

    A usage that nobody knows leaves the whole hold as the charge, at once.
    """
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
        detail=_detail(exchange, status),
        priced_nanos=charge.priced_nanos,
    )
    if charge.nanos is not None and charge.priced_nanos is not None:
        exchange.services.metrics.drifted(exchange.model, charge.nanos - charge.priced_nanos)
    _begin(exchange, command)


def begin_free(exchange: Exchange) -> None:
    """Queue that the call is over, whatever it cost: it counts no longer against concurrency budgets."""
    _begin(exchange, FreeSlot(PROJECT, exchange.reservation_id))


async def ended(exchange: Exchange) -> None:
    """Wait until what was begun is durable."""
    if exchange.ending is not None:
        command, outcome = exchange.ending
        exchange.ending = None
        await _wait_for(exchange.services, command, outcome)


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
    detail = _detail(exchange, exchange.status)
    if isinstance(error, OutlayError):  # its code only: a provider's message may quote the prompt
        detail["error"], detail["status"] = error.code, exchange.status or failure_of(error).status
    await _resolve(exchange.services, Void(PROJECT, exchange.reservation_id, reason, detail))


async def settle_late(services: Services) -> None:
    """Try again what the ledger could not take when it was told; called every now and then."""
    for _ in range(len(services.unsettled)):
        await _resolve(services, services.unsettled.popleft())


def _begin(exchange: Exchange, command: Ending) -> None:
    exchange.ending = command, _queue(exchange.services, command)


async def _resolve(services: Services, command: Ending) -> None:
    await _wait_for(services, command, _queue(services, command))


def _queue(services: Services, command: Ending) -> asyncio.Future[Outcome]:
    """Tell the ledger. It never raises: the caller's answer must not depend on it."""
    try:
        return services.ledger.enqueue(command, is_unawaited=True)
    except OutlayError as error:
        failed: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        failed.set_exception(error)
        return failed


async def _wait_for(services: Services, command: Ending, outcome: asyncio.Future[Outcome]) -> None:
    """Wait for the ledger. What it could not take now it is told again later."""
    kind = type(command).__name__.lower()
    try:
        await outcome
    except (LedgerBusyError, LedgerUnavailableError, StoreError, asyncio.CancelledError) as error:
        services.unsettled.append(command)
        log.warning("could not %s %s yet (it stays held): %s", kind, command.id, error)
        if isinstance(error, asyncio.CancelledError):
            raise
    except OutlayError as error:  # such as one that somebody corrected by hand: it is as the journal says
        log.error("could not %s %s: %s", kind, command.id, error)


def _detail(exchange: Exchange, status: int) -> dict[str, Any]:
    """What the journal says of the exchange beside its cost. No text of the caller's or the model's."""
    deployment, reading, charge, who = exchange.upstream, exchange.reading, exchange.charge, exchange.who
    detail: dict[str, Any] = {
        "endpoint": exchange.endpoint,
        "upstream_model": deployment.target.model,
        "deployment": deployment.id,
        "stream": exchange.is_stream,
        "status": status,
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
