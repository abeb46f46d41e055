"""`/spend/logs`: the attempts of requests in LiteLLM's shape, and their sums by day."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from gateways import Gateway

from outlay.domain.commands import Amount, Record, Reserve, Reverse, Settle, Void
from outlay.gateway.config import PROJECT
from outlay.gateway.records import key_account
from outlay.testing.clock import FakeClock
from outlay.testing.provider import Behaviour, FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["gateway_fixtures"]

DAY = 86_400
ADA = (f"key:{'a' * 64}", "member:red/ada", "customer:acme", "deployment:demo-1", "global", "team:red")


def spend(id: str, nanos: int | None, accounts: tuple[str, ...] = ADA, **more: Any) -> Record:
    return Record(PROJECT, id, accounts, nanos, 12, model="demo", **more)


def hold(id: str, nanos: int, seconds: int = 10) -> Reserve:
    amounts = {"usd": Amount(nanos)}
    return Reserve(PROJECT, id, ADA, amounts, seconds * 10**6, request_id=f"req-{id}", model="demo")


def logs(gateway: Gateway, key: str | None = None, **params: Any) -> list[dict[str, Any]]:
    answer = gateway.get("/spend/logs", key, **params)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["request_id"] for row in rows]


def test_a_call_has_a_row_in_litellms_shape(gateway: Gateway) -> None:
    gateway.post("/team/new", {"team_id": "red"})
    key = gateway.new_key(user_id="ada", team_id="red", key_alias="laptop")
    answer = gateway.chat(key, user="acme", metadata={"tags": ["web"]})
    gateway.settled()
    (entry,) = gateway.journal.entries()
    (row,) = logs(gateway)
    assert row["request_id"] == answer.headers["x-outlay-request-id"]
    assert entry.usd_nanos is not None
    assert row["spend"] == entry.usd_nanos / 1e9 > 0
    assert row["prompt_tokens"] + row["completion_tokens"] == row["total_tokens"] == entry.tokens
    assert datetime.fromisoformat(row["startTime"]) <= datetime.fromisoformat(row["endTime"])
    assert row["completionStartTime"] == row["endTime"]
    assert row["request_duration_ms"] >= 0
    wanted = {
        "call_type": "acompletion",
        "api_key": key_account(key).removeprefix("key:"),
        "completion_tokens": 5,
        "model": "demo",
        "model_id": "demo-1",
        "model_group": "demo",
        "custom_llm_provider": "openai",
        "user": "ada",
        "end_user": "acme",
        "team_id": "red",
        "organization_id": None,
        "request_tags": ["web"],
        "status": "success",
        "messages": {},
        "response": {},
    }
    assert {name: row[name] for name in wanted} == wanted
    assert row["metadata"]["user_api_key_alias"] == "laptop"
    assert row["metadata"]["http_status"] == 200


def test_a_stream_says_when_its_first_chunk_came(gateway: Gateway) -> None:
    stream = gateway.openai().chat.completions.create(
        model="demo", messages=[{"role": "user", "content": "Hello"}], max_tokens=5, stream=True
    )
    assert len(list(stream)) > 1
    gateway.settled()
    (row,) = logs(gateway)
    assert row["startTime"] <= row["completionStartTime"]
    assert row["metadata"]["source"] == "provider"


def test_a_call_that_its_provider_rejects_is_a_failure_that_costs_nothing(
    gateway: Gateway, provider: FakeProvider
) -> None:
    provider.set(Behaviour(status=422))
    assert gateway.chat().status_code == 422
    gateway.settled()
    (row,) = logs(gateway)
    assert (row["status"], row["spend"], row["metadata"]["reason"]) == ("failure", 0.0, "rejected")


def test_a_presumed_charge_is_a_failure_until_it_is_corrected_and_stays_one_row(
    still: Gateway, clock: FakeClock
) -> None:
    still.execute(hold("lost", 100), hold("late", 100))
    clock.advance(20)
    still.services.ledger.sweep()
    assert [(row["spend"], row["status"]) for row in logs(still)] == [(1e-7, "failure")] * 2
    detail = {"endpoint": "messages", "upstream_model": "demo-2026", "latency_seconds": 1.5}
    usage = {"input_tokens": 4, "output_tokens": 3}
    still.execute(Settle(PROJECT, "lost", 30, 7, usage, detail=detail), Void(PROJECT, "late", "rejected"))
    late, lost = sorted(logs(still), key=lambda row: str(row["request_id"]))
    assert (lost["spend"], lost["status"], lost["total_tokens"]) == (3e-8, "success", 7)
    assert (lost["call_type"], lost["model"], lost["request_duration_ms"]) == (
        "anthropic_messages",
        "demo-2026",
        1500,
    )
    assert lost["metadata"]["is_corrected"] is True
    assert (late["spend"], late["status"], late["metadata"]["reason"]) == (0.0, "failure", "rejected")


def test_a_reversed_charge_costs_nothing_and_an_unknown_cost_is_not_zero(still: Gateway) -> None:
    still.execute(spend("wrong", 50), spend("unpriced", None), Reverse(PROJECT, "wrong", "me"))
    unpriced, wrong = logs(still)
    assert (wrong["spend"], wrong["metadata"]["is_reversed"]) == (0.0, True)
    assert unpriced["spend"] is None


def test_rows_are_found_by_key_user_request_and_date(still: Gateway, clock: FakeClock) -> None:
    secret = still.new_key(user_id="bob")
    still.execute(spend("first", 1), spend("of-bob", 2, (key_account(secret), "user:bob"), request_id="r"))
    clock.advance(DAY)
    still.execute(spend("second", 3))
    digest = key_account(secret).removeprefix("key:")
    assert ids(logs(still)) == ["second", "r", "first"]
    assert ids(logs(still, api_key=secret)) == ids(logs(still, api_key=digest)) == ["r"]
    assert ids(logs(still, user_id="bob")) == ["r"]
    assert ids(logs(still, request_id="r")) == ["r"]
    assert ids(logs(still, start_date="2026-01-02")) == ["second"]
    assert ids(logs(still, end_date="2026-01-01")) == ["r", "first"]
    day = {"start_date": "2026-01-01", "end_date": "2026-01-01", "summarize": "false"}
    assert ids(logs(still, **day)) == ["r", "first"]


def test_a_users_rows_are_those_of_its_teams_too(still: Gateway) -> None:
    member = {"role": "user", "user_id": "ada"}
    assert still.post("/team/new", {"team_id": "red"}).status_code == 200
    assert still.post("/team/member_add", {"team_id": "red", "member": member}).status_code == 200
    still.execute(spend("in-team", 1), spend("alone", 2, ("user:ada",)), spend("other", 3, ("user:bob",)))
    assert ids(logs(still, user_id="ada")) == ["alone", "in-team"]


def test_two_dates_give_sums_by_day_in_which_corrections_count_where_their_charge_does(
    still: Gateway, clock: FakeClock
) -> None:
    still.execute(spend("a", 5 * 10**8), spend("b", 10**9, ("user:bob",)), hold("lost", 4 * 10**8))
    clock.advance(DAY)
    still.services.ledger.sweep()
    still.execute(Settle(PROJECT, "lost", 10**8, 7), spend("c", 2 * 10**9))
    clock.advance(DAY)
    still.execute(spend("outside", 1))
    assert logs(still, start_date="2026-01-01", end_date="2026-01-02") == [
        {
            "startTime": "2026-01-01",
            "spend": 1.6,
            "users": {"ada": 0.6, "bob": 1.0},
            "models": {"demo": 1.6},
        },
        {"startTime": "2026-01-02", "spend": 2.0, "users": {"ada": 2.0}, "models": {"demo": 2.0}},
    ]
    only = logs(still, start_date="2026-01-01", end_date="2026-01-02", user_id="bob")
    assert [row["spend"] for row in only] == [1.0]
    assert logs(still, start_date="2026-02-01", end_date="2026-02-02") == []


def test_pages_go_on_where_the_one_before_ended(still: Gateway) -> None:
    still.execute(*(spend(f"{n}", n) for n in range(5)))
    seen: list[str] = []
    params: dict[str, Any] = {"page_size": 2}
    while True:
        answer = still.get("/spend/logs", **params)
        seen += ids(answer.json())
        if "x-outlay-next-cursor" not in answer.headers:
            break
        params["cursor"] = answer.headers["x-outlay-next-cursor"]
    assert seen == ["4", "3", "2", "1", "0"]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"start_date": "yesterday"}, "start_date"),
        ({"page_size": 10_001}, "page_size"),
        ({"cursor": "x"}, "cursor"),
        ({"sumarize": "true"}, "sumarize"),
        ({"api_key": ""}, "api_key"),
    ],
)
def test_a_parameter_that_is_wrong_is_named(still: Gateway, params: dict[str, Any], field: str) -> None:
    answer = still.get("/spend/logs", **params)
    assert answer.status_code == 400
    assert field in answer.json()["error"]["message"]
