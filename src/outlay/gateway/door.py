"""Door: where a caller's request comes in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import Receive, Scope, Send

from outlay.gateway.answer import refuse
from outlay.gateway.exchange import Exchange
from outlay.gateway.failures import GatewayError
from outlay.gateway.services import Services
from outlay.gateway.single_headers import refusal_of_doubled
from outlay.gateway.telling import turn_away
from outlay.pricing.bound.caps import Endpoint


class Door:
    """An ASGI app for one endpoint: an exchange for each request."""

    def __init__(
        self, services: Services, endpoint: Endpoint, serve: Callable[[Exchange], Awaitable[None]]
    ) -> None:
        self._services = services
        self._endpoint: Endpoint = endpoint
        self._serve = serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        services, given = self._services, scope["headers"]
        headers: dict[bytes, bytes] = dict(given)
        exchange = Exchange(services, self._endpoint, headers, receive, send)
        if len(headers) != len(given) and (refusal := refusal_of_doubled(given)) is not None:
            await turn_away(exchange, refusal)
            return
        services.metrics.in_flight += 1
        try:
            await self._serve(exchange)
        except asyncio.CancelledError:
            if not services.running.is_stopping:
                raise
            await refuse(exchange, _stopping())
            exchange.is_client_gone = True
        finally:
            services.metrics.in_flight -= 1


def _stopping() -> GatewayError:
    return GatewayError(
        503,
        "gateway_stopping",
        "The gateway stops, and its time for requests under way is over: the provider may yet bill this one.",
        headers={"connection": "close"},
    )
