"""Streams that come in pieces, in odd spellings, or broken: passed on as far as they can be, and charged."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import openai
import pytest
from gateways import HELLO, Gateway, run_gateway, usd_budget
from journal import eventually
from raw_provider import SSE_HEAD, RawProvider, raw_provider

from outlay.providers.transport import Timeouts
from outlay.testing.provider import FakeProvider

TIMEOUTS = Timeouts(first_byte_seconds=10, between_chunks_seconds=10, total_seconds=20)
USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
COST_NANOS = 9 * 2_500 + 2 * 10_000


@pytest.fixture(scope="module")
def raw() -> Iterator[RawProvider]:
    with raw_provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, raw: RawProvider) -> Iterator[Gateway]:
    with before(raw, tmp_path_factory.mktemp("streams")) as running:
        yield running


@pytest.fixture
def fresh(tmp_path: Path, raw: RawProvider) -> Iterator[Gateway]:
    with before(raw, tmp_path) as running:
        yield running


@contextmanager
def before(raw: RawProvider, folder: Path) -> Iterator[Gateway]:
    """A gateway before the raw provider."""
    budgets = [usd_budget("global", 100.0)]
    with (
        FakeProvider() as provider,
        run_gateway(provider, folder, rows_of=[raw.row()], budgets=budgets, timeouts=TIMEOUTS) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.http() as client:
        yield client


def chunk(text: str, **more: object) -> bytes:
    """The data of one chunk."""
    choices = [{"index": 0, "delta": {"content": text}, "finish_reason": None}]
    return json.dumps({"id": "c-1", "choices": choices, **more}, ensure_ascii=False).encode()


FINISH = json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}).encode()
USED = json.dumps({"choices": [], "usage": USAGE}).encode()
DATA = [chunk("Dón"), chunk("au 🐟"), FINISH, USED, b"[DONE]"]
PLAIN = b"".join(b"data: %b\n\n" % data for data in DATA)


def stream(client: httpx.Client) -> httpx.Response:
    """One stream, read to its end."""
    body = {"model": "raw", "messages": HELLO, "max_tokens": 5, "stream": True}
    return client.post("/v1/chat/completions", json=body)


def text_of(answer: httpx.Response) -> str:
    """What the chunks of a stream say together, as a client reads them."""
    said = ""
    for line in answer.text.split("\n"):
        data = line.removeprefix("data: ")
        if line.startswith("data: ") and data != "[DONE]":
            choices = json.loads(data).get("choices", [])
            said += "".join(choice["delta"].get("content") or "" for choice in choices)
    return said


def newest_charge(gateway: Gateway) -> int | None:
    """What the newest entry charges, once nothing is held."""
    gateway.settled()
    return gateway.journal.entries()[-1].usd_nanos


SPELLINGS = {
    "LF": PLAIN,
    "CRLF": PLAIN.replace(b"\n", b"\r\n"),
    "CR": PLAIN.replace(b"\n", b"\r"),
    "comments between": PLAIN.replace(b"data: ", b": PROCESSING\n\n: again\ndata: "),
    "ids and retries": PLAIN.replace(b"data: ", b"id: 5\nretry: 10\nunknown: x\ndata: "),
    "no space after the colon": PLAIN.replace(b"data: ", b"data:"),
    "a byte order mark": b"\xef\xbb\xbf" + PLAIN,
    "no [DONE]": PLAIN.replace(b"data: [DONE]\n\n", b""),
    "no blank line at the end": PLAIN.removesuffix(b"data: [DONE]\n\n").removesuffix(b"\n\n"),
    "data over lines": PLAIN.replace(b', "choices"', b',\ndata:  "choices"'),
    "named events": PLAIN.replace(b"data: ", b"event: message\ndata: "),
    "more blank lines": PLAIN.replace(b"\n\n", b"\n\n\n\n"),
}


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_a_stream_however_it_is_spelled_says_and_costs_the_same(
    gateway: Gateway, raw: RawProvider, client: httpx.Client, spelled: bytes
) -> None:
    raw.says(SSE_HEAD, spelled)
    answer = stream(client)
    assert answer.status_code == 200
    if b"data:  " not in spelled:
        assert text_of(answer) == "Dónau 🐟"
    assert "usage" not in answer.text
    assert newest_charge(gateway) == COST_NANOS


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_a_stream_cut_at_every_byte_is_the_same_stream(
    gateway: Gateway, raw: RawProvider, client: httpx.Client, ending: bytes
) -> None:
    data = PLAIN.replace(b"\n", ending)
    raw.says(SSE_HEAD, *(data[at : at + 1] for at in range(len(data))))
    answer = stream(client)
    assert text_of(answer) == "Dónau 🐟"
    assert answer.text.count("[DONE]") == 1
    assert newest_charge(gateway) == COST_NANOS


def test_a_stream_cut_in_two_at_any_byte_is_the_same_stream(
    gateway: Gateway, raw: RawProvider, client: httpx.Client
) -> None:
    data = SPELLINGS["CRLF"]
    for at in range(0, len(data), 7):
        raw.says(SSE_HEAD, data[:at], data[at:])
        assert text_of(stream(client)) == "Dónau 🐟"
    gateway.settled()
    charges = {entry.usd_nanos for entry in gateway.journal.entries()[-(len(data) // 7) :]}
    assert charges == {COST_NANOS}


GARBAGE = {
    "cut JSON": b'data: {"choices": [\n\n',
    "bytes that are no text": b"data: \xff\xfe\x80\n\n",
    "no field at all": bytes(range(128, 256)) + b"\n\n",
    "a list": b"data: [1, 2]\n\n",
    "deep": b"data: " + b"[" * 100_000 + b"\n\n",
    "a NUL": b"data: \0\n\n",
    "choices that are no list": b'data: {"choices": 5}\n\n',
    "choices of nulls": b'data: {"choices": [null, 5, {"delta": 7}, {"index": "x"}]}\n\n',
    "a usage that is a text": b'data: {"choices": [], "usage": "much"}\n\n',
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_in_the_middle_costs_no_more_and_breaks_nothing_behind_it(
    gateway: Gateway, raw: RawProvider, client: httpx.Client, garbage: bytes
) -> None:
    first = b"data: %b\n\n" % DATA[0]
    raw.says(SSE_HEAD, first, garbage, PLAIN.removeprefix(first))
    answer = stream(client)
    assert answer.status_code == 200
    assert answer.text.count("[DONE]") == 1
    assert newest_charge(gateway) == COST_NANOS


@pytest.mark.parametrize(
    "whole", [b"", PLAIN[:20], b"<html>", bytes(range(128, 256))], ids=["nothing", "half", "HTML", "garbage"]
)
def test_a_stream_without_an_end_is_told_as_broken_and_presumed_at_once(
    fresh: Gateway, raw: RawProvider, whole: bytes
) -> None:
    raw.says(SSE_HEAD, whole)
    answer = fresh.chat(model="raw", stream=True)
    assert "provider_error" in answer.text
    assert "[DONE]" not in answer.text
    fresh.settled()
    assert [entry.source for entry in fresh.journal.entries()] == ["presumed"]
    fresh.journal.check()


def test_an_event_as_large_as_a_picture_passes(
    gateway: Gateway, raw: RawProvider, client: httpx.Client
) -> None:
    picture = "iVBORw0KGgo" * 500_000
    data = [chunk("", picture=picture), *DATA]
    raw.says(SSE_HEAD, b"".join(b"data: %b\n\n" % each for each in data))
    answer = stream(client)
    assert picture in answer.text
    assert text_of(answer) == "Dónau 🐟"
    assert newest_charge(gateway) == COST_NANOS


def test_a_line_of_fifty_megabytes_ends_the_stream_within_bounds_of_memory(
    fresh: Gateway, raw: RawProvider
) -> None:
    piece = b"a" * 2**20
    raw.says(SSE_HEAD, b"data: %b\n\ndata: " % DATA[0], *[piece] * 50)
    least = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = fresh.chat(model="raw", stream=True)
    grown_megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - least) / 1024
    assert grown_megabytes < 25
    assert len(answer.content) < 100_000
    assert "provider_error" in answer.text
    eventually(lambda: fresh.services.metrics.in_flight == 0)
    assert fresh.journal.pending() == 1


def test_a_caller_that_reads_no_more_is_cut_off_and_what_it_asked_for_is_charged(
    fresh: Gateway, raw: RawProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlay.gateway.protocol._STALLED_SECONDS", 0.3)
    many = b"data: %b\n\n" % chunk("a" * 100_000) * 200
    raw.says(SSE_HEAD, many, PLAIN)
    body = {"model": "raw", "messages": HELLO, "max_tokens": 5, "stream": True}
    with fresh.http() as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        eventually(fresh.journal.entries)
        (entry,) = fresh.journal.entries()
        assert entry.usd_nanos == COST_NANOS
        assert entry.detail["client_gone"] is True
    assert fresh.journal.pending() == 0


def test_the_answers_of_a_broken_stream_end_with_an_error_that_openais_client_raises(
    fresh: Gateway, raw: RawProvider
) -> None:
    raw.says(SSE_HEAD, b"data: %b\n\n" % DATA[0])
    chunks = fresh.openai(max_retries=0).chat.completions.create(
        model="raw", messages=HELLO, max_tokens=5, stream=True
    )
    assert next(chunks).choices[0].delta.content == "Dón"
    with pytest.raises(openai.APIError, match="without an end"):
        list(chunks)
    fresh.settled()
    assert [entry.source for entry in fresh.journal.entries()] == ["presumed"]
