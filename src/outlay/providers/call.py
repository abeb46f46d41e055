"""Call: one request to a model, from a caller's body to a reading, whole or streamed.

    reply = await ask(transport, target, "chat", {"messages": …, "max_tokens": 100})
    reply.document, reply.reading.claim

    async with StreamedCall(transport, target, "chat", {…, "stream": True}) as call:
        async for piece in call:
            piece.raw, piece.events, piece.documents
    call.reading.claim

Every failure is a ProviderError; `failure.void_reason(error)` says whether the reservation may be voided. A
stream that broke keeps what was read: `call.reading` has the text and the claim until then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from outlay.errors import ProviderNonsenseError
from outlay.providers.bills import COST_HEADER
from outlay.providers.body import decode_object
from outlay.providers.catalogue import Endpoint
from outlay.providers.redaction import without_credential
from outlay.providers.sse import Event, Framed, SseParser
from outlay.providers.stream_redaction import StreamRedactor
from outlay.providers.target import Target
from outlay.providers.transport import Timeouts, Transport
from outlay.providers.wires import anthropic, wire_of
from outlay.providers.wires.reading import Reading

_ACCEPTED: Final = 202
"""The provider took the request and has yet to answer it."""
_MOST_EVENT_BYTES: Final = 8 * 2**20
"""Pictures come as one event, of some megabytes."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer: its JSON, what was read of it, its headers (lower-case names), and its own bytes."""

    document: dict[str, Any]
    reading: Reading
    headers: Mapping[str, str]
    body: bytes = b""
    status: int = 200


class Piece(NamedTuple):
    """A part of a stream: its bytes as they came, and the events that it made whole.

    The events of all pieces, sent on one by one, are the stream without its comments. Plain JSON instead of
    a stream is one event, in the last piece. A credential that the provider repeats is taken out of them.
    """

    raw: bytes
    events: list[Framed]

    @property
    def documents(self) -> list[dict[str, Any]]:
        """The events that are JSON objects."""
        return [event.document for event in self.events if event.document is not None]


async def ask(
    transport: Transport,
    target: Target,
    endpoint: Endpoint,
    body: Mapping[str, Any],
    *,
    timeouts: Timeouts | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Send a request and read the whole answer. Of `headers` the wire passes on those it knows.

    An error inside a 200 (OpenRouter's, or a Responses answer that failed) does not raise, for it may come
    with a claim that has to be charged: see `reading.failure()`.

    Raises:
        ProviderError: it failed.
        InvalidValueError: the request cannot be written, or a header cannot be passed on.
    """
    wire = wire_of(target, endpoint)
    answer = await transport.send(wire.build(target, endpoint, body, headers), timeouts=timeouts)
    document = answer.document()
    reading = wire.read(document, endpoint, target.provider.quirks)
    _note_head(reading, answer.status, answer.headers)
    return Reply(document, reading, answer.headers, answer.body, answer.status)


async def count_tokens(
    transport: Transport,
    target: Target,
    body: Mapping[str, Any],
    *,
    timeouts: Timeouts | None = None,
    headers: Mapping[str, str] | None = None,
) -> int:
    """Ask Anthropic how many input tokens a request has: it bills nothing.

    Raises:
        ProviderError: it failed, or did not say.
        InvalidValueError: the provider does not count, or the request cannot be written.
    """
    request = anthropic.build_count(target, anthropic.countable(body), headers)
    answer = await transport.send(request, timeouts=timeouts)
    counted = answer.document().get("input_tokens")
    if not isinstance(counted, int) or isinstance(counted, bool) or counted < 0:
        raise ProviderNonsenseError(f"{target.provider.name} did not count: it answered {counted!r:.100}")
    return counted


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
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._wire = wire_of(target, endpoint)
        self._target = target
        self._endpoint: Endpoint = endpoint
        request = self._wire.build(target, endpoint, body, headers)
        self._incoming = transport.stream(request, timeouts=timeouts)
        self._parser = SseParser(max_event_bytes=_MOST_EVENT_BYTES)
        self._reader = self._wire.reader(endpoint, target.provider.quirks)
        self._redactor = StreamRedactor(target.credential)
        self._plain: list[bytes] = []
        self._plain_reading: Reading | None = None
        self._is_stream = False
        self._is_over = False

    @property
    def is_plain(self) -> bool:
        """Whether the provider answers with plain JSON instead of a stream; known from the first piece on."""
        return bool(self._plain)

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
        self._is_stream = self._incoming.is_event_stream
        self._note_head(self._reader.reading)
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
        chunk = await self._incoming.read()
        if not chunk:
            self._is_over = True
            if events := self._last_events():
                return Piece(b"", events)
            raise StopAsyncIteration
        if not self._is_stream and self._looks_plain(chunk):
            self._plain.append(chunk)
            return Piece(chunk, [])
        return Piece(chunk, self._framed(self._parser.feed(chunk)))

    def _note_head(self, reading: Reading) -> None:
        _note_head(reading, self._incoming.status, self._incoming.headers)

    def _framed(self, events: list[Event]) -> list[Framed]:
        read, credential = self._reader.read, self._target.credential
        framed = []
        for event in events:
            raw = event.framed()
            if (told := without_credential(raw, credential)) is not raw:
                event = Event(without_credential(event.data, credential))  # noqa: PLW2901 # what is read instead
            framed.append(Framed(told, read(event)))
        return self._redactor.pass_on(framed)

    def _looks_plain(self, chunk: bytes) -> bool:
        """Whether an answer without the content type of a stream is JSON: some servers forget the type."""
        return bool(self._plain) or (not self._reader.reading.choices and chunk.lstrip().startswith(b"{"))

    def _last_events(self) -> list[Framed]:
        if not self._plain:
            return [*self._framed(self._parser.close()), *self._redactor.close()]
        whole = without_credential(b"".join(self._plain), self._target.credential)
        document = decode_object(whole)
        if document is None:
            self._reader.reading.malformed += 1
        else:
            self._plain_reading = self._wire.read(document, self._endpoint, self._target.provider.quirks)
            self._note_head(self._plain_reading)
        return [Framed(whole, document)]


def _note_head(reading: Reading, status: int, headers: Mapping[str, str]) -> None:
    """Note what the head of an answer says: that the answer is yet to come, what it cost."""
    reading.is_accepted = status == _ACCEPTED
    reading.stated_cost = headers.get(COST_HEADER)
