"""Enforcement: one reservation over every budget of a request; each alone refuses, and touches no other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from gateways import CREDENTIAL, DEMO_RATE, HELLO, Gateway, a_budget, run_gateway, usd_budget

from outlay.domain.budgets import Budget
from outlay.domain.commands import PutBudget
from outlay.gateway.accounts import make_account
from outlay.gateway.config import PROJECT
from outlay.gateway.records import Record, TeamRecord, UserRecord
from outlay.ledger.reports import balances
from outlay.routing.configured import Row
from outlay.testing.clock import FakeClock
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["gateway_fixtures"]

ENOUGH = 10.0
"""USD that admit any call of these tests; `TINY` admits none."""
TINY = 0.00001
PEOPLE: dict[str, Any] = {"team_id": "blue", "user_id": "ada"}
LEVELS = (
    *("global", "organization:acme", "team:blue", "member:blue/ada", "user:bob", "customer:visitor"),
    *("tag:summer", "tag:from-header", "tag:from-key", "provider:openai", "deployment:demo-1"),
)


def stated(account: str, usd: float) -> Budget:
    """A budget under the id that `outlay.budgets` gives it, which no record's limits touch."""
    return replace(usd_budget(account, usd), id=f"config/{account}/usd/total")


def make_people(gateway: Gateway) -> None:
    """The team `blue` of the organization `acme`."""
    make(gateway, "team:blue", TeamRecord(), organization_id="acme")


def make(gateway: Gateway, id: str, blank: Record, **fields: Any) -> None:
    """An account, as the management API makes it."""
    make_account(gateway.services.ledger, id, blank, fields, by="test", zone="UTC", field="id")


@contextmanager
def with_budgets(provider: FakeProvider, folder: Path, *budgets: Budget, **more: Any) -> Iterator[Gateway]:
    """A gateway with these budgets, before the team `blue`."""
    with run_gateway(provider, folder, budgets=budgets, **more) as gateway:
        make_people(gateway)
        yield gateway


def spent(gateway: Gateway) -> dict[str, int]:
    """What is settled of each budget, by its account and unit; nothing must be held."""
    found = {}
    with gateway.services.ledger.read() as reader:
        for each in balances(reader, PROJECT):
            assert each.reserved == 0
            found[f"{each.account} {each.unit}"] = each.settled
    return found


def call(gateway: Gateway, level: str) -> Any:
    """One call that belongs to the level, and to most of the others."""
    is_users = level.startswith("user:")
    people = {"user_id": "bob"} if is_users else PEOPLE
    key = gateway.new_key(tags=["from-key"], **people)
    body = {"model": "demo", "messages": HELLO, "max_tokens": 5, "user": "visitor"}
    with gateway.http(key, headers={"x-litellm-tags": "from-header, other"}) as client:
        return client.post("/v1/chat/completions", json={**body, "metadata": {"tags": ["summer"]}})


def test_each_level_alone_refuses_and_the_others_stay_untouched(
    provider: FakeProvider, tmp_path: Path
) -> None:
    budgets = {level: stated(level, ENOUGH) for level in LEVELS}
    with with_budgets(provider, tmp_path, *budgets.values()) as gateway:
        for level, budget in budgets.items():
            gateway.services.ledger.execute(PutBudget(stated(level, TINY)))
            answer = call(gateway, level)
            gateway.services.ledger.execute(PutBudget(budget))
            assert answer.status_code == 402, level
            assert answer.json()["error"]["account_kind"] == level.partition(":")[0]
            assert set(spent(gateway).values()) == {0}
        assert provider.requests == []


