"""Target, wire, transport and reader together, against the fake provider and its bill."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from outlay.providers.catalogue import Endpoint
from outlay.providers.sse import SseParser
from outlay.providers.target import Target, resolve
from outlay.providers.transport import Timeouts, Transport
from outlay.providers.wires import Reading, wire_of
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
    wire = wire_of(target, endpoint)
    quirks = target.provider.quirks
    request = wire.build(target, endpoint, body)
    if not body.get("stream"):
        return wire.read((await transport.send(request)).document(), endpoint, quirks)
    parser, reader = SseParser(), wire.reader(endpoint, quirks)
    async with transport.stream(request) as incoming:
        async for chunk in incoming:
            for event in parser.feed(chunk):
                reader.read(event)
    for event in parser.close():
        reader.read(event)
    return reader.reading


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


def test_importing_the_providers_loads_no_heavy_library() -> None:
    code = (
        "import sys, outlay.providers.transport, outlay.providers.wires; "
        "sys.exit(any(name in sys.modules for name in ('aiohttp', 'msgspec', 'genai_prices')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
