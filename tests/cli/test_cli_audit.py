"""`outlay audit`: exit code 0 when nothing is found, 1 when something is, 2 when it could not run."""

from __future__ import annotations

import apsw
import pytest
from command_line import CommandLine

from outlay.domain.budgets import Budget
from outlay.domain.commands import PutBudget, Record
from outlay.domain.windows import Window


@pytest.fixture
def shop(outlay: CommandLine) -> CommandLine:
    outlay.execute(
        PutBudget(Budget("shop", "day", "user:ada", "usd", 10**9, Window.parse("1d"))),
        Record("shop", "r1", ("user:ada",), 40),
    )
    return outlay


def test_a_whole_database_is_clean(shop: CommandLine) -> None:
    ran = shop("audit")
    assert (ran.code, ran.err) == (0, "")
    assert "1 entries, 0 pending reservations, 1 budgets, 1 periods" in ran.out
    assert ran.out.endswith("No findings: every counter equals the journal.\n")
    checked = {"entries": 1, "reservations": 0, "budgets": 1, "periods": 1, "model_totals": 0}
    assert shop("audit", "--json").json == {
        "database": str(shop.database),
        "is_clean": True,
        "findings": [],
        "unlisted": 0,
        "checked": checked,
    }


def test_a_finding_says_what_is_wrong_and_where(shop: CommandLine) -> None:
    shop.tamper("UPDATE periods SET settled = 41")
    ran = shop("audit")
    assert ran.code == 1
    assert "invariant 2: 'day' of project 'shop' (budget 1), period from " in ran.out
    assert "has settled 41, but the journal says 40" in ran.out
    found = shop("audit", "--json")
    assert found.code == 1
    assert found.json["is_clean"] is False
    assert [finding["invariant"] for finding in found.json["findings"]] == [2]


def test_a_file_that_lost_its_guards_is_found(shop: CommandLine) -> None:
    shop.tamper("DROP TRIGGER entries_are_not_changed", "DROP INDEX entries_id")
    ran = shop("audit")
    assert ran.code == 1
    assert "file: the database file: entries_are_not_changed is missing from the schema" in ran.out
    assert "entries_id is missing from the schema" in ran.out


def test_an_entry_that_cannot_be_read_is_found(shop: CommandLine) -> None:
    shop.tamper("DROP TRIGGER entries_are_not_changed", "UPDATE entries SET posts = '[[1,'")
    ran = shop("audit")
    assert ran.code == 1
    assert "the counters cannot be checked" in ran.out


@pytest.mark.parametrize("name", ["entries", "entries_at"])
def test_a_page_that_is_damaged_is_found(shop: CommandLine, name: str) -> None:
    connection = apsw.Connection(str(shop.database))
    page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).get
    size = connection.execute("PRAGMA page_size").get
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    with shop.database.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * 100)
    ran = shop("audit")
    assert ran.code == 1, ran
    assert "file: the database file: " in ran.out


def test_what_is_no_database_cannot_be_audited(outlay: CommandLine) -> None:
    assert "no database at" in outlay.fails("audit")
    outlay.database.write_text("this is a text")
    assert "is not an SQLite database" in outlay.fails("audit")
    assert outlay.database.read_text() == "this is a text"