def test_every_level_is_charged_the_same_call_once(provider: FakeProvider, tmp_path: Path) -> None:
    budgets = [stated(each, ENOUGH) for each in LEVELS]
    with with_budgets(provider, tmp_path, *budgets) as gateway:
        assert call(gateway, "team:blue").status_code == 200
        gateway.settled()
        charged = spent(gateway)
        bill = provider.bill.total_nanos
        assert charged.pop("user:bob usd") == 0
        assert set(charged.values()) == {bill}
        (entry,) = gateway.journal.entries()
        assert entry.usd_nanos == bill
        assert set(entry.tags) == {"summer", "from-header", "other", "from-key"}


def test_a_keys_own_budget_refuses_and_the_others_stay_untouched(
    provider: FakeProvider, tmp_path: Path
) -> None:
    with with_budgets(provider, tmp_path, stated("global", ENOUGH)) as gateway:
        answer = gateway.chat(gateway.new_key(max_budget=TINY, **PEOPLE))
        assert answer.status_code == 402
        assert answer.json()["error"]["account"].startswith("key:")
        assert set(spent(gateway).values()) == {0}


@pytest.mark.parametrize("header", ["x-outlay-customer", "x-litellm-end-user-id"])
def test_a_customer_may_be_named_in_a_header(provider: FakeProvider, tmp_path: Path, header: str) -> None:
    with with_budgets(provider, tmp_path, stated("customer:visitor", TINY)) as gateway:
        with gateway.http(headers={header: "visitor"}) as client:
            answer = client.post("/v1/chat/completions", json={"model": "demo", "messages": HELLO})
        assert answer.status_code == 402
        assert answer.json()["error"]["account"] == "customer:visitor"


def test_a_customer_is_the_same_in_a_header_and_in_the_body_whatever_the_script(
    provider: FakeProvider, tmp_path: Path
) -> None:
    with with_budgets(provider, tmp_path, stated("customer:Zoë", TINY)) as gateway:
        body = {"model": "demo", "messages": HELLO, "max_tokens": 5}
        assert gateway.post("/v1/chat/completions", {**body, "user": "Zoë"}).status_code == 402
        with gateway.http() as client:
            named = [*client.headers.raw, (b"x-outlay-customer", "Zoë".encode())]
            assert client.post("/v1/chat/completions", json=body, headers=named).status_code == 402
            empty = {"x-outlay-customer": ""}
            answer = client.post("/v1/chat/completions", json={**body, "user": "Zoë"}, headers=empty)
            assert answer.status_code == 402


def test_messages_name_their_customer_in_their_metadata(provider: FakeProvider, tmp_path: Path) -> None:
    with with_budgets(provider, tmp_path, stated("customer:visitor", TINY)) as gateway:
        body = {"model": "claude-sonnet-4-6", "max_tokens": 5, "messages": HELLO}
        answer = gateway.post("/v1/messages", {**body, "metadata": {"user_id": "visitor"}})
        assert answer.status_code == 402
        assert answer.json()["error"]["account"] == "customer:visitor"


def test_tags_are_the_gateways_and_do_not_reach_the_provider(gateway: Gateway) -> None:
    metadata = {"tags": ["summer"], "order": "7"}
    assert gateway.chat(None, metadata=metadata).status_code == 200
    assert gateway.provider.requests[-1].json()["metadata"] == {"order": "7"}


def test_a_users_budget_does_not_count_for_the_keys_of_a_team(provider: FakeProvider, tmp_path: Path) -> None:
    with with_budgets(provider, tmp_path, stated("user:ada", TINY)) as gateway:
        assert gateway.chat(gateway.new_key(**PEOPLE)).status_code == 200
        assert gateway.chat(gateway.new_key(user_id="ada")).status_code == 402


def test_a_users_budget_counts_for_the_keys_of_a_team_where_that_is_configured(
    provider: FakeProvider, tmp_path: Path
) -> None:
    budget = stated("user:ada", TINY)
    with with_budgets(provider, tmp_path, budget, is_user_budget_on_team_keys=True) as gateway:
        answer = gateway.chat(gateway.new_key(**PEOPLE))
        assert answer.status_code == 402
        assert answer.json()["error"]["account"] == "user:ada"


