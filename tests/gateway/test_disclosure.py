"""What refusals and headers tell a key: all about what is its own, and next to nothing of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from gateways import HELLO, Gateway, a_budget, run_gateway, usd_budget
from management import done, shown

from outlay.domain.accounts import Account
from outlay.domain.budgets import Budget
from outlay.domain.commands import PutAccount, PutBudget
from outlay.gateway.config import PROJECT
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["gateway_fixtures"]

SMALL = 0.00031337
"""A limit in USD that no other figure of an answer looks like."""
OTHERS = ["customer:acme", "tag:blue", "provider:openai", "deployment:demo-1", "global", "organization:org"]
TOLD_OF_OTHERS = {"message", "type", "param", "code", "account_kind", "resets_at", "can_wait"}
FIGURES = ("31337", "x-ratelimit", "x-outlay-max-tokens", "affordable")
CAPS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
NAMING: dict[str, Any] = {"user": "acme", "metadata": {"tags": ["blue"]}}


def gateway_with(provider: FakeProvider, folder: Path, *budgets: Budget, **more: Any) -> Any:
    return run_gateway(provider, folder, budgets=budgets, **more)


def text_of(answer: httpx.Response) -> str:
    """Everything that the caller is told, but for the model's text."""
    return f"{answer.headers} {answer.text}"


@pytest.mark.parametrize("account", OTHERS)
def test_a_refusal_by_a_budget_of_others_has_no_figure_and_no_name(
    provider: FakeProvider, tmp_path: Path, account: str
) -> None:
    with gateway_with(provider, tmp_path, usd_budget(account, SMALL, "daily")) as gateway:
        key = gateway.new_key(max_budget=5, organization_id="org")
        answer = gateway.chat(key, max_tokens=1000, **NAMING)
        assert answer.status_code == 402
        error = answer.json()["error"]
        assert error.keys() == TOLD_OF_OTHERS
        assert error["account_kind"] == account.partition(":")[0]
        assert error["resets_at"].endswith("00:00:00+00:00")
        assert error["can_wait"] is False
        assert not [each for each in (*FIGURES, f"{account}/", "demo-1") if each in text_of(answer)]


@pytest.mark.parametrize("account", OTHERS[:-1])
def test_the_master_key_is_told_all_of_every_account(
    provider: FakeProvider, tmp_path: Path, account: str
) -> None:
    with gateway_with(provider, tmp_path, usd_budget(account, 10 * SMALL, "daily")) as gateway:
        error = gateway.chat(max_tokens=1000, **NAMING).json()["error"]
        assert (error["account"], error["limit"]) == (account, "0.0031337")
        assert error["affordable_max_tokens"] > 0


@pytest.mark.parametrize(
    ("unit", "limit", "status"),
    [("requests", 0, 429), ("tokens", 313370, 429), ("tokens", 31337, 400), ("concurrency", 0, 429)],
)
def test_a_rate_of_others_says_when_to_come_back_and_nothing_else(
    provider: FakeProvider, tmp_path: Path, unit: Any, limit: int, status: int
) -> None:
    window = "total" if unit == "concurrency" else "1m"
    with gateway_with(provider, tmp_path, a_budget("customer:acme", unit, limit, window)) as gateway:
        key = gateway.new_key()
        body = {"max_tokens": 300_000, "user": "acme"}
        if (unit, status) == ("tokens", 429):
            provider.set({"output_tokens": 290_000})
            assert gateway.chat(key, **body).status_code == 200
            gateway.settled()
        answer = gateway.chat(key, **body)
        assert answer.status_code == status
        assert answer.json()["error"].keys() == TOLD_OF_OTHERS
        assert ("retry-after" in answer.headers) == (status == 429 and limit > 0)
        assert not [each for each in (*FIGURES, "290") if each in text_of(answer)]
        assert "limit" in gateway.chat(**body).json()["error"]  # the master key's


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"])
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_cap_that_a_budget_of_others_lowers_is_put_and_not_told(
    provider: FakeProvider, tmp_path: Path, path: str, is_stream: bool
) -> None:
    model = "claude-sonnet-4-6" if path == "/v1/messages" else "demo"
    body: dict[str, Any] = {"model": model, "stream": is_stream}
    if path == "/v1/messages":
        body |= {"messages": HELLO, "max_tokens": 50_000, "metadata": {"user_id": "acme"}}
    elif path == "/v1/responses":
        body |= {"input": "Hello", "user": "acme"}
    else:
        body |= (
            {"prompt": "Hello", "max_tokens": 50_000, "user": "acme"}
            if path == "/v1/completions"
            else {"messages": HELLO, "user": "acme"}
        )
    budgets = [usd_budget("customer:acme", 0.01)]
    with gateway_with(provider, tmp_path, *budgets, clamp="always") as gateway:
        key = gateway.new_key(max_budget=0.5)
        with gateway.http(key) as client:
            answer = client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        sent = json.loads(provider.requests[-1].body)
        (cap,) = (sent[name] for name in CAPS if name in sent)
        assert cap < 2000
        assert "x-outlay-max-tokens" not in answer.headers
        assert 0.4 < float(answer.headers["x-outlay-remaining"]) < 0.5
        gateway.settled()
        of_master = gateway.post(path, body)
        assert int(of_master.headers["x-outlay-max-tokens"]) < 2000
        assert float(of_master.headers["x-outlay-remaining"]) < 0.01


