"""`/v1/entries` and `/v1/balances`: every field exactly, and to each caller what is its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from gateways import CREDENTIAL, Gateway, usd_budget

from outlay.domain.commands import PutBudget, Record, Reverse
from outlay.gateway.config import PROJECT
from outlay.gateway.records import key_account
from outlay.testing.clock import FakeClock
from outlay.testing.provider import Behaviour, FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["gateway_fixtures"]


def spend(id: str, *accounts: str, project: str = PROJECT, **more: Any) -> Record:
    return Record(project, id, accounts, 1, **more)


def found(gateway: Gateway, by: str | None = None, **params: Any) -> list[str]:
    with gateway.http(by) as client:
        answer = client.get("/v1/entries", params=params)
    assert answer.status_code == 200, answer.text
    return [entry["id"] for entry in answer.json()["entries"]]


def balances(gateway: Gateway, key: str | None = None, **params: Any) -> list[str]:
    answer = gateway.get("/v1/balances", key, **params)
    assert answer.status_code == 200, answer.text
    return [balance["budget"] for balance in answer.json()["balances"]]


def test_an_entry_of_a_call_says_all_there_is_to_say(gateway: Gateway) -> None:
    key = gateway.new_key(user_id="ada", tags=["web"])
    answer = gateway.chat(key, user="acme")
    gateway.settled()
    (entry,) = gateway.get("/v1/entries").json()["entries"]
    assert entry["usd"] == answer.headers["x-outlay-cost"]
    assert entry["request_id"] == answer.headers["x-outlay-request-id"]
    assert entry["usage"]["output_tokens"] == 5
    assert entry["tokens"] == sum(entry["usage"][name] for name in ("input_tokens", "output_tokens"))
    assert {"global", "user:ada", "tag:web", "provider:openai"} < set(entry["accounts"])
    assert entry["price_version"]
    assert entry["latency_seconds"] >= 0
    wanted = {
        "kind": "settle",
        "source": "provider",
        "provider": "openai",
        "model": "demo",
        "upstream_model": "demo",
        "deployment": "demo-1",
        "endpoint": "chat",
        "stream": False,
        "status": 200,
        "key": key_account(key).removeprefix("key:"),
        "user": "ada",
        "team": None,
        "customer": "acme",
        "tags": ["web"],
        "attempt": 1,
    }
    assert {name: entry[name] for name in wanted} == wanted


def test_entries_are_found_by_every_filter_and_by_several_together(still: Gateway, clock: FakeClock) -> None:
    secret = still.new_key()
    still.execute(spend("a", key_account(secret), "team:red", "organization:o", model="x", request_id="r"))
    clock.advance(3_600)
    still.execute(spend("b", "user:ada", "customer:acme", "team:red", "tag:web", model="y", tags=("web",)))
    still.execute(spend("c", "user:ada", "global", source="counted"), Reverse(PROJECT, "a", "me"))
    assert found(still, order="oldest") == ["a", "b", "c", "a#reverse"]
    assert found(still, account="global") == ["c"]
    assert found(still, key=secret, kind="record") == ["a"]
    assert found(still, key=key_account(secret).removeprefix("key:")) == ["a#reverse", "a"]
    assert found(still, user="ada") == ["c", "b"]
    assert found(still, user="ada", team="red") == ["b"]
    assert found(still, organization="o", kind="reverse,record") == ["a#reverse", "a"]
    assert found(still, customer="acme") == found(still, tag="web") == found(still, model="y") == ["b"]
    assert found(still, source="counted") == ["c"]
    assert found(still, request_id="r", kind="record") == ["a"]
    assert found(still, since="2026-01-01T01:00:00+00:00", kind="record") == ["c", "b"]
    assert found(still, since="30m", kind="record") == ["c", "b"]
    assert found(still, until="2026-01-01T01:00") == ["a"]
    assert found(still, team="blue") == []


def test_pages_hold_every_entry_once_though_new_ones_are_written_meanwhile(still: Gateway) -> None:
    still.execute(*(spend(f"{n}", "global") for n in range(5)))
    seen: list[str] = []
    params: dict[str, Any] = {"limit": 2}
    while params.get("cursor", "") is not None:
        page = still.get("/v1/entries", **params).json()
        seen += [entry["id"] for entry in page["entries"]]
        params["cursor"] = page["next_cursor"]
        still.execute(spend(f"new{len(seen)}", "global"))
    assert seen == ["4", "3", "2", "1", "0"]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"account": "nobody"}, "account"),
        ({"kind": "settle,paid"}, "kind"),
        ({"source": "guessed"}, "source"),
        ({"since": "soon"}, "since"),
        ({"until": "9" * 400}, "until"),
        ({"since": "99999999999999d"}, "since"),
        ({"order": "random"}, "order"),
        ({"limit": 0}, "limit"),
        ({"cursor": "-1"}, "cursor"),
        ({"project": "other"}, "project"),
        ({"user": "\x00"}, "user"),
    ],
)
def test_a_parameter_that_is_wrong_is_named(still: Gateway, params: dict[str, Any], field: str) -> None:
    answer = still.get("/v1/entries", **params)
    assert answer.status_code == 400
    assert field in answer.json()["error"]["message"]


def test_each_caller_sees_what_is_its_own_and_no_project_sees_anothers(still: Gateway) -> None:
    still.post("/user/new", {"user_id": "ada", "auto_create_key": False})
    still.post("/user/new", {"user_id": "boss", "user_role": "proxy_admin_viewer", "auto_create_key": False})
    still.post("/team/new", {"team_id": "red"})
    still.post("/team/member_add", {"team_id": "red", "member": {"role": "user", "user_id": "ada"}})
    plain, hers, viewer = still.new_key(), still.new_key(user_id="ada"), still.new_key(user_id="boss")
    still.execute(
        spend("plain", key_account(plain), "team:red"),
        spend("hers", key_account(hers), "user:ada"),
        spend("of-her-other-key", "key:other", "user:ada"),
        spend("of-her-team-key", "key:third", "member:red/ada", "team:red"),
        spend("of-another", "key:fourth", "member:red/bob", "team:red", "user:bob"),
        spend("of-another-project", key_account(hers), "user:ada", project="p"),
    )
    everything = ["of-another", "of-her-team-key", "of-her-other-key", "hers", "plain"]
    assert found(still) == found(still, viewer) == everything
    assert found(still, plain) == ["plain"]
    assert found(still, hers) == ["of-her-team-key", "of-her-other-key", "hers"]
    assert found(still, plain, team="red") == ["plain"]
    assert found(still, hers, team="red") == ["of-her-team-key"]
    assert found(still, hers, user="bob") == found(still, plain, user="ada") == []
    assert found(still, plain, key=hers) == found(still, plain, account="global") == []
    assert found(still, hers, key=plain) == []
    logs = still.get("/spend/logs", plain).json()
    assert [row["request_id"] for row in logs] == ["plain"]
    both = {"start_date": "2026-01-01", "end_date": "2026-01-01"}
    assert still.get("/spend/logs", plain, **both).json()[0]["spend"] == 1e-9
    assert still.get("/v1/entries", "sk-unknown-key-0123456789").status_code == 401


def test_a_key_with_a_new_secret_keeps_its_entries(still: Gateway) -> None:
    old = still.new_key()
    still.execute(spend("before", key_account(old)))
    answer = still.post("/key/regenerate", {"key": old})
    assert answer.status_code == 200, answer.text
    new = answer.json()["key"]
    assert found(still, new) == found(still, key=new) == found(still, key=old) == ["before"]


def test_balances_are_those_of_the_running_periods_by_account(still: Gateway) -> None:
    still.execute(PutBudget(usd_budget("team:red", 10, "1d")), PutBudget(usd_budget("user:ada", 0.5)))
    still.execute(Record(PROJECT, "r", ("team:red",), 2_500_000_000))
    (team,) = still.get("/v1/balances", account="team:red").json()["balances"]
    assert team == {
        "project": "gateway",
        "account": "team:red",
        "budget": "team:red/usd",
        "unit": "usd",
        "mode": "hard",
        "window": "1d",
        "limit": "10",
        "granted": "0",
        "settled": "2.5",
        "reserved": "0",
        "available": "7.5",
        "overrun": "0",
        "starts_at": "2026-01-01T00:00:00+00:00",
        "resets_at": "2026-01-02T00:00:00+00:00",
    }
    assert balances(still) == ["team:red/usd", "user:ada/usd"]
    assert balances(still, account="user:nobody") == []


def test_balances_come_in_pages(still: Gateway) -> None:
    still.execute(*(PutBudget(usd_budget(f"user:{n}", 1)) for n in range(5)))
    first = still.get("/v1/balances", limit=3).json()
    assert [each["account"] for each in first["balances"]] == ["user:0", "user:1", "user:2"]
    rest = still.get("/v1/balances", limit=3, cursor=first["next_cursor"]).json()
    assert [each["account"] for each in rest["balances"]] == ["user:3", "user:4"]
    assert rest["next_cursor"] is None
    wrong = still.get("/v1/balances", cursor="nothing")
    assert wrong.status_code == 400
    assert "cursor" in wrong.json()["error"]["message"]


def test_a_caller_sees_the_balances_of_its_key_and_a_user_those_of_all_its_keys(still: Gateway) -> None:
    still.post("/user/new", {"user_id": "ada", "auto_create_key": False, "max_budget": 9})
    plain = still.new_key(max_budget=1)
    hers, other = still.new_key(user_id="ada", max_budget=2), still.new_key(user_id="ada", max_budget=3)
    own = sorted(f"{key_account(key)}/usd" for key in (hers, other))
    assert balances(still, plain) == [f"{key_account(plain)}/usd"]
    assert balances(still, hers) == [*own, "user:ada/usd"]
    assert balances(still, plain, account="user:ada") == []
    assert balances(still, hers, account="user:ada") == ["user:ada/usd"]
    assert len(balances(still)) == 4


def test_every_parameter_and_field_is_documented(gateway: Gateway) -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "spend.md").read_text(encoding="utf-8")
    assert gateway.chat(gateway.new_key(max_budget=1)).status_code == 200
    gateway.settled()
    names = set[str]()
    for path in ("/spend/logs", "/v1/entries", "/v1/balances"):
        assert f"`GET {path}`" in page
        names |= {
            each["name"] for each in gateway.get("/openapi.json").json()["paths"][path]["get"]["parameters"]
        }
    (log,) = gateway.get("/spend/logs").json()
    (entry,) = gateway.get("/v1/entries").json()["entries"]
    names |= {*log, *log["metadata"], *entry, *entry["detail"]}
    assert names - set(re.findall(r"\w+", "".join(re.findall(r"`[^`\n]+`|\"\w+\"", page)))) == set()


def test_no_text_of_a_prompt_or_an_answer_and_no_secret_is_stored_or_shown(
    gateway: Gateway, provider: FakeProvider
) -> None:
    canary = "canary-of-the-prompt-7f3a"
    messages = [{"role": "user", "content": f"Say {canary} please"}]
    key = gateway.new_key()
    answer = gateway.chat(key, messages=messages, max_tokens=30)
    said = answer.json()["choices"][0]["message"]["content"]
    assert len(said) > 20
    provider.set(Behaviour(status=400, error_body=f'{{"error": {{"message": "what is {canary}?"}}}}'))
    refused = gateway.chat(key, messages=messages)
    assert canary in refused.text
    gateway.settled()
    shown = gateway.get("/v1/entries").text + gateway.get("/spend/logs").text
    files = b"".join(path.read_bytes() for path in gateway.path.parent.glob("outlay.db*"))
    assert shown.count("deployment:demo-1") == 2
    for secret in (canary, said, key, gateway.master_key, CREDENTIAL):
        assert secret not in shown
        assert secret.encode() not in files
