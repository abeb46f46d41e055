"""Streams that hide what they cost: what cannot be known stays held, and is never charged as less."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateways import HELLO, Gateway, run_gateway, usd_budget
from raw_provider import SSE_HEAD, RawProvider, raw_provider

from outlay.testing.provider import FakeProvider

USAGE = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
DONE = b"data: [DONE]\n\n"


@pytest.fixture
def raw() -> Iterator[RawProvider]:
    with raw_provider() as provider:
        yield provider


@pytest.fixture
def gateway(tmp_path: Path, raw: RawProvider) -> Iterator[Gateway]:
    budgets = [usd_budget("global", 1.0)]
    with (
        FakeProvider() as provider,
        run_gateway(provider, tmp_path, rows_of=[raw.row()], budgets=budgets) as running,
    ):
        yield running


def event(text: str, *, reason: str | None = None, **more: object) -> bytes:
    """One chunk of a stream."""
    choices = [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]
    return b"data: " + json.dumps({"id": "c-1", "choices": choices, **more}).encode() + b"\n\n"


def stream(gateway: Gateway) -> str:
    """What one stream of at most a hundred tokens says."""
    body = {"model": "raw", "messages": HELLO, "max_tokens": 100, "stream": True}
    said: str = gateway.post("/v1/chat/completions", body).text
    return said


def presumed_nanos(gateway: Gateway) -> int:
    """What the one call is charged in the end, which must be all that was held for it."""
    (entry,) = gateway.journal.entries()
    assert entry.source == "presumed"
    gateway.journal.check()
    return entry.usd_nanos or 0


def with_number(number: str) -> bytes:
    """A chunk with a text of ninety tokens, and a number as it is written here."""
    return event("river " * 90, logprob=0).replace(b'"logprob": 0', b'"logprob": ' + number.encode())


@pytest.mark.parametrize("number", ["nan", "-inf", "0x0", "1.", "undefined"])
def test_a_text_in_events_that_cannot_be_read_is_not_charged_as_no_text(
    gateway: Gateway, raw: RawProvider, number: str
) -> None:
    raw.says(SSE_HEAD, with_number(number), event("", reason="stop"), DONE)
    assert "river" in stream(gateway)
    gateway.settled()
    assert presumed_nanos(gateway) >= 100 * 10_000


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e400"])
def test_a_text_beside_a_number_that_is_no_json_is_read_and_counted(
    gateway: Gateway, raw: RawProvider, number: str
) -> None:
    raw.says(SSE_HEAD, with_number(number), event("", reason="stop"), DONE)
    assert "river" in stream(gateway)
    gateway.settled()
    (entry,) = gateway.journal.entries()
    assert (entry.source, entry.detail["disputed"]) == ("counted", True)
    assert (entry.usd_nanos or 0) >= 90 * 10_000


@pytest.mark.parametrize(
    "end", [b"", b'data: {"error": {"message": "overloaded"}}\n\n'], ids=["cut", "error"]
)
def test_usage_so_far_is_not_the_usage_of_a_stream_that_ends_too_soon(
    gateway: Gateway, raw: RawProvider, end: bytes
) -> None:
    raw.says(SSE_HEAD, event("Danube", usage=USAGE), event(", Rhine and the"), end)
    stream(gateway)
    gateway.settled()
    assert presumed_nanos(gateway) >= 100 * 10_000


def test_events_that_cannot_be_read_cost_nothing_more_where_the_provider_says_what_was_used(
    gateway: Gateway, raw: RawProvider
) -> None:
    raw.says(SSE_HEAD, b"data: {nonsense\n\n", event("Danube", reason="stop", usage=USAGE), DONE)
    stream(gateway)
    gateway.settled()
    (entry,) = gateway.journal.entries()
    assert (entry.source, entry.usd_nanos) == ("provider", 9 * 2_500 + 10_000)
