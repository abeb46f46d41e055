"""Parse: the body, as far as the gateway must know it; whatever else it holds reaches the provider.

What is sent upstream is written anew from what was read here, so that nothing can be read in two ways (a
name that stands twice, say).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec

from outlay.domain.accounts import check_name
from outlay.errors import InvalidValueError
from outlay.gateway import idempotency
from outlay.gateway.depth import check_depth
from outlay.gateway.exchange import Exchange
from outlay.gateway.failures import GatewayError
from outlay.gateway.limits import read_body
from outlay.pricing.bound.caps import Endpoint
from outlay.pricing.request_fields import (
    FORBIDDEN,
    LiteLLMFieldError,
    asks_for_nothing,
    without_litellm_fields,
)
from outlay.providers.wires.anthropic import PASSED_HEADERS, passable

MOST_TAGS: Final = 32
_CUSTOMER_HEADERS: Final = (b"x-outlay-customer", b"x-litellm-end-user-id")
_TAG_HEADERS: Final = (b"x-outlay-tags", b"x-litellm-tags")

_LONG_BYTES: Final = 2**20
_READER: Final = ThreadPoolExecutor(1, "outlay-reader")
"""Reads long bodies one at a time: each step of that keeps the interpreter to itself, and others wait."""

_decode = msgspec.json.Decoder().decode


async def parse(exchange: Exchange) -> None:
    """Receive the body and read it.

    Raises:
        GatewayError: 400, 408 or 413; the message names the field.
    """
    limits = exchange.services.config.limits
    raw = await read_body(exchange.receive, exchange.headers, limits)
    exchange.size = len(raw)
    if exchange.size > _LONG_BYTES:
        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(_READER, _read, exchange, raw, limits.max_depth)
    else:
        body = _read(exchange, raw, limits.max_depth)
    for name in FORBIDDEN:
        if name in body and not asks_for_nothing(body.pop(name)):
            raise invalid(f"{name} cannot be set by callers: the operator configures it. Leave it out.", name)
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise invalid('model must be the name of a model, such as "gpt-4o".', "model")
    exchange.is_stream = _flag(body, "stream")
    _read_stream_options(exchange, body)
    exchange.customer = _customer(exchange.headers, body, exchange.endpoint)
    exchange.tags = _tags(exchange.headers, body, exchange.who.tags)
    exchange.upstream_headers = (
        _upstream_headers(exchange.headers) if exchange.endpoint == "messages" else None
    )
    exchange.body = _without_litellm_fields(body, exchange.endpoint)


def invalid(message: str, param: str | None = None) -> GatewayError:
    """A request that cannot be served as it is."""
    return GatewayError(400, "invalid_request_error", message, param=param)


def _read(exchange: Exchange, raw: bytes, max_depth: int) -> dict[str, Any]:
    check_depth(raw, max_depth)
    if idempotency.HEADER in exchange.headers:
        exchange.digest = hashlib.sha256(raw).hexdigest()
    return _object(raw)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        body = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"The body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise invalid(f"The body must be a JSON object, not {type(body).__name__}.")
    return body


def _without_litellm_fields(body: dict[str, Any], endpoint: Endpoint) -> dict[str, Any]:
    try:
        return without_litellm_fields(body, endpoint)
    except LiteLLMFieldError as error:
        raise invalid(error.message, error.field) from error


def _read_stream_options(exchange: Exchange, body: dict[str, Any]) -> None:
    """What the caller wants of a stream's usage; `include_cost` is the gateway's own, and asks for both."""
    options = body.get("stream_options")
    if options is None:
        return
    if not isinstance(options, dict):
        raise invalid("stream_options must be an object.", "stream_options")
    exchange.is_cost_asked = _flag(options, "include_cost", "stream_options.")
    exchange.is_usage_asked = exchange.is_cost_asked or bool(options.get("include_usage"))
    if "include_cost" in options:
        body["stream_options"] = {name: value for name, value in options.items() if name != "include_cost"}
        if not body["stream_options"]:
            del body["stream_options"]


def _flag(body: Mapping[str, Any], name: str, prefix: str = "") -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise invalid(f"{prefix}{name} must be true or false.", f"{prefix}{name}")
    return bool(value)


def _customer(headers: Mapping[bytes, bytes], body: Mapping[str, Any], endpoint: Endpoint) -> str | None:
    """Whom the caller serves: a header, the body's `user`, or Anthropic's `metadata.user_id`."""
    for header in _CUSTOMER_HEADERS:
        if named := headers.get(header, b"").strip():
            return _name(_text(named), header.decode())
    field, value = "user", body.get("user")
    if endpoint == "messages":
        metadata = body.get("metadata")
        field, value = "metadata.user_id", metadata.get("user_id") if isinstance(metadata, Mapping) else None
    if value is None or value == "":
        return None
    return _name(value, field)


def _tags(headers: Mapping[bytes, bytes], body: dict[str, Any], own: tuple[str, ...]) -> tuple[str, ...]:
    """The key's tags, those of the headers, and LiteLLM's: `tags`, in `metadata`, in `litellm_metadata`."""
    given: list[Any] = list(own)
    for header in _TAG_HEADERS:
        if header in headers:
            given += [tag.strip() for tag in _text(headers[header]).split(",") if tag.strip()]
    given += _stated_tags(body, "tags")
    for field in ("metadata", "litellm_metadata"):
        metadata = body.get(field)
        if isinstance(metadata, dict):
            given += _stated_tags(metadata, f"{field}.tags")
    if not given:
        return ()
    names = tuple(dict.fromkeys(_name(tag, "tags") for tag in given))
    if len(names) > MOST_TAGS:
        raise invalid(f"A request has at most {MOST_TAGS} tags, this one {len(names)}.", "metadata.tags")
    return names


def _stated_tags(holder: Mapping[str, Any], path: str) -> list[Any]:
    tags = holder.get("tags")
    if tags is not None and not isinstance(tags, list):
        raise invalid(f"{path} must be a list of texts.", path)
    return tags or []


def _text(value: bytes) -> str:
    """A header's text: UTF-8, so that a name is the same there as in a body, or Latin-1 of old clients."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _name(value: object, field: str) -> str:
    try:
        name = check_name(value, field)
    except InvalidValueError as error:
        raise invalid(error.message, field) from error
    if len(name) > 500:
        raise invalid(f"{field} must have at most 500 characters, but has {len(name)}.", field)
    return name


def _upstream_headers(headers: Mapping[bytes, bytes]) -> dict[str, str] | None:
    """The headers by which Anthropic's clients say what they understand. No other header passes."""
    found = {}
    for name in PASSED_HEADERS:
        value = headers.get(name.encode())
        if value is not None:
            try:
                found[name] = passable(name, value.decode("latin-1"))
            except InvalidValueError as error:
                raise invalid(error.message, name) from error
    return found or None
