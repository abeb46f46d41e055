"""Sessions: one pool of connections for each event loop, which closes with its loop.

A session belongs to the loop it was made on. Here each is tied to its loop by an asynchronous generator
that the loop finalises when it ends (`loop.shutdown_asyncgens`, which `asyncio.run` calls), so a program
that runs many loops leaks no sockets. After a fork the child starts without sessions: the parent's
connections are the parent's.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import aiohttp

_KEEPALIVE_SECONDS = 15.0
"""Shorter than servers keep idle connections: a POST on one that the server just closed is not repeated."""


@dataclass(slots=True)
class Progress:
    """How far a request came. Without a connection, no byte of it can have left."""

    has_connection: bool = False


@dataclass(slots=True)
class _Held:
    loop: asyncio.AbstractEventLoop
    session: aiohttp.ClientSession
    keeper: AsyncGenerator[None, None]


class Sessions:
    """The sessions of one transport, by event loop."""

    def __init__(self) -> None:
        self._held: dict[int, _Held] = {}
        self._abandoned: list[dict[int, _Held]] = []
        self._pid = os.getpid()

    async def get(self) -> aiohttp.ClientSession:
        """The running loop's session, made when first asked for."""
        if self._pid != os.getpid():  # kept, not closed: closing them here would disturb the parent
            self._abandoned.append(self._held)
            self._held, self._pid = {}, os.getpid()
        loop = asyncio.get_running_loop()
        held = self._held.get(id(loop))
        if held is None or held.loop is not loop:
            self._close_orphans()
        if held is None or held.loop is not loop or held.session.closed:
            held = _Held(loop, _session(), self._keep(loop))
            self._held[id(loop)] = held
            await anext(held.keeper)
        return held.session

    async def close(self) -> None:
        """Close the running loop's session."""
        held = self._held.get(id(asyncio.get_running_loop()))
        if held is not None:
            await held.keeper.aclose()

    def _close_orphans(self) -> None:
        """Close the sessions of loops that were closed without finalising their generators."""
        for key, held in list(self._held.items()):
            if held.loop.is_closed():
                self._held.pop(key, None)
                _close_sockets(held.session)

    async def _keep(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None, None]:
        held = self._held[id(loop)]
        try:
            yield
        finally:
            if self._held.get(id(loop)) is held:
                del self._held[id(loop)]
            await held.session.close()


def proxy_for(url: str) -> str | None:
    """The proxy the environment names for an https URL (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`), or None.

    Only https goes through a proxy, in a tunnel that hides the credential from it; plain http (a server on
    this machine or network) goes direct.
    """
    if url[:6].lower() != "https:":
        return None
    parts = urlsplit(url)
    named = (os.environ.get(name) for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"))
    proxy = next((value.strip() for value in named if value and value.strip()), None)
    if proxy is None or not parts.hostname:
        return None
    from urllib.request import proxy_bypass

    if proxy_bypass(parts.hostname):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _session() -> aiohttp.ClientSession:
    import aiohttp

    tracer = aiohttp.TraceConfig()
    tracer.on_connection_create_end.append(_connected)
    tracer.on_connection_reuseconn.append(_connected)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_SECONDS)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[tracer],
        trust_env=False,  # it would also read ~/.netrc, and send what it finds there
        skip_auto_headers=("User-Agent",),
    )


def _close_sockets(session: aiohttp.ClientSession) -> None:
    """Close what a session holds open, without its loop: that is closed, and a transport would need it."""
    connector: Any = session.connector
    session.detach()
    for idle in connector._conns.values():
        for protocol, _ in idle:
            _close_socket(protocol)
    for protocol in connector._acquired:
        _close_socket(protocol)
    connector._close()


def _close_socket(protocol: Any) -> None:
    found = protocol.transport and protocol.transport.get_extra_info("socket")
    if found:
        found._sock.close()


async def _connected(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
    progress = context.trace_request_ctx
    if isinstance(progress, Progress):
        progress.has_connection = True
