"""Transport: one request to a provider over HTTP, sent at most once, with every failure made an error.

No retries, no redirects, no cookies; TLS is always verified. What is sent or not decides whether a
reservation may be voided, so every error says whether the outcome is unknown (see `failure.void_reason`).
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Self

from outlay.errors import (
    ProviderConnectionError,
    ProviderError,
    ProviderNonsenseError,
    ProviderTimeoutError,
)
from outlay.providers.failure import ERROR_BODY_BYTES, status_error
from outlay.providers.redaction import redact, without_credential
from outlay.providers.request import Answer, Request
from outlay.providers.sessions import Progress, Sessions, proxy_for

if TYPE_CHECKING:
    import aiohttp

_WHOLE_BODY_BYTES = 2**20
"""Up to here a body is handed over whole; aiohttp sends a larger one in pieces, so the loop stays free."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect (name lookup and TLS included), to the answer's first byte, from one piece of the
    body to the next, and for everything.
    """

    connect_seconds: float = 10.0
    first_byte_seconds: float = 600.0
    between_chunks_seconds: float = 120.0
    total_seconds: float = 600.0


class Transport:
    """Sends requests. One instance serves any number of event loops, and goes on working after a fork.

    Close it with `await transport.close()` on a loop that outlives it; a loop that ends closes its own part.
    """

    def __init__(
        self,
        timeouts: Timeouts | None = None,
        *,
        max_body_bytes: int = 64 * 2**20,
        max_stream_bytes: int = 256 * 2**20,
    ) -> None:
        self._timeouts = timeouts or Timeouts()
        self._max_body_bytes = max_body_bytes
        self._max_stream_bytes = max_stream_bytes
        self._sessions = Sessions()

    async def send(self, request: Request, *, timeouts: Timeouts | None = None) -> Answer:
        """Send a request and read the whole answer, without the credential if it repeats that.

        Raises:
            ProviderAuthError: 401 or 403.
            ProviderRejectedError: any other 4xx.
            ProviderFailedError: 5xx.
            ProviderConnectionError: no connection, or one that broke.
            ProviderTimeoutError: a timeout passed.
            ProviderNonsenseError: a redirect, an answer too large, or not HTTP.
        """
        incoming = Incoming(self._sessions, request, timeouts or self._timeouts, self._max_body_bytes)
        async with incoming:
            body = b"".join([chunk async for chunk in incoming])
        told = without_credential(body, request.credential)
        return Answer(incoming.status, incoming.headers, told, request.provider)

    def stream(self, request: Request, *, timeouts: Timeouts | None = None) -> Incoming:
        """Send a request and read the answer as it comes: `async with transport.stream(request) as incoming`.

        Entering it sends, and raises what `send` raises; iterating yields the bytes. Leaving it before the
        end closes the connection, which tells the provider to stop.
        """
        return Incoming(self._sessions, request, timeouts or self._timeouts, self._max_stream_bytes)

    async def close(self) -> None:
        """Close the running loop's connections."""
        await self._sessions.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class Incoming:
    """An answer on its way: `status`, `headers` (lower-case names), then its bytes by `async for`."""

    def __init__(self, sessions: Sessions, request: Request, timeouts: Timeouts, max_bytes: int) -> None:
        self._sessions = sessions
        self._request = request
        self._timeouts = timeouts
        self._max_bytes = max_bytes
        self._received = 0
        self._ends_at = 0.0
        self._progress = Progress()
        self._response: aiohttp.ClientResponse | None = None
        self._is_over = False
        self._waits_until: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.status = 0
        self.headers: Mapping[str, str] = {}

    @property
    def _opened(self) -> aiohttp.ClientResponse:
        if self._response is None:
            raise RuntimeError("an answer is read inside `async with`")
        return self._response

    @property
    def is_event_stream(self) -> bool:
        """Whether the provider answers with server-sent events, as a stream should be."""
        return self.headers.get("content-type", "").startswith("text/event-stream")

    async def __aenter__(self) -> Self:
        import aiohttp

        loop = asyncio.get_running_loop()
        self._ends_at = loop.time() + self._timeouts.total_seconds
        session = await self._sessions.get()
        try:
            async with asyncio.timeout(min(self._timeouts.first_byte_seconds, self._timeouts.total_seconds)):
                self._response = await self._post(session)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._failure(error) from error
        self.status = self._response.status
        self.headers = {name.lower(): value for name, value in self._response.headers.items()}
        if not 200 <= self.status < 300:
            raise await self._status_error()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._response is not None and not self._is_over:
            self._response.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self.read()
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def read(self) -> bytes:
        """The next bytes as soon as there are any; none at the end."""
        try:
            self._watch()
            chunk = await self._opened.content.readany()
            self._waits_until = None
        except _broken() as error:
            # aiohttp keeps its error, whose traceback would keep the whole request with it
            raise self._failure(error) from error.with_traceback(None)
        if not chunk:
            self._is_over = True
            return chunk
        self._received += len(chunk)
        if self._received > self._max_bytes:
            raise self._nonsense(f"with more than {self._max_bytes:,} bytes")
        return chunk

    def _watch(self) -> None:
        """Give the next read its time. One timer serves all reads: most are over long before."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now >= self._ends_at:
            raise TimeoutError
        self._waits_until = min(now + self._timeouts.between_chunks_seconds, self._ends_at)
        if self._timer is None:
            self._timer = loop.call_at(self._waits_until, self._look)

    def _look(self) -> None:
        """Break the read that waits now if its time is over; else look again when it is."""
        self._timer = None
        if self._waits_until is None:
            return
        loop = asyncio.get_running_loop()
        if self._waits_until <= loop.time():
            self._opened.content.set_exception(TimeoutError())
        else:
            self._timer = loop.call_at(self._waits_until, self._look)

    async def _post(self, session: aiohttp.ClientSession) -> aiohttp.ClientResponse:
        body = self._request.body
        return await session.post(
            self._request.url,
            data=body if len(body) <= _WHOLE_BODY_BYTES else io.BytesIO(body),
            headers=self._request.headers,
            allow_redirects=False,
            proxy=proxy_for(self._request.url),
            timeout=_to_connect(self._timeouts.connect_seconds),
            trace_request_ctx=self._progress,
        )

    async def _status_error(self) -> ProviderError:
        """Read the start of a refusal; a fault on the way changes nothing about the status."""
        body = bytearray()
        is_cut = False
        try:
            while chunk := await self.read():
                body += chunk
                if len(body) > ERROR_BODY_BYTES:
                    is_cut = True
                    break
        except ProviderError:
            is_cut = True
        if not self._is_over:
            self._opened.close()
        return status_error(
            self._request,
            self.status,
            bytes(body[:ERROR_BODY_BYTES]),
            headers=self.headers,
            is_cut=is_cut,
        )

    def _failure(self, error: Exception) -> ProviderError:
        """The error for a request that got no answer, or half of one."""
        import aiohttp

        name = self._request.provider
        is_sent = self._progress.has_connection
        outcome = "It may have been billed." if is_sent else "It was never sent."
        if isinstance(error, TimeoutError):
            what = "did not answer in time" if is_sent else "could not be reached in time"
            return ProviderTimeoutError(f"{name} {what}. {outcome}", is_unknown_outcome=is_sent)
        if isinstance(error, aiohttp.ClientResponseError):
            _forget_request(error)
            if is_sent:
                return self._nonsense("with something that is not HTTP")
        if isinstance(error, ValueError) and not is_sent:
            return ProviderConnectionError(f"{name}: the request cannot be sent ({self._said(error)}).")
        what = "closed the connection before its answer was complete" if is_sent else "cannot be reached"
        return ProviderConnectionError(
            f"{name} {what} ({self._said(error)}). {outcome}", is_unknown_outcome=is_sent
        )

    def _said(self, error: Exception) -> str:
        """The cause in words; a proxy's URL, which may hold a password, is left out."""
        text = str(error) or type(error).__name__
        proxy = proxy_for(self._request.url)
        if proxy is not None:
            text = text.replace(proxy, "the proxy")
        return redact(text.encode(), self._request.credential)[:300]

    def _nonsense(self, what: str) -> ProviderNonsenseError:
        return ProviderNonsenseError(
            f"{self._request.provider} answered {what}: check that api_base points at its API. "
            "The request may have been billed.",
            status=self.status or None,
            is_unknown_outcome=True,
        )


def _forget_request(error: aiohttp.ClientResponseError) -> None:
    """Take out of aiohttp's error what its repr shows: the request with its credential, and what came."""
    from aiohttp import RequestInfo
    from multidict import CIMultiDict, CIMultiDictProxy

    asked = error.request_info
    origin = asked.real_url.origin()
    error.request_info = RequestInfo(origin, asked.method, CIMultiDictProxy(CIMultiDict()), origin)
    error.args, error.message = (error.request_info, ()), "not HTTP"
    error.__cause__ = error.__context__ = None


@lru_cache(maxsize=64)
def _to_connect(seconds: float) -> aiohttp.ClientTimeout:
    """Only the connecting is timed by aiohttp, all else here."""
    import aiohttp

    return aiohttp.ClientTimeout(total=None, connect=seconds, sock_connect=seconds, sock_read=None)


def _broken() -> tuple[type[Exception], ...]:
    """What a read can fail with. Asked only when it fails, so that reading imports nothing."""
    import aiohttp

    return aiohttp.ClientError, TimeoutError, OSError
