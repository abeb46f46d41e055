"""A provider that answers with bytes as they are given, well formed or not."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from gateways import CREDENTIAL

from outlay.routing.configured import Row

SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
"""The head of a stream that ends when the connection does."""


@dataclass
class RawProvider:
    """Where it listens, and what it was sent. Each request gets the pieces of `answer`, one send for each."""

    base_url: str
    answer: Sequence[bytes] | Iterable[bytes] = ()
    requests: list[bytes] = field(default_factory=list)

    def row(self, credential: str = CREDENTIAL) -> Row:
        """The model `raw` at this provider."""
        price = {"input_cost_per_token": 2.5e-6, "output_cost_per_token": 1e-5}
        return Row("raw", "openai/raw", "raw-1", api_key=credential, api_base=self.base_url, own_price=price)

    def says(self, *pieces: bytes) -> None:
        """What the next requests are answered; the connection is closed behind it."""
        self.answer = pieces

    def says_whole(self, body: bytes, status: bytes = b"200 OK", *headers: bytes) -> None:
        """What the next requests are answered, as one JSON body with more headers."""
        lines = [b"HTTP/1.1 " + status, b"content-type: application/json", *headers]
        lines += [b"content-length: %d" % len(body), b"connection: close", b"", body]
        self.answer = (b"\r\n".join(lines),)

    def serve(self, connection: socket.socket) -> None:
        """Answer one request."""
        with connection:
            came = b""
            while b"\r\n\r\n" not in came:
                came += connection.recv(65_536)
            head, _, body = came.partition(b"\r\n\r\n")
            length = int((re.findall(rb"(?i)content-length: (\d+)", head) or [b"0"])[0])
            while len(body) < length:
                body += connection.recv(65_536)
            self.requests.append(head + b"\r\n\r\n" + body)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                for piece in self.answer:
                    connection.sendall(piece)
            except OSError:  # the gateway has heard enough
                return


@contextmanager
def raw_provider() -> Iterator[RawProvider]:
    """Run one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        provider = RawProvider(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:  # it was closed: the test is over
                    return
                threading.Thread(target=provider.serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield provider
        finally:
            listener.shutdown(socket.SHUT_RDWR)
