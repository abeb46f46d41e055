"""What a body may be: as large, as deep and as odd as the limits say, and read in one way only."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2 as httpx
import pytest
from gateways import DEMO_RATE, HELLO, Gateway, run_gateway, usd_budget

from outlay.gateway.config import Limits
from outlay.testing.provider import FakeProvider

CHAT = "/v1/chat/completions"
MEGABYTES_20 = 20_000_000


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("limits")
    with (
        FakeProvider(default_rate=DEMO_RATE) as provider,
        run_gateway(provider, folder, budgets=[usd_budget("global", 10_000.0)]) as running,
    ):
        yield running


def post(gateway: Gateway, content: bytes, path: str = CHAT, **headers: str) -> httpx.Response:
    """Send bytes as they are."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with gateway.http() as client:
        return client.post(path, content=content, headers={"content-type": "application/json", **named})


def with_fields(fields: bytes) -> bytes:
    """A chat with some fields written by hand."""
    return b'{"model": "demo", "messages": [{"role": "user", "content": "hi"}], %b}' % fields


BAD_BODIES = {
    "empty": b"",
    "a list": b"[]",
    "a text": b'"demo"',
    "null": b"null",
    "cut off": b'{"model": "demo"',
    "followed by more": with_fields(b'"max_tokens": 5') + b"{}",
    "not UTF-8": with_fields(b'"user": "\xff\xfe"'),
    "UTF-16": with_fields(b'"max_tokens": 5').decode().encode("utf-16"),
    "half a surrogate": with_fields(rb'"user": "\ud83d"'),
    "NaN": with_fields(b'"temperature": NaN, "max_tokens": 5'),
    "Infinity": with_fields(b'"max_tokens": Infinity'),
    "a number beyond all": with_fields(b'"max_tokens": 5, "temperature": 1e400'),
    "100,000 lists deep": b'{"model": "demo", "x": %b%b}' % (b"[" * 100_000, b"]" * 100_000),
    "100,000 lists without an end": b"[" * 100_000,
    "100,000 objects deep": b'{"a":' * 100_000,
    "deep behind a text that looks like its end": b'{"a": "\\\\\\"]}", "b": %b' % (b"[" * 100_000),
    **{
        f"max_tokens {value}": with_fields(b'"max_tokens": %b' % value.encode())
        for value in ("1e308", "1" + "0" * 40, "-1", "true", '"5"', "5.5", "[]", "18446744073709551616")
    },
    **{
        f"n {value}": with_fields(b'"max_tokens": 5, "n": %b' % value.encode())
        for value in ("0", "1000000000", "-1", "true", '"2"', "1e3")
    },
    "no model": b'{"messages": []}',
    "a model that is a number": b'{"model": 5, "messages": []}',
    "stream as a text": with_fields(b'"stream": "true"'),
    "stream_options as a text": with_fields(b'"stream": true, "stream_options": "x"'),
}


@pytest.mark.parametrize("content", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_body_that_cannot_be_served_is_refused_at_once_and_nothing_is_held(
    gateway: Gateway, content: bytes
) -> None:
    sent, began = len(gateway.provider.requests), time.monotonic()
    answer = post(gateway, content)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert len(answer.content) < 1_000
    assert time.monotonic() - began < 5
    assert len(gateway.provider.requests) == sent
    assert gateway.journal.pending() == 0


@pytest.mark.parametrize("path", ["/key/generate", "/user/new", "/team/new"])
@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"[" * 100_000,
        b'{"max_budget": NaN}',
        b'{"max_budget": 1e999}',
        b'{"max_budget": 1, "max_budget": 2}',
        b'{"metadata": {"a": "\xff"}}',
        rb'{"metadata": {"a": "\ud800"}}',
    ],
    ids=["a list", "deep", "NaN", "beyond all", "twice", "not UTF-8", "half a surrogate"],
)
def test_management_reads_bodies_by_the_same_limits(gateway: Gateway, path: str, content: bytes) -> None:
    answer = post(gateway, content, path)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("doubled", [b'"max_tokens": 9', b'"max\\u005ftokens": 9'], ids=["plain", "escaped"])
