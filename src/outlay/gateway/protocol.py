"""Protocol: HTTP/1.1 on one connection, as uvicorn speaks it, with limits on how long a caller may take."""

from __future__ import annotations

import asyncio
import sys
from asyncio import TimerHandle
from typing import Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MOST_HEAD_BYTES: Final = 64 * 1024
_STALLED_SECONDS: Final = 60.0
"""How long a caller may take to read what was sent."""
_TIMED_OUT: Final = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Patient(HttpToolsProtocol):
    """Uvicorn's protocol, patient only so long: a request's head has a time and a size it must keep, and who
    does not read what was sent is cut off.

    What comes behind a body in chunks (trailers) counts and is dropped: it is no part of the head. A wish for
    another protocol is passed over, body and all, as RFC 9110 (7.8) lets a server do.
    """

    receive_seconds = 30.0
    _head_timer: TimerHandle | None = None
    _stall_timer: TimerHandle | None = None
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

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_timer = self.loop.call_later(_STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_stalling()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._stop_stalling()
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

    def _stop_stalling(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _give_up(self) -> None:
        self._stop_waiting()
        if not self.transport.is_closing():
            self.transport.write(_TIMED_OUT)
            self.transport.close()
