"""Server: listens, serves the app, and stops gracefully."""

from __future__ import annotations

import gc
import signal
import socket
from collections.abc import Callable
from typing import Any, Final

import uvicorn

from outlay.errors import InvalidValueError
from outlay.gateway.app import make_app
from outlay.gateway.build import build_services
from outlay.gateway.config import Config
from outlay.gateway.logs import start_logging
from outlay.gateway.protocol import Patient

_BACKLOG: Final = 2048
_KEEP_ALIVE_SECONDS: Final = 75
_COLLECTED: Final = 20_000
"""How many objects more make a garbage collection: nearly all are gone before, for few are in cycles."""


def serve(config: Config, listener: socket.socket, *, started: Callable[[str], None] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; give the exit code. `started` is told the address once it listens.

    Raises:
        InvalidValueError: the configuration cannot be used.
        StoreError: the database cannot be used.
    """
    name, number = listener.getsockname()[:2]
    services = build_services(config, instance=f"{socket.gethostname()}:{name}:{number}")
    app = make_app(services)
    start_logging()
    server = _Server(
        uvicorn_config(app, config),
        started=lambda: started and started(address_of(name, number)),
        stopping=services.running.stop,
    )
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: None)  # uvicorn raises them again when it has stopped
    gc.freeze()
    gc.set_threshold(_COLLECTED, 20, 20)
    server.run(sockets=[listener])
    return 0 if server.started else 3


def listen(host: str, port: int) -> socket.socket:
    """Take an address; a port of 0 is any free one. Who calls before `serve` does waits for it.

    Raises:
        InvalidValueError: it is in use, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # said, or asyncio lets TCP wait
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
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

    class Protocol(Patient):
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
    """Tells when it listens, and when it begins to stop."""

    def __init__(
        self, config: uvicorn.Config, *, started: Callable[[], object], stopping: Callable[[], object]
    ) -> None:
        super().__init__(config)
        self._tell = started
        self._tell_stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._tell()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._tell_stopping()
        await super().shutdown(sockets)
