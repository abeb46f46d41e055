"""A database that cannot be written is read all the same, and one that cannot be read is called so."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest
from command_line import CommandLine

from outlay.domain.budgets import Budget
from outlay.domain.commands import PutBudget
from outlay.domain.windows import Window
from outlay.stores.sqlite import opening

pytestmark = pytest.mark.once("rules that are the same on every Python")

READING = [
    ("balance",),
    ("entries",),
    ("audit",),
    ("budget", "list"),
    ("key", "list"),
    ("key", "info", "web"),
    ("presumed", "list"),
    ("clock",),
]
WRITING = [
    ("budget", "set", "user:ada", "9", "daily"),
    ("budget", "remove", "user:ada/usd-daily"),
    ("key", "create"),
    ("key", "block", "web"),
    ("clock", "confirm"),
]
WAYS = ["the file", "the folder", "both"]


@contextmanager
def read_only(database: Path, way: str) -> Iterator[None]:
    """Take away what allows to write, from all whom the mode tells: tests may run as root."""
    folder = database.parent
    if way != "the folder":
        for path in folder.glob(f"{database.name}*"):
            path.chmod(0o444)
    if way != "the file":
        folder.chmod(0o555)
    try:
        yield
    finally:
        folder.chmod(0o755)


def content(folder: Path) -> dict[str, bytes]:
    """What lies there; of the index of a journal, which is anybody's scratch, only that it does."""
    return {path.name: b"" if path.suffix == ".db-shm" else path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def shop(outlay: CommandLine) -> CommandLine:
    """A database with a key and a budget, closed."""
    outlay("key", "create", "--alias", "web")
    outlay("budget", "set", "user:ada", "5", "daily")
    return outlay


def put_aside(shop: CommandLine, *ends: str, folder: str = "copy") -> Path:
    """Copy the database as it lies there, with some of the files beside it."""
    copy = shop.folder / folder / "outlay.db"
    copy.parent.mkdir()
    for end in ("", *ends):
        shutil.copyfile(f"{shop.database}{end}", f"{copy}{end}")
    return copy


def budgets(shop: CommandLine, database: Path) -> list[str]:
    listed = shop("budget", "list", "--json", "--database", str(database)).json["budgets"]
    return [each["id"] for each in listed]


def put_budget(user: str) -> PutBudget:
    return PutBudget(
        Budget("gateway", f"user:{user}/b", f"user:{user}", "usd", 1, Window.parse("total")), "test"
    )


@pytest.mark.parametrize("way", WAYS)
def test_reading_commands_read_what_cannot_be_written_and_change_nothing(
    shop: CommandLine, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    database = put_aside(shop)
    with read_only(database, way):
        before = content(database.parent)
        for command in READING:
            ran = shop(*command, "--database", str(database))
            assert (ran.code, ran.err) == (0, ""), command
            assert str(scratch) not in ran.out
        assert budgets(shop, database) == ["user:ada/usd-daily"]
        assert f"{database}: 0 entries" in shop("audit", "--database", str(database)).out
        assert content(database.parent) == before
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("way", WAYS)
def test_writing_commands_say_that_it_is_read_only(shop: CommandLine, way: str) -> None:
    database = put_aside(shop)
    with read_only(database, way):
        before = content(database.parent)
        for command in WRITING:
            assert "is read-only: make it writable" in shop.fails(*command, "--database", str(database))
        assert content(database.parent) == before


@pytest.mark.parametrize("ends", [("-wal",), ("-wal", "-shm")], ids="".join)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_only_in_the_journal_beside_a_copy_is_read_too(
    shop: CommandLine, way: str, ends: tuple[str, ...]
) -> None:
    with shop.ledger() as ledger:
        ledger.execute(put_budget("late"))
        database = put_aside(shop, *ends)
    with read_only(database, way):
        before = content(database.parent)
        assert budgets(shop, database) == ["user:ada/usd-daily", "user:late/b"]
        assert content(database.parent) == before


@pytest.mark.parametrize("way", WAYS)
def test_a_database_that_another_program_uses_is_read_by_those_who_may_only_read_it(
    shop: CommandLine, way: str
) -> None:
    with shop.ledger() as ledger:
        ledger.execute(put_budget("late"))
        with read_only(shop.database, way):
            assert budgets(shop, shop.database) == ["user:ada/usd-daily", "user:late/b"]
        ledger.execute(put_budget("later"))
    assert shop("audit").code == 0


def test_an_older_schema_is_read_and_the_original_stays_as_it_is(shop: CommandLine) -> None:
    database = shop.folder / "old" / "outlay.db"
    database.parent.mkdir()
    connection = opening.connect(str(database))
    connection.execute(opening.migrations()[0][1])
    connection.execute(f"PRAGMA application_id = {opening.APPLICATION_ID}; PRAGMA user_version = 1")
    connection.execute("INSERT INTO meta VALUES ('schema_version', 1), ('oldest_reader', 1)")
    connection.execute("INSERT INTO accounts (project, id, status) VALUES ('gateway', 'user:ada', 'active')")
    connection.close()
    with read_only(database, "both"):
        before = content(database.parent)
        assert shop("audit", "--database", str(database)).code == 0
        assert shop("balance", "--database", str(database)).out == "There are no budgets here.\n"
        assert content(database.parent) == before


def unreadable(database: Path) -> None:
    database.chmod(0o000)


def garbage(database: Path) -> None:
    database.write_bytes(bytes(range(1, 256)) * 20)


def short(database: Path) -> None:
    database.write_text("hello")


def torn(database: Path) -> None:
    data = database.read_bytes()
    database.write_bytes(data[:4096] + b"\xff" * 8192 + data[12288:])


def folder(database: Path) -> None:
    database.unlink()
    database.mkdir()


def pipe(database: Path) -> None:
    database.unlink()
    os.mkfifo(database)


def others(database: Path) -> None:
    database.unlink()
    connection = apsw.Connection(str(database))
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()


def newer(database: Path) -> None:
    connection = apsw.Connection(str(database))
    connection.execute("UPDATE meta SET value = 99 WHERE key = 'oldest_reader'")
    connection.close()


BROKEN = {
    unreadable: "cannot be read, for its permissions do not allow it",
    garbage: "is no SQLite database, or is encrypted",
    short: "is not an SQLite database",
    torn: "is damaged",
    folder: "names the folder",
    pipe: "is not a file",
    others: "is the database of another program",
    newer: "was written by a newer Outlay",
}


@pytest.mark.parametrize("is_read_only", [False, True], ids=["", "read-only"])
@pytest.mark.parametrize("break_it", BROKEN, ids=lambda each: each.__name__)
def test_a_database_that_cannot_be_read_is_called_what_it_is(
    shop: CommandLine, break_it: object, *, is_read_only: bool
) -> None:
    database = put_aside(shop)
    break_it(database)  # type: ignore[operator] # a function of the table
    if is_read_only:
        database.parent.chmod(0o555)
    for command in [*READING, *([] if is_read_only else WRITING)]:
        told = shop.fails(*command, "--database", str(database))
        assert BROKEN[break_it] in told, command  # type: ignore[index]
        assert str(database) in told
    database.parent.chmod(0o755)
