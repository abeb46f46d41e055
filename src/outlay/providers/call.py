"""Call: one request to a model, from a caller's body to a reading, whole or streamed.

    reply = await ask(transport, target, "chat", {"messages": …, "max_tokens": 100})
    reply.document, reply.reading.claim

    async with StreamedCall(transport, target, "chat", {…, "stream": True}) as call:
        async for piece in call:
            piece.raw, piece.documents
    call.reading.claim

Every failure is a ProviderError; `failure.void_reason(error)` says whether the reservation may be voided. A
stream that broke keeps what was read: `call.reading` has the text and the claim until then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

from outlay.providers.body import decode_object
from outlay.providers.catalogue import Endpoint
from outlay.providers.sse import Event, SseParser
from outlay.providers.target import Target
from outlay.providers.transport import Timeouts, Transport
from outlay.providers.wires import wire_of
from outlay.providers.wires.reading import Reading


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer: its JSON, what was read of it, and its headers (lower-case names)."""

    document: dict[str, Any]
    reading: Reading
    headers: Mapping[str, str]


class Piece(NamedTuple):
    """A part of a stream: its bytes as they came, and the events (JSON objects) that it made whole."""

    raw: bytes
    documents: list[dict[str, Any]]


async def ask(
    transport: Transport,
    target: Target,
    endpoint: Endpoint,
    body: Mapping[str, Any],
    *,
    timeouts: Timeouts | None = None,
) -> Reply:
    """Send a request and read the whole answer.

    An error inside a 200 (OpenRouter's, or a Responses answer that failed) does not raise, for it may come
    with a claim that has to be charged: see `reading.failure()`.

    Raises:
        ProviderError: it failed.
        InvalidValueError: the request cannot be written.
    """
    wire = wire_of(target, endpoint)
    answer = await transport.send(wire.build(target, endpoint, body), timeouts=timeouts)
    document = answer.document()
    reading = wire.read(document, endpoint, target.provider.quirks)
    return Reply(document, reading, answer.headers)


class StreamedCall:
    """A streamed request: enter it to send, iterate over its pieces, then see `reading`.

    An error event in the stream does not raise: the caller may have to pass it on; see `reading.failure()`. A
    provider that answers with plain JSON instead of a stream is read as a whole answer, in one document.
    Leaving before the end closes the connection.
    """

    def __init__(
        self,
        transport: Transport,
        target: Target,
        endpoint: Endpoint,
        body: Mapping[str, Any],
        *,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._wire = wire_of(target, endpoint)
        self._target = target
        self._endpoint: Endpoint = endpoint
        request = self._wire.build(target, endpoint, body)
        self._incoming = transport.stream(request, timeouts=timeouts)
        self._parser = SseParser()
        self._reader = self._wire.reader(endpoint, target.provider.quirks)
        self._plain: list[bytes] = []
        self._plain_reading: Reading | None = None
        self._is_over = False

    @property
    def reading(self) -> Reading:
        """What is known of the answer so far."""
        return self._plain_reading or self._reader.reading

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers, with lower-case names."""
        return self._incoming.headers

    async def __aenter__(self) -> Self:
        await self._incoming.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._incoming.__aexit__(kind, error, trace)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        if self._is_over:
            raise StopAsyncIteration
        chunk = await anext(self._incoming, b"")
        if not chunk:
            self._is_over = True
            documents = self._last_documents()
            if not documents:
                raise StopAsyncIteration
            return Piece(b"", documents)
        if not self._incoming.is_event_stream and self._looks_plain(chunk):
            self._plain.append(chunk)
            return Piece(chunk, [])
        return Piece(chunk, self._documents(self._parser.feed(chunk)))

    def _documents(self, events: list[Event]) -> list[dict[str, Any]]:
        return [document for document in map(self._reader.read, events) if document is not None]

    def _looks_plain(self, chunk: bytes) -> bool:
        """Whether an answer without the content type of a stream is JSON: some servers forget the type."""
        return bool(self._plain) or (not self._reader.reading.choices and chunk.lstrip().startswith(b"{"))

    def _last_documents(self) -> list[dict[str, Any]]:
        if not self._plain:
            return self._documents(self._parser.close())
        document = decode_object(b"".join(self._plain))
        if document is None:
            self._reader.reading.malformed += 1
            return []
        self._plain_reading = self._wire.read(document, self._endpoint, self._target.provider.quirks)
        return [document]
