"""A sweep of failures: every statement and every commit fails once, before its effect and after it.

Whatever fails, a caller who repeats its commands with the same ids ends with the same balances as if nothing
had failed: nothing lost, nothing doubled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import apsw
import pytest

from outlay.domain.accounts import Account
from outlay.domain.budgets import Period
from outlay.domain.commands import (
    Amount,
    Command,
    ConfirmClock,
    Grant,
    Increase,
    PutAccount,
    PutBudget,
    RemoveBudget,
    Reset,
    Reverse,
    Void,
)
from outlay.domain.windows import SECOND
from outlay.errors import LedgerUnavailableError, OutlayError, StoreError
from outlay.ledger.audit import audit
from outlay.ledger.store import EntryFilter, Reader
from outlay.stores.sqlite import SQLiteStore, opening
from outlay.testing.clock import FakeClock
from outlay.testing.conformance.base import PROJECT, a_budget, a_record, a_reserve, a_settle
from outlay.testing.inline import InlineLedger

pytestmark = pytest.mark.once("the ledger's rules, the same on every Python")

When = Literal["before", "after", "on every try"]

BATCHES: tuple[tuple[float, tuple[Command, ...]], ...] = (
    (0, (PutAccount(Account(PROJECT, "user:ann", "team:red")), PutBudget(a_budget(1000, window="1h")))),
    (0, (PutBudget(a_budget(900, id="team", account="team:red", window="daily", is_by_model=True)),)),
    (0, (PutBudget(a_budget(5, "requests", id="rpm", window="1m")),)),
    (
        1,
        (
            a_reserve("settled", 50, model="m"),
            a_reserve("voided", 50, hold_micros=60 * SECOND),
            a_reserve("expires", Amount(20, 1), wanted_output_tokens=30, hold_micros=60 * SECOND),
            a_reserve("too much", 2000),
        ),
    ),
    (1, (Increase(PROJECT, "more", "settled", {"usd": 10}), Grant(PROJECT, "grant", "b", 100, "test"))),
    (1, (a_settle("settled", 70, 5, completion_key="c"), Void(PROJECT, "voided", "rejected"))),
    (1, (a_record("recorded", 30, completion_key="d"), a_record("again", 30, completion_key="d"))),
    (70, (a_reserve("next minute", 5), a_settle("expires", 60, 9))),
    (1, (Reverse(PROJECT, "recorded", "test"), Reset(PROJECT, "reset", "b", "test"))),
    (1, (PutBudget(a_budget(800, id="team", account="team:red", window="monthly", is_by_model=True)),)),
    (1, (a_settle("next minute", 4), a_settle("nobody", 1), RemoveBudget(PROJECT, "rpm", "test"))),
    (3600, (a_reserve("next hour", 5), ConfirmClock("test"))),
)


class Wire:
    """Counts what is asked of the engine, and lets the n-th statement fail."""

    def __init__(self, fails_at: int | None, when: When) -> None:
        self.fails_at = fails_at
        self.when = when
        self.count = 0

    def connect(self, path: str) -> Any:
        return Line(self, opening.connect(path))

    def call(self, ask: Callable[[], Any]) -> Any:
        self.count += 1
        if self.fails_at is None or self.count < self.fails_at:
            return ask()
        if self.count == self.fails_at or (self.when == "on every try" and self.count < self.fails_at + 12):
            if self.when == "after":
                ask()
            raise apsw.IOError(f"injected at {self.count}")
        return ask()


class Line:
    """A connection that goes over a wire."""

    def __init__(self, wire: Wire, connection: apsw.Connection) -> None:
        self._wire = wire
        self._connection = connection

    def execute(self, *arguments: Any) -> Any:
        return self._wire.call(lambda: self._connection.execute(*arguments))

    def executemany(self, *arguments: Any) -> Any:
        statement, rows = arguments[0], list(arguments[1])
        return self._wire.call(lambda: self._connection.executemany(statement, rows))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def live(path: Path, wire: Wire) -> tuple[list[str], list[object]]:
    """Live through the scenario as a caller who repeats what failed; give the answers and what is left."""
    clock = FakeClock()
    store = SQLiteStore(path, clock=clock, connect=wire.connect)
    ledger = InlineLedger(store)
    answers = []
    for seconds, commands in BATCHES:
        clock.advance(seconds)
        heard: dict[int, object] = {}
        for _ in range(20):
            missing = [n for n in range(len(commands)) if n not in heard]
            if not missing:
                break
            for n, answer in zip(missing, ledger.batch(*(commands[n] for n in missing)), strict=True):
                if not isinstance(answer, LedgerUnavailableError | StoreError):
                    heard[n] = answer
        assert len(heard) == len(commands), answer
        answers += [in_short(heard[n]) for n in range(len(commands))]
    wire.fails_at = None
    with store.read() as reader:
        assert audit(reader).findings == []
        state = list(everything(reader))
    store.close()
    return answers, state


def in_short(answer: object) -> str:
    """What kind of answer it was; a repeat may say so."""
    return answer.code if isinstance(answer, OutlayError) else type(answer).__name__


def everything(reader: Reader) -> Iterator[object]:
    yield from reader.accounts()
    yield from reader.budgets(has_retired=True)
    short = {budget.key for budget in reader.budgets(has_retired=True) if budget.window.is_short}
    yield from (each for each in reader.periods() if each.budget_key not in short or is_newest(each, reader))
    yield from reader.all_model_totals()
    yield from reader.reservations()
    entries = (entry._replace(seq=0) for entry in reader.entries(EntryFilter()))  # in any order
    yield from sorted(entries, key=lambda entry: entry.id)


def is_newest(period: Period, reader: Reader) -> bool:
    """The closed ones of a short window may be pruned now or later."""
    return reader.newest_periods([period.budget_key])[period.budget_key] == period


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[object], int]:
    """What comes of it when nothing fails, and how many statements that takes."""
    wire = Wire(None, "before")
    answers, state = live(tmp_path_factory.mktemp("calm") / "ledger.db", wire)
    return answers, state, wire.count


def test_the_scenario_has_every_outcome(expected: tuple[list[str], list[object], int]) -> None:
    answers, _, count = expected
    assert set(answers) == {"Put", "Reserved", "Refusal", "Increased", "Posted", "reservation_not_found"}
    assert count > 150


@pytest.mark.parametrize("when", ["before", "after"])
def test_whichever_statement_of_a_look_fails_the_next_look_works(tmp_path: Path, when: When) -> None:
    store = SQLiteStore(tmp_path / "ledger.db", clock=FakeClock())
    InlineLedger(store).execute(a_record("s1", 1))
    store.close()
    failures = 0
    for n in range(1, 30):
        wire = Wire(n, when)
        store = SQLiteStore(tmp_path / "ledger.db", clock=FakeClock(), connect=wire.connect)
        for _ in range(3):
            try:
                assert charges(store) == 1
            except (LedgerUnavailableError, StoreError):
                failures += 1
        wire.fails_at = None
        assert charges(store) == 1
        store.close()
    assert 5 < failures < 30


def charges(store: SQLiteStore) -> int:
    with store.read() as reader:
        return len(list(reader.entries(EntryFilter())))


@pytest.mark.parametrize("when", ["before", "after", "on every try"])
@pytest.mark.parametrize("part", range(4))
def test_whichever_statement_fails_a_repeat_ends_the_same(
    tmp_path: Path, expected: tuple[list[str], list[object], int], when: When, part: int
) -> None:
    answers, state, count = expected
    for n in range(1 + part, count + 1, 4):
        got = live(tmp_path / f"{n}.db", Wire(n, when))
        assert got == (answers, state), f"statement {n} of {count} failing {when} its effect"
