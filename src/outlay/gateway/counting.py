"""Counting: `/v1/messages/count_tokens`, which bills nothing and holds nothing."""

from __future__ import annotations

from outlay.errors import OutlayError
from outlay.gateway.answer import pass_through
from outlay.gateway.authenticate import authenticate
from outlay.gateway.entitle import entitle
from outlay.gateway.exchange import Exchange
from outlay.gateway.limits import ClientGoneError
from outlay.gateway.parse import parse
from outlay.gateway.room import check_room
from outlay.gateway.route import route
from outlay.gateway.telling import tell, turn_away
from outlay.pricing.request_fields import check_fields
from outlay.providers.wires import anthropic


async def count(exchange: Exchange) -> None:
    """Ask the provider, and send its answer on."""
    try:
        authenticate(exchange, is_fresh=True)
        await parse(exchange)
        check_room(exchange)
        entitle(exchange)
        route(exchange)
        check_fields(exchange.body, endpoint="messages", provider=exchange.upstream.target.provider.id)
        request = anthropic.build_count(exchange.upstream.target, exchange.body, exchange.upstream_headers)
        answer = await exchange.services.transport.send(request, timeouts=exchange.timeouts)
        await pass_through(exchange, answer)
        tell(exchange, None)
    except ClientGoneError:
        return
    except OutlayError as error:
        await turn_away(exchange, error)