def test_what_stands_twice_reaches_the_provider_once_as_the_value_that_was_bounded(
    gateway: Gateway, doubled: bytes
) -> None:
    answer = post(gateway, with_fields(b'"max_tokens": 1000000, ' + doubled))
    assert answer.status_code == 200, answer.text
    body = gateway.provider.requests[-1].body
    assert body.count(b"tokens") == 1
    assert json.loads(body)["max_tokens"] == 9
    assert answer.json()["usage"]["completion_tokens"] == 9


def test_numbers_that_no_machine_word_holds_pass_through_untouched(gateway: Gateway) -> None:
    seed = int("9" * 30)
    assert post(gateway, with_fields(b'"max_tokens": 5, "seed": %d' % seed)).status_code == 200
    assert gateway.provider.requests[-1].json()["seed"] == seed


def test_a_compressed_body_is_refused_and_never_unpacked(gateway: Gateway) -> None:
    packed = gzip.compress(with_fields(b'"max_tokens": 5'))
    sent = len(gateway.provider.requests)
    for path in (CHAT, "/key/generate"):
        answer = post(gateway, packed, path, content_encoding="gzip")
        assert answer.status_code == 415
        assert answer.json()["error"]["param"] == "content-encoding"
    assert len(gateway.provider.requests) == sent


def test_a_body_is_json_whatever_its_content_type_says(gateway: Gateway) -> None:
    content = with_fields(b'"max_tokens": 5')
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        assert post(gateway, content, content_type=kind).status_code == 200
        assert gateway.provider.requests[-1].headers["content-type"] == "application/json"


def test_a_body_of_20_megabytes_passes(gateway: Gateway) -> None:
    content = "word " * (MEGABYTES_20 // 5)
    body = {"model": "demo", "max_tokens": 5, "messages": [{"role": "user", "content": content}]}
    answer = gateway.post(CHAT, body)
    assert answer.status_code == 200, answer.text
    assert gateway.provider.requests[-1].json()["messages"] == body["messages"]
    gateway.settled()
    assert gateway.journal.charged_nanos() == gateway.provider.bill.total_nanos


def test_a_body_above_the_limit_is_refused_with_the_limit_however_it_is_framed(gateway: Gateway) -> None:
    most = gateway.services.config.limits.max_body_bytes
    sent = len(gateway.provider.requests)
    piece = b" " * 2**20

    def pieces() -> Iterator[bytes]:
        for _ in range(most // len(piece) + 1):
            yield piece

    with gateway.http() as client:
        for path, allowed in ((CHAT, most), ("/key/generate", 4 * 2**20)):
            for content in (b" " * (allowed + 1), pieces()):
                answer = client.post(path, content=content)
                assert answer.status_code == 413
                assert answer.json()["error"]["max_body_bytes"] == allowed
    assert len(gateway.provider.requests) == sent


def test_more_requests_than_the_gateway_takes_at_once_are_told_to_come_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("busy")
    limits = Limits(max_concurrency=1, drain_seconds=5)
    with (
        FakeProvider({"hang_after_chunks": 0}) as provider,
        run_gateway(provider, folder, limits=limits) as gateway,
        gateway.http() as client,
        ThreadPoolExecutor(1) as pool,
    ):
        first = pool.submit(gateway.chat, stream=True)
        provider.wait_until(lambda it: it.bill.serving == 1)
        refused = client.post(CHAT, json={"model": "demo", "messages": HELLO})
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert client.get("/health/liveness").status_code == 200
        provider.release()
        assert first.result(10).status_code == 200


def test_a_body_of_millions_of_lists_is_refused_before_it_is_read(gateway: Gateway) -> None:
    body = b'{"model": "demo", "messages": [' + b",".join([b"[]"] * 300_000) + b"]}"
    billed = gateway.provider.bill.total_nanos
    with gateway.http() as client:
        answer = client.post("/v1/chat/completions", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "request_too_complex"
    assert gateway.provider.bill.total_nanos == billed
