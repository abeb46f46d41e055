"""Server: listens, serves the app, and stops gracefully."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from asyncio import TimerHandle
from collections.abc import Callable
from typing import Any, Final

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from outlay.errors import InvalidValueError
from outlay.gateway.app import make_app
from outlay.gateway.build import build_services
from outlay.gateway.config import Config
from outlay.gateway.logs import start_logging

HOST: Final = "127.0.0.1"
PORT: Final = 4000
_BACKLOG: Final = 2048
_MOST_HEAD_BYTES: Final = 64 * 1024
_KEEP_ALIVE_SECONDS: Final = 75
_SWITCH_SECONDS: Final = 0.0002
"""The loop and the ledger's thread hand over to each other often: neither should wait Python's 5 ms."""
_COLLECTED: Final = 20_000
"""How many objects more make a garbage collection: nearly all are gone before, for few are in cycles."""
_TIMED_OUT: Final = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def serve(
    config: Config, *, host: str = HOST, port: int = PORT, started: Callable[[str], None] | None = None
) -> int:
    """Serve until SIGTERM or SIGINT; give the exit code. `started` is told the address once it listens.

    Raises:
        InvalidValueError: the address cannot be used, or the configuration.
        StoreError: the database cannot be used.
    """
    listener = listen(host, port)
    with listener:
        name, number = listener.getsockname()[:2]
        services = build_services(config, instance=f"{socket.gethostname()}:{name}:{number}")
        app = make_app(services)
        start_logging()
        server = _Server(uvicorn_config(app, config), lambda: started and started(address_of(name, number)))
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, lambda *_: None)  # uvicorn raises them again when it has stopped
        sys.setswitchinterval(_SWITCH_SECONDS)
        gc.freeze()
        gc.set_threshold(_COLLECTED, 20, 20)
        server.run(sockets=[listener])
    return 0 if server.started else 3


def listen(host: str, port: int) -> socket.socket:
    """Take an address; a port of 0 is any free one.

    Raises:
        InvalidValueError: it is in use, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # said, or asyncio lets TCP wait
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise InvalidValueError(
            f"cannot listen on {address_of(host, port)} ({error}): choose another --port, or --host"
        ) from error
    listener.set_inheritable(True)
    return listener


def address_of(host: str, port: int) -> str:
    """The URL of where somebody listens."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def uvicorn_config(app: Any, config: Config) -> uvicorn.Config:
    """How uvicorn serves: quietly, without trusting any header of a proxy, and not for ever."""

    class Protocol(_Patient):
        receive_seconds = config.limits.receive_seconds

    return uvicorn.Config(
        app,
        http=Protocol,
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(config.limits.drain_seconds)),
    )


class _Server(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], object]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._tell()


class _Patient(HttpToolsProtocol):
    """Uvicorn's protocol, patient only so long: a request's head has a time and a size it must keep.

    What comes behind a body in chunks (trailers) counts and is dropped: it is no part of the head. A wish for
    another protocol is passed over, body and all, as RFC 9110 (7.8) lets a server do.
    """

    receive_seconds = 30.0
    _head_timer: TimerHandle | None = None
    _head_bytes = 0
    _is_head_over = False
    _received = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        if self._head_timer is None and (self.cycle is None or self.cycle.response_complete):
            self._wait_for_head()
        self._received = data
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        self._is_head_over = False

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        if not self._is_head_over:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_head_over = True
        if not self.parser.should_upgrade():
            self._stop_waiting()
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Read the head again without the wish, and what the parser took for another protocol behind it."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if method == b"CONNECT":
            self.send_400_response("This is no proxy.")
            return
        upgrade = sys.exc_info()[1]
        rest = self._received[upgrade.args[0] :] if isinstance(upgrade, httptools.HttpParserUpgrade) else b""
        lines = [b"%b: %b" % (name, value) for name, value in self.headers if name != b"upgrade"]
        head = [b"%b %b HTTP/%b" % (method, self.url, version), *lines, b"", b""]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join(head) + rest)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > _MOST_HEAD_BYTES:
            raise ValueError("the head is too large")  # the parser stops, and uvicorn answers 400

    def _wait_for_head(self) -> None:
        self._head_timer = self.loop.call_later(self.receive_seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._stop_waiting()
        if not self.transport.is_closing():
            self.transport.write(_TIMED_OUT)
            self.transport.close()
