"""HTTP as attackers write it, on raw sockets: what is ambiguous is refused, what is slow or large ends."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateways import DEMO_RATE, HELLO, MASTER_KEY, Gateway, run_gateway
from journal import eventually

from outlay.gateway.config import Limits
from outlay.testing.provider import FakeProvider

BODY = json.dumps({"model": "demo", "messages": HELLO, "max_tokens": 5}).encode()
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
KEY = b"Authorization: Bearer %b\r\n" % MASTER_KEY.encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n" + KEY
ALIVE = b"GET /health/liveness HTTP/1.1\r\nHost: gateway\r\n\r\n"
TE = b"Transfer-Encoding: chunked\r\n"

AMBIGUOUS = {
    "a length and chunks": HEAD + LENGTH + TE + b"\r\n" + CHUNKED,
    "chunks and a length": HEAD + TE + LENGTH + b"\r\n" + CHUNKED,
    "two lengths": HEAD + LENGTH + b"Content-Length: 5\r\n\r\n" + BODY,
    "the same length twice": HEAD + LENGTH + LENGTH + b"\r\n" + BODY,
    "a list of lengths": HEAD + LENGTH.replace(b"\r\n", b", 5\r\n") + b"\r\n" + BODY,
    "a length with a sign": HEAD + LENGTH.replace(b": ", b": +") + b"\r\n" + BODY,
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n" + BODY,
    "a length beyond 64 bits": HEAD + b"Content-Length: 99999999999999999999\r\n\r\n" + BODY,
    "an unknown coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKED,
    "chunks that are not last": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n" + CHUNKED,
    "a coding before chunks": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKED,
    "two codings": HEAD + TE + b"Transfer-Encoding: identity\r\n\r\n" + CHUNKED,
    "chunks twice": HEAD + TE + TE + b"\r\n" + CHUNKED,
    "a space before the colon": HEAD + b"Transfer-Encoding : chunked\r\n" + LENGTH + b"\r\n" + CHUNKED,
    "a vertical tab before the coding": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + CHUNKED,
    "a folded header": HEAD + b"X-A: b\r\n Transfer-Encoding: chunked\r\n" + LENGTH + b"\r\n" + BODY,
    "a line that ends with LF": HEAD + b"X-A: b\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED,
    "a line that ends with CR": HEAD + b"X-A: b\rTransfer-Encoding: chunked\r\n\r\n" + CHUNKED,
    "nothing but LF": (HEAD + LENGTH + b"\r\n").replace(b"\r\n", b"\n") + BODY,
    "a NUL in a name": HEAD + b"X\0: y\r\n" + LENGTH + b"\r\n" + BODY,
    "a chunk extension with LF": HEAD + TE + b"\r\n" + CHUNKED.replace(b"\r\n", b";a\nb\r\n", 1),
    "chunks that end with LF": HEAD + TE + b"\r\n" + CHUNKED.replace(b"\r\n", b"\n"),
    "a chunk's size with a space": HEAD + TE + b"\r\n" + CHUNKED.replace(b"\r\n", b" \r\n", 1),
    "a chunk's size with 0x": HEAD + TE + b"\r\n0x" + CHUNKED,
    "a chunk beyond 64 bits": HEAD + TE + b"\r\nfffffffffffffffff\r\n" + BODY,
    "the key twice": HEAD + KEY + LENGTH + b"\r\n" + BODY,
    "a header of 100 KB": HEAD + b"X-A: %b\r\n" % (b"a" * 100_000) + LENGTH + b"\r\n" + BODY,
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder: Path = tmp_path_factory.mktemp("attacked")
    limits = Limits(receive_seconds=0.4, max_body_bytes=2**20, drain_seconds=5)
    with FakeProvider(default_rate=DEMO_RATE) as provider, run_gateway(provider, folder, limits=limits) as it:
        yield it


def exchange(gateway: Gateway, data: bytes, *, is_ended: bool = False) -> bytes:
    """Send bytes; give all that comes back until the gateway closes, or three answers are there."""
    with socket.create_connection(("127.0.0.1", int(gateway.root_url.rpartition(":")[2])), 10) as connection:
        connection.sendall(data)
        if is_ended:
            connection.shutdown(socket.SHUT_WR)
        came = b""
        while len(statuses(came)) < 3:
            try:
                chunk = connection.recv(65_536)
            except ConnectionResetError:
                break
            if not chunk:
                break
            came += chunk
        return came


def statuses(came: bytes) -> list[int]:
    """The statuses of the answers."""
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", came)]


def last(data: bytes) -> bytes:
    """A request after which the gateway closes."""
    return data.replace(b"Host: gateway\r\n", b"Host: gateway\r\nConnection: close\r\n", 1)


@pytest.mark.parametrize("request_bytes", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_what_is_ambiguous_is_refused_and_nothing_after_it_is_read(
    gateway: Gateway, request_bytes: bytes
) -> None:
    sent = len(gateway.provider.requests)
    came = exchange(gateway, request_bytes + last(ALIVE))
    assert statuses(came)[0] == 400
    assert set(statuses(came)[1:]) <= {200}  # the gateway went on at the right byte, or not at all
    assert len(statuses(came)) < 3
    assert len(gateway.provider.requests) == sent


@pytest.mark.parametrize(
    "framed",
    [
        HEAD + TE + b"\r\n" + CHUNKED,
        HEAD + b"Transfer-Encoding:\tCHUNKED\r\n\r\n" + CHUNKED,
        HEAD + TE + b"\r\n" + CHUNKED.replace(b"\r\n", b";a=b\r\n", 1),
        HEAD + LENGTH + b"\r\n" + BODY,
    ],
    ids=["chunks", "chunks in capitals", "a chunk extension", "a length"],
)
def test_what_is_framed_well_is_one_request_and_the_next_begins_behind_it(
    gateway: Gateway, framed: bytes
) -> None:
    sent = len(gateway.provider.requests)
    came = exchange(gateway, framed + last(ALIVE))
    assert statuses(came) == [200, 200]
    assert came.endswith(b'"I\'m alive!"')
    assert len(gateway.provider.requests) == sent + 1


def test_a_body_that_looks_like_a_request_is_never_one(gateway: Gateway) -> None:
    sent = len(gateway.provider.requests)
    hidden = HEAD + LENGTH + b"\r\n" + BODY
    for path in (b"/v1/chat/completions", b"/health/liveness", b"/key/info", b"/nowhere"):
        for method in (b"POST", b"GET"):
            start = b"%b %b HTTP/1.1\r\nHost: gateway\r\nContent-Length: %d\r\n\r\n" % (
                method,
                path,
                len(hidden),
            )
            assert len(statuses(exchange(gateway, start + hidden + last(ALIVE)))) == 2
    assert len(gateway.provider.requests) == sent


def test_trailers_are_no_headers(gateway: Gateway) -> None:
    anonymous = HEAD.replace(KEY, b"")
    trailed = anonymous + TE + b"\r\n" + CHUNKED.removesuffix(b"\r\n") + KEY + b"\r\n"
    assert statuses(exchange(gateway, trailed + last(ALIVE))) == [401, 200]


def test_a_wish_for_another_protocol_is_passed_over_with_nothing_lost(gateway: Gateway) -> None:
    for named in (b"h2c", b"websocket"):
        upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\nHTTP2-Settings: AAMA\r\n" % named
        for framed in (LENGTH + b"\r\n" + BODY, TE + b"\r\n" + CHUNKED):
            sent = len(gateway.provider.requests)
            assert statuses(exchange(gateway, HEAD + upgrade + framed + last(ALIVE))) == [200, 200]
            assert len(gateway.provider.requests) == sent + 1
        double = HEAD + upgrade + LENGTH + TE + b"\r\n" + CHUNKED
        assert statuses(exchange(gateway, double + ALIVE)) == [400]
    assert statuses(exchange(gateway, b"CONNECT evil.test:80 HTTP/1.1\r\nHost: evil.test\r\n\r\n")) == [400]


def test_the_host_that_a_caller_names_changes_nothing(gateway: Gateway) -> None:
    plain = exchange(gateway, last(HEAD) + LENGTH + b"\r\n" + BODY)
    assert statuses(plain) == [200]
    forwarded = b"X-Forwarded-Host: evil.test\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n"
    spellings = [
        HEAD.replace(b"POST /", b"POST http://evil.test/"),
        HEAD.replace(b"Host: gateway", b"Host: evil.test:99999"),
        HEAD.replace(b"Host: gateway\r\n", b"Host: gateway\r\nHost: evil.test\r\n"),
        HEAD + forwarded + b"Forwarded: host=evil.test;proto=https\r\nX-Original-URL: /key/list\r\n",
    ]
    for head in spellings:
        came = exchange(gateway, head + b"Connection: close\r\n" + LENGTH + b"\r\n" + BODY)
        assert statuses(came) == [200]
        assert b"evil" not in came
        heard = gateway.provider.requests[-1]
        assert heard.path == "/v1/chat/completions"
        assert "evil" not in repr(heard)
    moved = exchange(
        gateway, last(ALIVE).replace(b"/health/liveness", b"/v1/models/").replace(b"gateway", b"evil")
    )
    assert b"location" not in moved.lower()
    assert b"evil" not in moved


@pytest.mark.parametrize(
    "start",
    [b"", b"POST", HEAD, HEAD + LENGTH + b"\r\n" + BODY[:9], HEAD + TE + b"\r\n5\r\n{"],
    ids=["nothing", "a word", "half a head", "half a body", "half a chunk"],
)
def test_who_sends_slowly_is_answered_408_and_let_go(gateway: Gateway, start: bytes) -> None:
    began = time.monotonic()
    assert statuses(exchange(gateway, start)) == [408]
    assert time.monotonic() - began < 5
    eventually(lambda: gateway.services.metrics.in_flight == 0)


def test_a_head_that_comes_byte_by_byte_has_no_more_time(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", int(gateway.root_url.rpartition(":")[2])), 10) as connection:
        connection.settimeout(0.02)
        connection.sendall(HEAD + b"X-A: ")
        came, began = b"", time.monotonic()
        while not came:
            assert time.monotonic() - began < 5
            connection.sendall(b"x")
            try:
                came = connection.recv(65_536)
            except TimeoutError:
                continue
    assert statuses(came) == [408]


def test_a_caller_that_leaves_in_the_middle_of_its_body_is_forgotten(gateway: Gateway) -> None:
    sent = len(gateway.provider.requests)
    assert exchange(gateway, HEAD + LENGTH + b"\r\n" + BODY[:9], is_ended=True) == b""
    eventually(lambda: gateway.services.metrics.in_flight == 0)
    assert len(gateway.provider.requests) == sent
