"""Customers over HTTP: those whom callers name in `user`."""

from __future__ import annotations

import pytest
from gateways import Gateway
from management import done, refused, shown

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["gateway_fixtures"]


@pytest.mark.parametrize("name", ["customer", "end_user"])
def test_a_customers_budget_holds_whoever_calls(gateway: Gateway, name: str) -> None:
    made = done(gateway, f"/{name}/new", {"user_id": "acme", "alias": "Acme", "max_budget": 0.0001})
    assert (made["user_id"], made["alias"], made["spend"]) == ("acme", "Acme", 0)
    assert made["litellm_budget_table"]["max_budget"] == 0.0001
    keys = [gateway.new_key(), None]
    assert [gateway.chat(key, user="acme", max_tokens=100).status_code for key in keys] == [402, 402]
    assert gateway.chat(keys[0], user="other", max_tokens=100).status_code == 200
    done(gateway, f"/{name}/update", {"user_id": "acme", "max_budget": 1, "budget_duration": "1d"})
    assert gateway.chat(keys[0], user="acme").status_code == 200
    gateway.settled()
    told = shown(gateway, f"/{name}/info", {"end_user_id": "acme"})
    assert told["spend"] > 0
    assert told["litellm_budget_table"]["budget_reset_at"] is not None
    assert shown(gateway, f"/{name}/list") == [told]


def test_a_customer_is_blocked_whether_known_or_not(gateway: Gateway) -> None:
    done(gateway, "/customer/new", {"user_id": "acme", "max_budget": 1})
    blocked = done(gateway, "/customer/block", {"user_ids": ["acme", "unheard-of"]})["blocked_users"]
    assert [(each["user_id"], each["blocked"]) for each in blocked] == [("acme", True), ("unheard-of", True)]
    assert [gateway.chat(user=user).status_code for user in ("acme", "unheard-of", "x")] == [403, 403, 200]
    done(gateway, "/customer/unblock", {"user_ids": ["acme", "unheard-of"]})
    assert [gateway.chat(user=user).status_code for user in ("acme", "unheard-of")] == [200, 200]
    assert shown(gateway, "/customer/info", {"end_user_id": "acme"})["max_budget"] == 1


def test_a_deleted_customer_is_served_no_more_until_it_is_made_again(gateway: Gateway) -> None:
    done(gateway, "/customer/new", {"user_id": "acme"})
    refused(gateway, "/customer/delete", {"user_ids": ["acme", "other"]}, status=404)
    assert gateway.chat(user="acme").status_code == 200
    assert done(gateway, "/customer/delete", {"user_ids": ["acme"]})["deleted_customers"] == 1
    assert gateway.chat(user="acme").status_code == 403
    assert gateway.get("/customer/info", end_user_id="acme").status_code == 404
    done(gateway, "/customer/new", {"user_id": "acme"})
    assert gateway.chat(user="acme").status_code == 200


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"alias": "x"}, "user_id"),
        ({"user_id": "acme", "max_budget": "one"}, "max_budget"),
        ({"user_id": "acme", "budget_id": "b"}, "budget_id"),
        ({"user_id": "acme", "default_model": "demo"}, "default_model"),
        ({"user_id": "acme", "models": ["demo"]}, "models"),
        ({"user_id": "acme", "allowed_model_region": "eu"}, "allowed_model_region"),
        ({"user_id": "taken"}, "user_id"),
    ],
)
def test_what_cannot_be_used_makes_no_customer(
    gateway: Gateway, fields: dict[str, object], named: str
) -> None:
    done(gateway, "/customer/new", {"user_id": "taken"})
    assert named in refused(gateway, "/customer/new", fields)
    assert [each["user_id"] for each in shown(gateway, "/customer/list")] == ["taken"]
