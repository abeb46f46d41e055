"""Limits: what the body of one request may take of the gateway, in bytes and in time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse

from outlay.errors import OutlayError
from outlay.gateway.config import Limits
from outlay.gateway.depth import check_depth
from outlay.gateway.failures import GatewayError, failure_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_CLOSE: Final = {"connection": "close"}
_LINGER_SECONDS: Final = 5.0
_MOST_MANAGED_BYTES: Final = 4 * 2**20


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
            failure = failure_of(error)
            answer = JSONResponse(failure.document, failure.status, dict(failure.headers))
            await answer(scope, receive, send)
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
