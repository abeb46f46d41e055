"""Users over HTTP: made with a key, shown with keys and teams, changed, listed and deleted."""

from __future__ import annotations

from typing import Any

import pytest
from gateways import Gateway
from management import done, hashed, refused, shown

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["gateway_fixtures"]


def test_a_new_user_has_a_key_whose_spend_is_the_users(gateway: Gateway) -> None:
    made = done(gateway, "/user/new", {"user_id": "ada", "user_email": "ada@example.com", "max_budget": 1})
    assert (made["user_id"], made["user_role"], made["max_budget"]) == ("ada", "internal_user", 1)
    assert gateway.chat(made["key"]).status_code == 200
    gateway.settled()
    told = shown(gateway, "/user/info", {"user_id": "ada"})
    assert told["user_info"]["spend"] == pytest.approx(gateway.provider.bill.total_nanos / 1e9)
    assert [key["token"] for key in told["keys"]] == [hashed(made["key"])]
    assert told["teams"] == []


def test_a_users_budget_holds_for_all_keys_but_those_of_a_team(gateway: Gateway) -> None:
    made = done(gateway, "/user/new", {"user_id": "ada", "max_budget": 0.0001, "auto_create_key": False})
    assert made["key"] is None
    done(gateway, "/team/new", {"team_id": "red"})
    own = [gateway.new_key(user_id="ada") for _ in range(2)]
    assert [gateway.chat(key, max_tokens=100).status_code for key in own] == [402, 402]
    assert gateway.chat(gateway.new_key(user_id="ada", team_id="red"), max_tokens=100).status_code == 200


def test_a_user_without_an_id_gets_one(gateway: Gateway) -> None:
    first, second = (done(gateway, "/user/new", {})["user_id"] for _ in range(2))
    assert first != second
    assert shown(gateway, "/user/list")["total"] == 2


def test_a_new_user_is_put_into_teams(gateway: Gateway) -> None:
    done(gateway, "/team/new", {"team_id": "red"})
    assert "blue" in refused(gateway, "/user/new", {"user_id": "ada", "teams": ["red", "blue"]}, status=404)
    assert shown(gateway, "/user/list")["total"] == 0
    assert done(gateway, "/user/new", {"user_id": "ada", "teams": ["red"]})["teams"] == ["red"]
    assert shown(gateway, "/team/info", {"team_id": "red"})["team_info"]["members"] == ["ada"]
    assert [team["team_id"] for team in shown(gateway, "/user/info", {"user_id": "ada"})["teams"]] == ["red"]


def test_a_user_is_changed_by_id_or_by_address(gateway: Gateway) -> None:
    done(gateway, "/user/new", {"user_id": "ada", "user_email": "Ada@example.com", "rpm_limit": 5})
    changed = done(gateway, "/user/update", {"user_id": "ada", "user_role": "proxy_admin_viewer"})
    assert changed["user_id"] == "ada"
    assert (changed["data"]["user_role"], changed["data"]["rpm_limit"]) == ("proxy_admin_viewer", 5)
    by_address = {"user_email": "ada@EXAMPLE.com", "rpm_limit": None}
    assert done(gateway, "/user/update", by_address)["data"]["rpm_limit"] is None


def test_an_address_is_one_users_only(gateway: Gateway) -> None:
    done(gateway, "/user/new", {"user_id": "ada", "user_email": "ada@example.com"})
    done(gateway, "/user/new", {"user_id": "bob"})
    again = {"user_email": "ADA@example.com"}
    assert "user_email" in refused(gateway, "/user/new", again)
    assert "user_email" in refused(gateway, "/user/update", {"user_id": "bob", **again})
    assert "user_email" in refused(gateway, "/user/update", {"user_email": "eve@example.com"}, status=404)


def test_a_blocked_users_keys_open_nothing(gateway: Gateway) -> None:
    key = done(gateway, "/user/new", {"user_id": "ada"})["key"]
    done(gateway, "/user/update", {"user_id": "ada", "blocked": True})
    assert gateway.chat(key).status_code == 401
    done(gateway, "/user/update", {"user_id": "ada", "blocked": False})
    assert gateway.chat(key).status_code == 200


