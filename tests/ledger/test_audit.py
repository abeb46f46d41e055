"""The audit finds every way in which the counters and the journal can disagree, and nothing else."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from outlay.domain.accounts import Account
from outlay.domain.budgets import Budget, Unit
from outlay.domain.commands import (
    Amount,
    Command,
    Grant,
    Increase,
    PutAccount,
    PutBudget,
    Record,
    RemoveBudget,
    Reserve,
    Reset,
    Reverse,
    Settle,
    Void,
)
from outlay.domain.windows import Window
from outlay.errors import DatabaseCorruptError, LedgerUnavailableError, OutlayError
from outlay.ledger.audit import AuditReport, audit
from outlay.ledger.ledger import Ledger
from outlay.stores.memory import MemoryStore
from outlay.stores.sqlite import SQLiteStore
from outlay.testing.clock import FakeClock

ADA = ("user:ada",)
HOUR = 3600 * 10**6
Posts = list[list[Any]]


def budget(id: str, account: str, unit: Any, window: str, *, is_by_model: bool = False) -> Budget:
    return Budget("p", id, account, unit, 10**9, Window.parse(window), is_by_model=is_by_model)


def reserve(id: str, usd: int, hours: int = 1) -> Reserve:
    amounts = {"usd": Amount(usd), "tokens": Amount(10)}
    return Reserve("p", id, ADA, amounts, hours * HOUR, model="gpt-4o")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with an entry of every kind, several periods, a pending reservation and a new generation."""
    path = tmp_path_factory.mktemp("audit") / "whole.db"
    clock = FakeClock()
    ledger = Ledger(SQLiteStore(path, clock=clock))
    commands: list[Command] = [
        PutAccount(Account("p", "user:ada", parent="team:red")),
        PutAccount(Account("p", "team:red")),
        PutBudget(budget("day", "user:ada", "usd", "1d", is_by_model=True)),
        PutBudget(budget("team", "team:red", "usd", "total")),
        PutBudget(budget("tokens", "user:ada", "tokens", "total")),
        PutBudget(budget("rpm", "user:ada", "requests", "1m")),
        PutBudget(budget("slots", "user:ada", "concurrency", "total")),
        reserve("settled", 100),
        Settle("p", "settled", 130, 7),
        reserve("voided", 50),
        Void("p", "voided", "rejected"),
        reserve("expired", 60),
        reserve("presumed", 70),
        reserve("late", 80, hours=48),
        Record("p", "recorded", ADA, 20, 3, model="gpt-4o"),
        Record("p", "undone", ADA, 9, 1, model="o3"),
        Reverse("p", "undone", "me"),
        Grant("p", "granted", "day", 1000, "me"),
    ]
    for command in commands:
        ledger.execute(command)
    clock.advance(2 * 3600)
    ledger.execute(Settle("p", "expired", 75, 4))
    ledger.execute(Reset("p", "reset", "day", "me"))
    clock.advance(86_400)
    ledger.execute(Record("p", "next", ADA, 5, 1, model="o3"))
    ledger.execute(Settle("p", "late", 80, 10))
    ledger.execute(PutBudget(budget("tokens", "user:ada", "tokens", "1y")))
    ledger.execute(reserve("pending", 40, hours=100))
    ledger.close()
    return path


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "a.db"))


def audited(path: Path) -> AuditReport:
    store = SQLiteStore(path, clock=FakeClock())
    try:
        with store.read() as reader:
            return audit(reader)
    finally:
        store.close()


def integrity(path: Path) -> list[str]:
    store = SQLiteStore(path, clock=FakeClock())
    try:
        with store.read() as reader:
            return reader.integrity()
    finally:
        store.close()


