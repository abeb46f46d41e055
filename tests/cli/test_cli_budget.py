"""`outlay budget`: limits on any account of the gateway, set, changed, listed and removed."""

from __future__ import annotations

from typing import Any

from command_line import CommandLine

from outlay.domain.commands import Amount, Record, Reserve
from outlay.domain.outcomes import Refusal, Reserved
from outlay.gateway.keys import make_key

USD = 10**9


def listed(outlay: CommandLine, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = outlay("budget", "list", "--json", *arguments).json["budgets"]
    return found


def test_a_budget_is_set_listed_and_removed(outlay: CommandLine) -> None:
    assert (
        outlay("budget", "set", "user:ada", "5", "daily").out == "user:ada/usd-daily: $5 usd, daily, hard\n"
    )
    wanted = {"project": "gateway", "account": "user:ada", "id": "user:ada/usd-daily", "unit": "usd"}
    wanted |= {"limit": "5", "window": "daily", "time_zone": "UTC", "mode": "hard"}
    assert listed(outlay) == [{**wanted, "models": []}]
    shown = outlay("budget", "list", "--account", "user:ada").out
    for text in ("user:ada/usd-daily", "$5", "daily", "hard", "all"):
        assert text in shown
    assert outlay("budget", "remove", "user:ada/usd-daily").out == "user:ada/usd-daily: removed\n"
    assert listed(outlay) == []
    assert outlay("budget", "list").out == "There are no budgets here.\n"


def test_a_budget_refuses_what_does_not_fit(outlay: CommandLine) -> None:
    assert outlay("budget", "set", "user:ada", "$0.05", "30d").code == 0
    with outlay.ledger() as ledger:
        outcome = ledger.execute(Reserve("gateway", "r1", ("user:ada",), {"usd": Amount(USD)}, 10**6))
    assert isinstance(outcome, Refusal)
    assert (outcome.budget_id, outcome.limit) == ("user:ada/usd-30d", USD // 20)


def test_a_budget_of_a_key_goes_by_its_alias_and_counts_for_that_key(outlay: CommandLine) -> None:
    with outlay.ledger() as ledger:
        key = make_key(ledger, {"key_alias": "web"}, by="test").account
    assert outlay("budget", "set", "key:web", "1", "1m", "--unit", "requests").code == 0
    assert [each["account"] for each in listed(outlay, "--account", "key:web")] == [key]
    with outlay.ledger() as ledger:
        outcomes = [ledger.execute(Reserve("gateway", f"r{n}", (key,), {}, 10**6)) for n in range(2)]
    assert [type(outcome) for outcome in outcomes] == [Reserved, Refusal]


def test_what_a_key_spent_is_found_by_its_alias_and_by_what_tables_show_of_its_id(
    outlay: CommandLine,
) -> None:
    with outlay.ledger() as ledger:
        key = make_key(ledger, {"key_alias": "web", "max_budget": 1}, by="test").account
        ledger.execute(Record("gateway", "r1", (key,), USD // 2))
    for name in ("key:web", key[:16], f"{key[:16]}…", key):
        (balance,) = outlay("balance", "--account", name, "--json").json["balances"]
        assert (balance["account"], balance["settled"]) == (key, "0.5")
        (entry,) = outlay("entries", "--account", name, "--json").json["entries"]
        assert entry["accounts"] == [key]
    for command in ("balance", "entries"):
        told = outlay(command, "--account", "key:nobody")
        assert (told.code, "there is no key 'nobody'" in told.err) == (2, True)


def test_an_hour_may_be_said_in_a_word(outlay: CommandLine) -> None:
    set_ = outlay("budget", "set", "user:ada", "5", "hourly")
    assert set_.out == "user:ada/usd-1h: $5 usd, 1h, hard\n"


def test_setting_it_again_changes_the_limit_and_keeps_what_was_spent(outlay: CommandLine) -> None:
    assert outlay("budget", "set", "user:ada", "5", "30d").code == 0
    outlay.execute(Record("gateway", "r1", ("user:ada",), 2 * USD))
    assert outlay("budget", "set", "user:ada", "10", "30d", "--mode", "soft").code == 0
    (balance,) = outlay("balance", "--json").json["balances"]
    assert (balance["limit"], balance["settled"], balance["mode"]) == ("10", "2", "soft")


def test_several_windows_units_and_models_stand_side_by_side(outlay: CommandLine) -> None:
    for arguments in [
        ("user:ada", "5", "daily"),
        ("user:ada", "50", "monthly", "--time-zone", "Europe/Berlin"),
        ("user:ada", "1000", "1m", "--unit", "tokens"),
        ("user:ada", "2", "total", "--unit", "concurrency"),
        ("user:ada", "1", "daily", "--models", "gpt-4o, o3", "--mode", "crossing"),
        ("global", "100", "total", "--id", "all there is"),
    ]:
        assert outlay("budget", "set", *arguments).code == 0
    found = {each["id"]: each for each in listed(outlay)}
    assert set(found) == {
        "all there is",
        "user:ada/usd-daily",
        "user:ada/usd-monthly",
        "user:ada/tokens-1m",
        "user:ada/concurrency-total",
        "user:ada/usd-daily:gpt-4o,o3",
    }
    assert found["user:ada/usd-daily:gpt-4o,o3"]["models"] == ["gpt-4o", "o3"]
    assert found["user:ada/usd-monthly"]["time_zone"] == "Europe/Berlin"
    assert found["user:ada/tokens-1m"]["limit"] == 1000


def test_the_project_is_the_gateways_unless_another_is_named(outlay: CommandLine) -> None:
    assert outlay("budget", "set", "user:ada", "5", "daily", "--project", "shop").code == 0
    assert outlay("--project", "shop", "budget", "set", "user:bob", "5", "daily").code == 0
    assert listed(outlay) == []
    assert [each["account"] for each in listed(outlay, "--project", "shop")] == ["user:ada", "user:bob"]
    assert "no budget 'user:ada/usd-daily'" in outlay.fails("budget", "remove", "user:ada/usd-daily")


def test_limits_that_a_keys_own_fields_state_are_left_to_them(outlay: CommandLine) -> None:
    with outlay.ledger() as ledger:
        key = make_key(ledger, {"key_alias": "web", "max_budget": 5}, by="test").account
    before = listed(outlay)
    line = outlay.fails("budget", "remove", f"{key}/usd")
    assert "max_budget" in line
    assert "cannot be removed here" in line
    assert "cannot be set here" in outlay.fails(
        "budget", "set", "key:web", "9", "total", "--id", f"{key}/usd"
    )
    assert listed(outlay) == before


def test_wrong_words_name_the_remedy_and_set_nothing(outlay: CommandLine) -> None:
    assert outlay("budget", "set", "user:bob", "5", "daily", "--id", "bobs").code == 0
    before = listed(outlay)
    for arguments, message in [
        (("ada", "5", "daily"), "ACCOUNT must be `global` or `KIND:NAME`"),
        (("user:ada", "five", "daily"), "LIMIT must be a number of USD, not 'five'"),
        (("user:ada", "--", "-5", "daily"), "LIMIT must not be negative"),
        (("user:ada", "nan", "daily"), "LIMIT must be finite"),
        (("user:ada", "5", "fortnightly"), "WINDOW must be `total`, a length such as"),
        (("user:ada", "5", "daily", "--unit", "eur"), "--unit must be one of usd, tokens"),
        (("user:ada", "5", "daily", "--mode", "firm"), "mode must be one of hard, crossing, soft"),
        (("user:ada", "5.5", "1m", "--unit", "tokens"), "LIMIT must be a whole number of tokens"),
        (("user:ada", "9" * 100, "1m", "--unit", "tokens"), "LIMIT must be between 0 and"),
        (("user:ada", "5", "1m", "--unit", "concurrency"), "concurrency budget has the window `total`"),
        (("user:ada", "5", "daily", "--models", "gpt-4o,"), "models must have 1 to"),
        (("user:ada", "5", "daily", "--time-zone", "Mars"), "time zone must be an IANA name"),
        (("user:ada", "5", "daily", "--id", "bobs"), "--id 'bobs' is in use by user:bob"),
        (("key:sk-0123456789abcdef", "5", "daily"), "there is no such key"),
        (("key:nobody", "5", "daily"), "there is no key 'nobody'"),
    ]:
        assert message in outlay.fails("budget", "set", *arguments)
    assert listed(outlay) == before


def test_a_list_and_a_removal_need_a_database(outlay: CommandLine) -> None:
    assert "there is no database" in outlay.fails("budget", "list")
    assert "there is no database" in outlay.fails("budget", "remove", "user:ada/usd-daily")
    assert not outlay.database.exists()
