"""Delivery: sending a planned answer, slowly, badly or not at all, with the bill kept true."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
from aiohttp import web

from outlay.testing.provider import anthropic_wire, openai_wire, responses_wire
from outlay.testing.provider.behaviour import Behaviour
from outlay.testing.provider.bill import Bill, Call
from outlay.testing.provider.plan import Plan

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close sends RST
_NONSENSE_BODIES = {
    "html": b"<html><body><h1>502 Bad Gateway</h1></body></html>",
    "array": b"[1, 2, 3]",
    "json": b'{"id": "oops", "choices": [',
    "empty": b"",
    "garbage": bytes(range(128, 256)) * 4,
}


_EVENT_STARTS = ("data:", "event:", ":")


def _headers(behaviour: Behaviour) -> dict[str, str]:
    return {} if behaviour.headers is None else msgspec.json.decode(behaviour.headers, type=dict[str, str])


class Delivery:
    """One planned answer on its way out, and the bill kept true whatever happens to it."""

    def __init__(
        self,
        request: web.BaseRequest,
        plan: Plan,
        call: Call,
        bill: Bill,
        *,
        released: Callable[[], Awaitable[None]],
        credential: str,
    ) -> None:
        self._request = request
        self._plan = plan
        self._call = call
        self._bill = bill
        self._released = released
        self._credential = credential
        self._made = min(1, plan.produced)

    async def run(self) -> web.StreamResponse:
        """Send the answer, or what the behaviour makes of it; returns when it is out."""
        try:
            if self._plan.behaviour.delay_seconds:
                await asyncio.sleep(self._plan.behaviour.delay_seconds)
            await self._pause_before(0)
            if self._cuts_at(0):
                return self._cut()
            if self._plan.is_stream and self._plan.endpoint != "embeddings":
                return await self._stream()
            return await self._whole()
        except (asyncio.CancelledError, ConnectionError):
            is_billed_whole = self._plan.behaviour.bills_after_hangup
            self._end("hung_up", self._plan.produced if is_billed_whole else self._made)
            raise

    async def _whole(self) -> web.StreamResponse:
        data, content_type = self._body()
        behaviour = self._plan.behaviour
        is_halved = behaviour.nonsense == "truncated"
        if not is_halved and not behaviour.hang_after_chunks and behaviour.cut_after_chunks is None:
            self._end("served", self._plan.produced)
            return web.Response(
                body=data, content_type=content_type, status=behaviour.status, headers=_headers(behaviour)
            )
        response = web.StreamResponse(
            headers={"content-type": content_type, "content-length": str(len(data))}
        )
        await response.prepare(self._request)
        await response.write(data[: len(data) // 2])
        if is_halved or behaviour.cut_after_chunks is not None:
            return self._cut(response)
        await self._released()
        self._end("served", self._plan.produced)
        await response.write(data[len(data) // 2 :])
        return response

    def _body(self) -> tuple[bytes, str]:
        behaviour = self._plan.behaviour
        if behaviour.body is not None:
            return behaviour.body.encode(), "application/json"
        if behaviour.nonsense in _NONSENSE_BODIES:
            kind = "text/html" if behaviour.nonsense == "html" else "application/json"
            return _NONSENSE_BODIES[behaviour.nonsense], kind
        body = _wire(self._plan).body(self._plan)
        if behaviour.echoes_credential:
            body["echo"] = self._credential
        return msgspec.json.encode(body), "application/json"

    async def _stream(self) -> web.StreamResponse:
        behaviour = self._plan.behaviour
        if behaviour.nonsense in {"html", "array", "json", "empty", "garbage"}:
            return await self._whole()
        if behaviour.body is not None and not behaviour.body.startswith(_EVENT_STARTS):
            return await self._whole()
        headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        headers |= _headers(behaviour)
        response = web.StreamResponse(headers=headers, status=behaviour.status)
        if behaviour.body is not None:
            self._end("served", self._plan.produced)
            await response.prepare(self._request)
            await response.write(behaviour.body.encode())
            return response
        events = _with_faults(self._plan, _wire(self._plan).events(self._plan))
        if behaviour.is_plain:
            data = b"".join(event for event, _ in events)
            self._end("served", self._plan.produced)
            await response.prepare(self._request)
            await response.write(data)
            return response
        await response.prepare(self._request)
        for number, (event, made) in enumerate(events):
            if number:
                await self._pause_before(number)
                if self._cuts_at(number):
                    return self._cut(response)
                if behaviour.chunk_delay_seconds:
                    await asyncio.sleep(behaviour.chunk_delay_seconds)
            self._made = max(self._made, made)
            if event is openai_wire.DONE:
                self._end("served", self._plan.produced)
            await response.write(event)
        self._end("served", self._plan.produced)
        return response

    async def _pause_before(self, number: int) -> None:
        if self._plan.behaviour.hang_after_chunks == number:
            await self._released()

    def _cuts_at(self, number: int) -> bool:
        return self._plan.behaviour.cut_after_chunks == number

    def _cut(self, response: web.StreamResponse | None = None) -> web.StreamResponse:
        """Reset the connection; what was produced until here is billed."""
        self._end("cut", self._plan.produced if self._plan.behaviour.bills_after_hangup else self._made)
        transport = self._request.transport
        if transport is not None:
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()
        return response or web.Response()

    def _end(self, outcome: str, output_tokens: int) -> None:
        self._bill.finish(self._call, outcome, output_tokens)


def _with_faults(plan: Plan, events: Iterable[openai_wire.Event]) -> Iterable[openai_wire.Event]:
    behaviour = plan.behaviour
    for number, (event, made) in enumerate(events):
        if behaviour.error_after_chunks == number:
            yield _error_event(plan), made
            return
        if behaviour.nonsense == "sse" and number == 2:
            yield b'data: {"id": "oops", "choices": [\n\n', made
        if behaviour.nonsense == "truncated" and number == 4:
            yield event[: len(event) // 2], made
            return
        yield event, made


def _error_event(plan: Plan) -> bytes:
    message = "The server had an error while processing your request."
    if plan.endpoint in {"chat", "completions"}:
        return b"data: " + openai_wire.error_body(500, message) + b"\n\n"
    if plan.endpoint == "messages":
        return b"event: error\ndata: " + anthropic_wire.error_body(529, message) + b"\n\n"
    return openai_wire.sse(
        {"type": "error", "code": "server_error", "message": message, "param": None}, "error"
    )


def _wire(plan: Plan) -> Any:
    return {"messages": anthropic_wire, "responses": responses_wire}.get(plan.endpoint, openai_wire)