def tamper(path: Path, *statements: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA ignore_check_constraints = 1")
    for trigger in ("entries_are_not_changed", "entries_are_not_deleted"):
        connection.execute(f"DROP TRIGGER {trigger}")
    for statement in statements:
        connection.execute(statement)
        assert connection.changes(), statement
    connection.close()


def tamper_posts(path: Path, entry_id: str, change: Callable[[Posts], object]) -> None:
    connection = apsw.Connection(str(path))
    posts = json.loads(connection.execute("SELECT posts FROM entries WHERE id = ?", (entry_id,)).get)
    connection.close()
    change(posts)
    change_posts = "UPDATE entries SET posts = '{}' WHERE id = '{}'"
    tamper(path, change_posts.format(json.dumps(posts), entry_id))


def test_a_whole_database_has_no_findings_and_everything_was_looked_at(path: Path) -> None:
    report = audited(path)
    assert report.findings == []
    assert report.is_clean
    counts = (report.entries, report.reservations, report.budgets, report.periods, report.model_totals)
    assert counts == (13, 1, 6, 9, 3)
    assert integrity(path) == []


TAMPERINGS = {
    "a settled counter": (2, "UPDATE periods SET settled = settled + 1 WHERE budget_key = 2"),
    "a reserved counter": (2, "UPDATE periods SET reserved = 0 WHERE reserved > 0"),
    "a grant": (2, "UPDATE periods SET granted = granted - 1 WHERE granted > 0"),
    "an overrun counter": (2, "UPDATE periods SET overrun = 0 WHERE overrun > 0"),
    "a period that is gone": (2, "DELETE FROM periods WHERE budget_key = 2"),
    "a budget that is gone": (2, "PRAGMA foreign_keys = 0; DELETE FROM budgets WHERE key = 2"),
    "a total by model": (2, "UPDATE model_totals SET settled = settled + 1 WHERE model = 'o3'"),
    "a total by model that is gone": (2, "DELETE FROM model_totals WHERE settled > 0"),
    "a deleted entry": (2, "DELETE FROM entries WHERE id = 'recorded'"),
    "a deleted reservation": (2, "DELETE FROM reservations"),
    "a changed amount": (5, "UPDATE entries SET usd_nanos = 1 WHERE id = 'settled'"),
    "a changed record": (5, "UPDATE entries SET usd_nanos = 1 WHERE id = 'recorded'"),
    "a resolved id that is pending": (3, "UPDATE reservations SET id = 'settled'"),
    "a correction of no presumed charge": (3, "UPDATE entries SET kind = 'settle' WHERE id = 'expired'"),
    "a correction of nothing": (3, "UPDATE entries SET id = 'nobody#correct' WHERE id = 'expired#correct'"),
    "a reversal of a void": (3, "UPDATE entries SET id = 'voided#reverse' WHERE id = 'undone#reverse'"),
    "a void without proof": (5, "UPDATE entries SET reason = 'because' WHERE id = 'voided'"),
    "a presumption as a fact": (5, "UPDATE entries SET source = 'provider' WHERE id = 'presumed'"),
    "a correction without proof": (5, "UPDATE entries SET reason = 'because' WHERE id = 'expired#correct'"),
    "a counter below zero": (7, "UPDATE periods SET settled = -1 WHERE budget_key = 2"),
    "a charge before its period": (8, "UPDATE entries SET admitted_at = 5 WHERE id = 'recorded'"),
    "a period that ends too early": (8, "UPDATE periods SET ends_at = starts_at + 1 WHERE budget_key = 5"),
    "a reservation after its period": (8, "UPDATE reservations SET reserved_at = 1790000000000000"),
    "time that runs backwards": (9, "UPDATE entries SET at = at - 1000000 WHERE id = 'next'"),
    "a clock behind the journal": (9, "UPDATE clock SET newest_at = 1"),
    "periods that overlap": (9, "UPDATE periods SET ends_at = ends_at + 200000000000 WHERE granted > 0"),
    "an entry of another project": (11, "UPDATE entries SET project = 'q' WHERE id = 'recorded'"),
    "a budget of another account": (11, "UPDATE budgets SET account = 'user:eve' WHERE key = 1"),
    "an unknown cost": (13, "UPDATE entries SET usd_nanos = NULL WHERE id = 'settled'"),
    "an entry without a source": (13, "UPDATE entries SET source = NULL WHERE id = 'settled'"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_changed_row_is_found(path: Path, name: str) -> None:
    invariant, statement = TAMPERINGS[name]
    tamper(path, statement)
    report = audited(path)
    assert invariant in {finding.invariant for finding in report.findings}
    assert all(finding.where and finding.message for finding in report.findings)


HELD, SETTLED, OVERRUN, GRANTED = 3, 4, 5, 6


def put(field: int, value: int, index: int = 0) -> Callable[[Posts], object]:
    return lambda posts: posts[index].__setitem__(field, value)


POST_TAMPERINGS: dict[str, tuple[str, int, Callable[[Posts], object]]] = {
    "a hold that is not what was held elsewhere": ("settled", 6, put(HELD, 1)),
    "an overrun that was cut off": ("settled", 10, put(OVERRUN, 0)),
    "a budget that was left out": ("settled", 2, lambda posts: posts.pop()),
    "a period that is posted to twice": ("settled", 6, lambda posts: posts.append(posts[0])),
    "another unit": ("settled", 6, put(2, "tokens")),  # type: ignore[arg-type] # wrong on purpose
    "a void that charges": ("voided", 5, put(SETTLED, 3)),
    "a presumption below the hold": ("presumed", 5, put(SETTLED, 3)),
    "a correction to another amount": ("expired#correct", 5, put(SETTLED, 1)),
    "a correction that leaves a budget out": ("expired#correct", 6, lambda posts: posts.pop(0)),
    "a correction of another period": ("expired#correct", 6, put(1, 5)),
    "a reversal that leaves something": ("undone#reverse", 5, put(SETTLED, -1)),
    "a record that grants": ("recorded", 2, put(GRANTED, 5)),
    "a grant that settles": ("granted", 2, put(SETTLED, 5)),
    "a reset that edits a counter": ("reset", 2, put(SETTLED, -5)),
}


@pytest.mark.parametrize("name", POST_TAMPERINGS)
def test_a_changed_posting_is_found(path: Path, name: str) -> None:
    entry_id, invariant, change = POST_TAMPERINGS[name]
    tamper_posts(path, entry_id, change)
    findings = [each for each in audited(path).findings if each.invariant == invariant]
    assert findings
    if invariant != 2:
        assert any(repr(entry_id) in each.where for each in findings)


def test_a_reservation_that_holds_another_amount_is_found(path: Path) -> None:
    tamper(path, 'UPDATE reservations SET amounts = \'{"usd": 41, "tokens": 10}\'')
    assert {finding.invariant for finding in audited(path).findings} == {6}


def test_a_finding_says_where(path: Path) -> None:
    tamper(path, "UPDATE periods SET settled = settled + 1 WHERE budget_key = 2")
    (finding,) = audited(path).findings
    assert finding.where == "'team' of project 'p' (budget 2), period from 1970-01-01 00:00:00 UTC"
    assert finding.message == "has settled 381, but the journal says 380"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DROP TRIGGER entries_are_not_changed", "entries_are_not_changed is missing from the schema"),
        ("DROP INDEX entries_id", "entries_id is missing from the schema"),
        (
            "PRAGMA foreign_keys = 0; DELETE FROM budgets WHERE key = 2",
            "row 0 of periods refers to a row of budgets that does not exist",
        ),
    ],
)
def test_what_is_gone_from_the_file_is_found(path: Path, statement: str, said: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(statement)
    connection.close()
    found = integrity(path)
    assert said in found or any(line.endswith(said[5:]) for line in found)


def test_a_row_that_cannot_be_read_is_a_damaged_database(path: Path) -> None:
    tamper(path, "UPDATE entries SET posts = '[[1, 2' WHERE id = 'settled'")
    with pytest.raises(DatabaseCorruptError):
        audited(path)


def test_progress_is_told_up_to_the_last_entry(path: Path) -> None:
    told: list[tuple[int, int]] = []
    store = SQLiteStore(path, clock=FakeClock())
    with store.read() as reader:
        audit(reader, lambda done, last: told.append((done, last)))
    store.close()
    assert told[-1] == (13, 13)


def test_pruned_periods_of_short_windows_are_no_finding() -> None:
    clock = FakeClock()
    ledger = Ledger(MemoryStore(clock))
    ledger.execute(PutBudget(budget("rpm", "user:ada", "requests", "1m")))
    for n in range(5):
        ledger.execute(Record("p", f"r{n}", ADA, 1))
        clock.advance(60)
    with ledger.read() as reader:
        assert len(list(reader.periods())) < 5
        assert audit(reader).findings == []
    ledger.close()


def test_resets_within_one_microsecond_are_no_finding() -> None:
    ledger = Ledger(MemoryStore(FakeClock()))
    ledger.execute(PutBudget(budget("day", "user:ada", "usd", "1d")))
    for n in range(3):
        ledger.execute(Record("p", f"before{n}", ADA, 1))
        ledger.execute(Reset("p", f"reset{n}", "day", "me"))
        ledger.execute(Record("p", f"after{n}", ADA, 1))
    ledger.execute(PutBudget(budget("day", "user:ada", "usd", "1w")))
    ledger.execute(Record("p", "last", ADA, 1))
    with ledger.read() as reader:
        assert audit(reader).findings == []
    ledger.close()


@pytest.mark.parametrize("seed", range(12))
def test_whatever_commands_come_the_audit_finds_nothing(seed: int) -> None:
    clock = FakeClock()
    ledger = Ledger(MemoryStore(clock))
    ledger.execute(PutAccount(Account("p", "user:x", parent="user:y")))
    for command in _random_commands(random.Random(seed), clock):
        try:
            ledger.execute(command)
        except LedgerUnavailableError:
            raise
        except OutlayError:
            pass
    with ledger.read() as reader:
        assert audit(reader).findings == []
    ledger.close()


def _random_commands(dice: random.Random, clock: FakeClock, count: int = 250) -> Iterator[Command]:
    ids: list[str] = []
    budgets: list[Budget] = []
    for n in range(count):
        clock.advance(dice.choice([0, 0, 0.000001, 1, 40, 3600]))
        model, account = dice.choice(["m1", "m2"]), (f"user:{dice.choice('xyz')}",)
        known, amount = dice.choice(ids or ["none"]), dice.randrange(150)
        chance = dice.random()
        if chance < 0.1 or not budgets:
            budgets.append(_random_budget(dice, clock))
            yield PutBudget(budgets[-1])
        elif chance < 0.4:
            ids.append(f"r{n}")
            amounts = {"usd": Amount(amount), "tokens": Amount(amount // 3)}
            yield Reserve(
                "p", f"r{n}", account, amounts, 30_000_000, model=model, attempt=dice.choice([1, 2])
            )
        elif chance < 0.55:
            yield Settle("p", known, dice.choice([None, amount]), dice.randrange(80))
        elif chance < 0.65:
            yield Void("p", known, dice.choice(["never_sent", "rejected"]))
        elif chance < 0.7:
            yield Increase("p", f"i{n}", known, {"usd": 5, "tokens": 3})
        elif chance < 0.85:
            ids.append(f"c{n}")
            yield Record("p", f"c{n}", account, dice.choice([None, amount]), 4, model=model)
        elif chance < 0.9:
            yield Reverse("p", known, "me")
        elif chance < 0.93:
            yield Grant("p", f"g{n}", dice.choice(budgets).id, 5, "me")
        elif chance < 0.97:
            yield Reset("p", f"g{n}", dice.choice(budgets).id, "me")
        else:
            yield RemoveBudget("p", dice.choice(budgets).id)


def _random_budget(dice: random.Random, clock: FakeClock) -> Budget:
    account = dice.choice("xyz")
    unit: Unit = dice.choice(["usd", "usd", "tokens", "requests", "concurrency"])
    window = "total" if unit == "concurrency" else dice.choice(["total", "30s", "2h", "1d", "1mo", "daily"])
    return Budget(
        "p",
        f"{account}{dice.choice('12')}",
        f"user:{account}",
        unit,
        dice.choice([5, 1000, 10**9]),
        Window.parse(window, anchor_at=dice.choice([0, clock.wall()])),
        dice.choice(["hard", "crossing", "soft"]),
        models=dice.choice([(), ("m1",)]),
        is_by_model=dice.random() < 0.5,
    )
