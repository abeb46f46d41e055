"""`outlay key`: keys are made, shown, blocked and deleted on the database that a gateway would share."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

import pytest
from command_line import CommandLine

from outlay.domain.accounts import Account
from outlay.gateway.config import PROJECT
from outlay.gateway.directory import find_account
from outlay.gateway.keys import make_key

pytestmark = pytest.mark.once("rules that are the same on every Python")


def account(outlay: CommandLine, token: str) -> Account:
    with outlay.ledger() as ledger, ledger.read() as reader:
        found = find_account(reader, f"key:{token}")
    assert found is not None
    return found


def budgets(key: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """A key's budgets: id without the account → limit and window."""
    return {
        each["budget"].removeprefix(f"{each['account']}/"): (str(each["limit"]), each["window"])
        for each in key["budgets"]
    }


def test_a_new_keys_secret_goes_to_stdout_alone_and_is_nowhere_stored(outlay: CommandLine) -> None:
    ran = outlay("key", "create", "--alias", "web")
    secret = ran.out.strip()
    assert ran.code == 0
    assert ran.out == f"{secret}\n"
    assert secret.startswith("sk-")
    assert "not shown again" in ran.err
    token = hashlib.sha256(secret.encode()).hexdigest()
    assert account(outlay, token).status == "active"
    assert secret.encode() not in b"".join(path.read_bytes() for path in outlay.folder.iterdir())
    shown = outlay("key", "list", "--json").out + outlay("key", "info", "web").out
    assert token in shown
    assert secret not in shown


def test_every_option_of_a_key_says_what_it_may_do(outlay: CommandLine) -> None:
    made = outlay(
        *("key", "create", "--json", "--alias", "web", "--user", "ada", "--organization", "acme"),
        *("--models", "gpt-4o, o3", "--max-budget", "$5", "--budget-duration", "1d"),
        *("--rpm", "10", "--tpm", "2000", "--max-parallel", "3", "--expires", "30d"),
        *("--time-zone", "Europe/Berlin"),
    ).json
    wanted = {"key_alias": "web", "user_id": "ada", "organization_id": "acme", "team_id": None}
    assert {name: made[name] for name in wanted} == wanted
    assert made["models"] == ["gpt-4o", "o3"]
    made_at, expires_at = (datetime.fromisoformat(made[name]) for name in ("created_at", "expires_at"))
    assert abs(expires_at - made_at - timedelta(days=30)) < timedelta(minutes=1)
    assert budgets(made) == {
        "usd": ("5", "daily"),
        "requests:1m": ("10", "1m"),
        "tokens:1m": ("2000", "1m"),
        "concurrency": ("3", "total"),
    }
    assert account(outlay, made["token"]).parent == "user:ada"
    without_secret = {name: value for name, value in made.items() if name not in ("key", "budgets")}
    shown = outlay("key", "info", "web", "--json").json
    assert {name: value for name, value in shown.items() if name != "budgets"} == without_secret


def test_the_list_and_the_page_of_a_key_are_for_people(outlay: CommandLine) -> None:
    secret = outlay("key", "create", "--alias", "web", "--user", "ada", "--max-budget", "5").out.strip()
    outlay("key", "create", "--alias", "other")
    listed = outlay("key", "list")
    for shown in ("web", f"sk-...{secret[-4:]}", "user:ada", "active", "other"):
        assert shown in listed.out
    assert max(len(line) for line in listed.out.splitlines()) <= 80
    page = outlay("key", "info", "web").out
    assert "$5 left of $5" in page
    assert "Belongs to:    user:ada" in page


def test_the_list_is_narrowed_to_a_user(outlay: CommandLine) -> None:
    assert outlay("key", "create", "--alias", "web", "--user", "ada").code == 0
    assert outlay("key", "create", "--alias", "other", "--user", "bob").code == 0
    found = outlay("key", "list", "--user", "ada", "--json").json["keys"]
    assert [each["key_alias"] for each in found] == ["web"]
    assert outlay("key", "list", "--team", "none").out == "There are no such keys.\n"


@pytest.mark.parametrize("name", ["alias", "secret", "token", "start", "account"])
def test_a_key_is_named_by_alias_secret_or_id(outlay: CommandLine, name: str) -> None:
    made = outlay("key", "create", "--alias", "web", "--json").json
    token = made["token"]
    names = {"alias": "web", "secret": made["key"], "token": token}
    names |= {"start": token[:12], "account": f"key:{token}"}
    assert outlay("key", "info", names[name], "--json").json["token"] == token


def test_a_key_is_blocked_unblocked_and_deleted(outlay: CommandLine) -> None:
    token = outlay("key", "create", "--alias", "web", "--json").json["token"]
    short = f"key {token[:12]} (web)"
    assert outlay("key", "block", "web").out == f"{short}: blocked\n"
    assert account(outlay, token).status == "blocked"
    assert outlay("key", "block", "web").out == f"{short}: was already blocked\n"
    assert outlay("key", "unblock", "web").out == f"{short}: unblocked\n"
    assert account(outlay, token).status == "active"
    assert outlay("key", "delete", "web").out == f"{short}: deleted\n"
    assert account(outlay, token).detail["is_deleted"] is True
    assert outlay("key", "list", "--json").json == {"keys": []}
    assert "there is no key 'web'" in outlay.fails("key", "info", "web")


def test_blocking_a_key_leaves_its_budgets_as_they_are(outlay: CommandLine) -> None:
    with outlay.ledger() as ledger:
        fields = {"key_alias": "web", "max_budget": 5, "budget_duration": "1d"}
        made = make_key(ledger, fields, by="test", zone="Asia/Tokyo")
    assert outlay("key", "block", "web").code == 0
    with outlay.ledger() as ledger, ledger.read() as reader:
        (budget,) = reader.budgets(PROJECT, made.account)
    assert (budget.window.zone, budget.window.text, budget.limit) == ("Asia/Tokyo", "daily", 5 * 10**9)


def test_wrong_options_name_the_remedy_and_make_nothing(outlay: CommandLine) -> None:
    assert outlay("key", "create", "--alias", "web").code == 0
    for arguments, message in [
        (("--alias", "web"), "key_alias 'web' is in use"),
        (("--team", "nobody"), "there is no team 'nobody'"),
        (("--max-budget", "five"), "--max-budget must be a number of USD, not 'five'"),
        (("--max-budget", "5", "--budget-duration", "fortnight"), "budget_duration must be a length"),
        (("--budget-duration", "1d"), "give both"),
        (("--expires", "daily"), "--expires must be a length such as 12h"),
        (("--rpm", "-1"), "rpm_limit must be between 0 and"),
        (("--rpm", "many"), "Invalid value for '--rpm'"),
        (("--max-budget", "5", "--time-zone", "Mars"), "time zone must be an IANA name"),
    ]:
        assert message in outlay.fails("key", "create", *arguments)
    assert len(outlay("key", "list", "--json").json["keys"]) == 1


def test_the_gateways_keys_are_looked_for_where_there_is_a_database(outlay: CommandLine) -> None:
    assert "there is no database" in outlay.fails("key", "list")
    assert "there is no database" in outlay.fails("key", "block", "web")
    assert not outlay.database.exists()
