"""The fast upstream: the least that a provider can be, so that what is measured is the gateway before it.

    python -m bench.upstream --port 0

Every POST is answered with one fixed chat completion. With `"stream": true` the answer is a stream of as many
chunks as `max_tokens` says, a fixed time apart; each chunk's content is the moment it was sent (monotonic
nanoseconds, which all processes of a machine share), so that whoever receives it knows how late it is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from collections.abc import Sequence
from functools import partial
from typing import cast

import httptools
import uvloop

STAMP_DIGITS = 20
GAP_SECONDS = 0.025
_MAX_TOKENS = re.compile(rb'"max_(?:completion_)?tokens":\s*(\d+)')
_IS_STREAM = re.compile(rb'"stream":\s*true')
_WANTS_USAGE = re.compile(rb'"include_usage":\s*true')
_USAGE = {"prompt_tokens": 15, "completion_tokens": 24, "total_tokens": 39}
_START = {"id": "chatcmpl-bench", "created": 1_700_000_000, "model": "demo"}
_TEXT = "The Danube, the Rhine and the Loire are three of Europe's rivers, and there are many more of them."


def _whole() -> bytes:
    message = {"role": "assistant", "content": _TEXT, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    answer = {**_START, "object": "chat.completion", "choices": [choice], "usage": _USAGE}
    body = json.dumps(answer, separators=(",", ":")).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _piece(choices: Sequence[object], **more: object) -> bytes:
    """One server-sent event in one HTTP chunk."""
    chunk = {**_START, "object": "chat.completion.chunk", "choices": choices, **more}
    return _framed(b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n")


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


_MARK = "#" * STAMP_DIGITS
_WHOLE = _whole()
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_CONTENT = _piece([{"index": 0, "delta": {"content": _MARK}, "finish_reason": None}]).split(_MARK.encode())
_STOP = _piece([{"index": 0, "delta": {}, "finish_reason": "stop"}])
_USAGE_CHUNK = _piece([], usage=_USAGE)
_DONE = _framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Upstream(asyncio.Protocol):
    """One connection: requests come one after the other and are answered at once, or as a stream."""

    def __init__(self, gap_seconds: float) -> None:
        self._gap = gap_seconds
        self._body = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 # the protocol's signature
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body = b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if not _IS_STREAM.search(self._body):
            self._transport.write(_WHOLE)
            return
        declared = _MAX_TOKENS.search(self._body)
        end = _STOP + (_USAGE_CHUNK if _WANTS_USAGE.search(self._body) else b"") + _DONE
        self._transport.write(_HEAD)
        self._send(int(declared[1]) if declared else 24, self._loop.time(), end)

    def _send(self, left: int, due: float, end: bytes) -> None:
        """Send a chunk and plan the next by the clock, so that a late one does not delay those after it."""
        stamp = b"%020d" % time.monotonic_ns()
        self._transport.write(stamp.join(_CONTENT))
        if left > 1:
            self._timer = self._loop.call_at(due + self._gap, self._send, left - 1, due + self._gap, end)
        else:
            self._transport.write(end)


async def serve(port: int, gap_seconds: float) -> None:
    """Listen for ever; prints one line of JSON when it does."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(Upstream, gap_seconds), "127.0.0.1", port, backlog=1024)
    print(json.dumps({"root_url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.upstream", description="The fast upstream.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--gap-seconds", type=float, default=GAP_SECONDS, help="between chunks of a stream")
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.port, arguments.gap_seconds))


if __name__ == "__main__":
    main()