def test_a_cap_that_ones_own_budget_lowers_is_told_beside_a_wider_one_of_others(
    provider: FakeProvider, tmp_path: Path
) -> None:
    with gateway_with(provider, tmp_path, usd_budget("customer:acme", 5), clamp="always") as gateway:
        key = gateway.new_key(max_budget=0.01)
        answer = gateway.chat(key, max_tokens=None, user="acme")
        assert 0 < int(answer.headers["x-outlay-max-tokens"]) < 1000


def test_what_is_affordable_is_told_where_ones_own_budget_is_the_tightest(
    provider: FakeProvider, tmp_path: Path
) -> None:
    with gateway_with(provider, tmp_path, usd_budget("customer:acme", 0.002)) as gateway:
        tight = gateway.chat(gateway.new_key(max_budget=0.001), max_tokens=1000, user="acme").json()["error"]
        assert 0 < tight["affordable_max_tokens"] < 100
        wide = gateway.chat(gateway.new_key(max_budget=0.003), max_tokens=1000, user="acme").json()["error"]
        assert (wide["account_kind"], wide["limit"]) == ("key", "0.003")
        assert wide["affordable_max_tokens"] is None  # it would be acme's
        assert "would fit" not in wide["message"]


@pytest.mark.parametrize("account", ["key", "user", "team", "member"])
def test_a_refusal_tells_all_of_what_is_ones_own(gateway: Gateway, account: str) -> None:
    if account == "user":
        done(gateway, "/user/new", {"user_id": "ada", "max_budget": 0.001, "auto_create_key": False})
        key = gateway.new_key(user_id="ada")
    elif account == "key":
        key = gateway.new_key(max_budget=0.001)
    else:
        limit = {"max_budget" if account == "team" else "team_member_budget": 0.001}
        members = [{"user_id": "ada", "role": "user"}]
        done(gateway, "/team/new", {"team_id": "red", "members_with_roles": members, **limit})
        key = gateway.new_key(team_id="red", user_id="ada")
    error = gateway.chat(key, max_tokens=1000).json()["error"]
    assert error["account"].partition(":")[0] == error["account_kind"] == account
    assert (error["limit"], error["settled"]) == ("0.001", "0")
    assert error["budget"].startswith(error["account"])
    assert 0 < error["affordable_max_tokens"] < 100
    assert "of $0.001, $0 is spent" in error["message"]


def test_nobody_reads_a_customers_balance_by_naming_it(provider: FakeProvider, tmp_path: Path) -> None:
    with gateway_with(provider, tmp_path, usd_budget("customer:acme", SMALL)) as gateway:
        mallory = gateway.new_key(user_id="mallory")
        told = [
            text_of(gateway.chat(mallory, user="acme", max_tokens=cap, stream=is_stream))
            for cap in (1, 1000)
            for is_stream in (False, True)
        ]
        gateway.settled()
        for path in ("/v1/balances", "/v1/entries", "/spend/logs"):
            with gateway.http(mallory) as client:
                told.append(text_of(client.get(path)))
                told += [text_of(client.get(path, params={"account": "customer:acme"}))] * (path[1] == "v")
        assert not [each for each in told if "31337" in each or "x-outlay-remaining" in each]


