"""The schema: made by numbered migrations alone, and strict about what a row may say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from outlay.domain.commands import PutBudget
from outlay.stores.sqlite import SQLiteStore, opening
from outlay.testing.clock import FakeClock
from outlay.testing.conformance.base import a_budget, a_record, a_reserve
from outlay.testing.inline import InlineLedger


@pytest.fixture
def database(tmp_path: Path) -> Iterator[apsw.Connection]:
    """A database with a row in most tables."""
    store = SQLiteStore(tmp_path / "ledger.db", clock=FakeClock())
    ledger = InlineLedger(store)
    ledger.execute(PutBudget(a_budget(100)))
    ledger.execute(a_record("s1", 1))
    ledger.execute(a_reserve("r1", 1))
    store.close()
    connection = opening.connect(str(tmp_path / "ledger.db"))
    connection.execute("PRAGMA foreign_keys = 1")
    yield connection
    connection.close()


def schema(connection: apsw.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"))


def test_the_schema_is_the_sum_of_the_migrations(database: apsw.Connection) -> None:
    summed = apsw.Connection(":memory:")
    for _, text in opening.migrations():
        summed.execute(text)
    assert schema(database) == schema(summed)
    assert database.execute("PRAGMA user_version").get == opening.newest_migration()
    assert database.execute("PRAGMA application_id").get == opening.APPLICATION_ID
    assert dict(database.execute("SELECT key, value FROM meta")) == {
        "schema_version": opening.newest_migration(),
        "oldest_reader": opening.OLDEST_READER,
    }


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [number for number, _ in opening.migrations()] == list(range(1, len(opening.migrations()) + 1))


def test_an_old_database_is_brought_up_to_date_and_equals_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = SQLiteStore(tmp_path / "old.db", clock=FakeClock())
    InlineLedger(old).execute(a_record("s1", 1))
    old.close()
    known = opening.migrations()
    following = opening.newest_migration() + 1
    added = (following, "ALTER TABLE accounts ADD COLUMN color TEXT; CREATE INDEX i ON accounts (color);")
    monkeypatch.setattr(opening, "migrations", lambda: [*known, added])
    schemas = []
    for name in ("old.db", "new.db"):
        store = SQLiteStore(tmp_path / name, clock=FakeClock())
        InlineLedger(store).execute(a_record("s2", 1))
        store.close()
        connection = opening.connect(str(tmp_path / name))
        schemas.append(schema(connection))
        assert connection.execute("PRAGMA user_version").get == following
        connection.close()
    assert schemas[0] == schemas[1]


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = SQLiteStore(tmp_path / "ledger.db", clock=FakeClock())
    InlineLedger(old).execute(a_record("s1", 1))
    old.close()
    before = (tmp_path / "ledger.db").read_bytes()
    known = opening.migrations()
    broken = (opening.newest_migration() + 1, "CREATE TABLE more (a); CREATE TABLE accounts (a);")
    with monkeypatch.context() as patch:
        patch.setattr(opening, "migrations", lambda: [*known, broken])
        store = SQLiteStore(tmp_path / "ledger.db", clock=FakeClock())
        with pytest.raises(Exception, match="already exists"):
            InlineLedger(store).execute(a_record("s2", 1))
        store.close()
    assert (tmp_path / "ledger.db").read_bytes() == before
    again = SQLiteStore(tmp_path / "ledger.db", clock=FakeClock())
    InlineLedger(again).execute(a_record("s2", 1))
    again.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET usd_nanos = 0",
        "DELETE FROM entries",
        "UPDATE periods SET settled = -1",
        "UPDATE periods SET reserved = -1",
        "UPDATE periods SET overrun = -1",
        "UPDATE periods SET granted = -1",
        "UPDATE periods SET ends_at = starts_at",
        "UPDATE periods SET budget_key = 77",
        "UPDATE reservations SET expires_at = reserved_at",
        "UPDATE reservations SET attempt = 0",
        "UPDATE budgets SET mode = 'lenient'",
        "UPDATE budgets SET unit = 'euros'",
        "UPDATE budgets SET limit_amount = -1",
        "UPDATE budgets SET limit_amount = 'many'",
        "UPDATE clock SET newest_at = -1",
        "INSERT INTO clock SELECT 2, newest_at, wall_at, boot_at, boot_id, jump, suspect_since FROM clock",
        "INSERT INTO accounts VALUES ('p', 'user:x', NULL, NULL, 'asleep')",
        "INSERT INTO budgets SELECT 9, project, id, account, unit, limit_amount, window, anchor_at, zone, "
        "mode, models, providers, alert_percents, is_by_model, NULL FROM budgets",
    ],
)
def test_the_database_itself_refuses(database: apsw.Connection, statement: str) -> None:
    with pytest.raises(apsw.Error):
        database.execute(statement).fetchall()
