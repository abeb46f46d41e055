"""Gateways for tests: the real application behind a real socket, on a thread or as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import uvicorn
from journal import Journal, eventually

from outlay.domain.budgets import Budget, Mode, Unit
from outlay.domain.commands import Command
from outlay.domain.money import parse_usd
from outlay.domain.windows import Window
from outlay.gateway.app import make_app
from outlay.gateway.build import build_services
from outlay.gateway.config import PROJECT, Config, Limits
from outlay.gateway.server import listen, uvicorn_config
from outlay.gateway.services import Services
from outlay.ledger.clock import Clock
from outlay.routing.configured import ConfiguredRoutes, Row
from outlay.routing.deployments import Routes
from outlay.testing.provider import FakeProvider

MASTER_KEY = "sk-master-0123456789abcdef"
CREDENTIAL = "sk-upstream-credential-of-the-operator"
DEMO_RATE = (2_500, 10_000)
"""Nanos for each token in and out of the model `demo`, as the fake provider bills it."""
CLAUDE_RATE = (3_000, 15_000)
HELLO: list[Any] = [{"role": "user", "content": "Name three rivers in Europe, please."}]


def rows(provider: FakeProvider) -> list[Row]:
    """`demo` and `claude-sonnet-4-6`, and `unpriced`, all served by the fake provider."""
    demo = {"input_cost_per_token": 2.5e-6, "output_cost_per_token": 1e-5}
    base, root = provider.base_url, provider.root_url
    claude = "claude-sonnet-4-6"
    return [
        Row("demo", "openai/demo", "demo-1", api_key=CREDENTIAL, api_base=base, own_price=demo),
        Row(claude, f"anthropic/{claude}", "claude-1", api_key=CREDENTIAL, api_base=root),
        Row("unpriced", "openai_compatible/unpriced", "unpriced-1", api_key=CREDENTIAL, api_base=base),
    ]


def usd_budget(account: str, usd: float, window: str = "total", **more: Any) -> Budget:
    """A budget as a configuration states it."""
    return a_budget(account, "usd", parse_usd(usd, "limit"), window, **more)


def a_budget(
    account: str, unit: Unit, limit: int, window: str = "total", *, mode: Mode = "hard", **more: Any
) -> Budget:
    """A budget of any unit."""
    rule = Window.parse(window)
    return Budget(PROJECT, f"{account}/{unit}", account, unit, limit, rule, mode, **more)


@dataclass
class Gateway:
    """A gateway that runs: where it is, its provider, and its database seen from outside."""

    root_url: str
    provider: FakeProvider
    path: Path
    services: Services
    master_key: str = MASTER_KEY
    _journal: list[Journal] = field(default_factory=list)
    _clients: list[openai.OpenAI | anthropic.Anthropic] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        """As OpenAI's SDK wants it."""
        return f"{self.root_url}/v1"

    @property
    def journal(self) -> Journal:
        """The database as anyone sees it."""
        if not self._journal:
            self._journal.append(Journal(self.path))
        return self._journal[0]

    def openai(self, key: str | None = None, **more: Any) -> openai.OpenAI:
        """OpenAI's own client, with the master key unless another is given."""
        client = openai.OpenAI(base_url=self.base_url, api_key=key or self.master_key, **more)
        self._clients.append(client)
        return client

    def anthropic(self, key: str | None = None, **more: Any) -> anthropic.Anthropic:
        """Anthropic's own client."""
        client = anthropic.Anthropic(base_url=self.root_url, api_key=key or self.master_key, **more)
        self._clients.append(client)
        return client

    def http(self, key: str | None = None, **more: Any) -> httpx.Client:
        """A plain client with a key."""
        headers = {"authorization": f"Bearer {key or self.master_key}", **more.pop("headers", {})}
        return httpx.Client(base_url=self.root_url, headers=headers, timeout=30, **more)

    def post(self, path: str, document: Mapping[str, Any], key: str | None = None) -> httpx.Response:
        """One request."""
        with self.http(key) as client:
            return client.post(path, json=document)

    def get(self, path: str, key: str | None = None, **params: Any) -> httpx.Response:
        """One request."""
        with self.http(key) as client:
            return client.get(path, params=params)

    def new_key(self, **fields: Any) -> str:
        """A key made by `/key/generate`, as its secret."""
        answer = self.post("/key/generate", fields)
        assert answer.status_code == 200, answer.text
        secret: str = answer.json()["key"]
        return secret

    def chat(self, key: str | None = None, **more: Any) -> httpx.Response:
        """One chat with `demo`, `max_tokens` 5 unless given."""
        body = {"model": "demo", "messages": HELLO, "max_tokens": 5, **more}
        return self.post(
            "/v1/chat/completions", {name: value for name, value in body.items() if value is not None}, key
        )

    def execute(self, *commands: Command) -> None:
        """Carry out commands of the ledger behind the gateway."""
        for command in commands:
            self.services.ledger.execute(command)

    def settled(self) -> None:
        """Wait until nothing is held any more."""
        eventually(lambda: self.journal.pending() == 0)

    def close(self) -> None:
        """Close the clients, and what looks at the database."""
        for client in self._clients:
            client.close()
        for journal in self._journal:
            journal.close()