@pytest.mark.parametrize("kind", ["customer", "tag"])
def test_an_account_of_others_that_is_blocked_is_told_by_its_kind(gateway: Gateway, kind: str) -> None:
    name = {"customer": "acme", "tag": "blue"}[kind]
    gateway.execute(PutAccount(Account(PROJECT, f"{kind}:{name}", status="blocked")))
    answer = gateway.chat(gateway.new_key(), **NAMING)
    assert answer.status_code == 403
    error = answer.json()["error"]
    assert error["code"] == "account_blocked"
    assert error["account_kind"] == kind
    assert name not in answer.text
    assert gateway.chat(**NAMING).json()["error"]["account"] == f"{kind}:{name}"


@pytest.mark.parametrize(("model", "code"), [("unpriced", "price_unknown"), ("demo", "cost_unbounded")])
def test_a_request_without_a_bound_is_told_no_budget_of_others(
    provider: FakeProvider, tmp_path: Path, model: str, code: str
) -> None:
    searching = {"input": "News?", "max_output_tokens": 16, "tools": [{"type": "web_search"}], "user": "acme"}
    with gateway_with(provider, tmp_path, usd_budget("customer:acme", SMALL)) as gateway:
        body = {"model": model, "messages": HELLO, "max_tokens": 5, "user": "acme"}
        path = "/v1/chat/completions"
        if code == "cost_unbounded":
            path, body = "/v1/responses", {"model": model, **searching}
        answer = gateway.post(path, body, gateway.new_key())
        assert answer.json()["error"]["code"] == code
        assert answer.json()["error"]["account_kind"] == "customer"
        assert "acme" not in answer.text
        assert gateway.post(path, body).json()["error"]["account"] == "customer:acme"


def test_another_key_gets_no_repeat_of_an_answer(gateway: Gateway) -> None:
    header = {"idempotency-key": "one"}
    body = {"model": "demo", "messages": HELLO, "max_tokens": 5}
    told = []
    for budget in (0.5, 5):
        with gateway.http(gateway.new_key(max_budget=budget), headers=header) as client:
            told.append(client.post("/v1/chat/completions", json=body).headers)
    assert "x-outlay-replayed" not in told[1]
    assert [each["x-litellm-key-max-budget"] for each in told] == ["0.5", "5"]
    assert float(told[1]["x-outlay-remaining"]) > 4


def test_a_key_sees_no_model_and_no_budget_that_is_not_its_own(gateway: Gateway) -> None:
    key = gateway.new_key(models=["demo"], max_budget=1)
    gateway.new_key(max_budget=SMALL, key_alias="other")
    assert [each["id"] for each in shown(gateway, "/v1/models", key=key)["data"]] == ["demo"]
    assert len(shown(gateway, "/v1/balances", key=key)["balances"]) == 1
    with gateway.http(key) as client:
        assert client.get("/metrics").status_code == 403
        exists, made_up = client.get("/v1/models/unpriced"), client.get("/v1/models/nonsense")
    assert (exists.status_code, made_up.status_code) == (404, 404)


def test_a_cursor_tells_nobody_whether_another_has_a_budget(gateway: Gateway) -> None:
    gateway.execute(PutBudget(usd_budget("customer:acme", SMALL)))
    key = gateway.new_key(max_budget=1)
    own = shown(gateway, "/v1/balances", key=key)["balances"][0]["budget"]
    with gateway.http(key) as client:
        told = [
            client.get("/v1/balances", params={"cursor": cursor})
            for cursor in ("customer:acme/usd", "customer:nobody/usd", own)
        ]
    assert [each.status_code for each in told] == [400, 400, 200]
    assert told[0].text == told[1].text
    with gateway.http() as operator:
        assert operator.get("/v1/balances", params={"cursor": "customer:acme/usd"}).status_code == 200
