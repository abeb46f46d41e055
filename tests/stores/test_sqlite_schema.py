"""The schema: made by numbered migrations alone, and strict about what a row may say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from outlay.domain.accounts import Account
from outlay.domain.commands import PutAccount, PutBudget
from outlay.domain.outcomes import Posted, Refusal
from outlay.domain.windows import NEVER, SECOND
from outlay.ledger.audit import audit
from outlay.stores.sqlite import SQLiteStore, opening
from outlay.testing.clock import FakeClock
from outlay.testing.conformance.base import ANN, PROJECT, a_budget, a_record, a_reserve, a_settle
from outlay.testing.inline import InlineLedger


@pytest.fixture
def database(tmp_path: Path) -> Iterator[apsw.Connection]:
    """A database with a row in most tables."""
    store = SQLiteStore(tmp_path / "ledger.db", clock=FakeClock())
    ledger = InlineLedger(store)
    ledger.execute(PutAccount(Account(PROJECT, ANN)))
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


def of_version_1(path: Path, now: int) -> None:
    """A file as version 1 left it: an account, its budget, and a pending reservation of 40 on it."""
    connection = opening.connect(str(path))
    connection.execute("PRAGMA journal_mode = wal").fetchall()
    connection.execute(opening.migrations()[0][1])
    connection.execute(f"PRAGMA application_id = {opening.APPLICATION_ID}; PRAGMA user_version = 1")
    connection.execute("INSERT INTO meta VALUES ('schema_version', 1), ('oldest_reader', 1)")
    write_as_version_1(connection, now)
    connection.close()


def write_as_version_1(connection: apsw.Connection, now: int, id: str = "r1") -> None:
    """What the code of version 1 does, in its own words, to reserve on a new account."""
    key = connection.execute("SELECT count(*) + 1 FROM budgets").get
    connection.execute(
        "INSERT INTO accounts (project, id, parent, name, status) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO "
        "UPDATE SET parent = excluded.parent, name = excluded.name, status = excluded.status",
        ("p", f"user:{id}", None, "Ann", "active"),
    )
    connection.execute(
        "INSERT INTO catalogue_changes (kind, project, id) VALUES ('account', 'p', ?)", (f"user:{id}",)
    )
    connection.execute(
        "INSERT INTO budgets VALUES (?, 'p', ?, ?, 'usd', 100, 'total', 0, 'UTC', 'hard', '[]', '[]', "
        "'[]', 0, NULL)",
        (key, f"b{id}", f"user:{id}"),
    )
    connection.execute("INSERT INTO periods VALUES (?, 0, ?, 0, 40, 0, 0)", (key, NEVER))
    connection.execute(
        "INSERT INTO reservations (project, id, accounts, amounts, holds, reserved_at, expires_at, "
        "fingerprint, output_cap, request_id, attempt, provider, model, price_version, tags, increases) "
        "VALUES ('p', ?, ?, '{\"usd\":40}', ?, ?, ?, x'00', NULL, NULL, 1, NULL, NULL, NULL, '[]', '{}')",
        (id, f'["user:{id}"]', f'[[{key},0,"usd",40]]', now, now + 600 * SECOND),
    )


def test_a_database_of_version_1_keeps_its_data_and_works(tmp_path: Path) -> None:
    clock = FakeClock()
    of_version_1(tmp_path / "ledger.db", clock.wall())
    store = SQLiteStore(tmp_path / "ledger.db", clock=clock)
    with store.read() as reader:  # a look alone brings it up to date
        assert reader.accounts() == [Account("p", "user:r1", None, "Ann")]
        assert [(each.id, each.holder) for each in reader.reservations()] == [("r1", None)]
        assert reader.integrity() == []
    ledger = InlineLedger(store)
    ledger.execute(a_settle("r1", 30))
    ledger.execute(PutAccount(Account("p", "user:r1", detail={"since": 1})))
    refused = ledger.execute(a_reserve("r2", 71, accounts=("user:r1",)))
    assert isinstance(refused, Refusal)
    assert (refused.settled, refused.reserved) == (30, 0)
    ledger.execute(a_reserve("r3", 70, accounts=("user:r1",), holder="gateway"))
    with store.read() as reader:
        assert [each.holder for each in reader.reservations()] == ["gateway"]
        assert audit(reader).findings == []
    store.close()


def test_what_version_1_writes_into_a_database_of_today_is_good(tmp_path: Path) -> None:
    clock = FakeClock()
    store = SQLiteStore(tmp_path / "ledger.db", clock=clock)
    ledger = InlineLedger(store)
    ledger.execute(PutAccount(Account("p", "user:r1", detail={"kept": True})))
    old = opening.connect(str(tmp_path / "ledger.db"))
    write_as_version_1(old, clock.wall())
    old.close()
    with store.read() as reader:
        assert reader.accounts() == [Account("p", "user:r1", None, "Ann", detail={"kept": True})]
        assert audit(reader).findings == []
    assert isinstance(ledger.execute(a_settle("r1", 30)), Posted)
    store.close()


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
        "INSERT INTO accounts (project, id, status) VALUES ('p', 'user:x', 'asleep')",
        "UPDATE accounts SET detail = 'no JSON'",
        "UPDATE accounts SET detail = '[]'",
        "INSERT INTO budgets SELECT 9, project, id, account, unit, limit_amount, window, anchor_at, zone, "
        "mode, models, providers, alert_percents, is_by_model, NULL FROM budgets",
    ],
)
def test_the_database_itself_refuses(database: apsw.Connection, statement: str) -> None:
    with pytest.raises(apsw.Error):
        database.execute(statement).fetchall()
