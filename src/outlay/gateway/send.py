"""Send: the request to its provider, at most once, and what comes back as it comes."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final

from outlay.charging import is_no_answer, is_told
from outlay.errors import InvalidValueError, LedgerUnavailableError, ProviderError
from outlay.gateway import answer
from outlay.gateway.exchange import Exchange
from outlay.gateway.failures import failure_of
from outlay.gateway.meter import meter
from outlay.gateway.settle import begin_settle, fail
from outlay.providers.call import Reply, StreamedCall, ask
from outlay.providers.wires import Reading

_LINGER_SECONDS: Final = 0.2
"""How long a stream may go on after its end mark before that is passed on."""


async def send(exchange: Exchange) -> Reply:
    """Send the request and read the whole answer.

    Raises:
        ProviderError: it failed; voided if it cannot have been billed, else still held.
    """
    await _leave(exchange)
    try:
        reply = await ask(
            exchange.services.transport,
            exchange.upstream.target,
            exchange.endpoint,
            exchange.sent_body,
            timeouts=exchange.timeouts,
            headers=exchange.upstream_headers,
        )
    except (ProviderError, InvalidValueError) as error:
        await _arrived(exchange, error, is_over=is_no_answer(error))
        raise
    exchange.reading = reply.reading
    await _arrived(exchange, reply.reading.failure(exchange.upstream.target.provider.name), is_over=True)
    return reply


async def send_stream(exchange: Exchange) -> None:
    """Send the request and pass its stream on, event by event; read to its end whoever still listens.

    Raises:
        ProviderError: it failed before it answered, or broke off; voided or still held, as for `send`.
    """
    await _leave(exchange)
    call: StreamedCall | None = None
    try:
        call = StreamedCall(
            exchange.services.transport,
            exchange.upstream.target,
            exchange.endpoint,
            exchange.sent_body,
            timeouts=exchange.timeouts,
            headers=exchange.upstream_headers,
        )
        async with call:
            await answer.start_stream(exchange, call.headers)
            async for piece in call:
                if call.reading.is_final:
                    before = piece.events[:-1]
                    if before:  # what comes with the end mark keeps nobody waiting
                        await answer.pass_on(exchange, piece._replace(events=before), call.reading)
                        piece = piece._replace(events=piece.events[-1:])  # noqa: PLW2901 # the mark alone
                    answer.hold_back(exchange, piece, call.reading)
                    await _read_on(exchange, call)
                else:
                    await answer.pass_on(exchange, piece, call.reading)
    except (ProviderError, InvalidValueError) as error:
        if call is None or not is_told(call.reading):
            exchange.reading = None if call is None else call.reading
            await _arrived(exchange, error, is_over=is_no_answer(error))
            raise
    exchange.reading = call.reading
    name = exchange.upstream.target.provider.name
    await _arrived(exchange, call.reading.end_failure(name), is_over=True)


async def _read_on(exchange: Exchange, call: StreamedCall) -> None:
    """Read what follows the end mark, which is held back until the charge is queued.

    A provider that keeps its connection open keeps no caller waiting: then the mark is passed on at once.
    """
    try:
        async with asyncio.timeout(_LINGER_SECONDS):
            async for piece in call:
                exchange.held_back.append(piece)
    except TimeoutError:
        await answer.let_go(exchange)
        async for piece in call:
            await answer.pass_on(exchange, piece, call.reading)


async def _leave(exchange: Exchange) -> None:
    """Nothing is sent on a hold that may be near its end: the process may have stood still."""
    waited = exchange.services.clock.boot() - exchange.reserved_at
    if waited > exchange.hold_micros / 2:
        raise LedgerUnavailableError("the gateway stood still after the request was admitted: repeat it")
    exchange.state, exchange.sent_at = "sent", monotonic()


async def _arrived(
    exchange: Exchange, error: ProviderError | InvalidValueError | None, *, is_over: bool = False
) -> None:
    """The provider's part is over: note its time, and what a failure means for the hold.

    `is_over`: the answer came to its end, so that nothing more will be known of it.
    """
    exchange.upstream_seconds = monotonic() - exchange.sent_at
    outcome = "ok" if error is None else error.code
    exchange.services.metrics.upstream(exchange.upstream.target.provider.id, outcome)
    if error is None:
        return
    if not is_over:
        await fail(exchange, error)
    elif exchange.reading is None or not exchange.reading.has_usable_usage:
        exchange.reading = exchange.reading or Reading()
        meter(exchange)
        begin_settle(exchange, exchange.status or failure_of(error).status)
    else:
        return
    try:
        raise error
    finally:
        del error  # it leads back to this frame, and so to the request's body
