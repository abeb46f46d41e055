"""The process-wide budget: `outlay.max_budget` and what was spent against it, in memory."""

from __future__ import annotations

import threading
from typing import Final, TypeGuard

from outlay.domain.budgets import MODES, Budget, Mode
from outlay.domain.commands import PutBudget, Record, Reset
from outlay.domain.money import parse_usd, usd_float
from outlay.domain.windows import Window
from outlay.errors import InvalidValueError
from outlay.guards import Guard
from outlay.ledger.ids import new_id
from outlay.ledger.ledger import Ledger
from outlay.stores.memory import MemoryStore

PROJECT: Final = "process"
ACCOUNT: Final = "global"
BUDGET: Final = "global/usd"
_KEPT_ENTRIES: Final = 10_000
"""The journal of a process is for repeats only; its sums are in the counters."""


class ProcessBudget:
    """One usd budget over the life of the process. While it is off, it only counts."""

    def __init__(self) -> None:
        self._ledger = Ledger(MemoryStore(max_entries=_KEPT_ENTRIES))
        self._lock = threading.Lock()
        self._put: tuple[int, Mode] | None = None

    def guard(self, max_budget: object, mode: object, wait_seconds: float) -> Guard:
        """Take the module's variables as they are now, and give the guard that enforces them.

        Raises:
            InvalidAmountError: `outlay.max_budget` is negative, NaN, infinite or no number.
            InvalidValueError: `outlay.budget_mode` is unknown.
        """
        self._follow(max_budget, mode)
        return Guard(self._ledger, PROJECT, ACCOUNT, wait_seconds, is_plain=True)

    async def count(self, nanos: int) -> None:
        """Count what a call cost that no limit watched."""
        self._follow(None, "crossing")
        await self._ledger.execute_async(Record(PROJECT, new_id(), (ACCOUNT,), nanos))

    def is_on(self, max_budget: object) -> bool:
        """Whether `outlay.max_budget` limits anything: 0 and None are off."""
        return max_budget is not None and parse_usd(max_budget, "outlay.max_budget") > 0

    def current_cost(self) -> float:
        """What this process spent, in USD."""
        with self._ledger.read() as reader:
            budget = reader.budget(PROJECT, BUDGET)
            newest = {} if budget is None else reader.newest_periods((budget.key,))
        return usd_float(sum(period.settled for period in newest.values()))

    def set_current_cost(self, value: object) -> None:
        """Start counting anew from an amount of USD, as `litellm._current_cost = 0` does."""
        nanos = parse_usd(value, "outlay._current_cost")
        self._follow(None, "crossing")
        self._ledger.execute(Reset(PROJECT, new_id(), BUDGET, "outlay._current_cost"))
        if nanos:
            self._ledger.execute(Record(PROJECT, new_id(), (ACCOUNT,), nanos))

    def _follow(self, max_budget: object, mode: object) -> None:
        if not _is_mode(mode):
            raise InvalidValueError(f"outlay.budget_mode must be one of {', '.join(MODES)}, not {mode!r}")
        is_on = self.is_on(max_budget)
        limit = parse_usd(max_budget, "outlay.max_budget") if is_on else 0
        kind: Mode = mode if is_on else "soft"
        with self._lock:
            if self._put != (limit, kind):
                budget = Budget(PROJECT, BUDGET, ACCOUNT, "usd", limit, Window.parse("total"), kind)
                self._ledger.execute(PutBudget(budget))
                self._put = (limit, kind)


def _is_mode(mode: object) -> TypeGuard[Mode]:
    return mode in MODES


PROCESS_BUDGET = ProcessBudget()
