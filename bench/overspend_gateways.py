"""Gateways under the overspend benchmark: how each gets a fresh limit, and what its books say afterwards."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from bench import gateways
from bench.overspend_rows import Row
from bench.servers import get
from outlay.bootstrap import open_ledger
from outlay.domain.money import NANOS_PER_USD
from outlay.settings import Settings
from outlay.testing.clock import FakeClock

_RELEASE_SECONDS = 20.0
_LONGER_THAN_ANY_HOLD = timedelta(hours=3)
_WIDER = {"key": 2.0, "user": 1.0, "team": 3.0, "customer": 4.0}
"""Four budgets as multiples of the row's limit: the user's is the one that binds."""


@dataclass(frozen=True, slots=True)
class Access:
    """How a row's calls reach the gateway; `more` goes into each body."""

    key: str
    model: str = gateways.MODEL
    more: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class After:
    """What a gateway's own books say after a row; None where nobody can ask.

    `unknown` calls were under way when the gateway was killed: held until they expire, then presumed.
    """

    reserved_nanos: int | None = None
    unknown: int | None = None
    audit: str | None = None


class Subject(Protocol):
    """A gateway that is tried."""

    name: str
    root_url: str

    def cannot(self, row: Row) -> str | None:
        """Why it cannot do a row; None if it can."""

    def access(self, row: Row, limit_nanos: int) -> Access:
        """A limit that nothing was spent of."""

    def restart(self) -> None:
        """Kill it and start it again."""

    def after(self, row: Row) -> After:
        """Look at its books when all calls have ended."""


class Outlay:
    """Outlay before a provider, with a key for each row."""

    name = "Outlay"

    def __init__(self, folder: Path, upstream: str, rows: Sequence[Row]) -> None:
        models = [
            _model(gateways.MODEL, upstream),
            *(_model(row.name, upstream, row) for row in rows if row.deployment),
        ]
        self.server = gateways.outlay(folder, upstream, {"model_list": models})
        self.root_url = self.server.root_url
        self._database = folder / "outlay.db"

    def cannot(self, row: Row) -> str | None:  # noqa: ARG002 # it can all
        return None

    def access(self, row: Row, limit_nanos: int) -> Access:
        wider = _WIDER if row.has_four_budgets else {"key": 1.0}
        limits = {kind: factor * limit_nanos / NANOS_PER_USD for kind, factor in wider.items()}
        model = row.name if row.deployment else gateways.MODEL
        key = gateways.key_with_budgets(self.server, limits, row.name, model)
        return Access(key, model, {"user": row.name} if row.has_four_budgets else None)

    def restart(self) -> None:
        self.server.kill()
        self.server.start()

    def after(self, row: Row) -> After:
        """Reserved must be 0 by itself, but for what a kill left: there the clock is moved to its expiry."""
        if row.kill_at is None:
            return After(self._released(), 0, self._audit())
        unknown = self._expire()
        return After(self._released(), unknown, self._audit())

    def _released(self) -> int:
        """Nanos still reserved on any budget, once nothing changes any more."""
        deadline = time.monotonic() + _RELEASE_SECONDS
        while (reserved := self._reserved()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return reserved

    def _reserved(self) -> int:
        found = get(f"{self.root_url}/v1/balances", gateways.MASTER_KEY)["balances"]
        usd = (Decimal(each["reserved"]) for each in found if each["unit"] == "usd")
        return int(sum(usd, Decimal()) * NANOS_PER_USD)

    def _expire(self) -> int:
        """With the gateway stopped, let a clock that is hours ahead sweep; gives what was still held."""
        self.server.stop()
        later = FakeClock(datetime.now(UTC) + _LONGER_THAN_ANY_HOLD)
        ledger = open_ledger(Settings(self._database), later)
        try:
            with ledger.read() as reader:
                unknown = len(list(reader.reservations()))
            ledger.sweep()
        finally:
            ledger.close()
        self.server.start()
        return unknown

    def _audit(self) -> str:
        """What `outlay audit` says in a word, or its findings."""
        command = [sys.executable, "-m", "outlay", "audit", "--database", str(self._database), "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        report: dict[str, Any] = json.loads(done.stdout)
        return "clean" if report["is_clean"] else f"{len(report['findings'])} findings"


class LiteLLM:
    """LiteLLM's proxy without a database: a deployment for each row, with a budget a day.

    Keys, users, teams and customers have budgets there only with a PostgreSQL database.
    """

    name = "LiteLLM's proxy"

    def __init__(
        self, peers: Path, folder: Path, upstream: str, rows: Sequence[Row], limits: Mapping[str, int]
    ) -> None:
        self.server = gateways.litellm(peers, folder, upstream, _litellm_config(upstream, rows, limits))
        self.root_url = self.server.root_url

    def cannot(self, row: Row) -> str | None:
        if row.has_four_budgets:
            return "budgets of keys, users, teams and customers need its database"
        return None

    def access(self, row: Row, limit_nanos: int) -> Access:  # noqa: ARG002 # its file states the limit
        return Access(gateways.MASTER_KEY, row.name)

    def restart(self) -> None:
        self.server.kill()
        self.server.start()

    def after(self, row: Row) -> After:  # noqa: ARG002 # it has no books to look at
        return After()


class Anybody:
    """A gateway that somebody else runs: a key for each row, whose limit nothing was spent of.

    `restart_command` kills it with SIGKILL, and starts it again; without one no row kills it.
    """

    def __init__(
        self, root_url: str, keys: Mapping[str, str], model: str, restart_command: str | None = None
    ) -> None:
        self.root_url = root_url.rstrip("/").removesuffix("/v1")
        self.name = self.root_url
        self._keys, self._model = keys, model
        self._restart_command = restart_command

    def cannot(self, row: Row) -> str | None:
        can_kill = row.kill_at is None or self._restart_command is not None
        return None if can_kill else "say by --restart how it is killed and started again"

    def access(self, row: Row, limit_nanos: int) -> Access:  # noqa: ARG002 # its operator set the limit
        return Access(self._keys[row.name], self._model)

    def restart(self) -> None:
        assert self._restart_command is not None
        subprocess.run(shlex.split(self._restart_command), check=True)

    def after(self, row: Row) -> After:  # noqa: ARG002 # its books are not ours to see
        return After()


def _model(name: str, upstream: str, row: Row | None = None, **more: object) -> dict[str, Any]:
    """A model of the configuration, with what a row changes; what it states as None is left out."""
    given = {**gateways.deployment(upstream), **({} if row is None else row.deployment), **more}
    return {
        "model_name": name,
        "litellm_params": {key: value for key, value in given.items() if value is not None},
    }


def _litellm_config(upstream: str, rows: Sequence[Row], limits: Mapping[str, int]) -> dict[str, Any]:
    def model(row: Row) -> dict[str, Any]:
        return _model(
            row.name, upstream, row, max_budget=limits[row.name] / NANOS_PER_USD, budget_duration="1d"
        )

    return {
        "model_list": [model(row) for row in rows],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "litellm_settings": {"num_retries": 0},
        "general_settings": {"master_key": gateways.MASTER_KEY},
    }
