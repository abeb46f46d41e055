"""Pipeline: one request, from top to bottom. Each stage is the module of its name.

authenticate → parse → entitle → route → estimate → reserve → send → meter → answer → settle
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from outlay.errors import OutlayError
from outlay.gateway import idempotency
from outlay.gateway.answer import answer, end_stream, look_for_client, refuse, replay
from outlay.gateway.authenticate import authenticate
from outlay.gateway.entitle import entitle
from outlay.gateway.estimate import LONG_BYTES, estimate, find_price
from outlay.gateway.exchange import Exchange
from outlay.gateway.failures import internal_failure
from outlay.gateway.limits import ClientGoneError
from outlay.gateway.meter import meter
from outlay.gateway.parse import parse
from outlay.gateway.reserve import refuse_if_spent, reserve
from outlay.gateway.room import check_room
from outlay.gateway.route import route
from outlay.gateway.send import send, send_stream
from outlay.gateway.settle import begin_free, begin_settle, ended, void
from outlay.gateway.telling import tell, turn_away

LONG_SECONDS: Final = 1.0
"""A body that takes longer to come may come after the key has changed."""

log = logging.getLogger("outlay")


async def handle(exchange: Exchange) -> None:
    """Serve one request. What is sent upstream is the server's own task: a caller may leave."""
    try:
        authenticate(exchange, is_fresh=idempotency.HEADER in exchange.headers)
        await parse(exchange)
        if exchange.seconds() > LONG_SECONDS:
            authenticate(exchange, is_fresh=True)  # meanwhile the key may have been blocked
        check_room(exchange)
    except ClientGoneError:
        return
    except OutlayError as error:
        error = _if_still_known(exchange, error)
        await turn_away(exchange, error)
        return
    await asyncio.shield(exchange.services.running.start(_carry_out(exchange)))


async def _carry_out(exchange: Exchange) -> None:
    told: BaseException | None = None
    try:
        stored = idempotency.claim(exchange)
        if stored is not None:
            await replay(exchange, stored)
            return
        entitle(exchange)
        route(exchange)
        find_price(exchange)
        if exchange.size > LONG_BYTES:
            await refuse_if_spent(exchange)
        await estimate(exchange)
        await reserve(exchange)
        if exchange.is_stream:
            await _stream(exchange)
        else:
            await _whole(exchange)
    except OutlayError as error:
        told = _if_still_known(exchange, error)
        await _give_up(exchange, error)
        await refuse(exchange, told)
    except Exception as error:
        told = error  # the edge of the process: a fault is logged, and what was sent stays held
        log.exception("request %s failed", exchange.request_id)
        await _give_up(exchange, error)
        await refuse(exchange, internal_failure())
    except BaseException as error:
        await _give_up(exchange, error)
        raise
    finally:
        tell(exchange, told)
        told = None  # it leads back to this frame: both, and the request's body, would wait for the collector
        await ended(exchange)


async def _whole(exchange: Exchange) -> None:
    reply = await send(exchange)
    meter(exchange)
    begin_settle(exchange, reply.status)
    await answer(exchange, reply)


async def _stream(exchange: Exchange) -> None:
    await send_stream(exchange)
    meter(exchange)
    await look_for_client(exchange)
    begin_settle(exchange, exchange.status)
    await end_stream(exchange)


def _if_still_known(exchange: Exchange, error: OutlayError) -> OutlayError:
    """The error; of a key that came to its end since it was read, only that: the ledger was not asked yet."""
    if exchange.principal is None or exchange.reserved_at:
        return error
    try:
        authenticate(exchange, is_fresh=True)
    except OutlayError as ended:
        return ended
    return error


async def _give_up(exchange: Exchange, error: BaseException) -> None:
    """Give back what is held for a request that never left, else the slot of a call that is over.

    The Idempotency-Key of one that never left is free again.
    """
    if exchange.state == "unsent":
        if exchange.reserved is not None:
            await void(exchange, "never_sent", error)
        idempotency.release(exchange)
    elif exchange.state == "sent":  # its connection is closed; what it cost is not known
        begin_free(exchange)
