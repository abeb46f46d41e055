"""The bare pass-through: uvicorn and aiohttp forwarding bytes. What a gateway adds to this is its own cost.

    python -m bench.passthrough --port 4001 --upstream http://127.0.0.1:4002

A raw ASGI app: no framework, no routes, nothing parsed, nobody asked for a key.
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp
import uvicorn

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_FORWARDED = (b"authorization", b"content-type")
_JSON = [(b"content-type", b"application/json")]


class PassThrough:
    """The app; `upstream` is the root URL that every path is appended to."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request, or the app's own life."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["method"] == "GET":
            await _answer(send, b'{"status":"healthy"}')
        else:
            await self._forward(scope, await _read(receive), send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as self._session:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _forward(self, scope: Message, body: bytes, send: Send) -> None:
        assert self._session is not None
        headers = {name.decode(): value.decode() for name, value in scope["headers"] if name in _FORWARDED}
        url = self._upstream + scope["path"]
        async with self._session.post(url, data=body, headers=headers) as response:
            if response.content_type != "text/event-stream":
                await _answer(send, await response.read(), response.status)
                return
            await send(
                {
                    "type": "http.response.start",
                    "status": response.status,
                    "headers": [(b"content-type", b"text/event-stream")],
                }
            )
            async for chunk in response.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body"})


async def _answer(send: Send, body: bytes, status: int = 200) -> None:
    headers = [*_JSON, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _read(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    return body


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.passthrough", description="Forwards bytes.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True, metavar="URL")
    arguments = parser.parse_args()
    uvicorn.run(
        PassThrough(arguments.upstream),
        port=arguments.port,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()
