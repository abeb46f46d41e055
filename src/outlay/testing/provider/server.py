"""The server: HTTP in, one request at a time, through behaviour and plan to the bill and the answer."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from outlay.testing.provider import anthropic_wire, openai_wire
from outlay.testing.provider.behaviour import Behaviour
from outlay.testing.provider.bill import Bill
from outlay.testing.provider.delivery import Delivery
from outlay.testing.provider.plan import Refusal, count_input, make_plan

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
_RECORDED = 1000
_BAD_KEY = "Incorrect API key provided."
_UNCOUNTED = ("max_tokens", "metadata", "stream", "temperature")


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
            return self._count(headers, raw)
        endpoint = _ENDPOINTS.get(path)
        if endpoint is None or request.method != "POST":
            return _error("chat", 404, f"Unknown request URL: {request.method} {request.path}")
        return await self._serve(request, endpoint, headers, raw)

    async def _serve(
        self, request: web.BaseRequest, endpoint: str, headers: Mapping[str, str], raw: bytes
    ) -> web.StreamResponse:
        credential = _credential(headers)
        if not self._knows(credential):
            return _error(endpoint, 401, _BAD_KEY)
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
            call_id,
            model,
            endpoint,
            input_tokens=plan.input_tokens,
            output_tokens=min(1, plan.produced),
            stated_nanos=behaviour.bills_nanos,
        )
        if behaviour.status >= 400:
            self.bill.finish(call, "failed", plan.produced)
            return await self._refuse(endpoint, behaviour, credential)
        return await Delivery(
            request, plan, call, self.bill, released=self._wait_for_release, credential=credential
        ).run()

    def _count(self, headers: Mapping[str, str], raw: bytes) -> web.StreamResponse:
        """Anthropic's count of a request's input: it bills nothing, and knows no field of the answer's."""
        if not self._knows(_credential(headers)):
            return _error("messages", 401, _BAD_KEY)
        body = msgspec.json.decode(raw)
        for field in _UNCOUNTED:
            if field in body:
                return _error("messages", 400, f"{field}: Extra inputs are not permitted")
        return _json({"input_tokens": count_input("messages", body)})

    def _knows(self, credential: str) -> bool:
        return self.api_key is None or credential == self.api_key

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

    async def _wait_for_release(self) -> None:
        await self.released.wait()

    def release(self) -> None:
        """Let every request that hangs now go on."""
        self.released.set()
        self.released = asyncio.Event()


def _credential(headers: Mapping[str, str]) -> str:
    return headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")


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
