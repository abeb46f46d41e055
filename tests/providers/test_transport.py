"""The transport against real sockets, well and badly served."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from outlay.errors import (
    ProviderAuthError,
    ProviderConnectionError,
    ProviderError,
    ProviderFailedError,
    ProviderNonsenseError,
    ProviderRejectedError,
    ProviderTimeoutError,
)
from outlay.providers.failure import status_error, void_reason
from outlay.providers.redaction import redact
from outlay.providers.request import Answer, Request
from outlay.providers.sessions import proxy_for
from outlay.providers.sse import SseParser
from outlay.providers.transport import Timeouts, Transport
from outlay.providers.wires.openai_stream import StreamReader
from outlay.testing.provider import FakeProvider

KEY = "sk-very-secret"
PATIENT = Timeouts(5, 5, 5, 10)


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as running:
        yield running


def request_to(url: str, **body: Any) -> Request:
    content = {"model": "demo", "messages": [{"role": "user", "content": "hello"}], **body}
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    return Request(f"{url}/chat/completions", headers, json.dumps(content).encode(), "Fake", KEY)


def ask(request: Request, timeouts: Timeouts = PATIENT, **options: Any) -> Answer:
    async def main() -> Answer:
        return await Transport(timeouts, **options).send(request)

    return asyncio.run(main())


def fail(request: Request, kind: type[ProviderError], timeouts: Timeouts = PATIENT, **options: Any) -> Any:
    with pytest.raises(kind) as caught:
        ask(request, timeouts, **options).document()
    assert KEY not in str(caught.value)
    assert KEY not in caught.value.body
    return caught.value


@contextmanager
def raw_server(
    answer: bytes | Callable[[socket.socket], None], *, is_first_read: bool = True
) -> Iterator[str]:
    """A server of one connection that says these bytes, whatever it is asked, and closes."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def serve() -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            if is_first_read:
                connection.recv(65_536)
            if callable(answer):
                answer(connection)
            else:
                connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()
        thread.join()


def test_an_answer_comes_back_whole(provider: FakeProvider) -> None:
    answer = ask(request_to(provider.base_url))
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.document()["usage"]["prompt_tokens"] == 8
    received = provider.requests[0]
    assert received.headers["authorization"] == f"Bearer {KEY}"
    assert "cookie" not in received.headers


def test_a_body_of_several_megabytes_arrives(provider: FakeProvider) -> None:
    text = "word " * 600_000
    ask(request_to(provider.base_url, messages=[{"role": "user", "content": text}]))
    assert provider.requests[0].json()["messages"][0]["content"] == text


def test_a_stream_comes_in_pieces(provider: FakeProvider) -> None:
    async def main() -> StreamReader:
        parser, reader = SseParser(), StreamReader()
        async with Transport(PATIENT) as transport:
            request = request_to(provider.base_url, stream=True, stream_options={"include_usage": True})
            async with transport.stream(request) as incoming:
                assert incoming.is_event_stream
                async for chunk in incoming:
                    for event in parser.feed(chunk):
                        reader.read(event)
        return reader

    reading = asyncio.run(main()).reading
    assert reading.claim is not None
    assert (reading.claim["output_tokens"], len(reading.text.split())) == (24, 24)
    assert (reading.is_final, reading.response_id) == (True, provider.bill.calls[0].id)


def test_leaving_a_stream_tells_the_provider_to_stop(provider: FakeProvider) -> None:
    provider.set({"hang_after_chunks": 3})

    async def main() -> None:
        async with (
            Transport(PATIENT) as transport,
            transport.stream(request_to(provider.base_url, stream=True)) as incoming,
        ):
            await anext(incoming)

    asyncio.run(main())
    provider.wait_until(lambda it: it.bill.serving == 0)
    assert provider.bill.calls[0].outcome == "hung_up"


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (400, ProviderRejectedError, "rejected"),
        (401, ProviderAuthError, "rejected"),
        (403, ProviderAuthError, "rejected"),
        (404, ProviderRejectedError, "rejected"),
        (429, ProviderRejectedError, "rejected"),
        (500, ProviderFailedError, "provider_error"),
        (503, ProviderFailedError, "provider_error"),
        (529, ProviderFailedError, "provider_error"),
        (504, ProviderFailedError, None),
        (524, ProviderFailedError, None),
    ],
)
def test_a_status_becomes_an_error_with_its_void_reason(
    provider: FakeProvider, status: int, kind: type[ProviderError], reason: str | None
) -> None:
    provider.set({"status": status, "echoes_credential": True})
    error = fail(request_to(provider.base_url), kind)
    assert type(error) is kind
    assert (error.status, void_reason(error)) == (status, reason)
    assert "[redacted]" in error.body