# modes


def test_a_hard_budget_is_never_exceeded(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=0.002)
    while gateway.chat(key, max_tokens=20).status_code == 200:
        gateway.settled()
    assert 0.0008 < gateway.provider.bill.total_nanos / 1e9 <= 0.002


def test_a_crossing_budget_admits_the_call_that_crosses_it_and_then_none(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=0.0001, budget_mode="crossing")
    assert gateway.chat(key, max_tokens=20).status_code == 200
    gateway.settled()
    assert gateway.provider.bill.total_nanos > 100_000
    answer = gateway.chat(key, max_tokens=20)
    assert answer.status_code == 402


def test_a_soft_budget_warns_once_and_never_refuses(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    key = gateway.new_key(max_budget=0.0001, budget_mode="soft")
    with caplog.at_level("WARNING", logger="outlay"):
        for _ in range(3):
            assert gateway.chat(key, max_tokens=20).status_code == 200
            gateway.settled()
    assert gateway.journal.charged_nanos() == gateway.provider.bill.total_nanos > 100_000
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "100 % of budget" in warnings[0]


def test_a_soft_budget_beside_a_hard_one_leaves_it_hard(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=0.0005, soft_budget=0.0001)
    assert gateway.chat(key, max_tokens=1000).status_code == 402


# units


def test_requests_a_minute_are_counted_and_come_back(provider: FakeProvider, tmp_path: Path) -> None:
    clock = FakeClock(datetime(2026, 3, 1, 12, 0, 10, tzinfo=UTC))
    with run_gateway(provider, tmp_path, clock=clock) as gateway:
        key = gateway.new_key(rpm_limit=2)
        assert [gateway.chat(key).status_code for _ in range(3)] == [200, 200, 429]
        clock.advance(60)
        assert gateway.chat(key).status_code == 200


def test_parallel_requests_are_limited_while_they_run(gateway: Gateway) -> None:
    key = gateway.new_key(max_parallel_requests=1)
    gateway.provider.script([{"hang_after_chunks": 1}])
    stream = gateway.openai(key).chat.completions.create(
        model="demo", messages=HELLO, max_tokens=5, stream=True
    )
    next(iter(stream))
    answer = gateway.chat(key)
    assert answer.status_code == 429
    assert answer.json()["error"]["unit"] == "concurrency"
    assert answer.headers["retry-after"] == "1"
    gateway.provider.release()
    list(stream)
    gateway.settled()
    assert gateway.chat(key).status_code == 200


def test_a_refused_request_counts_as_none(gateway: Gateway) -> None:
    key = gateway.new_key(rpm_limit=1, max_budget=0.002)
    assert gateway.chat(key, max_tokens=1000).status_code == 402
    assert gateway.chat(key).status_code == 200
    assert gateway.chat(key).status_code == 429


def test_a_budget_of_one_model_leaves_the_others_alone(gateway: Gateway) -> None:
    limits = {"claude-sonnet-4-6": {"budget_limit": TINY, "time_period": "1d"}}
    key = gateway.new_key(model_max_budget=limits)
    assert gateway.chat(key).status_code == 200
    body = {"model": "claude-sonnet-4-6", "max_tokens": 5, "messages": HELLO}
    answer = gateway.post("/v1/messages", body, key)
    assert answer.status_code == 402
    assert "usd:model:claude-sonnet-4-6" in answer.json()["error"]["budget"]


def test_of_several_windows_the_tightest_refuses_until_it_ends(
    provider: FakeProvider, tmp_path: Path
) -> None:
    clock = FakeClock(datetime(2026, 3, 4, 12, tzinfo=UTC))
    windows = [{"budget_duration": "1d", "max_budget": 0.001}, {"budget_duration": "7d", "max_budget": 0.1}]
    with run_gateway(provider, tmp_path, clock=clock) as gateway:
        key = gateway.new_key(budget_limits=windows)
        while (answer := gateway.chat(key)).status_code == 200:
            gateway.settled()
        assert answer.json()["error"]["budget"].endswith("/usd:1d")
        assert answer.json()["error"]["resets_at"] == "2026-03-05T00:00:00+00:00"
        clock.advance(12 * 3600)
        assert gateway.chat(key).status_code == 200


# the clamp


def test_a_cap_is_put_in_where_there_is_none_and_the_header_says_so(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=0.002)
    gateway.provider.set({"output_tokens": 5_000})
    answer = gateway.chat(key, max_tokens=None)
    assert answer.status_code == 200
    cap = gateway.provider.requests[-1].json()["max_tokens"]
    assert answer.headers["x-outlay-max-tokens"] == str(cap)
    assert answer.json()["usage"]["completion_tokens"] == cap
    assert gateway.provider.bill.total_nanos <= 2_000_000


def test_without_a_budget_nothing_is_put_in(gateway: Gateway) -> None:
    answer = gateway.chat(None, max_tokens=None)
    sent = gateway.provider.requests[-1].json()
    assert {"max_tokens", "max_completion_tokens"}.isdisjoint(sent)
    assert "x-outlay-max-tokens" not in answer.headers


def test_a_declared_cap_is_never_lowered_in_silence(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=0.002)
    assert gateway.chat(key, max_tokens=1000).status_code == 402
    answer = gateway.chat(key, max_tokens=50)
    assert gateway.provider.requests[-1].json()["max_tokens"] == 50
    assert "x-outlay-max-tokens" not in answer.headers


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_declared_cap_is_lowered_where_that_is_configured_and_the_header_says_so(
    provider: FakeProvider, tmp_path: Path, field: str
) -> None:
    with run_gateway(provider, tmp_path, clamp="always") as gateway:
        key = gateway.new_key(max_budget=0.002)
        provider.set({"output_tokens": 5_000})
        answer = gateway.chat(key, **{"max_tokens": None, field: 1000})
        assert answer.status_code == 200
        cap = int(answer.headers["x-outlay-max-tokens"])
        assert 16 <= cap < 1000
        assert provider.requests[-1].json()["max_tokens"] == cap  # the field that every provider obeys
        assert answer.json()["usage"]["completion_tokens"] == cap
        assert provider.bill.total_nanos <= 2_000_000


def test_less_than_the_floor_is_refused_and_not_answered_with_a_stump(gateway: Gateway) -> None:
    whole = gateway.chat(gateway.new_key(max_budget=0.0001), max_tokens=1000).json()["error"]["needed"]
    input_nanos = round(float(whole) * 1e9) - 1000 * DEMO_RATE[1]
    short = gateway.new_key(max_budget=(input_nanos + 15 * DEMO_RATE[1]) / 1e9)
    refused = gateway.chat(short, max_tokens=None)
    assert refused.status_code == 402
    assert refused.json()["error"]["affordable_max_tokens"] == 15
    enough = gateway.new_key(max_budget=(input_nanos + 16 * DEMO_RATE[1]) / 1e9)
    assert gateway.chat(enough, max_tokens=None).headers["x-outlay-max-tokens"] == "16"


def test_a_reasoning_models_floor_leaves_room_to_think(provider: FakeProvider, tmp_path: Path) -> None:
    price = {"input_cost_per_token": 2.5e-6, "output_cost_per_token": 1e-5}
    thinker = Row("o3", "openai/o3", "o3-1", api_key=CREDENTIAL, api_base=provider.base_url, own_price=price)
    with run_gateway(provider, tmp_path, rows_of=[thinker]) as gateway:
        poor, able = gateway.new_key(max_budget=0.01), gateway.new_key(max_budget=0.012)
        assert gateway.chat(poor, model="o3", max_tokens=None).status_code == 402
        assert gateway.chat(able, model="o3", max_tokens=None).status_code == 200
        assert provider.requests[-1].json()["max_completion_tokens"] >= 1024


def test_every_answer_of_a_request_is_held_for(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=0.005)
    gateway.provider.set({"output_tokens": 5_000})
    answer = gateway.chat(key, max_tokens=None, n=8)
    assert answer.status_code == 200
    assert len(answer.json()["choices"]) == 8
    assert gateway.provider.bill.total_nanos <= 5_000_000


# changes while a key is in use


def test_a_lowered_budget_counts_from_the_next_request_on(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=1)
    assert gateway.chat(key).status_code == 200
    gateway.settled()
    gateway.post("/key/update", {"key": key, "max_budget": TINY})
    assert gateway.chat(key).status_code == 402
    gateway.post("/key/update", {"key": key, "max_budget": 1})
    assert gateway.chat(key).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"), [("/key/block", "key"), ("/key/delete", "keys"), ("/key/regenerate", "key")]
)
def test_a_key_that_is_ended_serves_no_further_request(gateway: Gateway, path: str, body: str) -> None:
    key = gateway.new_key()
    assert gateway.chat(key).status_code == 200
    assert gateway.post(path, {body: [key] if body == "keys" else key}).status_code == 200
    answer = gateway.chat(key)
    assert answer.status_code == 401
    assert len(gateway.provider.requests) == 1


