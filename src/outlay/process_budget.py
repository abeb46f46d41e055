"""The process-wide budget: `outlay.max_budget` and what was spent against it, in memory."""

from __future__ import annotations

import logging
import math
import os
import threading
from typing import Final, TypeGuard

import outlay
from outlay.domain.budgets import MODES, Budget, Mode
from outlay.domain.commands import PutBudget, Record, Reset
from outlay.domain.money import parse_limit, parse_usd, usd_float
from outlay.domain.windows import Window
from outlay.errors import InvalidValueError, OutlayError
from outlay.guards import Guard
from outlay.ledger.ids import new_id
from outlay.ledger.ledger import Ledger
from outlay.stores.memory import MemoryStore

log = logging.getLogger("outlay")

PROJECT: Final = "process"
ACCOUNT: Final = "global"
BUDGET: Final = "global/usd"
_KEPT_ENTRIES: Final = 10_000
"""The journal of a process is for repeats only; its sums are in the counters."""


class ProcessBudget:
    """One usd budget over the life of the process. While it is off, it only counts."""

    def __init__(self) -> None:
        self._store = MemoryStore(max_entries=_KEPT_ENTRIES)
        self._ledger = Ledger(self._store)
        self._lock = threading.Lock()
        self._put: tuple[int, Mode] | None = None
        os.register_at_fork(after_in_child=self._be_new)

    def guard(self) -> Guard | None:
        """Take the module's variables as they are now; gives the guard that enforces them, None while off.

        Raises:
            InvalidAmountError: `outlay.max_budget` is negative, NaN, infinite or no number.
            InvalidValueError: `outlay.budget_mode` or `outlay.budget_wait_seconds` cannot be used.
        """
        given, mode = outlay.max_budget, outlay.budget_mode
        limit = 0 if given is None else parse_limit(given, "outlay.max_budget")
        if not limit:
            return None
        if not _is_mode(mode):
            raise InvalidValueError(f"outlay.budget_mode must be one of {', '.join(MODES)}, not {mode!r}")
        with self._lock:
            self._change(limit, mode)
        return Guard(self._ledger, PROJECT, ACCOUNT, wait_seconds(), is_plain=True)

    async def count(self, nanos: int) -> None:
        """Count what a call cost that no limit watched."""
        try:
            self._ensure()
            await self._ledger.execute_async(Record(PROJECT, new_id(), (ACCOUNT,), nanos))
        except OutlayError as error:  # the provider answered: what the caller gets must not depend on this
            log.warning("could not count %s nanos in outlay.current_cost(): %s", nanos, error)

    def current_cost(self) -> float:
        """What this process spent, in USD."""
        with self._ledger.read() as reader:
            budget = reader.budget(PROJECT, BUDGET)
            newest = {} if budget is None else reader.newest_periods((budget.key,))
        return usd_float(sum(period.settled for period in newest.values()))

    def set_current_cost(self, value: object) -> None:
        """Start counting anew from an amount of USD, as `litellm._current_cost = 0` does."""
        nanos = parse_usd(value, "outlay._current_cost")
        self._ensure()
        self._ledger.execute(Reset(PROJECT, new_id(), BUDGET, "outlay._current_cost"))
        if nanos:
            self._ledger.execute(Record(PROJECT, new_id(), (ACCOUNT,), nanos))

    def _ensure(self) -> None:
        """Make the budget if there is none. One that calls run under now is left as it is."""
        with self._lock:
            if self._put is None:
                self._change(0, "soft")

    def _change(self, limit: int, mode: Mode) -> None:
        if self._put != (limit, mode):
            budget = Budget(PROJECT, BUDGET, ACCOUNT, "usd", limit, Window.parse("total"), mode)
            self._ledger.execute(PutBudget(budget))
            self._put = (limit, mode)

    def _be_new(self) -> None:
        """In a forked child: whoever held the lock stayed behind, and so did the requests in flight."""
        self._lock = threading.Lock()
        self._store.drop_reservations()


def wait_seconds() -> float:
    """`outlay.budget_wait_seconds` as it is now.

    Raises:
        InvalidValueError: it is no number of seconds from 0 to a day.
    """
    seconds = outlay.budget_wait_seconds
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not math.isfinite(seconds) or not 0 <= seconds <= 86_400:
        raise InvalidValueError(
            f"outlay.budget_wait_seconds must be seconds from 0 to 86,400, not {seconds!r}"
        )
    return seconds


def _is_mode(mode: object) -> TypeGuard[Mode]:
    return mode in MODES


PROCESS_BUDGET = ProcessBudget()
