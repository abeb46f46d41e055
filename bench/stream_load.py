"""Streams from many clients at once, and how late each chunk comes that `bench.upstream` stamped."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import uvloop

from bench.upstream import STAMP_DIGITS

_STAMP = re.compile(rb'"content":\s*"(\d{%d})"' % STAMP_DIGITS)
_DONE = b"data: [DONE]"
_KEPT = 128  # bytes of the last piece, in which a stamp may have begun


@dataclass(slots=True)
class StreamTimes:
    """One stream, in milliseconds: to its first chunk, to its end, and each chunk's lateness."""

    first: float = 0.0
    total: float = 0.0
    lateness: list[float] = field(default_factory=list)


class _Client(asyncio.Protocol):
    """One connection that asks for one stream after the other."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._seen = b""
        self._done: asyncio.Future[StreamTimes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    async def stream(self) -> StreamTimes:
        """Ask for a stream and read it to its end."""
        self._times, self._seen = StreamTimes(), b""
        self._done = asyncio.get_running_loop().create_future()
        self._start = time.monotonic_ns()
        self._transport.write(self._request)
        times = await self._done
        self._done = None
        return times

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        self._seen += data
        end = 0
        for match in _STAMP.finditer(self._seen):
            end = match.end()
            self._times.lateness.append((now - int(match[1])) / 1e6)
            self._times.first = self._times.first or (now - self._start) / 1e6
        is_done = _DONE in self._seen and self._seen.endswith(b"0\r\n\r\n")
        self._seen = self._seen[max(end, len(self._seen) - _KEPT) :]
        if is_done and self._done is not None:
            self._times.total = (now - self._start) / 1e6
            self._done.set_result(self._times)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(exc or ConnectionError(f"the stream ended early: {self._seen!r}"))


def run_streams(
    root_url: str, key: str, body: Mapping[str, object], *, at_once: int = 1, each: int = 1
) -> list[StreamTimes]:
    """Let `at_once` clients read `each` streams one after the other."""
    return uvloop.run(_run(root_url, key, body, at_once, each))


async def _run(
    root_url: str, key: str, body: Mapping[str, object], at_once: int, each: int
) -> list[StreamTimes]:
    place = urlsplit(root_url)
    assert place.hostname is not None
    assert place.port is not None
    host, port = place.hostname, place.port
    loop = asyncio.get_running_loop()
    request = _request(place.netloc, key, body)
    clients = [
        (await loop.create_connection(lambda: _Client(request), host, port))[1] for _ in range(at_once)
    ]

    async def several(client: _Client) -> list[StreamTimes]:
        return [await client.stream() for _ in range(each)]

    async with asyncio.timeout(300):
        found = await asyncio.gather(*map(several, clients))
    for client in clients:
        client.close()
    return [times for part in found for times in part]


def _request(host: str, key: str, body: Mapping[str, object]) -> bytes:
    data = json.dumps({**body, "stream": True}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data
