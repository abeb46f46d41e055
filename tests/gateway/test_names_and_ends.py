"""Names that look alike are one, and whatever is deleted takes its budgets along."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gateways import Gateway, run_gateway, usd_budget
from management import done, hashed, refused, shown

from outlay.domain.commands import PutBudget
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["gateway_fixtures"]

LOOKS_LIKE_WEB = [
    "web",
    " web",
    "web ",
    "\u00a0web\u2003",
    "\uff57\uff45\uff42",
    "\U0001d430\U0001d41e\U0001d41b",
]
ADA = {"user_id": "ada"}


@pytest.mark.parametrize("alias", LOOKS_LIKE_WEB)
def test_an_alias_that_looks_like_anothers_is_refused(gateway: Gateway, alias: str) -> None:
    gateway.new_key(key_alias="web")
    other = gateway.new_key(key_alias="other")
    assert "key_alias" in refused(gateway, "/key/generate", {"key_alias": alias})
    assert "key_alias" in refused(gateway, "/key/update", {"key": other, "key_alias": alias})
    assert "key_alias" in refused(gateway, "/user/new", {**ADA, "key_alias": alias})
    assert shown(gateway, "/key/list")["total_count"] == 2


def test_an_alias_keeps_its_letters_and_finds_its_key_in_whatever_form(gateway: Gateway) -> None:
    key = gateway.new_key(key_alias="\uff37eb \ufb01le")
    gateway.new_key(key_alias="web file")  # letters of another case are another name, as in LiteLLM
    for alias in ("\uff37eb \ufb01le", "Web file", " Web file "):
        row = done(gateway, "/key/update", {"key_alias": alias, "metadata": {"seen": alias}})
        assert (row["token"], row["key_alias"]) == (hashed(key), "\uff37eb \ufb01le")
    done(gateway, "/key/update", {"key": key, "key_alias": "Web file"})
    assert done(gateway, "/key/delete", {"key_aliases": ["Web file"]})
    assert gateway.chat(key).status_code == 401
    gateway.new_key(key_alias="\uff37eb file")  # the name is free again


@pytest.mark.parametrize("alias", ["master", " MASTER ", "\uff4d\uff41\uff53\uff54\uff45\uff52", " "])
def test_no_alias_looks_like_the_master_keys_or_like_nothing(gateway: Gateway, alias: str) -> None:
    assert refused(gateway, "/key/generate", {"key_alias": alias}).startswith("key_alias")


@pytest.mark.parametrize("email", ["Ada@Example.com", " ada@example.com", "\uff41da@example.com"])
def test_an_address_is_one_users_in_whatever_form(gateway: Gateway, email: str) -> None:
    done(gateway, "/user/new", {"user_email": "ada@example.com", "auto_create_key": False})
    assert "user_email" in refused(gateway, "/user/new", {"user_email": email})


@pytest.mark.parametrize("kind", ["key", "user", "team", "member", "customer"])
def test_what_is_deleted_takes_all_its_budgets_along(gateway: Gateway, kind: str) -> None:
    done(gateway, "/team/new", {"team_id": "red", "members_with_roles": [ADA], "max_budget": 1})
    done(gateway, "/user/new", {**ADA, "auto_create_key": False, "max_budget": 1})
    done(gateway, "/customer/new", {"user_id": "acme", "max_budget": 1})
    key = gateway.new_key(max_budget=1, rpm_limit=5, user_id="ada", team_id="red")
    own = {
        "key": f"key:{hashed(key)}",
        "user": "user:ada",
        "team": "team:red",
        "member": "member:red/ada",
        "customer": "customer:acme",
    }
    gateway.execute(*(PutBudget(usd_budget(account, 1, "daily")) for account in own.values()))
    ends: dict[str, tuple[str, dict[str, Any]]] = {
        "key": ("/key/delete", {"keys": [key]}),
        "user": ("/user/delete", {"user_ids": ["ada"]}),
        "team": ("/team/delete", {"team_ids": ["red"]}),
        "member": ("/team/member_delete", {"team_id": "red", **ADA}),
        "customer": ("/customer/delete", {"user_ids": ["acme"]}),
    }
    done(gateway, *ends[kind])
    gone = {
        "user": ["user", "key", "member"],
        "team": ["team", "key", "member"],
    }.get(kind, [kind])
    left = {each["account"] for each in shown(gateway, "/v1/balances")["balances"]}
    assert left == {account for name, account in own.items() if name not in gone}


def test_what_the_configuration_states_outlives_a_deletion(provider: FakeProvider, tmp_path: Path) -> None:
    stated = replace(usd_budget("customer:acme", 0), id="config/customer:acme/usd/total")
    with run_gateway(provider, tmp_path, budgets=[stated]) as gateway:
        done(gateway, "/customer/new", {"user_id": "acme", "max_budget": 1})
        done(gateway, "/customer/delete", {"user_ids": ["acme"]})
        done(gateway, "/customer/new", {"user_id": "acme"})
        assert gateway.chat(user="acme").status_code == 402
