"""The wires: how a request is written and an answer read, by the protocol a provider speaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from outlay.providers.catalogue import Endpoint, Quirks, WireName
from outlay.providers.request import Request
from outlay.providers.sse import Event
from outlay.providers.target import Target
from outlay.providers.wires import anthropic, openai, openai_stream
from outlay.providers.wires.reading import Reading
from outlay.providers.wires.usage import Claim

__all__ = ["WIRES", "Claim", "Reading", "StreamReader", "Wire", "wire_of"]


class StreamReader(Protocol):
    """Reads a stream event by event into its `reading`."""

    reading: Reading

    def read(self, event: Event) -> dict[str, Any] | None:
        """Take in one event; returns its JSON object, or None if it has none."""


class Build(Protocol):
    """Makes a request."""

    def __call__(
        self,
        target: Target,
        endpoint: Endpoint,
        body: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
        /,
    ) -> Request: ...


@dataclass(frozen=True, slots=True)
class Wire:
    """A protocol's functions.

    `build(target, endpoint, body, headers)` makes a request, with those of a caller's headers (lower-case
    names, None for none) that the wire knows; `read(body, endpoint, quirks)` reads a whole answer;
    `reader(endpoint, quirks)` makes a StreamReader.
    """

    name: WireName
    build: Build
    read: Callable[[Mapping[str, Any], Endpoint, Quirks | None], Reading]
    reader: Callable[[Endpoint, Quirks | None], StreamReader]


WIRES: dict[WireName, Wire] = {
    "openai": Wire("openai", openai.build, openai.read, openai_stream.StreamReader),
    "anthropic": Wire("anthropic", anthropic.build, anthropic.read, anthropic.StreamReader),
}


def wire_of(target: Target, endpoint: Endpoint = "chat") -> Wire:
    """The wire to speak to a target's provider at this endpoint.

    Anthropic answers chats in OpenAI's shape too, at `/v1/chat/completions` (its "OpenAI SDK compatibility"),
    so that a chat needs no translation; `messages` is its own wire.
    """
    if target.provider.wire == "anthropic" and endpoint == "chat":
        return WIRES["openai"]
    return WIRES[target.provider.wire]
