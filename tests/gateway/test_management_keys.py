"""Keys over HTTP: made, shown once, changed, listed, blocked, given another secret, and deleted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from gateways import MASTER_KEY, Gateway, run_gateway
from management import done, hashed, info_of, refused

from outlay.testing.clock import FakeClock
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["gateway_fixtures"]


def test_a_key_is_shown_once_and_stored_hashed(gateway: Gateway) -> None:
    made = done(gateway, "/key/generate", {"key_alias": "web", "models": ["demo"], "max_budget": 5})
    secret = made["key"]
    assert secret.startswith("sk-")
    assert len(secret) >= 3 + 32  # at least 192 random bits
    assert made["token"] == made["token_id"] == hashed(secret)
    assert made["key_name"] == f"sk-...{secret[-4:]}"
    assert (made["max_budget"], made["spend"], made["models"]) == (5, 0, ["demo"])
    assert secret not in str(info_of(gateway, secret))
    assert secret.encode() not in gateway.path.read_bytes()


def test_a_key_made_with_a_budget_is_held_to_it(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=0.0001, budget_duration="1d")
    assert gateway.chat(key, max_tokens=100).status_code == 402
    assert gateway.chat(gateway.new_key(max_budget=1), max_tokens=5).status_code == 200


def test_spend_and_the_reset_are_those_of_the_running_period(provider: FakeProvider, tmp_path: Path) -> None:
    clock = FakeClock(datetime(2026, 1, 30, 22, 50, tzinfo=UTC))
    with run_gateway(provider, tmp_path, clock=clock) as gateway:
        key = gateway.new_key(max_budget=1, budget_duration="1d")
        assert gateway.chat(key).status_code == 200
        gateway.settled()
        shown = info_of(gateway, key)
        assert shown["spend"] == pytest.approx(provider.bill.total_nanos / 1e9) != 0
        assert shown["budget_reset_at"] == "2026-01-31T00:00:00+00:00"
        clock.advance(timedelta(hours=2))
        shown = info_of(gateway, key)
        assert shown["spend"] == 0
        assert shown["budget_reset_at"] == "2026-02-01T00:00:00+00:00"


def test_spend_without_a_budget_is_all_that_the_journal_has(gateway: Gateway) -> None:
    key, other = gateway.new_key(), gateway.new_key()
    assert gateway.chat(key).status_code == gateway.chat(key).status_code == gateway.chat(other).status_code
    gateway.settled()
    total = gateway.provider.bill.total_nanos / 1e9
    assert info_of(gateway, key)["spend"] == pytest.approx(total * 2 / 3) != 0
    with gateway.http() as client:
        rows = client.get("/key/list", params={"return_full_object": True}).json()["keys"]
    assert {row["token"]: row["spend"] for row in rows} == {
        hashed(key): pytest.approx(total * 2 / 3),
        hashed(other): pytest.approx(total / 3),
    }


def test_several_windows_and_models_have_figures_of_their_own(gateway: Gateway) -> None:
    key = gateway.new_key(
        budget_limits=[
            {"budget_duration": "1h", "max_budget": 1},
            {"budget_duration": "30d", "max_budget": 9},
        ],
        model_max_budget={"demo": {"budget_limit": 0.5, "time_period": "1d"}},
    )
    assert gateway.chat(key).status_code == 200
    gateway.settled()
    shown = info_of(gateway, key)
    spent = pytest.approx(gateway.provider.bill.total_nanos / 1e9)
    assert [each["spend"] for each in shown["budget_limits"]] == [spent, spent]
    assert shown["model_spend"] == {"demo": spent}
    assert gateway.chat(key, max_tokens=60_000).status_code == 402


def test_a_key_expires_and_is_shown_so(provider: FakeProvider, tmp_path: Path) -> None:
    clock = FakeClock()
    with run_gateway(provider, tmp_path, clock=clock) as gateway:
        key = gateway.new_key(duration="30s")
        assert info_of(gateway, key)["expires"] == "2026-01-01T00:00:30+00:00"
        assert gateway.chat(key).status_code == 200
        clock.advance(30)
        assert gateway.chat(key).status_code == 401
        assert info_of(gateway, key)["status"] == "expired"
        assert gateway.get("/key/info", key).status_code == 401


def test_an_update_changes_what_it_says_and_null_clears(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=1, rpm_limit=9, metadata={"a": 1}, budget_duration="1d")
    changed = done(gateway, "/key/update", {"key": key, "max_budget": 2, "rpm_limit": None})
    assert (changed["key"], changed["max_budget"], changed["rpm_limit"]) == (key, 2, None)
    assert (changed["metadata"], changed["budget_duration"]) == ({"a": 1}, "1d")
    assert info_of(gateway, key)["max_budget"] == 2


def test_a_key_without_a_secret_is_updated_by_its_hash_or_its_alias(gateway: Gateway) -> None:
    key = gateway.new_key(key_alias="web")
    assert done(gateway, "/key/update", {"key": hashed(key), "rpm_limit": 3})["rpm_limit"] == 3
    assert done(gateway, "/key/update", {"key_alias": "web", "tpm_limit": 4})["tpm_limit"] == 4
    assert done(gateway, "/key/update", {"key": key, "key_alias": "site"})["key_alias"] == "site"
    assert "'web'" in refused(gateway, "/key/update", {"key_alias": "web", "tpm_limit": 5}, status=404)


def test_two_updates_at_once_lose_no_field(gateway: Gateway) -> None:
    key = gateway.new_key()
    fields: list[dict[str, Any]] = [
        {"max_budget": 3},
        {"rpm_limit": 4},
        {"metadata": {"a": 1}},
        {"models": ["demo"]},
        {"tpm_limit": 5},
        {"tags": ["x"]},
    ]
    with ThreadPoolExecutor(len(fields)) as pool:
        answers = list(pool.map(lambda each: gateway.post("/key/update", {"key": key, **each}), fields))
    assert {answer.status_code for answer in answers} == {200}
    shown = info_of(gateway, key)
    for each in fields:
        for name, value in each.items():
            assert shown[name] == value


def test_blocking_stops_a_key_and_unblocking_lets_it_call(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=1)
    assert gateway.chat(key).status_code == 200
    assert done(gateway, "/key/block", {"key": key})["blocked"] is True
    assert gateway.chat(key).status_code == 401
    assert info_of(gateway, key)["status"] == "revoked"
    assert done(gateway, "/key/unblock", {"key": key})["blocked"] is False
    assert gateway.chat(key).status_code == 200


def test_a_deleted_key_is_gone_and_its_secret_cannot_come_back(gateway: Gateway) -> None:
    key, kept = gateway.new_key(key_alias="a"), gateway.new_key(key_alias="b")
    assert "there is no" in refused(
        gateway, "/key/delete", {"keys": [key, "sk-unknown-0123456789"]}, status=404
    )
    assert gateway.chat(key).status_code == 200
    assert done(gateway, "/key/delete", {"keys": [key]}) == {"deleted_keys": [key]}
    assert gateway.chat(key).status_code == 401
    assert "used before" in refused(gateway, "/key/generate", {"key": key})
    assert done(gateway, "/key/delete", {"key_aliases": ["b"]}) == {"deleted_keys": ["b"]}
    assert gateway.chat(kept).status_code == 401
    assert gateway.get("/key/list").json()["total_count"] == 0


def test_a_regenerated_key_has_another_secret_and_the_same_spend(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=1, budget_duration="1d", key_alias="web")
    assert gateway.chat(key).status_code == 200
    gateway.settled()
    spent = info_of(gateway, key)["spend"]
    made = done(gateway, "/key/regenerate", {"key": key, "rpm_limit": 100})
    assert made["key"] != key
    assert (made["token"], made["spend"], made["max_budget"]) == (hashed(key), spent, 1)
    assert (made["key_alias"], made["rpm_limit"]) == ("web", 100)
    assert gateway.chat(key).status_code == 401
    assert gateway.chat(made["key"]).status_code == 200
    gateway.settled()
    assert info_of(gateway, made["key"])["spend"] == pytest.approx(2 * spent)
    again = done(gateway, f"/key/{made['token']}/regenerate", {"new_key": "sk-one-of-my-own-0123"})
    assert again["key"] == "sk-one-of-my-own-0123"
    assert gateway.chat(made["key"]).status_code == 401
    assert gateway.chat(again["key"]).status_code == 200
    assert gateway.get("/key/list").json()["keys"] == [hashed(key)]
    done(gateway, "/key/delete", {"keys": [again["key"]]})
    assert gateway.chat(again["key"]).status_code == 401


def test_a_secret_of_ones_own_is_taken_once(gateway: Gateway) -> None:
    secret = f"sk-{'my-own-' * 3}"
    assert done(gateway, "/key/generate", {"key": secret})["key"] == secret
    assert gateway.chat(secret).status_code == 200
    assert "used before" in refused(gateway, "/key/generate", {"key": secret})
    assert "used before" in refused(gateway, "/key/generate", {"key": MASTER_KEY})
    assert "at least" not in refused(gateway, "/key/generate", {"key": "sk-short"})


def test_keys_are_listed_by_page_and_by_whose_they_are(gateway: Gateway) -> None:
    done(gateway, "/team/new", {"team_id": "red"})
    keys = [gateway.new_key(user_id="ada", team_id=team) for team in (None, "red", "red")]
    keys.append(gateway.new_key(user_id="bob", organization_id="acme"))

    def listed(**wanted: Any) -> dict[str, Any]:
        with gateway.http() as client:
            page: dict[str, Any] = client.get("/key/list", params=wanted).json()
        return page

    assert listed()["total_count"] == 4
    assert set(listed(user_id="ada")["keys"]) == {hashed(key) for key in keys[:3]}
    assert set(listed(team_id="red")["keys"]) == {hashed(key) for key in keys[1:3]}
    assert listed(organization_id="acme")["keys"] == [hashed(keys[3])]
    assert listed(key_hash=hashed(keys[0]))["keys"] == [hashed(keys[0])]
    pages = [listed(page=number, size=3) for number in (1, 2, 3)]
    assert [len(page["keys"]) for page in pages] == [3, 1, 0]
    assert pages[0]["total_pages"] == 2
    assert {each for page in pages for each in page["keys"]} == {hashed(key) for key in keys}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"max_budget": "twelve"}, "max_budget"),
        ({"max_budget": -1}, "max_budget"),
        ({"max_budget": True}, "max_budget"),
        ({"max_budget": 10**30}, "max_budget"),
        ({"max_budget": 10**400}, "max_budget"),
        ({"soft_budget": -0.1}, "soft_budget"),
        ({"budget_duration": "fortnightly", "max_budget": 1}, "budget_duration"),
        ({"budget_duration": 30}, "budget_duration"),
        ({"budget_mode": "loose"}, "budget_mode"),
        ({"budget_limits": [{"max_budget": 1}]}, "budget_limits.0.budget_duration"),
        ({"budget_limits": [{"max_budget": -1, "budget_duration": "1d"}]}, "budget_limits"),
        ({"model_max_budget": {"demo": {"budget_limit": "-1"}}}, "model_max_budget.demo.budget_limit"),
        ({"model_max_budget": {"demo": 1}}, "model_max_budget.demo"),
        ({"rpm_limit": 1.5}, "rpm_limit"),
        ({"rpm_limit": -1}, "rpm_limit"),
        ({"tpm_limit": 10**40}, "tpm_limit"),
        ({"model_rpm_limit": {"demo": -1}}, "model_rpm_limit.demo"),
        ({"models": "demo"}, "models"),
        ({"models": [""]}, "models"),
        ({"tags": ["a\nb"]}, "tags"),
        ({"duration": "soon"}, "duration must be a length such as 30s, 24h, 30d or 1mo"),
        ({"duration": "daily"}, "duration must be a length such as 30s, 24h, 30d or 1mo"),
        ({"key_alias": ""}, "key_alias"),
        ({"key_alias": "master"}, "key_alias must not be 'master'"),
        ({"key_type": "root"}, "key_type"),
        ({"user_id": "a\x00b"}, "user_id"),
        ({"user_id": "\ud800"}, "user_id"),
        ({"user_id": "u" * 201}, "user_id"),
        ({"metadata": {"a": "x" * 70_000}}, "metadata"),
        ({"blocked": "yes"}, "blocked"),
        ({"guardrails": ["pii"]}, "guardrails"),
        ({"permissions": {"get_spend_routes": True}}, "permissions"),
        ({"budget_id": "b"}, "budget_id"),
        ({"spend": 3}, "spend"),
        ({"bugdet": 3}, "bugdet"),
    ],
)
def test_what_cannot_be_used_is_refused_by_the_name_of_the_field(
    gateway: Gateway, fields: dict[str, Any], named: str
) -> None:
    key = gateway.new_key(rpm_limit=7)
    before = info_of(gateway, key)
    assert named in refused(gateway, "/key/generate", fields)
    assert named in refused(gateway, "/key/update", {"key": key, **fields})
    assert info_of(gateway, key) == before
    assert gateway.get("/key/list").json()["total_count"] == 1


def test_fields_that_are_not_implemented_pass_when_they_say_nothing(gateway: Gateway) -> None:
    empty: dict[str, Any] = {
        "guardrails": [],
        "permissions": {},
        "aliases": {},
        "spend": 0,
        "budget_id": None,
    }
    assert done(gateway, "/key/generate", {**empty, "send_invite_email": False, "config": {}})["spend"] == 0


def test_a_key_of_a_team_that_does_not_exist_is_refused(gateway: Gateway) -> None:
    assert "team_id" in refused(gateway, "/key/generate", {"team_id": "nowhere"}, status=404)


def test_an_alias_is_one_keys_only(gateway: Gateway) -> None:
    gateway.new_key(key_alias="web")
    assert "key_alias" in refused(gateway, "/key/generate", {"key_alias": "web"})


def test_defaults_fill_what_is_left_open_and_bounds_hold(provider: FakeProvider, tmp_path: Path) -> None:
    rules: dict[str, Any] = {
        "default_key_params": {"max_budget": 2.0, "budget_duration": "1d"},
        "upperbound_key_params": {"max_budget": 5.0, "rpm_limit": 10},
    }
    with run_gateway(provider, tmp_path, **rules) as gateway:
        made = done(gateway, "/key/generate", {})
        assert (made["max_budget"], made["budget_duration"], made["rpm_limit"]) == (2, "1d", 10)
        assert "max_budget" in refused(gateway, "/key/generate", {"max_budget": 6})
        assert "rpm_limit" in refused(gateway, "/key/update", {"key": made["key"], "rpm_limit": None})


@pytest.mark.parametrize("new_key", ["sk-short", "taken", MASTER_KEY])
def test_a_key_that_cannot_be_regenerated_is_not_changed_either(gateway: Gateway, new_key: str) -> None:
    key = gateway.new_key(rpm_limit=1)
    if new_key == "taken":
        new_key = gateway.new_key()
    before = info_of(gateway, key)
    assert "key" in refused(gateway, "/key/regenerate", {"key": key, "rpm_limit": 2, "new_key": new_key})
    assert info_of(gateway, key) == before
    assert gateway.chat(key).status_code == 200


def test_a_key_moves_to_a_team_and_out_of_it(gateway: Gateway) -> None:
    done(gateway, "/team/new", {"team_id": "red", "max_budget": 0})
    key = gateway.new_key()
    assert gateway.chat(key).status_code == 200
    assert done(gateway, "/key/update", {"key": key, "team_id": "red"})["team_id"] == "red"
    assert gateway.chat(key).status_code == 402
    done(gateway, "/key/update", {"key": key, "team_id": None})
    assert gateway.chat(key).status_code == 200


def test_a_budget_set_on_a_key_that_spent_counts_what_it_spent(gateway: Gateway) -> None:
    key = gateway.new_key()
    assert gateway.chat(key).status_code == 200
    gateway.settled()
    spent = info_of(gateway, key)["spend"]
    changed = done(gateway, "/key/update", {"key": key, "max_budget": spent})
    assert changed["spend"] == spent > 0
    assert gateway.chat(key).status_code == 402


def test_a_change_is_logged_with_who_made_it_and_no_secret(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="outlay"):
        key = gateway.new_key(max_budget=1)
        assert gateway.post(f"/key/{key}/regenerate", {}).status_code == 200
    changes = [getattr(record, "fields", {}) for record in caplog.records if record.message == "change"]
    assert [change["route"] for change in changes] == ["/key/generate", "/key/{key}/regenerate"]
    assert {change["by"] for change in changes} == {"master"}
    assert key not in str(changes)
