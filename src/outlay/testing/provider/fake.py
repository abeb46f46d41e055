"""FakeProvider: the provider on a thread of its own, for tests in the same process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from outlay.testing.provider.behaviour import Behaviour
from outlay.testing.provider.bill import DEFAULT_RATE, Bill, Rate
from outlay.testing.provider.server import Received, Server

_MAX_BODY_BYTES = 64 * 2**20


async def listen(server: Server, host: str, port: int) -> tuple[web.ServerRunner, str]:
    """Open the socket; returns what to clean up later, and the base URL (without `/v1`)."""
    low_level = web.Server(
        server.handle,
        request_factory=_request,
        handler_cancellation=True,
        access_log=None,
        keepalive_timeout=75,
    )
    runner = web.ServerRunner(low_level, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=1024)
    await site.start()
    bound_host, bound_port = runner.addresses[0][:2]
    return runner, f"http://{bound_host}:{bound_port}"


class FakeProvider:
    """A real HTTP server that speaks OpenAI's and Anthropic's wires and keeps its own bill.

        with FakeProvider(models={"slow": {"delay_seconds": 0.1}}) as provider:
            client = openai.OpenAI(base_url=provider.base_url, api_key="any")
            ...
            assert provider.bill.total_nanos == 12_500

    `behaviour` and the values of `models` are `Behaviour` or its fields as a dict; `rates` are nanos a
    token as (input, output), by model. See `Server` for the ways a single request picks its behaviour.
    """

    def __init__(
        self,
        behaviour: Behaviour | Mapping[str, Any] | None = None,
        *,
        models: Mapping[str, Behaviour | Mapping[str, Any]] | None = None,
        rates: Mapping[str, tuple[int, int]] | None = None,
        default_rate: tuple[int, int] = (DEFAULT_RATE.input_nanos, DEFAULT_RATE.output_nanos),
        api_key: str | None = None,
        bill_path: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        prices = {model: Rate(*rate) for model, rate in (rates or {}).items()}
        self.bill = Bill(prices, Rate(*default_rate), bill_path)
        default = _behaviour(behaviour or {}, Behaviour())
        by_model = {model: _behaviour(changes, default) for model, changes in (models or {}).items()}
        self._server = Server(self.bill, default, by_model, api_key=api_key)
        self._host = host
        self._port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self.root_url = ""

    @property
    def base_url(self) -> str:
        """The base URL as OpenAI's SDK wants it, with `/v1`."""
        return f"{self.root_url}/v1"

    @property
    def requests(self) -> list[Received]:
        """The latest requests (up to 1,000), oldest first, refused ones included."""
        return list(self._server.requests)

    def script(self, steps: Iterable[Behaviour | Mapping[str, Any]]) -> None:
        """Queue behaviours: each serves one of the next requests, in order of arrival."""
        planned = [_behaviour(step, self._server.behaviour) for step in steps]
        self._server.script.extend(planned)

    def set(self, changes: Behaviour | Mapping[str, Any], model: str | None = None) -> None:
        """Change the default behaviour, or that of one model, from now on."""
        if model is None:
            self._server.behaviour = _behaviour(changes, self._server.behaviour)
        else:
            start = self._server.models.get(model, self._server.behaviour)
            self._server.models[model] = _behaviour(changes, start)

    def release(self) -> None:
        """Let every request that hangs now go on."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._server.release)

    def wait_until(self, condition: Callable[[FakeProvider], bool], timeout_seconds: float = 10.0) -> None:
        """Wait for something that can be seen from outside, such as `lambda p: p.bill.serving == 0`.

        Raises:
            TimeoutError: it did not come true in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while not condition(self):
            if time.monotonic() > deadline:
                raise TimeoutError("the condition did not come true in time")
            time.sleep(0.002)

    def start(self) -> Self:
        """Start the thread and wait until the socket is open."""
        self._thread = threading.Thread(target=self._run, name="fake-provider", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def stop(self) -> None:
        """Close the socket and end the thread."""
        if self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        if self._thread is not None:
            self._thread.join()
        self.bill.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except OSError as error:
            self._failure = error
            self._ready.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        runner, self.root_url = await listen(self._server, self._host, self._port)
        try:
            self._ready.set()
            await self._stopping.wait()
        finally:
            await runner.cleanup()


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    """aiohttp's own request, with room for prompts of many megabytes."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_MAX_BODY_BYTES)


def _behaviour(changes: Behaviour | Mapping[str, Any], start: Behaviour) -> Behaviour:
    return changes if isinstance(changes, Behaviour) else start.altered(changes)