_TICK_SECONDS = 0.005


class _Server(uvicorn.Server):
    """Sees at once that it must stop, and that all has ended; uvicorn's own looks ten times a second."""

    async def main_loop(self) -> None:
        while not self.should_exit:
            await asyncio.sleep(_TICK_SECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for each in (*self.servers, *(sockets or ())):
            each.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                while self.server_state.connections or self.server_state.tasks:
                    await asyncio.sleep(_TICK_SECONDS)
        for task in self.server_state.tasks:
            task.cancel()
        await self.lifespan.shutdown()


@contextmanager
def run_gateway(
    provider: FakeProvider,
    folder: Path,
    *,
    budgets: Sequence[Budget] = (),
    clock: Clock | None = None,
    limits: Limits | None = None,
    rows_of: Sequence[Row] | None = None,
    routes: Routes | None = None,
    **more: Any,
) -> Iterator[Gateway]:
    """Run the gateway on a thread, with `Config`'s other fields as `more`."""
    path = folder / "outlay.db"
    routes = routes or ConfiguredRoutes(rows_of or rows(provider), {}, {})
    config = Config(
        routes=routes, master_key=MASTER_KEY, database_url=str(path), budgets=tuple(budgets), **more
    )
    config = replace(config, limits=limits or Limits(drain_seconds=5))
    services = build_services(config, clock=clock, instance="test")
    listener = listen("127.0.0.1", 0)
    server = _Server(uvicorn_config(make_app(services), config))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
    thread.start()
    eventually(lambda: server.started or not thread.is_alive())
    assert server.started, "the gateway did not start"
    gateway = Gateway(f"http://127.0.0.1:{listener.getsockname()[1]}", provider, path, services)
    try:
        yield gateway
    finally:
        gateway.close()
        server.should_exit = True
        thread.join(20)
        listener.close()
        assert not thread.is_alive(), "the gateway did not stop"


class ServeProcess:
    """`outlay serve` as a process of its own, on a config file; it can be killed and started again."""

    def __init__(
        self, folder: Path, config: Mapping[str, Any], environ: Mapping[str, str] | None = None
    ) -> None:
        self.path = folder / "outlay.db"
        self.config = folder / "config.yaml"
        self.config.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML too
        self.log = folder / "serve.log"
        names = ("OUTLAY_", "LITELLM_", "OPENAI_", "ANTHROPIC_", "DATABASE_URL")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(names)}
        self.environ = {**clean, "OUTLAY_DATABASE_URL": str(self.path), **(environ or {})}
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def root_url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        if not self.port:
            with listen("127.0.0.1", 0) as listener:
                self.port = listener.getsockname()[1]
        command = [sys.executable, "-m", "outlay", "serve", "--config", str(self.config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--port", str(self.port)],
                env=self.environ,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 30
        while not self._is_ready():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, seconds: float = 40) -> int:
        """Wait until it has ended; give its exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.wait()

    def _is_ready(self) -> bool:
        try:
            status: int = httpx.get(f"{self.root_url}/health/readiness", timeout=1).status_code
        except httpx.HTTPError:
            return False
        return status == 200


def litellm_config(provider: FakeProvider, **more: Any) -> dict[str, Any]:
    """A config file that serves `demo` from the fake provider."""
    params = {
        "model": "openai/demo",
        "api_base": provider.base_url,
        "api_key": CREDENTIAL,
        "input_cost_per_token": 2.5e-6,
        "output_cost_per_token": 1e-5,
    }
    return {
        "model_list": [{"model_name": "demo", "litellm_params": params}],
        "general_settings": {"master_key": MASTER_KEY},
        **more,
    }
