"""Target, wire, transport and reader together, against the fake provider and its bill."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from outlay.errors import ProviderConnectionError
from outlay.providers.call import Piece, StreamedCall
from outlay.providers.call import ask as send
from outlay.providers.catalogue import Endpoint
from outlay.providers.target import Target, resolve
from outlay.providers.transport import Timeouts, Transport
from outlay.providers.wires import Reading
from outlay.testing.provider import FakeProvider

HELLO = [{"role": "user", "content": "hello"}]
BODIES: dict[Endpoint, dict[str, Any]] = {
    "chat": {"messages": HELLO},
    "completions": {"prompt": "hello"},
    "embeddings": {"input": "hello"},
    "responses": {"input": "hello"},
    "messages": {"messages": HELLO, "max_tokens": 10},
}


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as running:
        yield running


def target_of(provider: FakeProvider, model: str = "openai/demo") -> Target:
    return resolve(model, api_key="sk-key", api_base=provider.base_url, environ={})


async def call(transport: Transport, target: Target, endpoint: Endpoint, body: dict[str, Any]) -> Reading:
    if not body.get("stream"):
        return (await send(transport, target, endpoint, body)).reading
    async with StreamedCall(transport, target, endpoint, body) as streamed:
        async for _ in streamed:
            pass
    return streamed.reading


def ask(target: Target, endpoint: Endpoint = "chat", **body: Any) -> Reading:
    async def main() -> Reading:
        return await call(Transport(Timeouts(5, 5, 5, 10)), target, endpoint, BODIES[endpoint] | body)

    return asyncio.run(main())


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("endpoint", BODIES)
def test_what_is_read_is_what_was_billed(provider: FakeProvider, endpoint: Endpoint, is_stream: bool) -> None:
    model = "anthropic/claude-3-5-haiku" if endpoint == "messages" else "openai/demo"
    more = {"stream": True} if is_stream and endpoint != "embeddings" else {}
    reading = ask(target_of(provider, model), endpoint, **more)
    billed = provider.bill.calls[0]
    assert reading.claim is not None
    assert reading.claim["input_tokens"] == billed.input_tokens
    assert reading.claim.get("output_tokens", 0) == billed.output_tokens
    assert reading.is_complete
    if endpoint != "embeddings":
        assert reading.response_id == billed.id
        assert len(reading.text.split()) == billed.output_tokens


@pytest.mark.parametrize("usage_in", ["final", "last", "every", "x_groq"])
def test_usage_is_found_wherever_a_stream_has_it(provider: FakeProvider, usage_in: str) -> None:
    provider.set({"usage_in": usage_in})
    claim = ask(target_of(provider), stream=True).claim
    assert claim is not None
    assert claim["output_tokens"] == 24


@pytest.mark.parametrize("usage", ["missing", "null"])
def test_a_stream_without_usage_claims_nothing_and_its_text_is_there(
    provider: FakeProvider, usage: str
) -> None:
    provider.set({"usage": usage})
    reading = ask(target_of(provider), stream=True)
    assert (reading.claim, len(reading.text.split())) == (None, 24)


def test_mistral_would_refuse_what_openai_needs(provider: FakeProvider) -> None:
    provider.set({"rejects_stream_options": True, "is_usage_unasked": True, "usage_in": "last"})
    claim = ask(target_of(provider, "mistral/mistral-large"), stream=True).claim
    assert claim is not None
    assert claim["output_tokens"] == 24


def test_a_broken_event_does_not_end_a_stream(provider: FakeProvider) -> None:
    provider.set({"nonsense": "sse"})
    reading = ask(target_of(provider), stream=True)
    assert (reading.malformed, reading.is_final, len(reading.text.split())) == (1, True, 24)


def test_an_error_in_a_stream_is_read_on_every_wire(provider: FakeProvider) -> None:
    provider.set({"error_after_chunks": 4})
    wires: list[tuple[str, Endpoint]] = [
        ("openai/demo", "chat"),
        ("openai/demo", "responses"),
        ("anthropic/claude-3-5-haiku", "messages"),
    ]
    for model, endpoint in wires:
        reading = ask(target_of(provider, model), endpoint, stream=True)
        assert reading.failure() is not None
        assert not reading.is_complete


def test_hidden_reasoning_is_in_the_total(provider: FakeProvider) -> None:
    provider.set({"reasoning_tokens": 10})
    reading = ask(target_of(provider))
    assert reading.claim is not None
    assert (reading.claim["output_tokens"], reading.claim["output_reasoning_tokens"]) == (24, 10)
    assert len(reading.text.split()) == 14


def test_many_at_once_are_billed_as_they_are_read(provider: FakeProvider) -> None:
    async def main() -> list[Reading]:
        async with Transport(Timeouts(5, 20, 20, 30)) as transport:
            bodies = [
                BODIES["chat"] | {"n": 1 + index % 3, "max_tokens": 1 + index % 30, "stream": index % 2 == 0}
                for index in range(120)
            ]
            target = target_of(provider)
            return await asyncio.gather(*(call(transport, target, "chat", body) for body in bodies))

    readings = asyncio.run(main())
    claims = [reading.claim or {} for reading in readings]
    for unit, billed in (
        ("input_tokens", provider.bill.input_tokens),
        ("output_tokens", provider.bill.output_tokens),
    ):
        assert sum(int(str(claim[unit])) for claim in claims) == billed
    assert {reading.response_id for reading in readings} == {call.id for call in provider.bill.calls}


def pieces_of(target: Target) -> tuple[list[Piece], StreamedCall]:
    async def main() -> tuple[list[Piece], StreamedCall]:
        transport = Transport(Timeouts(5, 5, 5, 10))
        async with StreamedCall(transport, target, "chat", BODIES["chat"] | {"stream": True}) as call:
            return [piece async for piece in call], call

    return asyncio.run(main())


def test_a_stream_gives_its_bytes_and_its_events(provider: FakeProvider) -> None:
    pieces, call = pieces_of(target_of(provider))
    raw = b"".join(piece.raw for piece in pieces)
    documents = [document for piece in pieces for document in piece.documents]
    assert raw.count(b"data: ") == len(documents) + 1  # [DONE] is no document
    assert call.headers["content-type"].startswith("text/event-stream")


def test_a_stream_answered_with_plain_json_is_read_as_a_whole() -> None:
    body = b'{"id": "x", "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}'
    with plain_server(body) as url:
        pieces, call = pieces_of(resolve("openai/demo", api_key="k", api_base=url, environ={}))
    assert b"".join(piece.raw for piece in pieces) == body
    assert (call.reading.text, call.reading.is_complete) == ("hi", True)


def test_a_stream_of_the_wrong_content_type_is_read_all_the_same() -> None:
    chunk = b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}\n\n'
    with plain_server(chunk) as url:
        _, call = pieces_of(resolve("openai/demo", api_key="k", api_base=url, environ={}))
    assert call.reading.text == "hi"


def test_a_stream_that_is_cut_keeps_what_was_read(provider: FakeProvider) -> None:
    provider.set({"cut_after_chunks": 5, "chunk_delay_seconds": 0.01})

    async def main() -> StreamedCall:
        transport = Transport(Timeouts(5, 5, 5, 10))
        body = BODIES["chat"] | {"stream": True}
        call = StreamedCall(transport, target_of(provider), "chat", body)
        with pytest.raises(ProviderConnectionError):
            await drain(call)
        return call

    reading = asyncio.run(main()).reading
    assert not reading.is_complete
    assert 0 < len(reading.text.split()) <= 4


async def drain(call: StreamedCall) -> None:
    async with call:
        async for _ in call:
            pass


def test_an_error_in_a_200_is_told_and_its_outcome_unknown() -> None:
    with plain_server(b'{"error": {"message": "no credits", "code": 402}}') as url:
        reading = ask(resolve("openrouter/demo", api_key="k", api_base=url, environ={}))
    failure = reading.failure("OpenRouter")
    assert failure is not None
    assert failure.is_unknown_outcome
    assert (reading.claim, str(failure)) == (None, "OpenRouter broke off its answer: no credits")


@contextmanager
def plain_server(body: bytes) -> Iterator[str]:
    """A server of one connection that answers 200 with these bytes as JSON, whatever it is asked."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(head.encode() + body)
            connection.recv(1)  # until the client is done

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        thread.join()
        listener.close()


def test_importing_the_providers_loads_no_heavy_library() -> None:
    code = (
        "import sys, outlay.providers.call; "
        "sys.exit(any(name in sys.modules for name in ('aiohttp', 'msgspec', 'genai_prices')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
