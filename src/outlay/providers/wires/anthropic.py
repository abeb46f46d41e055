"""Anthropic's wire: building requests to `/v1/messages`, reading answers and streams.

After Anthropic's API reference: `input_tokens` leaves out what was read from and written to the cache, so the
total here is the sum of the three; in a stream `message_start` brings the input and a placeholder for the
output, and the usage of each `message_delta` is cumulative: the largest of each counter counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from outlay.errors import InvalidValueError
from outlay.providers.body import decode_object, encode
from outlay.providers.catalogue import Endpoint, Quirks
from outlay.providers.request import Request
from outlay.providers.sse import Event
from outlay.providers.target import Target
from outlay.providers.wires.reading import Reading
from outlay.providers.wires.usage import Tally

VERSION = "2023-06-01"
PASSED_HEADERS: Final = ("anthropic-version", "anthropic-beta")
"""The headers of a caller that choose how the API behaves, and go along."""
_COUNTED_FIELDS: Final = frozenset(
    {
        *("messages", "system", "thinking", "tool_choice", "tools", "cache_control"),
        *("context_management", "mcp_servers", "output_config", "output_format"),
    }
)
"""https://docs.anthropic.com/en/api/messages-count-tokens"""
_PASSABLE: Final = re.compile(r"[A-Za-z0-9._,=-]{1,1000}")
_DELTA_TEXTS = ("text", "thinking", "partial_json")
_SEARCHES: Final = "web_searches"
_OUTPUTS: Final = ("output_tokens", "completion_tokens")
_LAST_EVENTS: Final = frozenset({"message_delta", "message_stop"})
"""Whose usage says what came out; any other has a placeholder for it."""


def build(
    target: Target, endpoint: Endpoint, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> Request:
    """Make the request: the caller's body with the provider's model name.

    Of `headers` (lower-case names) only `PASSED_HEADERS` go along.

    Raises:
        InvalidValueError: this wire has no such endpoint, the body is not JSON, or a header cannot be passed.
    """
    if endpoint != "messages":
        raise InvalidValueError(
            f"{target.provider.name} has no endpoint called {endpoint!r}: it speaks 'messages' only."
        )
    return _request(target, "/v1/messages", body, headers or {})


def build_count(target: Target, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Request:
    """Make the request for the input tokens of a body, at `/v1/messages/count_tokens`: it bills nothing.

    Raises:
        InvalidValueError: the provider does not count, the body is not JSON, or a header cannot be passed.
    """
    if target.provider.wire != "anthropic":
        raise InvalidValueError(f"{target.provider.name} has no endpoint that counts tokens.")
    return _request(target, "/v1/messages/count_tokens", body, headers or {})


def countable(body: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a request that the counting endpoint takes: it refuses all else."""
    return {name: value for name, value in body.items() if name in _COUNTED_FIELDS}


def _request(target: Target, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Request:
    sent = {
        "content-type": "application/json",
        "accept": "text/event-stream" if body.get("stream") else "application/json",
        "accept-encoding": "identity",
        "user-agent": "outlay",
        "anthropic-version": VERSION,
        **{name: passable(name, headers[name]) for name in PASSED_HEADERS if headers.get(name)},
    }
    if target.credential:
        sent["x-api-key"] = target.credential
    return Request(
        url=target.base_url.removesuffix("/v1") + path,
        headers=sent,
        body=encode({**body, "model": target.model}),
        provider=target.provider.name,
        credential=target.credential,
        free_failures=target.provider.quirks.free_failures,
    )


def read(body: Mapping[str, Any], _endpoint: Endpoint = "messages", _quirks: Quirks | None = None) -> Reading:
    """Read a whole answer."""
    reading = Reading(is_final=True, choices=1, tally=Tally(is_beside=True))
    reading.identify(body)
    reading.note_state(body)
    reading.read_usage(body)
    if body.get("type") == "error":
        reading.error = _error(body)
    _note_reason(body, reading)
    content = body.get("content")
    blocks = [block for block in content if isinstance(block, Mapping)] if isinstance(content, list) else []
    for block in blocks:
        _read_block(block, reading)
    reading.note_uses([_SEARCHES for block in blocks if _is_search(block)])
    return reading


def passable(name: str, value: str) -> str:
    """Check a header of the caller's; it may have spaces behind its commas, which are left out.

    Raises:
        InvalidValueError: it cannot be passed on.
    """
    value = value.replace(" ", "")
    if not _PASSABLE.fullmatch(value):
        raise InvalidValueError(
            f"The header {name} must be up to 1,000 letters, digits and any of '._,=-': "
            "write its values with commas between them."
        )
    return value


class StreamReader:
    """Feed it each event; `reading` is what is known so far. It never raises on what a provider sends."""

    def __init__(self, _endpoint: Endpoint = "messages", _quirks: Quirks | None = None) -> None:
        self.reading = Reading(choices=1, tally=Tally(is_beside=True))
        self._is_told = False
        self._uses: list[str] = []

    def read(self, event: Event) -> dict[str, Any] | None:
        """Take in one event; returns its JSON object, or None if it has none."""
        document = decode_object(event.data)
        if document is None:
            self.reading.malformed += 1
        else:
            self._read_document(document, event.data)
        return document

    def _read_document(self, document: Mapping[str, Any], data: bytes) -> None:
        kind, reading = document.get("type"), self.reading
        if b'"usage"' in data and reading.read_usage(document) and not self._is_told:
            self._is_told = kind in _LAST_EVENTS and _tells_output(document)
            reading.is_output_told = self._is_told
        match kind:
            case "message_start":
                message = document.get("message")
                if isinstance(message, Mapping):
                    reading.identify(message)
            case "content_block_start":
                block = document.get("content_block")
                self._read_part(block)
                if isinstance(block, Mapping) and _is_search(block):
                    self._uses.append(_SEARCHES)
                    reading.note_uses(self._uses)
            case "content_block_delta":
                self._read_part(document.get("delta"))
            case "message_delta":
                reading.note_served(document)
                delta = document.get("delta")
                if isinstance(delta, Mapping):
                    _note_reason(delta, reading)
            case "message_stop":
                reading.is_final = True
            case "error":
                reading.error = _error(document)

    def _read_part(self, part: Any) -> None:
        if isinstance(part, Mapping):
            _read_block(part, self.reading)


def _tells_output(event: Mapping[str, Any]) -> bool:
    """Whether an event has a usage that says how much came out."""
    places = (event, event.get("delta"), event.get("message"))
    usages = [place.get("usage") for place in places if isinstance(place, Mapping)]
    return any(isinstance(usage, Mapping) and any(map(usage.get, _OUTPUTS)) for usage in usages)


def _read_block(block: Mapping[str, Any], reading: Reading) -> None:
    """Take in the text of a content block or of a delta to one."""
    for key in _DELTA_TEXTS:
        reading.add(block.get(key))
    if block.get("type") in {"tool_use", "server_tool_use"}:
        reading.add(block.get("name"))
        if block.get("input"):
            reading.add(encode(block["input"]).decode())


def _is_search(block: Mapping[str, Any]) -> bool:
    """Whether a block has what a search found: one that failed is not billed."""
    return block.get("type") == "web_search_tool_result" and isinstance(block.get("content"), list)


def _note_reason(message: Mapping[str, Any], reading: Reading) -> None:
    reason = message.get("stop_reason")
    if isinstance(reason, str):
        reading.finish_reasons[0] = reason


def _error(document: Mapping[str, Any]) -> Mapping[str, Any]:
    error = document.get("error")
    return error if isinstance(error, Mapping) else {"message": str(error)}
