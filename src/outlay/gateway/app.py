"""App: the gateway as one ASGI application. Hot endpoints first, then the management API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from outlay.errors import LedgerError, StoreError
from outlay.gateway.build import open_books
from outlay.gateway.counting import count
from outlay.gateway.door import Door
from outlay.gateway.limits import Limited
from outlay.gateway.management.app import make_management_app
from outlay.gateway.paths import COUNTING, PATHS
from outlay.gateway.pipeline import handle
from outlay.gateway.services import Services
from outlay.gateway.settle import settle_late
from outlay.gateway.views import view_routes

log = logging.getLogger("outlay")

SWEEP_SECONDS: Final = 5.0
"""How often what is due expires, and what could not be settled is tried again, when nobody calls."""


class App:
    """The application: calls go through a door by their exact path, all else by Starlette's routes."""

    def __init__(self, doors: Mapping[str, Door], rest: Starlette) -> None:
        self.doors = doors
        self.rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        if scope["type"] == "http" and scope["method"] == "POST":
            door = self.doors.get(scope["path"])
            if door is not None:
                await door(scope, receive, send)
                return
        await self.rest(scope, receive, send)


def make_app(services: Services) -> App:
    """Make the application. Its lifespan opens the ledger and drains it at the end."""
    doors = {path: Door(services, endpoint, handle) for endpoint, paths in PATHS for path in paths}
    doors[COUNTING] = Door(services, "messages", count)
    rest = Starlette(routes=view_routes(services, tuple(doors)), lifespan=lambda _: _life(services))
    rest.router.redirect_slashes = False  # a redirect would lead to whatever Host the caller named
    rest.router.default = Limited(make_management_app(services), services.config.limits)
    return App(doors, rest)


@asynccontextmanager
async def _life(services: Services) -> AsyncIterator[None]:
    """Open the books; at the end let what runs come to its end, then close everything."""
    await asyncio.to_thread(open_books, services)
    sweeping = asyncio.create_task(_sweep(services))
    try:
        yield
    finally:
        left = await services.running.drain(services.config.limits.drain_seconds)
        if left:
            log.warning("%d calls were still running: what they hold is presumed when it expires", left)
        sweeping.cancel()
        with suppress(asyncio.CancelledError):
            await sweeping
        await settle_late(services)
        services.request_log.flush()
        await services.transport.close()
        await asyncio.to_thread(services.ledger.close)


async def _sweep(services: Services) -> None:
    """Expire what is due while nobody calls."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        try:
            await settle_late(services)
            await asyncio.to_thread(services.ledger.sweep)
        except (LedgerError, StoreError) as error:
            log.warning("could not sweep: %s", error)