def test_a_deleted_user_loses_keys_and_memberships(gateway: Gateway) -> None:
    done(gateway, "/team/new", {"team_id": "red"})
    key = done(gateway, "/user/new", {"user_id": "ada", "teams": ["red"]})["key"]
    team_key = gateway.new_key(user_id="ada", team_id="red")
    other = gateway.new_key(team_id="red")
    refused(gateway, "/user/delete", {"user_ids": ["ada", "eve"]}, status=404)
    assert gateway.chat(key).status_code == 200
    assert done(gateway, "/user/delete", {"user_ids": ["ada"]}) == {"deleted_users": ["ada"]}
    assert [gateway.chat(each).status_code for each in (key, team_key, other)] == [401, 401, 200]
    assert shown(gateway, "/team/info", {"team_id": "red"})["team_info"]["members"] == []
    assert gateway.get("/user/info", user_id="ada").status_code == 404


def test_a_user_made_again_is_charged_with_what_was_spent_before(gateway: Gateway) -> None:
    key = done(gateway, "/user/new", {"user_id": "ada", "max_budget": 1})["key"]
    assert gateway.chat(key).status_code == 200
    gateway.settled()
    done(gateway, "/user/delete", {"user_ids": ["ada"]})
    again = done(gateway, "/user/new", {"user_id": "ada", "max_budget": 1})
    assert again["spend"] == pytest.approx(gateway.provider.bill.total_nanos / 1e9)


def test_users_are_listed_by_page_role_and_address(gateway: Gateway) -> None:
    for name, role in (("ada", "proxy_admin"), ("bob", "internal_user"), ("cyd", "internal_user")):
        fields = {"user_id": name, "user_role": role, "user_email": f"{name}@example.com"}
        done(gateway, "/user/new", {**fields, "auto_create_key": False})

    def listed(**wanted: Any) -> list[str]:
        return [user["user_id"] for user in shown(gateway, "/user/list", wanted)["users"]]

    assert listed() == ["ada", "bob", "cyd"]
    assert listed(role="internal_user") == ["bob", "cyd"]
    assert listed(user_ids="cyd, ada") == ["ada", "cyd"]
    assert listed(user_email="BOB@") == ["bob"]
    assert listed(page=2, page_size=2) == ["cyd"]
    assert shown(gateway, "/user/list", {"page_size": 2})["total_pages"] == 2


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"user_id": ""}, "user_id"),
        ({"user_id": 7}, "user_id"),
        ({"user_id": "ada"}, "user_id"),
        ({"user_role": "root"}, "user_role"),
        ({"max_budget": "1e-12"}, "max_budget"),
        ({"max_budget": -1}, "max_budget"),
        ({"teams": ["red", "red"]}, "teams"),
        ({"key_alias": "taken"}, "key_alias"),
        ({"password": "x"}, "password"),
        ({"organizations": ["acme"]}, "organizations"),
        ({"tags": ["a"]}, "tags"),
        ({"duration": "soon"}, "duration"),
    ],
)
def test_what_cannot_be_used_makes_no_user(gateway: Gateway, fields: dict[str, Any], named: str) -> None:
    done(gateway, "/user/new", {"user_id": "ada", "key_alias": "taken"})
    done(gateway, "/team/new", {"team_id": "red"})
    assert named in refused(gateway, "/user/new", {"user_id": "bob", **fields})
    assert shown(gateway, "/user/list")["total"] == 1
    assert shown(gateway, "/key/list")["total_count"] == 1


def test_a_user_whose_id_is_in_the_team_already_can_be_made(gateway: Gateway) -> None:
    done(
        gateway, "/team/new", {"team_id": "red", "members_with_roles": [{"user_id": "ada", "role": "admin"}]}
    )
    assert done(gateway, "/user/new", {"user_id": "ada", "teams": ["red"]})["teams"] == ["red"]
    assert shown(gateway, "/team/info", {"team_id": "red"})["team_info"]["admins"] == ["ada"]
