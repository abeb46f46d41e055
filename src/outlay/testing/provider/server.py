"""The server: HTTP in, one request at a time, through behaviour and plan to the bill and the answer."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import socket
import struct
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from outlay.testing.provider import anthropic_wire, openai_wire, tokens
from outlay.testing.provider.behaviour import Behaviour
from outlay.testing.provider.bill import Bill, Call
from outlay.testing.provider.plan import Plan, Refusal, make_plan

_ENDPOINTS = {
    "/chat/completions": "chat",
    "/completions": "completions",
    "/embeddings": "embeddings",
    "/responses": "responses",
    "/messages": "messages",
}
_ID_PREFIXES = {
    "chat": "chatcmpl-",
    "completions": "cmpl-",
    "embeddings": "embd-",
    "responses": "resp_",
    "messages": "msg_",
}
_MODELS = ("demo", "gpt-4o", "gpt-4o-mini", "text-embedding-3-small", "claude-3-5-sonnet-latest")
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close sends RST
_RECORDED = 1000
_NONSENSE_BODIES = {
    "html": b"<html><body><h1>502 Bad Gateway</h1></body></html>",
    "array": b"[1, 2, 3]",
    "json": b'{"id": "oops", "choices": [',
    "empty": b"",
    "garbage": bytes(range(128, 256)) * 4,
}


class Received(msgspec.Struct, frozen=True):
    """One request as it came in. `headers` have lower-case names."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return msgspec.json.decode(self.body)


