"""Limits: what one request may take of the gateway in bytes, depth and time; for its JSON and its body."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from outlay.errors import OutlayError
from outlay.gateway.config import Limits
from outlay.gateway.failures import GatewayError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_CLOSE: Final = {"connection": "close"}
_LINGER_SECONDS: Final = 5.0
_MOST_MANAGED_BYTES: Final = 4 * 2**20
_AS_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_AS_STEPS: Final = bytes.maketrans(b"[]", b"\x01\xff")
_MOST_PARTS: Final = 200_000
"""Lists and objects, and brackets in texts: millions of them would take seconds to read, for all callers."""
_PIECE_BYTES: Final = 4096
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b'[]{}"'))


class ClientGoneError(OutlayError):
    """The client closed its connection before it had sent the whole request: there is nobody to answer."""

    code = "client_gone"


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], limits: Limits) -> bytes:
    """Read a request's body.

    Raises:
        GatewayError: 413 above `max_body_bytes`, 408 after `receive_seconds`, 415 for a compressed body, 400
            for a bad Content-Length or Transfer-Encoding.
        ClientGoneError: the client is gone.
    """
    if b"content-encoding" in headers or b"transfer-encoding" in headers:
        _check_coding(headers)
    declared = _declared_length(headers)
    if declared > limits.max_body_bytes:
        if b"expect" not in headers:
            await _linger(receive, min(declared, 2 * limits.max_body_bytes), limits)
        raise _too_large(limits)
    try:
        async with asyncio.timeout(limits.receive_seconds):
            return await _read(receive, limits)
    except TimeoutError:
        raise GatewayError(
            408,
            "invalid_request_error",
            f"The request's body did not arrive within {limits.receive_seconds:g} s: send it at once.",
            error_code="request_timeout",
            headers=_CLOSE,
        ) from None


async def _read(receive: Receive, limits: Limits) -> bytes:
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")  # nearly always all of it
        if len(body) > limits.max_body_bytes:
            raise _too_large(limits)
        return body
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] != "http.request":
            raise ClientGoneError("the client closed its connection before it had sent the whole request")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limits.max_body_bytes:
            parts.clear()
            await _linger(receive, limits.max_body_bytes, limits)
            raise _too_large(limits)
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()


def _check_coding(headers: Mapping[bytes, bytes]) -> None:
    """A compressed body could grow without end when it is read; it is not read."""
    for header, plain, status in (
        ("content-encoding", b"identity", 415),
        ("transfer-encoding", b"chunked", 400),
    ):
        value = headers.get(header.encode(), plain)
        if value.strip().lower() != plain:
            raise GatewayError(
                status,
                "invalid_request_error",
                f"The header {header} must be {plain.decode()}, or not there: send the body as plain JSON.",
                param=header,
                headers=_CLOSE,
            )


def _declared_length(headers: Mapping[bytes, bytes]) -> int:
    value = headers.get(b"content-length", b"0")
    if not value.isdigit():  # bytes: ASCII digits only
        raise GatewayError(
            400,
            "invalid_request_error",
            "Content-Length must be a whole number.",
            param="content-length",
            headers=_CLOSE,
        )
    return int(value)


async def _linger(receive: Receive, most_bytes: int, limits: Limits) -> None:
    """Take in what the client is about to send, and drop it: closed earlier, it would not hear why."""
    try:
        async with asyncio.timeout(min(_LINGER_SECONDS, limits.receive_seconds)):
            while most_bytes > 0:
                message = await receive()
                most_bytes -= len(message.get("body", b""))
                if not message.get("more_body"):
                    return
    except TimeoutError:
        return


def _too_large(limits: Limits) -> GatewayError:
    is_ours = limits.max_body_bytes == _MOST_MANAGED_BYTES
    remedy = "send less" if is_ours else "send less, or raise outlay.limits.max_body_bytes"
    return GatewayError(
        413,
        "invalid_request_error",
        f"The request's body is larger than {limits.max_body_bytes:,} bytes: {remedy}.",
        error_code="request_too_large",
        facts={"max_body_bytes": limits.max_body_bytes},
        headers=_CLOSE,
    )


def check_depth(data: bytes, max_depth: int) -> None:
    """Check that JSON does not nest too deep, nor has too many parts, before anything reads it.

    Raises:
        GatewayError: 400; it does.
    """
    brackets = data.count(b"[") + data.count(b"{")
    if brackets > _MOST_PARTS:
        raise GatewayError(
            400,
            "invalid_request_error",
            f"The request's body has more than {_MOST_PARTS:,} brackets: send less at once.",
            error_code="request_too_complex",
        )
    if brackets > max_depth and _depth(data, max_depth) > max_depth:
        raise GatewayError(
            400,
            "invalid_request_error",
            f"The request's body nests more than {max_depth} deep.",
            error_code="request_too_deep",
            facts={"max_depth": max_depth},
        )


def _depth(data: bytes, max_depth: int) -> int:
    """How deep JSON nests; of what nests deeper than `max_depth`, only that it does."""
    brackets = _brackets(data)
    levels = 0
    while len(brackets) > _PIECE_BYTES and levels <= max_depth:
        without_leaves = brackets.replace(b"[]", b"")  # takes off one level, at the speed of C
        if len(without_leaves) > len(brackets) // 4 * 3:
            break
        brackets = without_leaves
        levels += 1
    steps, deepest, level = brackets.translate(_AS_STEPS), 0, 0
    for start in range(0, len(steps), _PIECE_BYTES):
        path = list(accumulate(array("b", steps[start : start + _PIECE_BYTES]), initial=level))
        deepest, level = max(deepest, *path), path[-1]
        if levels + deepest > max_depth:
            break
    return levels + deepest


def _brackets(data: bytes) -> bytes:
    """The brackets outside of texts, all of them square; in pieces, for there may be millions of texts."""
    unescaped = data.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in data else data
    squeezed = unescaped.translate(_AS_SQUARE, _NO_BRACKETS).replace(b'""', b"")
    outside, is_in_text = [], False
    for start in range(0, len(squeezed), _PIECE_BYTES):
        pieces = squeezed[start : start + _PIECE_BYTES].split(b'"')
        outside.append(b"".join(pieces[is_in_text::2]))
        is_in_text ^= len(pieces) % 2 == 0
    return b"".join(outside)


class Limited:
    """An ASGI app whose requests are read whole, within limits, before it sees them.

    They are read before anybody knows who sends them: so they may not be as large as a prompt.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = replace(limits, max_body_bytes=min(limits.max_body_bytes, _MOST_MANAGED_BYTES))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await read_body(receive, dict(scope["headers"]), self._limits)
            check_depth(body, self._limits.max_depth)
        except ClientGoneError:
            return
        except GatewayError as error:
            await _answer(error, send)
            return
        await self._app(scope, _replay(body, receive), send)


def _replay(body: bytes, receive: Receive) -> Receive:
    is_read = False

    async def replayed() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


async def _answer(error: GatewayError, send: Send) -> None:
    import msgspec

    document: dict[str, Any] = {
        "message": error.message,
        "type": error.type,
        "param": error.param,
        "code": error.error_code,
        **error.facts,
    }
    body = msgspec.json.encode({"error": document})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    headers += [(name.encode("ascii"), value.encode("ascii")) for name, value in error.headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
