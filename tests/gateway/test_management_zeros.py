"""Fields whose 0, false, null or text says something: each acts, or is refused by its name."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from gateways import Gateway
from management import done, info_of, refused, shown

from outlay.ledger.audit import audit
from outlay.testing.clock import FakeClock

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["gateway_fixtures"]

ADA = {"user_id": "ada"}
MEMBER = {"team_id": "red", "user_id": "ada"}
UNSERVED_ZEROS: dict[str, object] = {
    "tpd_limit": 0,
    "default_estimated_output_tokens": 0,
    "budget_id": 0,
    "guardrails": False,
    "temp_budget_increase": 5,
    "throttle_on_budget_exceeded": True,
}
MADE: dict[str, dict[str, Any]] = {
    "/key/generate": {},
    "/user/new": {"auto_create_key": False},
    "/team/new": {},
    "/customer/new": {"user_id": "acme"},
}


def made(gateway: Gateway, kind: str, **limits: Any) -> str:
    """An account of this kind with these limits, and a key whose calls count on it."""
    if kind == "key":
        return gateway.new_key(**limits)
    if kind == "user":
        done(gateway, "/user/new", {**ADA, "auto_create_key": False, **limits})
        return gateway.new_key(**ADA)
    if kind == "customer":
        done(gateway, "/customer/new", {"user_id": "acme", **limits})
        return gateway.new_key()
    done(gateway, "/team/new", {"team_id": "red", **(limits if kind == "team" else {})})
    if kind == "member":
        done(gateway, "/team/member_add", {"team_id": "red", "member": ADA, **limits})
    return gateway.new_key(**MEMBER)


def update(gateway: Gateway, kind: str, key: str, **fields: Any) -> dict[str, Any]:
    path, named = {
        "key": ("/key/update", {"key": key}),
        "user": ("/user/update", ADA),
        "team": ("/team/update", {"team_id": "red"}),
        "customer": ("/customer/update", {"user_id": "acme"}),
        "member": ("/team/member_update", MEMBER),
    }[kind]
    return done(gateway, path, {**named, **fields})


def row(gateway: Gateway, kind: str, key: str) -> dict[str, Any]:
    if kind == "key":
        return info_of(gateway, key)
    path, params, within = {
        "user": ("/user/info", ADA, "user_info"),
        "team": ("/team/info", {"team_id": "red"}, "team_info"),
        "customer": ("/customer/info", {"end_user_id": "acme"}, None),
    }[kind]
    found: dict[str, Any] = shown(gateway, path, params)
    return found[within] if within else found


def call(gateway: Gateway, key: str) -> int:
    status: int = gateway.chat(key, user="acme").status_code
    if status == 200:
        gateway.settled()
    return status


@pytest.mark.parametrize("kind", ["key", "user", "team", "customer"])
@pytest.mark.parametrize(
    ("limit", "status"),
    [
        ({"max_budget": 0}, 402),
        ({"max_budget": "0"}, 402),
        ({"budget_limits": [{"max_budget": 0, "budget_duration": "1d"}]}, 402),
        ({"model_max_budget": {"demo": {"budget_limit": 0}}}, 402),
        ({"rpm_limit": 0}, 429),
        ({"tpm_limit": 0}, 400),
        ({"max_parallel_requests": 0}, 429),
        ({"model_rpm_limit": {"demo": 0}}, 429),
        ({"model_tpm_limit": {"demo": 0}}, 400),
    ],
)
def test_a_limit_of_nothing_admits_nothing(
    gateway: Gateway, kind: str, limit: dict[str, Any], status: int
) -> None:
    key = made(gateway, kind)
    assert call(gateway, key) == 200
    update(gateway, kind, key, **limit)
    assert call(gateway, key) == status
    update(gateway, kind, key, **dict.fromkeys(limit))  # null: no limit
    assert call(gateway, key) == 200


@pytest.mark.parametrize(
    ("limit", "status"), [({"max_budget_in_team": 0}, 402), ({"rpm_limit": 0}, 429), ({"tpm_limit": 0}, 400)]
)
def test_a_members_limit_of_nothing_admits_nothing(
    gateway: Gateway, limit: dict[str, Any], status: int
) -> None:
    key = made(gateway, "member", **limit)
    assert call(gateway, key) == status
    update(gateway, "member", key, **dict.fromkeys(limit))
    assert call(gateway, key) == 200
    done(gateway, "/team/update", {"team_id": "red", "team_member_budget": 0})
    assert call(gateway, key) == 402


@pytest.mark.parametrize("path", [*MADE, "/team/member_add"])
@pytest.mark.parametrize("field", UNSERVED_ZEROS)
def test_what_is_not_done_here_is_refused_by_its_name_though_it_is_nought(
    gateway: Gateway, path: str, field: str
) -> None:
    fields = MADE.get(path, {"team_id": "red", "member": ADA})
    message = refused(gateway, path, {**fields, field: UNSERVED_ZEROS[field]})
    assert message.startswith(field)


@pytest.mark.parametrize("path", MADE)
@pytest.mark.parametrize(
    "nothing",
    [{"temp_budget_increase": 0}, {"guardrails": []}, {"budget_id": None}, {"send_invite_email": False}],
)
def test_what_says_only_what_is_so_anyway_is_taken(
    gateway: Gateway, path: str, nothing: dict[str, Any]
) -> None:
    done(gateway, path, {**MADE[path], **nothing})


@pytest.mark.parametrize("field", ["team_member_rpm_limit", "team_member_tpm_limit"])
def test_a_teams_limit_of_nothing_for_members_is_refused(gateway: Gateway, field: str) -> None:
    assert refused(gateway, "/team/new", {field: 0}).startswith(field)


@pytest.mark.parametrize("field", ["key_alias", "duration"])
def test_a_field_of_a_key_that_is_not_made_is_refused(gateway: Gateway, field: str) -> None:
    assert field in refused(gateway, "/user/new", {"auto_create_key": False, field: "1d"})
    assert shown(gateway, "/user/list")["total"] == 0


@pytest.mark.parametrize("kind", ["key", "user", "team", "customer"])
def test_a_spend_of_nothing_begins_the_period_anew_with_an_entry(gateway: Gateway, kind: str) -> None:
    key = made(gateway, kind, max_budget=1, soft_budget=0.5, budget_duration="1d")
    assert call(gateway, key) == 200
    before = row(gateway, kind, key)
    assert before["spend"] > 0
    update(gateway, kind, key, spend=0)
    after = row(gateway, kind, key)
    assert (after["spend"], after["budget_reset_at"]) == (0, before["budget_reset_at"])
    resets = gateway.journal.entries("reset")
    assert [(each.detail["by"], each.accounts[0].partition(":")[0]) for each in resets] == [
        ("master", kind)
    ] * 2
    update(gateway, kind, key, budget_duration="7d")  # another rule: what was reset stays so
    assert row(gateway, kind, key)["spend"] == 0
    with gateway.services.ledger.read() as reader:
        assert audit(reader).findings == []


@pytest.mark.parametrize("kind", ["key", "user", "team", "customer"])
@pytest.mark.parametrize("spend", [0.5, "0.25", 0, -1])
def test_a_spend_that_cannot_be_is_refused_and_changes_nothing(
    gateway: Gateway, kind: str, spend: object
) -> None:
    limits = {} if spend == 0 else {"max_budget": 1}
    key = made(gateway, kind, **limits)
    assert call(gateway, key) == 200
    before = row(gateway, kind, key)
    path = f"/{kind}/update"
    named = {"key": key} if kind == "key" else {"team_id": "red"} if kind == "team" else {"user_id": "ada"}
    named = {"user_id": "acme"} if kind == "customer" else named
    assert "spend" in refused(gateway, path, {**named, "spend": spend, "metadata": {"seen": True}})
    assert row(gateway, kind, key) == before
    assert gateway.journal.entries("reset") == []


def test_only_an_administrator_begins_a_period_anew(gateway: Gateway) -> None:
    key = made(gateway, "user", max_budget=1)
    assert "spend" in refused(gateway, "/key/update", {"key": key, "spend": 0}, key, status=403)


def test_what_a_name_spent_before_it_was_made_is_reset_or_the_wish_is_refused(gateway: Gateway) -> None:
    assert call(gateway, gateway.new_key(spend=0)) == 200
    assert "spend" in refused(gateway, "/customer/new", {"user_id": "acme", "spend": 0})
    made_now = done(gateway, "/customer/new", {"user_id": "acme", "spend": 0, "max_budget": 1})
    assert made_now["spend"] == 0
    assert done(gateway, "/user/new", {**ADA, "spend": 0})["spend"] == 0
    assert len(gateway.journal.entries("reset")) == 1


def test_a_regenerated_key_may_begin_anew(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=1)
    assert call(gateway, key) == 200
    assert done(gateway, "/key/regenerate", {"key": key, "spend": 0})["spend"] == 0


@pytest.mark.parametrize(
    ("fields", "shown_as"),
    [
        ({"model_max_budget": {"demo": {"budget_limit": "0.0000001", "time_period": "1d"}}}, 1e-7),
        ({"max_budget": "0.5"}, 0.5),
        ({"soft_budget": "0.25"}, 0.25),
        ({"budget_limits": [{"max_budget": "12.5", "budget_duration": "1d"}]}, 12.5),
        ({"max_budget": "0.99999999999999999999"}, 0.9999999999999999),  # never looser than stated
    ],
)
def test_amounts_may_be_texts_as_in_litellms_examples(
    gateway: Gateway, fields: dict[str, Any], shown_as: float
) -> None:
    told = done(gateway, "/key/generate", fields)
    values = {
        "model_max_budget": lambda: told["model_max_budget"]["demo"]["budget_limit"],
        "budget_limits": lambda: told["budget_limits"][0]["max_budget"],
    }
    (name,) = fields
    assert values.get(name, lambda: told[name])() == shown_as


@pytest.mark.parametrize("text", ["", "ten", "1,5", "0x10", "NaN", "-1", "1e-10", "\uff11"])
def test_other_texts_are_no_amounts(gateway: Gateway, text: str) -> None:
    for fields in ({"max_budget": text}, {"model_max_budget": {"demo": {"budget_limit": text}}}):
        assert next(iter(fields)) in refused(gateway, "/key/generate", fields)
    assert refused(gateway, "/key/generate", {"rpm_limit": "1"}).startswith("rpm_limit")


def member(gateway: Gateway) -> dict[str, Any]:
    (found,) = shown(gateway, "/team/info", {"team_id": "red"})["team_memberships"]
    limits: dict[str, Any] = found["litellm_budget_table"]
    return {name: limits[name] for name in ("max_budget", "budget_duration")}


def test_a_members_limit_without_a_duration_takes_the_teams(still: Gateway, clock: FakeClock) -> None:
    team = {"team_id": "red", "team_member_budget": 1, "team_member_budget_duration": "1d"}
    done(still, "/team/new", {**team, "members_with_roles": [ADA]})
    key = still.new_key(**MEMBER)
    assert call(still, key) == 200
    update(still, "member", key, max_budget_in_team=0)  # a limit alone keeps the window
    needed = float(still.chat(key).json()["error"]["needed"])
    update(still, "member", key, max_budget_in_team=needed)
    assert member(still) == {"max_budget": needed, "budget_duration": "1d"}
    assert call(still, key) == 402
    clock.advance(timedelta(days=1))
    assert call(still, key) == 200
    done(still, "/team/update", {"team_id": "red", "team_member_budget_duration": "7d"})
    assert member(still) == {"max_budget": needed, "budget_duration": "7d"}
    update(still, "member", key, budget_duration="30d")
    assert member(still)["budget_duration"] == "30d"
    update(still, "member", key, max_budget_in_team=2)
    assert member(still) == {"max_budget": 2, "budget_duration": "30d"}
    update(still, "member", key, max_budget_in_team=None)
    assert member(still) == {"max_budget": 1, "budget_duration": "30d"}
    update(still, "member", key, budget_duration=None)
    assert member(still) == {"max_budget": 1, "budget_duration": "7d"}


def test_a_teams_duration_alone_is_that_of_its_members_own_limits(gateway: Gateway) -> None:
    done(gateway, "/team/new", {"team_id": "red", "team_member_budget_duration": "1d"})
    done(gateway, "/team/member_add", {"team_id": "red", "member": ADA, "max_budget_in_team": 3})
    assert member(gateway) == {"max_budget": 3, "budget_duration": "1d"}
    told = refused(gateway, "/team/update", {"team_id": "red", "team_member_budget_duration": "often"})
    assert "team_member_budget_duration" in told


@pytest.mark.parametrize("kind", ["key", "user", "team", "customer"])
def test_a_limit_alone_keeps_the_window_of_the_others_too(gateway: Gateway, kind: str) -> None:
    key = made(gateway, kind, max_budget=1, budget_duration="1d")
    update(gateway, kind, key, max_budget=2)
    found = row(gateway, kind, key)
    assert (found["max_budget"], found["budget_duration"]) == (2, "1d")
    update(gateway, kind, key, budget_duration=None)
    assert row(gateway, kind, key)["budget_reset_at"] is None


@pytest.mark.parametrize("kind", ["key", "user", "team", "customer"])
def test_false_and_null_say_what_they_say(gateway: Gateway, kind: str) -> None:
    key = made(gateway, kind, blocked=True)
    assert call(gateway, key) in (401, 403)
    update(gateway, kind, key, blocked=None)  # left open
    assert call(gateway, key) in (401, 403)
    update(gateway, kind, key, blocked=False, metadata={"a": 1})
    assert call(gateway, key) == 200
    update(gateway, kind, key, metadata=None)
    assert row(gateway, kind, key)["metadata"] == {}


def test_null_and_nothing_clear_what_only_keys_have(still: Gateway, clock: FakeClock) -> None:
    key = still.new_key(
        duration="1h", models=["claude-sonnet-4-6"], tags=["a"], allowed_routes=["/chat/completions"]
    )
    assert call(still, key) == 403
    cleared: dict[str, Any] = {"models": [], "tags": None, "allowed_routes": [], "duration": None}
    done(still, "/key/update", {"key": key, **cleared})
    clock.advance(timedelta(days=2))
    assert call(still, key) == 200
    found = info_of(still, key)
    assert (found["models"], found["tags"], found["allowed_routes"], found["expires"]) == ([], [], [], None)