class Server:
    """The provider behind its socket: no thread and no port of its own.

    A request's behaviour is the default, changed by its model's, by `?name=value&…` after the model's name,
    by `metadata.fake` (a JSON text), by the header `x-fake` (JSON) and `x-fake-name: value` headers; a
    scripted behaviour goes before all of them and serves one request.
    """

    def __init__(
        self, bill: Bill, behaviour: Behaviour, models: Mapping[str, Behaviour], *, api_key: str | None = None
    ) -> None:
        self.bill = bill
        self.behaviour = behaviour
        self.models = dict(models)
        self.api_key = api_key
        self.script: deque[Behaviour] = deque()
        self.requests: deque[Received] = deque(maxlen=_RECORDED)
        self.released = asyncio.Event()
        self._ids = itertools.count(1)
        self._prefix = secrets.token_hex(4)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        raw = await request.read()
        if request.path.startswith("/_fake/"):
            return self._control(request, raw)
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(Received(request.method, request.path, headers, raw))
        path = request.path.removeprefix("/v1")
        if request.method == "GET" and path == "/models":
            data = [{"id": name, "object": "model", "created": 0, "owned_by": "outlay"} for name in _MODELS]
            return _json({"object": "list", "data": data})
        if request.method == "POST" and path == "/messages/count_tokens":
            return _json({"input_tokens": tokens.count_chat(msgspec.json.decode(raw)["messages"])})
        endpoint = _ENDPOINTS.get(path)
        if endpoint is None or request.method != "POST":
            return _error("chat", 404, f"Unknown request URL: {request.method} {request.path}")
        return await self._serve(request, endpoint, headers, raw)

    async def _serve(
        self, request: web.BaseRequest, endpoint: str, headers: Mapping[str, str], raw: bytes
    ) -> web.StreamResponse:
        credential = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        if self.api_key is not None and credential != self.api_key:
            return _error(endpoint, 401, "Incorrect API key provided.")
        try:
            body, model, behaviour = self._read(headers, raw)
            call_id = f"{_ID_PREFIXES[endpoint]}{self._prefix}{next(self._ids):08x}"
            plan = None
            if behaviour.redirect is None and (behaviour.status < 400 or behaviour.bills_failure):
                plan = make_plan(call_id, model, endpoint, body, behaviour)
        except Refusal as refusal:
            return _error(endpoint, refusal.status, refusal.message, refusal.param)
        if plan is None:
            return await self._refuse(endpoint, behaviour, credential)
        call = self.bill.begin(
            call_id, model, endpoint, input_tokens=plan.input_tokens, output_tokens=min(1, plan.produced)
        )
        if behaviour.status >= 400:
            self.bill.finish(call, "failed", plan.produced)
            return await self._refuse(endpoint, behaviour, credential)
        return await _Delivery(self, request, plan, call, credential).run()

    def _read(self, headers: Mapping[str, str], raw: bytes) -> tuple[dict[str, Any], str, Behaviour]:
        try:
            body = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refusal(400, f"We could not parse the JSON body of your request: {error}") from error
        if not isinstance(body, dict) or not isinstance(body.get("model"), str):
            raise Refusal(400, "you must provide a model parameter", "model")
        model, _, query = body["model"].partition("?")
        if self.script:
            return body, model, self.script.popleft()
        behaviour = self.models.get(model, self.behaviour)
        try:
            for changes in _changes(headers, body, query):
                behaviour = behaviour.altered(changes)
        except (ValueError, msgspec.DecodeError) as error:
            raise Refusal(400, f"The fake provider cannot do that: {error}") from error
        return body, model, behaviour

    async def _refuse(self, endpoint: str, behaviour: Behaviour, credential: str) -> web.StreamResponse:
        if behaviour.delay_seconds:
            await asyncio.sleep(behaviour.delay_seconds)
        if behaviour.redirect is not None:
            return web.Response(status=307, headers={"location": behaviour.redirect})
        message = f"The fake provider answers {behaviour.status}."
        if behaviour.echoes_credential:
            message = f"{message} Your key is {credential}."
        response = _error(endpoint, behaviour.status, message)
        if behaviour.error_body is not None:
            response.body = behaviour.error_body.encode()
        if behaviour.retry_after_seconds is not None:
            response.headers["retry-after"] = f"{behaviour.retry_after_seconds:g}"
        return response

    def _control(self, request: web.BaseRequest, raw: bytes) -> web.Response:
        """The provider's own door: bill, script, behaviour, release, health."""
        match request.method, request.path:
            case "GET", "/_fake/bill":
                bill = self.bill.as_dict()
                return _json(bill if "totals" not in request.query else {**bill, "calls": []})
            case "GET", "/_fake/health":
                return _json({"status": "ok", "serving": self.bill.serving})
            case "POST", "/_fake/script":
                self.script.extend(self.behaviour.altered(step) for step in msgspec.json.decode(raw))
                return _json({"status": "ok", "steps": len(self.script)})
            case "POST", "/_fake/behaviour":
                changes = msgspec.json.decode(raw)
                model = changes.pop("model", None)
                if model is None:
                    self.behaviour = self.behaviour.altered(changes)
                else:
                    self.models[model] = self.models.get(model, self.behaviour).altered(changes)
                return _json({"status": "ok"})
            case "POST", "/_fake/release":
                self.release()
                return _json({"status": "ok"})
            case _:
                return web.Response(status=404)

    def release(self) -> None:
        """Let every request that hangs now go on."""
        self.released.set()
        self.released = asyncio.Event()