def test_a_streamed_request_is_refused_the_same_way(provider: FakeProvider) -> None:
    provider.set({"status": 429})

    async def main() -> None:
        request = request_to(provider.base_url, stream=True)
        async with Transport(PATIENT) as transport, transport.stream(request):
            raise AssertionError("it was let in")

    with pytest.raises(ProviderRejectedError):
        asyncio.run(main())


def test_a_redirect_is_not_followed(provider: FakeProvider) -> None:
    provider.set({"redirect": f"{provider.root_url}/elsewhere"})
    error = fail(request_to(provider.base_url), ProviderNonsenseError)
    assert (error.status, void_reason(error)) == (307, "rejected")
    assert len(provider.requests) == 1


def test_a_refused_port_was_never_sent_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = fail(request_to(f"http://127.0.0.1:{port}"), ProviderConnectionError)
    assert (error.is_unknown_outcome, void_reason(error)) == (False, "never_sent")


def test_a_name_that_does_not_resolve_was_never_sent_to() -> None:
    error = fail(request_to("http://no-such-host.invalid"), ProviderConnectionError)
    assert void_reason(error) == "never_sent"


def test_a_server_without_tls_was_never_sent_to(provider: FakeProvider) -> None:
    error = fail(request_to(provider.base_url.replace("http:", "https:")), ProviderConnectionError)
    assert void_reason(error) == "never_sent"
    assert provider.requests == []


def test_a_silent_tls_handshake_times_out_and_was_never_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        error = fail(request_to(url), ProviderTimeoutError, Timeouts(0.05, 5, 5, 5))
    assert void_reason(error) == "never_sent"


@pytest.mark.parametrize(
    "timeouts", [Timeouts(5, 0.5, 5, 5), Timeouts(5, 5, 5, 0.5)], ids=["first byte", "total"]
)
def test_a_provider_that_never_answers_times_out(provider: FakeProvider, timeouts: Timeouts) -> None:
    provider.set({"hang_after_chunks": 0})
    error = fail(request_to(provider.base_url), ProviderTimeoutError, timeouts)
    assert (error.is_unknown_outcome, void_reason(error)) == (True, None)
    provider.wait_until(lambda it: it.bill.serving == 0)
    assert provider.bill.calls[0].outcome == "hung_up"


@pytest.mark.parametrize(
    "timeouts", [Timeouts(5, 5, 0.1, 5), Timeouts(5, 5, 5, 0.5)], ids=["between chunks", "total"]
)
def test_an_answer_that_stops_halfway_times_out(provider: FakeProvider, timeouts: Timeouts) -> None:
    provider.set({"hang_after_chunks": 1})
    error = fail(request_to(provider.base_url), ProviderTimeoutError, timeouts)
    assert void_reason(error) is None


@pytest.mark.parametrize("chunks", [0, 1])
def test_a_reset_connection_is_an_unknown_outcome(provider: FakeProvider, chunks: int) -> None:
    provider.set({"cut_after_chunks": chunks})
    error = fail(request_to(provider.base_url), ProviderConnectionError)
    assert (error.is_unknown_outcome, void_reason(error)) == (True, None)
    assert len(provider.bill.calls) == 1


def test_a_stream_cut_short_is_an_unknown_outcome(provider: FakeProvider) -> None:
    provider.set({"cut_after_chunks": 5})
    error = fail(request_to(provider.base_url, stream=True), ProviderConnectionError)
    assert void_reason(error) is None


