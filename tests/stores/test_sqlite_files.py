"""Files that the SQLite store must not use: it says so by name, and leaves them as they are."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import apsw
import pytest

from outlay.domain.commands import PutBudget
from outlay.errors import (
    DatabaseCorruptError,
    DatabaseReadOnlyError,
    EngineTooOldError,
    LedgerUnavailableError,
    NetworkFileSystemError,
    SchemaTooNewError,
    StoreError,
)
from outlay.ledger.store import EntryFilter
from outlay.stores.sqlite import SQLiteStore, opening
from outlay.testing.clock import FakeClock
from outlay.testing.conformance.base import a_budget, a_record
from outlay.testing.inline import InlineLedger


def a_ledger(path: Path) -> Path:
    """A database with something in it, closed."""
    store = SQLiteStore(path, clock=FakeClock())
    ledger = InlineLedger(store)
    ledger.execute(PutBudget(a_budget(100)))
    for n in range(40):
        ledger.execute(a_record(f"s{n}", 1, detail={"text": "x" * 500}))
    store.close()
    return path


def sql(path: Path, *statements: str) -> None:
    connection = apsw.Connection(str(path))
    for statement in statements:
        connection.execute(statement).fetchall()
    connection.close()


def look(store: SQLiteStore) -> None:
    with store.read() as reader:
        reader.now()
        list(reader.budgets())
        list(reader.periods())


def fails(path: Path, error: type[StoreError], match: str) -> None:
    """Neither writing nor reading may work, nor change a byte."""
    before = path.read_bytes() if path.is_file() else None
    store = SQLiteStore(path, clock=FakeClock(), busy_seconds=0.05)
    with pytest.raises(error, match=match) as caught:
        InlineLedger(store).execute(a_record("s1", 1))
    assert str(path) in str(caught.value) or str(path.parent) in str(caught.value)
    with pytest.raises(error, match=match):
        look(store)
    store.close()
    assert (path.read_bytes() if path.is_file() else None) == before


@pytest.mark.parametrize(
    "content",
    [
        b"garbage" * 1000,
        b"{}",
        b"SQLite format",
        b"SQLite format 3\x00",
        b"SQLite format 3\x00" + b"\xff" * 84,
    ],
    ids=["garbage", "another kind of file", "cut in the magic", "nothing but the magic", "a broken header"],
)
def test_a_file_that_is_no_database_is_refused_and_not_changed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(content)
    fails(path, DatabaseCorruptError, "restore it from a backup, or name another file")


def test_a_database_with_torn_pages_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = a_ledger(tmp_path / "ledger.db")
    content = bytearray(path.read_bytes())
    for page in range(1, len(content) // 4096):
        content[page * 4096 : page * 4096 + 2048] = b"\xff" * 2048
    path.write_bytes(content)
    fails(path, DatabaseCorruptError, "is damaged")


def test_a_database_that_was_cut_short_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = a_ledger(tmp_path / "ledger.db")
    path.write_bytes(path.read_bytes()[: 3 * 4096 + 100])
    fails(path, DatabaseCorruptError, "is damaged")


def test_the_database_of_another_program_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    sql(path, "CREATE TABLE theirs (a)", "INSERT INTO theirs VALUES (1)")
    fails(path, DatabaseCorruptError, "another program")


def test_an_empty_database_of_another_program_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    sql(path, "PRAGMA application_id = 42", "CREATE TABLE t (a)", "DROP TABLE t")
    fails(path, DatabaseCorruptError, "another program")


def test_a_schema_that_needs_newer_code_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = a_ledger(tmp_path / "ledger.db")
    sql(path, "UPDATE meta SET value = 99 WHERE key = 'oldest_reader'", "PRAGMA user_version = 99")
    fails(path, SchemaTooNewError, r"at least version 99.*upgrade outlay")


def test_a_newer_schema_that_this_code_may_read_is_used(tmp_path: Path) -> None:
    path = a_ledger(tmp_path / "ledger.db")
    sql(path, "PRAGMA user_version = 99", "ALTER TABLE accounts ADD COLUMN color TEXT")
    store = SQLiteStore(path, clock=FakeClock())
    InlineLedger(store).execute(a_record("new", 1))
    with store.read() as reader:
        assert reader.entry("p", "new") is not None
    store.close()


def replace(path: Path) -> None:
    InlineLedger(SQLiteStore(path.with_suffix(".new"), clock=FakeClock())).execute(a_record("theirs", 1))
    path.with_suffix(".new").replace(path)


@pytest.mark.parametrize(
    "disturb",
    [Path.unlink, replace, lambda path: os.truncate(path, 0)],
    ids=["deleted", "replaced", "emptied"],
)
def test_a_database_that_is_taken_away_while_in_use_is_an_error_by_name(
    tmp_path: Path, disturb: Callable[[Path], None]
) -> None:
    path = tmp_path / "ledger.db"
    store = SQLiteStore(path, clock=FakeClock())
    ledger = InlineLedger(store)
    ledger.execute(a_record("s1", 1))
    look(store)
    disturb(path)
    before = path.read_bytes() if path.exists() else None
    for _ in range(2):
        with pytest.raises(DatabaseCorruptError, match="deleted or replaced while in use: put the file back"):
            ledger.execute(a_record("s2", 1))
        with pytest.raises(DatabaseCorruptError, match="deleted or replaced while in use"):
            look(store)
    store.close()
    assert (path.read_bytes() if path.exists() else None) == before


def test_a_database_that_is_put_back_is_used_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    store = SQLiteStore(path, clock=FakeClock())
    ledger = InlineLedger(store)
    ledger.execute(a_record("s1", 1))
    path.rename(tmp_path / "elsewhere")
    with pytest.raises(DatabaseCorruptError):
        ledger.execute(a_record("s2", 1))
    (tmp_path / "elsewhere").rename(path)
    ledger.execute(a_record("s2", 1))
    with store.read() as reader:
        assert reader.entry("p", "s1") is not None
    store.close()


def test_an_emptied_file_whose_journal_is_left_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.touch()
    (tmp_path / "ledger.db-wal").write_bytes(b"what was acknowledged")
    fails(path, DatabaseCorruptError, "was emptied")
    assert (tmp_path / "ledger.db-wal").read_bytes() == b"what was acknowledged"


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM clock",
        "DELETE FROM meta",
        "UPDATE budgets SET alert_percents = '5'",
        "UPDATE clock SET newest_at = 9000000000000000000",
        "UPDATE budgets SET zone = CAST(x'ff' AS TEXT)",
    ],
)
def test_rows_that_nobody_wrote_are_damage_by_name(tmp_path: Path, statement: str) -> None:
    path = a_ledger(tmp_path / "ledger.db")
    sql(path, statement)
    store = SQLiteStore(path, clock=FakeClock())
    with pytest.raises(DatabaseCorruptError, match="is damaged"):
        look(store)
    with pytest.raises(DatabaseCorruptError, match="is damaged"):
        InlineLedger(store).execute(a_record("new", 1))
    store.close()


def test_a_time_that_no_calendar_has_is_damage_by_name(tmp_path: Path) -> None:
    path = a_ledger(tmp_path / "ledger.db")
    sql(path, "DROP TRIGGER entries_are_not_changed", "UPDATE entries SET at = 9000000000000000000")
    store = SQLiteStore(path, clock=FakeClock())
    with pytest.raises(DatabaseCorruptError, match="is damaged"), store.read() as reader:
        list(reader.entries(EntryFilter()))
    store.close()


def test_a_folder_in_place_of_the_lock_file_is_an_error_by_name(tmp_path: Path) -> None:
    (tmp_path / "ledger.db.lock").mkdir()
    fails(
        tmp_path / "ledger.db", DatabaseReadOnlyError, r"ledger.db.lock cannot be opened \(Is a directory\)"
    )


def test_a_name_that_is_too_long_is_an_error_by_name(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / ("x" * 300))
    with pytest.raises(DatabaseReadOnlyError, match="File name too long"):
        look(store)
    with pytest.raises(DatabaseReadOnlyError, match="name another"):
        InlineLedger(store).execute(a_record("s1", 1))


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.touch()
    store = SQLiteStore(path, clock=FakeClock())
    InlineLedger(store).execute(a_record("s1", 1))
    store.close()


def test_a_read_only_file_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = a_ledger(tmp_path / "ledger.db")
    path.chmod(0o444)
    fails(path, DatabaseReadOnlyError, "is read-only: make it writable")


def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = a_ledger(folder / "ledger.db")
    folder.chmod(0o555)
    try:
        fails(path, DatabaseReadOnlyError, "is read-only: make it writable")
    finally:
        folder.chmod(0o755)


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    fails(tmp_path / "nowhere" / "ledger.db", DatabaseReadOnlyError, "does not exist: make it")
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.mkdir()
    fails(path, DatabaseCorruptError, "is not a file")


MOUNTS = """\
22 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw
31 22 0:27 / {folder}/net\\040drive rw,relatime - {kind} server:/export rw
40 31 0:28 / {folder}/net\\040drive/local rw - tmpfs none rw
"""


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs"])
def test_a_network_file_system_is_refused(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS.format(folder=tmp_path, kind=kind))
    monkeypatch.setattr(opening, "check_file", partial(opening.check_file, mounts=mounts))
    (tmp_path / "net drive" / "deep").mkdir(parents=True)
    (tmp_path / "net drive" / "local").mkdir(parents=True)
    fails(tmp_path / "net drive" / "deep" / "ledger.db", NetworkFileSystemError, kind)
    a_ledger(tmp_path / "net drive" / "local" / "ledger.db")
    a_ledger(tmp_path / "ledger.db")


def test_without_a_table_of_mounts_the_file_system_is_not_known(tmp_path: Path) -> None:
    assert opening.file_system_of(tmp_path, tmp_path / "nothing") == ""


@pytest.mark.parametrize("version", ["3.51.2", "3.7.0", "3.40.1"])
def test_an_engine_with_the_defect_is_refused(version: str) -> None:
    with pytest.raises(EngineTooOldError, match=r"upgrade apsw"):
        opening.check_engine(version)


def test_the_engine_that_comes_with_apsw_is_safe() -> None:
    opening.check_engine(apsw.sqlite_lib_version())
    opening.check_engine("3.51.3")


def test_durability_is_set_and_holds(tmp_path: Path) -> None:
    opened: list[apsw.Connection] = []

    def connect(path: str) -> apsw.Connection:
        opened.append(opening.connect(path))
        return opened[-1]

    store = SQLiteStore(tmp_path / "ledger.db", clock=FakeClock(), connect=connect)
    InlineLedger(store).execute(a_record("s1", 1))
    with store.read():
        pass
    assert len(opened) == 2
    for connection in opened:
        got = {name: connection.execute(f"PRAGMA {name}").get for name in ("journal_mode", "synchronous")}
        assert got == {"journal_mode": "wal", "synchronous": 2}
        assert connection.execute("PRAGMA foreign_keys").get == 1
    assert opened[1].execute("PRAGMA query_only").get == 1
    store.close()


class Deaf:
    """An engine that does not take a setting."""

    def __init__(self, connection: apsw.Connection, deaf_to: str) -> None:
        self._connection = connection
        self._deaf_to = deaf_to

    def execute(self, statement: str, *arguments: object) -> object:
        if statement.startswith(f"PRAGMA {self._deaf_to} ="):
            statement = "SELECT 1"
        return self._connection.execute(statement, *arguments)  # type: ignore[arg-type] # as given

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


@pytest.mark.parametrize("setting", ["journal_mode", "foreign_keys"])
def test_an_engine_that_does_not_take_a_setting_is_refused(tmp_path: Path, setting: str) -> None:
    connect: Callable[[str], apsw.Connection] = lambda path: Deaf(opening.connect(path), setting)  # type: ignore[assignment,return-value] # noqa: E731 # it passes for one
    store = SQLiteStore(tmp_path / "ledger.db", clock=FakeClock(), connect=connect)
    with pytest.raises(LedgerUnavailableError, match=f"answers {setting}"):
        InlineLedger(store).execute(a_record("s1", 1))