class _Delivery:
    """One planned answer on its way out, and the bill kept true whatever happens to it."""

    def __init__(
        self, server: Server, request: web.BaseRequest, plan: Plan, call: Call, credential: str
    ) -> None:
        self.server = server
        self.request = request
        self.plan = plan
        self.call = call
        self.credential = credential
        self.made = min(1, plan.produced)

    async def run(self) -> web.StreamResponse:
        try:
            if self.plan.behaviour.delay_seconds:
                await asyncio.sleep(self.plan.behaviour.delay_seconds)
            await self._pause_before(0)
            if self._cuts_at(0):
                return self._cut()
            if self.plan.is_stream and self.plan.endpoint != "embeddings":
                return await self._stream()
            return await self._whole()
        except (asyncio.CancelledError, ConnectionError):
            is_billed_whole = self.plan.behaviour.bills_after_hangup
            self._end("hung_up", self.plan.produced if is_billed_whole else self.made)
            raise

    async def _whole(self) -> web.StreamResponse:
        data, content_type = self._body()
        behaviour = self.plan.behaviour
        is_halved = behaviour.nonsense == "truncated"
        if not is_halved and behaviour.hang_after_chunks is None and behaviour.cut_after_chunks is None:
            self._end("served", self.plan.produced)
            return web.Response(body=data, content_type=content_type)
        response = web.StreamResponse(
            headers={"content-type": content_type, "content-length": str(len(data))}
        )
        await response.prepare(self.request)
        await response.write(data[: len(data) // 2])
        if is_halved or behaviour.cut_after_chunks is not None:
            return self._cut(response)
        await self._pause_before(behaviour.hang_after_chunks or 0)
        self._end("served", self.plan.produced)
        await response.write(data[len(data) // 2 :])
        return response

    def _body(self) -> tuple[bytes, str]:
        behaviour = self.plan.behaviour
        if behaviour.nonsense in _NONSENSE_BODIES:
            kind = "text/html" if behaviour.nonsense == "html" else "application/json"
            return _NONSENSE_BODIES[behaviour.nonsense], kind
        body = _wire(self.plan).body(self.plan)
        if behaviour.echoes_credential:
            body["echo"] = self.credential
        return msgspec.json.encode(body), "application/json"

    async def _stream(self) -> web.StreamResponse:
        behaviour = self.plan.behaviour
        if behaviour.nonsense in {"html", "array", "json", "empty", "garbage"}:
            return await self._whole()
        headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        response = web.StreamResponse(headers=headers)
        events = _with_faults(self.plan, _wire(self.plan).events(self.plan))
        if behaviour.is_plain:
            data = b"".join(event for event, _ in events)
            self._end("served", self.plan.produced)
            await response.prepare(self.request)
            await response.write(data)
            return response
        await response.prepare(self.request)
        for number, (event, made) in enumerate(events):
            if number:
                await self._pause_before(number)
                if self._cuts_at(number):
                    return self._cut(response)
                if behaviour.chunk_delay_seconds:
                    await asyncio.sleep(behaviour.chunk_delay_seconds)
            self.made = max(self.made, made)
            if event is openai_wire.DONE:
                self._end("served", self.plan.produced)
            await response.write(event)
        self._end("served", self.plan.produced)
        return response

    async def _pause_before(self, number: int) -> None:
        if self.plan.behaviour.hang_after_chunks == number:
            await self.server.released.wait()

    def _cuts_at(self, number: int) -> bool:
        return self.plan.behaviour.cut_after_chunks == number

    def _cut(self, response: web.StreamResponse | None = None) -> web.StreamResponse:
        """Reset the connection; what was produced until here is billed."""
        self._end("cut", self.plan.produced if self.plan.behaviour.bills_after_hangup else self.made)
        transport = self.request.transport
        if transport is not None:
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()
        return response or web.Response()

    def _end(self, outcome: str, output_tokens: int) -> None:
        self.server.bill.finish(self.call, outcome, output_tokens)


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
    return anthropic_wire if plan.endpoint == "messages" else openai_wire


def _changes(headers: Mapping[str, str], body: Mapping[str, Any], query: str) -> Iterable[dict[str, Any]]:
    if query:
        yield dict(parse_qsl(query))
    metadata = body.get("metadata")
    if isinstance(metadata, dict) and "fake" in metadata:
        fake = metadata["fake"]
        yield msgspec.json.decode(fake) if isinstance(fake, str) else fake
    if "x-fake" in headers:
        yield msgspec.json.decode(headers["x-fake"])
    yield {
        name.removeprefix("x-fake-").replace("-", "_"): value
        for name, value in headers.items()
        if name.startswith("x-fake-")
    }


def _json(data: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(data), content_type="application/json")


def _error(endpoint: str, status: int, message: str, param: str | None = None) -> web.Response:
    is_anthropic = endpoint == "messages"
    data = (
        anthropic_wire.error_body(status, message)
        if is_anthropic
        else openai_wire.error_body(status, message, param)
    )
    return web.Response(status=status, body=data, content_type="application/json")
