"""Send: the request to its provider, at most once, and what comes back as it comes."""

from __future__ import annotations

from time import monotonic

from outlay.charging import is_told
from outlay.errors import InvalidValueError, LedgerUnavailableError, ProviderConnectionError, ProviderError
from outlay.gateway import answer
from outlay.gateway.exchange import Exchange
from outlay.gateway.settle import fail
from outlay.providers.call import Reply, StreamedCall, ask


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
        await _arrived(exchange, error)
        raise
    exchange.reading = reply.reading
    await _arrived(exchange, reply.reading.failure(exchange.upstream.target.provider.name))
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
                await answer.pass_on(exchange, piece, call.reading)
    except (ProviderError, InvalidValueError) as error:
        if call is None or not is_told(call.reading):
            exchange.reading = None if call is None else call.reading
            await _arrived(exchange, error)
            raise
    exchange.reading = call.reading
    await _arrived(exchange, _failure(exchange))


def _failure(exchange: Exchange) -> ProviderError | None:
    """What went wrong in a stream that came to its end: an error event, or an end too soon."""
    reading, name = exchange.reading, exchange.upstream.target.provider.name
    assert reading is not None  # noqa: S101 # just set
    failure: ProviderError | None = reading.failure(name)
    if failure is None and not reading.is_complete:
        failure = ProviderConnectionError(
            f"{name} ended its stream without an end mark. It may have been billed.",
            is_unknown_outcome=True,
        )
    return failure


async def _leave(exchange: Exchange) -> None:
    """Nothing is sent on a hold that may be near its end: the process may have stood still."""
    waited = exchange.services.clock.boot() - exchange.reserved_at
    if waited > exchange.hold_micros / 2:
        raise LedgerUnavailableError("the gateway stood still after the request was admitted: repeat it")
    exchange.state, exchange.sent_at = "sent", monotonic()


async def _arrived(exchange: Exchange, error: ProviderError | InvalidValueError | None) -> None:
    """The provider's part is over: note its time, and what a failure means for the hold."""
    exchange.upstream_seconds = monotonic() - exchange.sent_at
    outcome = "ok" if error is None else error.code
    exchange.services.metrics.upstream(exchange.upstream.target.provider.id, outcome)
    if error is not None and not _is_claimed(exchange):
        await fail(exchange, error)
        raise error


def _is_claimed(exchange: Exchange) -> bool:
    """Whether the provider said what the whole answer used, not only what it used so far."""
    reading = exchange.reading
    return reading is not None and reading.claim is not None and reading.is_complete
