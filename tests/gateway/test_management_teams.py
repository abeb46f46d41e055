"""Teams and their members over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from gateways import Gateway
from management import done, hashed, refused, shown

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["gateway_fixtures"]

TOO_LITTLE = 0.0001
"""USD; less than a chat of 100 tokens needs."""


def is_refused_for_money(gateway: Gateway, key: str) -> bool:
    status = gateway.chat(key, max_tokens=100).status_code
    assert status in (200, 402)
    return status == 402


def test_a_team_is_made_with_members_and_nobody_else(gateway: Gateway) -> None:
    members = [{"user_id": "ada", "role": "admin"}, {"user_id": "bob"}]
    made = done(gateway, "/team/new", {"team_id": "red", "team_alias": "Red", "members_with_roles": members})
    assert (made["team_id"], made["team_alias"]) == ("red", "Red")
    assert (made["members"], made["admins"]) == (["ada", "bob"], ["ada"])
    assert done(gateway, "/team/new", {})["members_with_roles"] == []
    assert "exists" in refused(gateway, "/team/new", {"team_id": "red"})


def test_a_teams_budget_holds_for_all_its_keys_together(gateway: Gateway) -> None:
    done(gateway, "/team/new", {"team_id": "red", "max_budget": TOO_LITTLE})
    keys = [gateway.new_key(team_id="red", max_budget=5) for _ in range(2)]
    assert [is_refused_for_money(gateway, key) for key in keys] == [True, True]
    done(gateway, "/team/update", {"team_id": "red", "max_budget": 1})
    assert not is_refused_for_money(gateway, keys[0])
    gateway.settled()
    told = shown(gateway, "/team/info", {"team_id": "red"})
    assert told["team_info"]["spend"] == pytest.approx(gateway.provider.bill.total_nanos / 1e9)
    assert {key["token"] for key in told["keys"]} == {hashed(key) for key in keys}


def test_a_teams_models_narrow_those_of_its_keys(gateway: Gateway) -> None:
    done(gateway, "/team/new", {"team_id": "red", "models": ["claude-sonnet-4-5"]})
    assert gateway.chat(gateway.new_key(team_id="red", models=["demo"])).status_code == 403


def test_each_member_has_the_teams_budget_for_members(gateway: Gateway) -> None:
    done(gateway, "/team/new", {"team_id": "red", "team_member_budget": TOO_LITTLE})
    done(gateway, "/team/member_add", {"team_id": "red", "member": {"user_id": "ada"}})
    ada, stranger = (gateway.new_key(team_id="red", user_id=user) for user in ("ada", "eve"))
    assert is_refused_for_money(gateway, ada)
    assert is_refused_for_money(gateway, stranger)  # who has a key of the team is no exception
    assert not is_refused_for_money(gateway, gateway.new_key(team_id="red"))
    done(gateway, "/team/update", {"team_id": "red", "team_member_budget": 1})
    assert not is_refused_for_money(gateway, ada)
    assert not is_refused_for_money(gateway, stranger)


def test_a_members_own_budget_goes_before_the_teams(gateway: Gateway) -> None:
    done(gateway, "/team/new", {"team_id": "red", "team_member_budget": 1})
    added = done(
        gateway,
        "/team/member_add",
        {
            "team_id": "red",
            "member": [{"user_id": "ada"}, {"user_id": "bob"}],
            "max_budget_in_team": TOO_LITTLE,
        },
    )
    assert [user["user_id"] for user in added["updated_users"]] == ["ada", "bob"]
    budgets = [each["litellm_budget_table"]["max_budget"] for each in added["updated_team_memberships"]]
    assert budgets == [TOO_LITTLE, TOO_LITTLE]
    key = gateway.new_key(team_id="red", user_id="ada")
    assert is_refused_for_money(gateway, key)
    done(gateway, "/team/update", {"team_id": "red", "team_member_budget": 2})
    assert is_refused_for_money(gateway, key)
    echo = done(
        gateway, "/team/member_update", {"team_id": "red", "user_id": "ada", "max_budget_in_team": None}
    )
    assert echo["max_budget_in_team"] == 2
    assert not is_refused_for_money(gateway, key)


def test_a_members_spend_in_the_team_is_told(gateway: Gateway) -> None:
    done(gateway, "/team/new", {"team_id": "a/b", "team_member_budget": 1})
    done(gateway, "/team/member_add", {"team_id": "a/b", "member": {"user_id": "ada", "role": "admin"}})
    assert gateway.chat(gateway.new_key(team_id="a/b", user_id="ada")).status_code == 200
    gateway.settled()
    (membership,) = shown(gateway, "/team/info", {"team_id": "a/b"})["team_memberships"]
    assert (membership["user_id"], membership["team_id"]) == ("ada", "a/b")
    assert membership["spend"] == pytest.approx(gateway.provider.bill.total_nanos / 1e9) != 0


def test_a_member_has_a_role_and_models_that_change(gateway: Gateway) -> None:
    done(gateway, "/team/new", {"team_id": "red", "members_with_roles": [{"user_id": "ada"}]})
    change = {"team_id": "red", "user_id": "ada", "role": "admin", "allowed_models": ["claude-sonnet-4-5"]}
    echo = done(gateway, "/team/member_update", change)
    assert (echo["role"], echo["allowed_models"]) == ("admin", ["claude-sonnet-4-5"])
    assert gateway.chat(gateway.new_key(team_id="red", user_id="ada")).status_code == 403
    assert gateway.chat(gateway.new_key(team_id="red", user_id="bob")).status_code == 200


def test_a_removed_members_keys_of_the_team_open_nothing(gateway: Gateway) -> None:
    done(gateway, "/user/new", {"user_id": "ada", "user_email": "ada@example.com"})
    done(gateway, "/team/new", {"team_id": "red"})
    member = {"team_id": "red", "member": {"user_email": "ada@example.com"}}
    assert done(gateway, "/team/member_add", member)["members"] == ["ada"]
    own, of_team = gateway.new_key(user_id="ada"), gateway.new_key(user_id="ada", team_id="red")
    removed = done(gateway, "/team/member_delete", {"team_id": "red", "user_email": "ada@example.com"})
    assert removed["members"] == []
    assert [gateway.chat(key).status_code for key in (own, of_team)] == [200, 401]
    assert "member_add" in refused(gateway, "/key/generate", {"team_id": "red", "user_id": "ada"})
    done(gateway, "/team/member_add", member)
    assert gateway.chat(of_team).status_code == 200


def test_blocking_a_team_stops_its_keys(gateway: Gateway) -> None:
    done(gateway, "/team/new", {"team_id": "red"})
    key = gateway.new_key(team_id="red")
    assert gateway.chat(key).status_code == 200
    assert done(gateway, "/team/block", {"team_id": "red"})["blocked"] is True
    assert gateway.chat(key).status_code == 401
    assert (
        done(gateway, "/team/member_add", {"team_id": "red", "member": {"user_id": "ada"}})["blocked"] is True
    )
    assert done(gateway, "/team/unblock", {"team_id": "red"})["blocked"] is False
    assert gateway.chat(key).status_code == 200


def test_a_deleted_team_takes_its_keys_along(gateway: Gateway) -> None:
    done(gateway, "/team/new", {"team_id": "red", "members_with_roles": [{"user_id": "ada"}]})
    of_team, other = gateway.new_key(team_id="red"), gateway.new_key(user_id="ada")
    refused(gateway, "/team/delete", {"team_ids": ["red", "blue"]}, status=404)
    assert gateway.chat(of_team).status_code == 200
    assert done(gateway, "/team/delete", {"team_ids": ["red"]}) == {"deleted_teams": ["red"]}
    assert [gateway.chat(key).status_code for key in (of_team, other)] == [401, 200]
    assert gateway.get("/team/info", team_id="red").status_code == 404
    assert shown(gateway, "/team/list") == []
    assert done(gateway, "/team/new", {"team_id": "red"})["members"] == []


def test_teams_are_listed_all_or_of_a_user_or_an_organization(gateway: Gateway) -> None:
    done(gateway, "/team/new", {"team_id": "red", "members_with_roles": [{"user_id": "ada"}]})
    done(gateway, "/team/new", {"team_id": "blue", "organization_id": "acme"})

    def listed(**wanted: Any) -> list[str]:
        return [team["team_id"] for team in shown(gateway, "/team/list", wanted)]

    assert listed() == ["blue", "red"]
    assert listed(user_id="ada") == ["red"]
    assert listed(organization_id="acme") == ["blue"]


@pytest.mark.parametrize(
    ("path", "fields", "named", "status"),
    [
        ("/team/new", {"team_id": ""}, "team_id", 400),
        ("/team/new", {"max_budget": -1}, "max_budget", 400),
        ("/team/new", {"team_member_budget": -1}, "team_member_budget", 400),
        ("/team/new", {"team_member_budget_duration": "soon"}, "team_member_budget_duration", 400),
        (
            "/team/new",
            {"team_member_budget": 1, "team_member_budget_duration": "soon"},
            "team_member_budget_duration",
            400,
        ),
        (
            "/team/new",
            {"members_with_roles": [{"user_id": "a", "role": "king"}]},
            "members_with_roles.0.role",
            400,
        ),
        ("/team/new", {"members_with_roles": [{"user_id": "a"}, {"user_id": "a"}]}, "user_id", 400),
        ("/team/new", {"members_with_roles": [{}]}, "user_id", 400),
        ("/team/new", {"team_member_rpm_limit": 1}, "team_member_rpm_limit", 400),
        ("/team/update", {"team_id": "red", "max_budget": "1$"}, "max_budget", 400),
        ("/team/update", {"max_budget": 1}, "team_id", 400),
        ("/team/update", {"team_id": "blue", "max_budget": 1}, "team_id", 404),
        ("/team/member_add", {"team_id": "blue", "member": {"user_id": "eve"}}, "team_id", 404),
        ("/team/member_add", {"team_id": "red", "member": {"user_id": "ada"}}, "user_id", 400),
        ("/team/member_add", {"team_id": "red", "member": {"user_email": "e@x.org"}}, "user_email", 404),
        (
            "/team/member_add",
            {"team_id": "red", "member": {"user_id": "eve"}, "max_budget_in_team": -1},
            "max_budget",
            400,
        ),
        ("/team/member_update", {"team_id": "red", "user_id": "eve", "role": "admin"}, "user_id", 404),
        ("/team/member_delete", {"team_id": "red", "user_id": "eve"}, "user_id", 404),
        ("/team/block", {"team_id": "blue"}, "team_id", 404),
    ],
)
def test_what_cannot_be_used_changes_no_team(
    gateway: Gateway, path: str, fields: dict[str, Any], named: str, status: int
) -> None:
    done(gateway, "/team/new", {"team_id": "red", "members_with_roles": [{"user_id": "ada"}]})
    before = shown(gateway, "/team/info", {"team_id": "red"})
    assert named in refused(gateway, path, fields, status=status)
    assert shown(gateway, "/team/list") == [before["team_info"]]
    assert shown(gateway, "/team/info", {"team_id": "red"}) == before


@pytest.mark.parametrize("team_id", ["/" * 200, "%" * 100, "t" * 201])
def test_a_teams_id_is_short_enough_for_the_ids_of_its_members(gateway: Gateway, team_id: str) -> None:
    members = [{"user_id": "u" * 200}]
    made = {
        "team_id": team_id,
        "members_with_roles": members,
        "model_max_budget": {"demo": {"budget_limit": 1}},
    }
    assert "team_id" in refused(gateway, "/team/new", made)
    assert shown(gateway, "/team/list") == []
    done(gateway, "/team/new", {**made, "team_id": team_id[:66], "team_member_budget": 1})
    assert gateway.new_key(team_id=team_id[:66], user_id="u" * 200)