@pytest.mark.parametrize("nonsense", ["html", "array", "json", "empty", "garbage"])
def test_a_body_that_is_not_an_object_is_nonsense(provider: FakeProvider, nonsense: str) -> None:
    provider.set({"nonsense": nonsense})
    error = fail(request_to(provider.base_url), ProviderNonsenseError)
    assert (error.status, void_reason(error)) == (200, None)


def test_an_answer_too_large_is_nonsense(provider: FakeProvider) -> None:
    error = fail(request_to(provider.base_url), ProviderNonsenseError, max_body_bytes=100)
    assert void_reason(error) is None


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 banana\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y" * 10_000 + b"\r\n\r\n",
    ],
)
def test_what_is_not_http_is_nonsense(answer: bytes) -> None:
    with raw_server(answer) as url:
        error = fail(request_to(url), ProviderError)
    assert void_reason(error) is None


def test_a_server_that_closes_without_a_word_is_an_unknown_outcome() -> None:
    with raw_server(b"") as url:
        error = fail(request_to(url), ProviderConnectionError)
    assert void_reason(error) is None


def test_a_long_refusal_is_cut_and_shows_no_part_of_the_key() -> None:
    body = (f"{'x' * 3_990}{KEY}" * 40).encode()
    head = f"HTTP/1.1 400 Bad Request\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    with raw_server(head + body) as url:
        error = fail(request_to(url), ProviderRejectedError)
    assert len(error.body) <= 65_536
    assert "sk-" not in error.body


def test_a_refusal_that_breaks_off_is_still_a_refusal() -> None:
    with raw_server(b"HTTP/1.1 429 Slow down\r\ncontent-length: 500\r\n\r\nslow") as url:
        error = fail(request_to(url), ProviderRejectedError)
    assert (error.status, void_reason(error)) == (429, "rejected")


@pytest.mark.parametrize("cut", range(len(KEY) + 1))
def test_a_key_cut_at_the_edge_is_not_shown(cut: int) -> None:
    text = redact(b"key: " + KEY.encode()[:cut], KEY, is_cut=True)
    assert "sk" not in text


def test_a_key_is_redacted_in_json_too() -> None:
    key = 'odd"key\\'
    assert redact(json.dumps({"k": key}).encode(), key) == '{"k": "[redacted]"}'


def test_an_error_names_the_provider_and_what_it_said() -> None:
    request = request_to("http://x")
    error = status_error(request, 400, b'{"error": {"message": "No such model: demo"}}')
    assert str(error) == "Fake answered 400: No such model: demo"


def test_one_transport_serves_loop_after_loop_and_leaks_nothing(provider: FakeProvider) -> None:
    transport = Transport(PATIENT)
    for _ in range(3):
        asyncio.run(transport.send(request_to(provider.base_url)))
    assert len(provider.bill.calls) == 3


@pytest.fixture
def collected() -> Iterator[None]:
    """Let what a test leaves behind complain within that test, which expects it, and in no other."""
    yield
    gc.collect()


@pytest.mark.usefixtures("collected")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_loops_that_end_without_a_word_leave_no_sockets(provider: FakeProvider) -> None:
    transport = Transport(PATIENT)
    for _ in range(5):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(transport.send(request_to(provider.base_url)))
        loop.close()
    asyncio.run(transport.send(request_to(provider.base_url)))
    assert transport._sessions._held == {}
    assert len(provider.bill.calls) == 6


@pytest.mark.usefixtures("collected")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_socket_of_a_loop_that_was_closed_is_closed_by_the_next(provider: FakeProvider) -> None:
    transport = Transport(PATIENT)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(transport.send(request_to(provider.base_url)))
    (held,) = transport._sessions._held.values()
    connector: Any = held.session.connector
    ((protocol, _),) = next(iter(connector._conns.values()))
    connection = protocol.transport.get_extra_info("socket")
    loop.close()
    assert connection.fileno() != -1
    asyncio.run(transport.send(request_to(provider.base_url)))
    assert connection.fileno() == -1


def test_connections_are_used_again(provider: FakeProvider) -> None:
    async def main() -> set[int]:
        transport = Transport(PATIENT)
        sessions = set()
        for _ in range(5):
            await transport.send(request_to(provider.base_url))
            sessions.add(id(await transport._sessions.get()))
        return sessions

    assert len(asyncio.run(main())) == 1