def test_an_allow_list_counts_from_the_next_request_on(gateway: Gateway) -> None:
    key = gateway.new_key()
    assert gateway.chat(key).status_code == 200
    gateway.post("/key/update", {"key": key, "models": ["claude-sonnet-4-6"]})
    assert gateway.chat(key).status_code == 403
    gateway.post("/key/update", {"key": key, "models": ["demo"]})
    assert gateway.chat(key).status_code == 200


def test_a_key_expires(provider: FakeProvider, tmp_path: Path) -> None:
    clock = FakeClock(datetime(2026, 3, 4, 12, tzinfo=UTC))
    with run_gateway(provider, tmp_path, clock=clock) as gateway:
        key = gateway.new_key(duration="1h")
        assert gateway.chat(key).status_code == 200
        clock.advance(3600)
        assert gateway.chat(key).status_code == 401


def test_a_blocked_team_or_customer_serves_no_further_request(gateway: Gateway) -> None:
    make_people(gateway)
    key = gateway.new_key(**PEOPLE)
    assert gateway.chat(key).status_code == 200
    make(gateway, "customer:visitor", Record(), blocked=True)
    denied = gateway.chat(key, user="visitor")
    assert denied.status_code == 403
    assert denied.json()["error"]["code"] == "account_blocked"
    assert len(gateway.provider.requests) == 1


# allow-lists


def test_every_allow_list_above_a_key_must_name_the_model(gateway: Gateway) -> None:
    make(gateway, "team:red", TeamRecord(), models=["demo"])
    make(gateway, "user:eve", UserRecord(), models=["claude-sonnet-4-6"])
    teams, users = gateway.new_key(team_id="red"), gateway.new_key(user_id="eve")
    assert gateway.chat(teams).status_code == 200
    assert gateway.chat(teams, model="unpriced").status_code == 403
    assert gateway.chat(users).status_code == 403
    assert gateway.chat(gateway.new_key(models=["all-proxy-models"])).status_code == 200


def test_tokens_of_all_requests_together_are_limited(provider: FakeProvider, tmp_path: Path) -> None:
    with run_gateway(provider, tmp_path, budgets=[a_budget("global", "tokens", 2_000, "1d")]) as gateway:
        provider.set({"output_tokens": 5_000})
        while (answer := gateway.chat(None, max_tokens=300)).status_code == 200:
            gateway.settled()
        assert answer.json()["error"]["unit"] == "tokens"
        assert provider.bill.input_tokens + provider.bill.output_tokens <= 2_000
