"""Answer: what goes back to the caller, whole, as a stream, or as a refusal."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Any, Final

import msgspec

from outlay.charging import is_uncalled_for
from outlay.domain.money import usd_text
from outlay.errors import OutlayError
from outlay.gateway import idempotency
from outlay.gateway.exchange import Exchange
from outlay.gateway.failures import Failure, anthropic_document, failure_of
from outlay.gateway.idempotency import Recording, Stored
from outlay.gateway.meter import meter
from outlay.providers.call import Piece, Reply
from outlay.providers.request import Answer as Upstream
from outlay.providers.wires import Reading

_JSON: Final = b"application/json"
_EVENTS: Final = b"text/event-stream"
_TYPES: Final = {each.decode(): each for each in (_JSON, _EVENTS)}
_encode = msgspec.json.Encoder().encode

Headers = list[tuple[bytes, bytes]]


async def answer(exchange: Exchange, reply: Reply) -> None:
    """Send a provider's whole answer on, as it came, with what it cost."""
    headers = _headers(exchange, _content_type(reply.headers, _JSON))
    headers += _cost_headers(exchange)
    await _send_whole(exchange, reply.status, headers, reply.body)


async def pass_through(exchange: Exchange, upstream: Upstream) -> None:
    """Send an answer on that costs nothing."""
    headers = _headers(exchange, _content_type(upstream.headers, _JSON))
    await _send_whole(exchange, upstream.status, headers, upstream.body)


async def start_stream(exchange: Exchange, upstream: Mapping[str, str]) -> None:
    """Send the status and the headers of a stream, or of the plain JSON that came in its place."""
    content_type = _content_type(upstream, _EVENTS)
    exchange.is_plain = content_type == _JSON
    headers = _headers(exchange, content_type)
    headers.append((b"cache-control", b"no-cache"))
    headers.append((b"x-accel-buffering", b"no"))
    reserved = exchange.reserved
    if reserved is not None and reserved.remaining_nanos is not None:
        headers.append((b"x-outlay-remaining", usd_text(reserved.remaining_nanos).encode()))
    await _start(exchange, 200, headers)


async def pass_on(exchange: Exchange, piece: Piece, reading: Reading) -> None:
    """Send the events of one piece on, as they came, but for a usage that only the gateway asked for."""
    if not exchange.first_chunk_at:
        _note_first_chunk(exchange)
    if exchange.is_client_gone and exchange.delivered is None:  # a repeat is answered with all of it
        return
    events = piece.events
    if len(events) == 1 and (document := events[0].document) is not None and not document.get("usage"):
        await _deliver(exchange, events[0].raw)
        return
    parts = []
    for raw, document in events:
        if document is not None and document.get("usage") is not None:
            raw = _with_usage(exchange, raw, document, reading)  # noqa: PLW2901 # what is sent instead
        parts.append(raw)
    if data := b"".join(parts):
        await _deliver(exchange, data)


def hold_back(exchange: Exchange, piece: Piece, reading: Reading) -> None:
    """Keep the piece with the end mark until `let_go`."""
    if not exchange.first_chunk_at:
        _note_first_chunk(exchange)
    exchange.reading = reading
    exchange.held_back.append(piece)


async def let_go(exchange: Exchange) -> None:
    """Send on what was held back until the end."""
    held, exchange.held_back = exchange.held_back, []
    for piece in held:
        assert exchange.reading is not None  # noqa: S101 # `hold_back` set it
        await pass_on(exchange, piece, exchange.reading)


async def end_stream(exchange: Exchange) -> None:
    """End a stream: its last events, and its cost as a comment, which clients pass over."""
    await let_go(exchange)
    charge = exchange.charge
    if charge is not None and charge.nanos is not None and not exchange.is_plain:
        await _deliver(exchange, f": x-outlay-cost: {usd_text(charge.nanos)}\n\n".encode())
    await _deliver(exchange, b"", is_last=True)


async def replay(exchange: Exchange, stored: Stored) -> None:
    """Send an answer that was sent before under the same Idempotency-Key."""
    exchange.status = stored.status
    headers = [*stored.headers, (b"x-outlay-replayed", b"true")]
    await exchange.send({"type": "http.response.start", "status": stored.status, "headers": headers})
    await exchange.send({"type": "http.response.body", "body": b"".join(stored.pieces)})


async def refuse(exchange: Exchange, error: OutlayError | Failure) -> None:
    """Answer with an error: a status and a body, or the last event of a stream that has begun."""
    failure = error if isinstance(error, Failure) else failure_of(error, deployment=exchange.deployment)
    is_anthropic = exchange.endpoint == "messages"
    document = anthropic_document(failure, exchange.request_id) if is_anthropic else failure.document
    if exchange.status:
        await let_go(exchange)
        if exchange.reading is not None and exchange.reading.error is not None:
            await _deliver(exchange, b"", is_last=True)  # the provider's own error event was passed on
            return
        event = b"event: error\n" if is_anthropic else b""
        await _deliver(exchange, b"%bdata: %b\n\n" % (event, _encode(document)))
        await _deliver(exchange, b"", is_last=True)
        return
    headers = _headers(exchange, _JSON, is_sent=exchange.sent_at > 0)
    headers += [
        (name.encode(), value.encode("latin-1", "replace")) for name, value in failure.headers.items()
    ]
    await _send_whole(exchange, failure.status, headers, _encode(document))


