"""`outlay balance`, `entries`, `presumed` and `clock`, as a person or a script runs them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from command_line import CommandLine

from outlay.domain.budgets import Budget
from outlay.domain.commands import Amount, PutBudget, Record, Reserve
from outlay.domain.windows import Window
from outlay.testing.clock import FakeClock

pytestmark = pytest.mark.once("rules that are the same on every Python")

USD = 10**9


def budget(project: str = "shop", account: str = "user:ada", id: str = "user:ada/usd") -> PutBudget:
    return PutBudget(Budget(project, id, account, "usd", 10 * USD, Window.parse("1d")))


def record(id: str, nanos: int | None, project: str = "shop", account: str = "user:ada") -> Record:
    return Record(project, id, (account,), nanos, 12, model="gpt-4o", tags=("web",))


@pytest.fixture
def shop(outlay: CommandLine) -> CommandLine:
    outlay.execute(budget(), record("r1", 123_456_789), record("r2", None))
    return outlay


@pytest.fixture
def lost(outlay: CommandLine) -> CommandLine:
    """A request of three hours ago whose end nobody heard of."""
    clock = FakeClock(datetime.now(UTC) - timedelta(hours=3))
    with outlay.ledger(clock) as ledger:
        ledger.execute(budget())
        ledger.reserve(Reserve("shop", "lost-1", ("user:ada",), {"usd": Amount(42_000_000)}, 10**6))
        clock.advance(2)
        ledger.sweep()
    return outlay


def test_balance_shows_what_is_spent_and_left(shop: CommandLine) -> None:
    ran = shop("balance")
    assert ran.code == 0
    for shown in ("user:ada", "usd", "1d", "$10", "$0.12345678", "Available", "Resets"):
        assert shown in ran.out
    assert max(len(line) for line in ran.out.splitlines()) <= 80
    assert "\x1b" not in ran.out


def test_balance_as_json_has_money_as_decimal_strings(shop: CommandLine) -> None:
    (balance,) = shop("balance", "--json").json["balances"]
    wanted = {"project": "shop", "account": "user:ada", "budget": "user:ada/usd", "unit": "usd"}
    wanted |= {"mode": "hard", "window": "1d", "limit": "10", "granted": "0", "settled": "0.123456789"}
    wanted |= {"reserved": "0", "available": "9.876543211", "overrun": "0"}
    assert {name: balance[name] for name in wanted} == wanted
    starts_at, resets_at = (datetime.fromisoformat(balance[name]) for name in ("starts_at", "resets_at"))
    assert resets_at - starts_at == timedelta(days=1)


def test_project_and_account_narrow_down_before_and_after_the_command(shop: CommandLine) -> None:
    shop.execute(budget("other"), budget(account="user:bob", id="user:bob/usd"))
    assert len(shop("balance", "--json").json["balances"]) == 3
    for arguments in (("--project", "other", "balance"), ("balance", "--project", "other")):
        assert [each["project"] for each in shop(*arguments, "--json").json["balances"]] == ["other"]
    (bob,) = shop("balance", "--account", "user:bob", "--json").json["balances"]
    assert bob["account"] == "user:bob"
    assert shop("balance", "--account", "user:eve").out == "user:eve has no budgets here.\n"


def test_the_database_is_named_by_an_option_or_the_environment(shop: CommandLine, tmp_path: Path) -> None:
    moved = tmp_path / "moved.db"
    shop.database.rename(moved)
    assert "no database at outlay.db" in shop.fails("balance")
    assert not shop.database.exists()
    assert shop("--database", str(moved), "balance").code == 0
    assert shop("balance", "--database", "sqlite:///moved.db").code == 0
    assert shop("balance", OUTLAY_DATABASE_URL=f"sqlite:///{moved}").code == 0
    assert "PostgreSQL" in shop.fails("balance", OUTLAY_DATABASE_URL="postgresql://x@db/outlay")


def test_entries_shows_the_journal_newest_first(shop: CommandLine) -> None:
    ran = shop("entries")
    assert ran.code == 0
    for shown in ("record", "user:ada", "gpt-4o", "0.123456789", "12", "manual"):
        assert shown in ran.out
    assert max(len(line) for line in ran.out.splitlines()) <= 80
    found = shop("entries", "--json").json
    assert [each["id"] for each in found["entries"]] == ["r2", "r1"]
    assert [each["usd"] for each in found["entries"]] == [None, "0.123456789"]
    assert found["next_cursor"] is None


def test_entries_come_in_pages(shop: CommandLine) -> None:
    first = shop("entries", "--limit", "1", "--json").json
    then = shop("entries", "--limit", "1", "--cursor", first["next_cursor"], "--json").json
    assert [each["id"] for page in (first, then) for each in page["entries"]] == ["r2", "r1"]
    assert then["next_cursor"] is None
    assert f"--cursor {first['next_cursor']}" in shop("entries", "--limit", "1").err


def test_entries_are_filtered(shop: CommandLine) -> None:
    shop.execute(record("bob", 1, account="user:bob"))

    def ids(*arguments: str) -> list[str]:
        return [each["id"] for each in shop("entries", *arguments, "--json").json["entries"]]

    assert ids("--account", "user:bob", "--model", "gpt-4o", "--tag", "web", "--since", "1h") == ["bob"]
    assert ids("--until", "1h") == []
    assert ids("--since", "2020-01-01", "--kind", "record", "--kind", "settle") == ["bob", "r2", "r1"]


@pytest.mark.parametrize(
    ("option", "value"),
    [("--since", "yesterday"), ("--kind", "refund")],
)
def test_a_wrong_filter_is_one_clear_line(shop: CommandLine, option: str, value: str) -> None:
    line = shop.fails("entries", option, value)
    assert option.lstrip("-") in line
    assert value in line


def test_what_would_steer_the_terminal_is_shown_as_text(outlay: CommandLine) -> None:
    outlay.execute(Record("shop", "r", ("user:ada",), 1, model="\x7f[bold]\u202e\u001f".replace("\x1f", "")))
    out = outlay("entries").out.replace("\n", "")
    assert "[bold]" in out
    assert "\x7f" not in out
    assert "\u202e" not in out


def test_presumed_charges_are_listed_and_settled_once(lost: CommandLine) -> None:
    ran = lost("presumed", "list")
    for shown in ("lost-1", "user:ada", "$0.042"):
        assert shown in ran.out
    (listed,) = lost("presumed", "list", "--json").json["presumed"]
    assert (listed["id"], listed["usd"], listed["source"]) == ("lost-1", "0.042", "presumed")

    said = "lost-1: corrected from $0.042 to $0.01\n"
    assert lost("presumed", "settle", "lost-1", "0.01").out == said
    assert lost("presumed", "settle", "lost-1", "0.01").out == said
    assert "corrected before" in lost.fails("presumed", "settle", "lost-1", "0.02")
    assert lost("presumed", "list").out == "There are no presumed charges.\n"
    assert lost("audit").code == 0


def test_a_presumed_charge_is_reversed(lost: CommandLine) -> None:
    reverse = ("presumed", "reverse", "lost-1", "--project", "shop")
    assert lost(*reverse).out == "lost-1: reversed; $0.042 was presumed\n"
    assert lost(*reverse).out == "lost-1: was reversed before; $0.042 was presumed\n"
    (entry,) = lost("entries", "--kind", "reverse", "--json").json["entries"]
    assert entry["usd"] == "-0.042"
    assert entry["detail"]["by"].startswith("cli")
    assert "reversed before" in lost.fails("presumed", "settle", "lost-1", "0.01")


def test_a_correction_that_was_reversed_is_not_said_to_stand(lost: CommandLine) -> None:
    lost("presumed", "settle", "lost-1", "0.01")
    lost("presumed", "reverse", "lost-1")
    assert "reversed before" in lost.fails("presumed", "settle", "lost-1", "0.01")


def test_only_presumed_charges_of_the_project_are_touched(lost: CommandLine) -> None:
    lost.execute(record("r1", 5))
    assert "no presumed charge has the id" in lost.fails("presumed", "reverse", "r1")
    assert "no presumed charge" in lost.fails("presumed", "reverse", "lost-1", "--project", "other")


def test_an_amount_that_is_none_is_refused(lost: CommandLine) -> None:
    assert "AMOUNT must not be negative" in lost.fails("presumed", "settle", "--", "lost-1", "-1")


def test_the_clock_is_believed_until_it_jumps_and_again_when_confirmed(shop: CommandLine) -> None:
    assert shop("clock").out.startswith("The clock is believed")
    boot = time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)) // 1000
    before = time.time_ns() // 1000 - 3630 * 10**6
    shop.tamper(
        f"UPDATE clock SET boot_at = {boot}",  # noqa: S608 # numbers made here
        f"UPDATE clock SET newest_at = {before}, wall_at = {before}",  # noqa: S608
    )
    ran = shop("clock")
    assert "jumped forward by 1:00:" in ran.out
    assert "outlay clock confirm" in ran.out
    found = shop("clock", "--json").json
    assert found["is_believed"] is False
    assert 3600 <= found["lead_seconds"] < 3660
    assert shop("clock", "confirm").out == "The clock is believed.\n"
    assert shop("clock", "--json").json["is_believed"] is True


def test_a_clock_behind_the_ledger_is_told_with_what_to_do(shop: CommandLine) -> None:
    ahead = time.time_ns() // 1000 + 7200 * 10**6
    shop.tamper(f"UPDATE clock SET newest_at = {ahead}")  # noqa: S608 # a number made here
    assert "ahead of the clock" in shop("clock").out
    assert "If the clock is wrong: set it" in shop("clock").out
    assert 7000 < shop("clock", "--json").json["lag_seconds"] <= 7200


def test_arguments_that_are_no_text_or_no_file_name_are_one_line(shop: CommandLine) -> None:
    assert "is not UTF-8 text" in shop.fails("entries", "--model", "\udcff")
    assert "File name too long" in shop.fails("balance", "--database", "x" * 300)
    assert "File name too long" in shop.fails("balance", OUTLAY_DATABASE_URL="x" * 300)