def test_a_closed_transport_opens_again(provider: FakeProvider) -> None:
    async def main() -> None:
        transport = Transport(PATIENT)
        for _ in range(2):
            await transport.send(request_to(provider.base_url))
            await transport.close()
        await transport.close()

    asyncio.run(main())
    assert len(provider.bill.calls) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_and_its_parent_both_go_on(provider: FakeProvider) -> None:
    transport = Transport(PATIENT)

    async def parent() -> int:
        await transport.send(request_to(provider.base_url))
        child = os.fork()
        if child == 0:
            os._exit(_in_thread(lambda: asyncio.run(transport.send(request_to(provider.base_url)))))
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        await transport.send(request_to(provider.base_url))
        return os.waitstatus_to_exitcode(status)

    assert asyncio.run(parent()) == 0
    assert len(provider.bill.calls) == 3


def _in_thread(work: Callable[[], object]) -> int:
    """Run something on a thread of its own, where no loop runs; 0 when it worked."""
    worked: list[object] = []
    thread = threading.Thread(target=lambda: worked.append(work()))
    thread.start()
    thread.join()
    return 0 if worked else 1


@pytest.mark.parametrize(
    ("environ", "url", "proxy"),
    [
        ({}, "https://api.openai.com/v1", None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "https://api.openai.com/v1", "http://proxy:3128"),
        ({"https_proxy": "proxy:3128"}, "https://api.openai.com/v1", "http://proxy:3128"),
        ({"ALL_PROXY": "http://proxy:1"}, "https://api.openai.com/v1", "http://proxy:1"),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://127.0.0.1:4010/v1", None),
        ({"HTTP_PROXY": "http://proxy:3128"}, "http://127.0.0.1:4010/v1", None),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "openai.com"}, "https://api.openai.com/v1", None),
    ],
)
def test_only_https_goes_through_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], url: str, proxy: str | None
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == proxy


def test_a_proxy_that_refuses_was_never_sent_through_and_keeps_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with raw_server(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n") as url:
        monkeypatch.setenv("https_proxy", url.replace("http://", "http://ann:proxy-password@"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        error = fail(request_to("https://api.example.invalid/v1"), ProviderConnectionError)
    assert void_reason(error) == "never_sent"
    assert "proxy-password" not in str(error)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for localhost that signs itself, and a server's side of TLS with it."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    path, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-out", str(path), "-keyout", str(key)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    return path, context


@contextmanager
def tls_server(context: ssl.SSLContext) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers one request over TLS with `{}`, and what it received."""
    received: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as wrapped:
            received.append(wrapped.recv(65_536))
            wrapped.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            wrapped.recv(1)

    with raw_server(serve, is_first_read=False) as url:
        yield url.replace("http://127.0.0.1", "https://localhost"), received


def test_a_certificate_nobody_vouches_for_is_refused(certificate: tuple[Path, ssl.SSLContext]) -> None:
    with tls_server(certificate[1]) as (url, received):
        error = fail(request_to(url), ProviderConnectionError)
    assert void_reason(error) == "never_sent"
    assert not any(received)


def test_a_private_authority_is_trusted_when_the_environment_names_it(
    certificate: tuple[Path, ssl.SSLContext],
) -> None:
    path, context = certificate
    code = (
        "import asyncio, sys\n"
        "from outlay.providers.request import Request\n"
        "from outlay.providers.transport import Transport\n"
        "request = Request(sys.argv[1], {}, b'{}')\n"
        "print(asyncio.run(Transport().send(request)).document())\n"
    )
    with tls_server(context) as (url, received):
        environ = {**os.environ, "SSL_CERT_FILE": str(path), "no_proxy": "localhost"}
        command = [sys.executable, "-W", "error", "-c", code, url]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=20)
    assert (done.stdout, done.stderr) == ("{}\n", "")
    assert received[0].startswith(b"POST / HTTP/1.1")


def test_text_that_is_not_utf8_is_mended() -> None:
    assert Answer(200, {}, b'{"text": "caf\xff"}').document() == {"text": "caf\ufffd"}