async def look_for_client(exchange: Exchange) -> None:
    """Note whether the caller hung up meanwhile: what is sent to one who did is dropped without a word."""
    hearing = asyncio.ensure_future(exchange.receive())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if hearing.done():
        exchange.is_client_gone = exchange.is_client_gone or hearing.result()["type"] == "http.disconnect"
    else:
        hearing.cancel()


def _with_usage(exchange: Exchange, raw: bytes, document: dict[str, Any], reading: Reading) -> bytes:
    """A chunk that has a usage: left out if it is there only for the gateway; with the cost if asked."""
    if exchange.endpoint in ("chat", "completions"):
        if exchange.is_cost_asked and isinstance(document["usage"], dict):
            meter(exchange, reading)
            charge = exchange.charge
            cost = None if charge is None or charge.nanos is None else charge.nanos / 1_000_000_000
            return b"data: %b\n\n" % _encode({**document, "usage": {**document["usage"], "cost": cost}})
        if not exchange.is_usage_asked and is_uncalled_for(document, {}):
            return b""
    return raw


def _note_first_chunk(exchange: Exchange) -> None:
    exchange.first_chunk_at = monotonic()
    added = exchange.sent_at - exchange.started_at
    exchange.services.metrics.first_chunk(exchange.endpoint, added)


def _headers(exchange: Exchange, content_type: bytes, *, is_sent: bool = True) -> Headers:
    request_id = exchange.request_id.encode()
    headers = [
        (b"content-type", content_type),
        (b"x-outlay-request-id", request_id),
        (b"x-litellm-call-id", request_id),
        (b"request-id" if exchange.endpoint == "messages" else b"x-request-id", request_id),
    ]
    if is_sent and exchange.deployment is not None:
        deployment_id = exchange.deployment.id.encode("latin-1", "replace")
        headers += [
            (b"x-outlay-model-id", deployment_id),
            (b"x-litellm-model-id", deployment_id),
            (b"x-outlay-attempts", b"1"),
        ]
    if exchange.told_cap is not None:
        headers.append((b"x-outlay-max-tokens", b"%d" % exchange.told_cap))
    if exchange.sent_tool_calls is not None:
        headers.append((b"x-outlay-max-tool-calls", b"%d" % exchange.sent_tool_calls))
    return headers


def _cost_headers(exchange: Exchange) -> Headers:
    """What the answer cost, and what the tightest budget has left."""
    charge, reserved, bound = exchange.charge, exchange.reserved, exchange.bound
    headers: Headers = []
    if charge is None or charge.nanos is None:
        return headers
    cost = usd_text(charge.nanos).encode()
    headers += [(b"x-outlay-cost", cost), (b"x-litellm-response-cost", cost)]
    if reserved is not None and bound is not None and reserved.remaining_nanos is not None:
        given_back = bound.bound(exchange.cap) - charge.nanos
        left = max(reserved.remaining_nanos + given_back, 0)
        headers.append((b"x-outlay-remaining", usd_text(left).encode()))
    if reserved is not None and reserved.first_budget is not None:
        spent, limit = reserved.first_budget
        headers.append((b"x-litellm-key-spend", usd_text(spent + charge.nanos).encode()))
        headers.append((b"x-litellm-key-max-budget", usd_text(limit).encode()))
    return headers


def _content_type(headers: Mapping[str, str], default: bytes) -> bytes:
    """What the provider says it sends, in words of ours: nothing of a header of its passes unread."""
    given = headers.get("content-type", "").partition(";")[0].strip().lower()
    return _TYPES.get(given, default)


async def _send_whole(exchange: Exchange, status: int, headers: Headers, body: bytes) -> None:
    headers.append((b"content-length", b"%d" % len(body)))
    await _start(exchange, status, headers)
    await _deliver(exchange, body, is_last=True)


async def _start(exchange: Exchange, status: int, headers: Headers) -> None:
    exchange.status = status
    if exchange.claimed is not None:
        exchange.kept_headers, exchange.delivered = tuple(headers), Recording()
    await exchange.send({"type": "http.response.start", "status": status, "headers": headers})


async def _deliver(exchange: Exchange, data: bytes, *, is_last: bool = False) -> None:
    """Hand bytes to the server; a caller that left gets no more of them."""
    if exchange.delivered is not None:
        exchange.delivered.add(data)
        if is_last and exchange.state != "voided":
            idempotency.finish(exchange)
    if exchange.is_client_gone:
        return
    message = {"type": "http.response.body", "body": data, "more_body": not is_last}
    try:
        await exchange.send(message)
    except OSError:
        exchange.is_client_gone = True
