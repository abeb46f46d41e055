"""What somebody meets who types an amount, a time zone, a key's name or an option wrong, or almost right."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from command_line import CommandLine

pytestmark = pytest.mark.once("rules that are the same on every Python")


@pytest.mark.parametrize("amount", ["-5", "-0.5", "-.5", "-$5", "-5e3", "-1,000"])
@pytest.mark.parametrize("unit", ["usd", "tokens"])
def test_a_negative_limit_is_told_as_one(outlay: CommandLine, amount: str, unit: str) -> None:
    told = outlay.fails("budget", "set", "user:ada", amount, "daily", "--unit", unit)
    assert told.startswith("outlay: LIMIT must ")
    assert amount.removeprefix("-").removeprefix("$")[:2] in told
    assert not outlay.database.exists()


def test_negative_windows_and_amounts_are_told_as_what_they_are(outlay: CommandLine) -> None:
    assert "WINDOW must be" in outlay.fails("budget", "set", "user:ada", "5", "-36d")
    outlay("budget", "set", "user:ada", "5", "daily")
    assert "AMOUNT must not be negative" in outlay.fails("presumed", "settle", "an-id", "-5")
    assert "--max-budget must not be negative" in outlay.fails("key", "create", "--max-budget", "-5")
    assert "--limit" in outlay.fails("entries", "--limit", "-5")


def test_an_option_that_does_not_exist_is_still_told_and_where_to_look(outlay: CommandLine) -> None:
    told = outlay.fails("budget", "set", "user:ada", "5", "daily", "--mod", "soft")
    assert "No such option: --mod" in told
    assert "(see `outlay budget set --help`)" in told
    assert "--unti" in outlay.fails("budget", "set", "user:ada", "-5", "daily", "--unti", "tokens")
    assert "(see `outlay --help`)" in outlay.fails("blance")


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "", " ", "Europe", "../etc/passwd", "UTC+2", "europe/berlin x"]
)
def test_a_time_zone_that_does_not_exist_is_told_wherever_it_is_given(outlay: CommandLine, zone: str) -> None:
    for command in (
        ("budget", "set", "user:ada", "5", "daily"),
        ("budget", "set", "user:ada", "5", "total"),
        ("budget", "set", "user:ada", "5", "36h"),
        ("key", "create", "--alias", "web"),
        ("key", "create", "--max-budget", "5"),
    ):
        assert "time zone must be an IANA name" in outlay.fails(*command, "--time-zone", zone)
    assert not outlay.database.exists()


@pytest.mark.parametrize("alias", ["web", "team/web", "web/usd"])
def test_a_budget_of_a_key_is_listed_set_and_removed_by_the_keys_alias(
    outlay: CommandLine, alias: str
) -> None:
    outlay("key", "create", "--alias", alias)
    models = ("--models", "openai/gpt-4o")
    assert outlay("budget", "set", f"key:{alias}", "7", "weekly").out.startswith(
        f"key:{alias}/usd-weekly: $7"
    )
    outlay("budget", "set", f"key:{alias}", "3", "daily", *models)
    listed = outlay("budget", "list", COLUMNS="150").out
    assert f"key:{alias}/usd-weekly" in listed
    assert f"key:{alias}/usd-daily:openai/gpt-4o" in listed
    removed = outlay("budget", "remove", f"key:{alias}/usd-daily:openai/gpt-4o")
    assert removed.out == f"key:{alias}/usd-daily:openai/gpt-4o: removed\n"
    (left,) = outlay("budget", "list", "--json").json["budgets"]
    assert left["id"] == f"{left['account']}/usd-weekly"
    assert "there is no budget" in outlay.fails("budget", "remove", f"key:{alias}/usd-daily")
    assert outlay("budget", "remove", left["id"]).code == 0
    assert outlay("budget", "list", "--json").json["budgets"] == []


def test_a_budget_of_a_key_without_an_alias_is_removed_as_the_list_shows_it(outlay: CommandLine) -> None:
    outlay("key", "create")
    (key,) = outlay("key", "list", "--json").json["keys"]
    outlay("budget", "set", f"key:{key['token']}", "7", "weekly")
    shown = f"key:{key['token'][:12]}…/usd-weekly"
    assert shown in outlay("budget", "list").out
    assert outlay("budget", "remove", shown).code == 0
    assert "there is no budget" in outlay.fails("budget", "remove", shown)


def test_another_programs_database_url_is_told_and_stops_nothing(outlay: CommandLine) -> None:
    url = "postgres://user:the-password-of-it@db/app"
    ran = outlay("check-config", DATABASE_URL=url)
    assert ran.code == 0
    assert ran.out.count("DATABASE_URL names a PostgreSQL database, and is not used") == 1
    assert "the-password-of-it" not in ran.out
    assert (
        outlay("check-config", "--json", DATABASE_URL=url).json["notes"][0].startswith("DATABASE_URL names")
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("ada", "5", "daily"),
        ("user:ada", "5", "daily", "--mode", "strict"),
        ("user:ada", "5", "daily", "--unit", "dollars"),
        ("user:ada", "5", "daily", "--unit", "concurrency"),
        ("user:ada", "5", "dayly"),
        ("key:nobody", "5", "daily"),
    ],
    ids=" ".join,
)
def test_a_budget_that_is_refused_makes_no_database(outlay: CommandLine, arguments: tuple[str, ...]) -> None:
    outlay.fails("budget", "set", *arguments)
    assert list(outlay.folder.iterdir()) == []


@pytest.mark.parametrize("command", ["balance", "entries"])
def test_an_account_without_its_kind_is_told(outlay: CommandLine, command: str) -> None:
    outlay("budget", "set", "user:ada", "5", "daily")
    assert "--account must be `global` or `KIND:NAME`" in outlay.fails(command, "--account", "ada")


def test_every_command_says_what_it_does_in_one_whole_line(outlay: CommandLine) -> None:
    for columns in ("60", "80", "200"):
        listed = outlay("--help", COLUMNS=columns).out.partition("Commands:\n")[2]
        assert len(listed.splitlines()) > 10
        assert not [line for line in listed.splitlines() if line.endswith("...") or len(line) > int(columns)]


def test_a_table_that_does_not_fit_is_shown_as_blocks_of_lines(outlay: CommandLine) -> None:
    outlay("key", "create", "--alias", "web")
    outlay("budget", "set", "key:web", "1000000", "1m", "--unit", "tokens")
    outlay("budget", "set", "user:somebody-with-a-long-name@example.com", "5", "monthly")
    narrow = outlay("balance", COLUMNS="50").out
    assert "Account: key:web\nBudget: tokens-1m 1m hard\nLimit: 1,000,000\n" in narrow
    assert "\n\nAccount: user:somebody-with-a-long-name@example.com\n" in narrow
    wide = outlay("balance", COLUMNS="150").out.splitlines()
    assert wide[0].split() == [
        "Account",
        "Budget",
        "Limit",
        "Settled",
        "Reserved",
        "Available",
        "Resets",
        "(UTC)",
    ]
    assert wide[2].startswith("key:web ")
    assert len(wide) == 4


def test_a_table_in_a_pipe_has_a_line_for_each_row_however_long(outlay: CommandLine) -> None:
    name = "user:" + "x" * 200
    outlay("budget", "set", name, "5", "monthly")
    environ = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    done = subprocess.run(
        [sys.executable, "-m", "outlay", "balance", "--database", str(outlay.database)],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split()[0] for line in done.stdout.splitlines()[2:]] == [name]
