"""Denials of a model: whose list it was, and nothing about which models there are. And LiteLLM's codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gateways import HELLO, Gateway, run_gateway, usd_budget
from management import done

from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["gateway_fixtures"]

PATHS = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
]
ONLY = {"models": ["claude-sonnet-4-6", "withdrawn"]}


def body_for(path: str, model: str) -> dict[str, Any]:
    if path == "/v1/responses":
        return {"model": model, "input": "Hi", "max_output_tokens": 50}
    if path == "/v1/embeddings":
        return {"model": model, "input": "Hi"}
    if path == "/v1/completions":
        return {"model": model, "prompt": "Hi", "max_tokens": 50}
    return {"model": model, "messages": HELLO, "max_tokens": 50}


@pytest.mark.parametrize("path", PATHS)
def test_a_list_is_looked_at_before_a_model_is_looked_for(gateway: Gateway, path: str) -> None:
    key = gateway.new_key(**ONLY)
    told = {}
    for model in ("demo", "unpriced", "made-up"):
        answer = gateway.post(path, body_for(path, model), key)
        assert answer.status_code == 403, model
        error = answer.json()["error"]
        assert error.get("reason", error["type"]) == error["code"] == "key_model_access_denied"
        document = answer.json()
        document.pop("request_id", None)
        told[model] = str(document).replace(model, "MODEL")
    assert len(set(told.values())) == 1  # what there is and what there is not look the same
    assert gateway.post(path, body_for(path, "withdrawn"), key).status_code == 404
    assert gateway.post(path, body_for(path, "made-up"), gateway.new_key()).status_code == 404


@pytest.mark.parametrize(
    ("whose", "type"),
    [
        ("key", "key_model_access_denied"),
        ("team", "team_model_access_denied"),
        ("member", "team_model_access_denied"),
        ("user", "user_model_access_denied"),
    ],
)
def test_a_denial_says_whose_list_it_was(gateway: Gateway, whose: str, type: str) -> None:
    if whose == "user":
        done(gateway, "/user/new", {"user_id": "ada", "auto_create_key": False, **ONLY})
        key = gateway.new_key(user_id="ada")
    elif whose == "key":
        key = gateway.new_key(**ONLY)
    else:
        done(gateway, "/team/new", {"team_id": "red", **(ONLY if whose == "team" else {})})
        allowed = {"allowed_models": ONLY["models"]} if whose == "member" else {}
        done(gateway, "/team/member_add", {"team_id": "red", "member": {"user_id": "ada"}, **allowed})
        key = gateway.new_key(team_id="red", user_id="ada")
    for model in ("demo", "made-up"):
        answer = gateway.chat(key, model=model)
        assert answer.status_code == 403
        error = answer.json()["error"]
        assert (error["type"], error["code"], error["param"]) == (type, type, "model")
    assert gateway.chat(key, model="claude-sonnet-4-6").status_code == 200


def test_a_list_with_a_star_allows_what_there_is(gateway: Gateway) -> None:
    key = gateway.new_key(models=["*"])
    assert gateway.chat(key).status_code == 200
    assert gateway.chat(key, model="made-up").status_code == 404


@pytest.mark.parametrize("status", [422, 429, 400])
@pytest.mark.parametrize("is_own", [True, False])
def test_a_stated_status_is_the_code_too(
    provider: FakeProvider, tmp_path: Path, status: int, is_own: bool
) -> None:
    budgets = [usd_budget("customer:acme", 0.0001)]
    with run_gateway(provider, tmp_path, budgets=budgets, budget_exceeded_status=status) as gateway:
        key = gateway.new_key(**({"max_budget": 0.0001} if is_own else {}))
        named = {} if is_own else {"user": "acme"}
        for path in ("/v1/chat/completions", "/v1/responses", "/v1/completions"):
            answer = gateway.post(path, {**body_for(path, "demo"), **named}, key)
            error = answer.json()["error"]
            assert (answer.status_code, error["type"], error["code"]) == (
                status,
                "budget_exceeded",
                str(status),
            )
            assert error["message"].startswith("Budget has been exceeded! ")
            assert ("Max budget: 0.0001" in error["message"]) == is_own
        message = {
            **body_for("/v1/messages", "claude-sonnet-4-6"),
            "metadata": {"user_id": named.get("user", "x")},
        }
        answer = gateway.post("/v1/messages", message, key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, str(status))


def test_a_rate_keeps_its_own_code(provider: FakeProvider, tmp_path: Path) -> None:
    with run_gateway(provider, tmp_path, budget_exceeded_status=400) as gateway:
        answer = gateway.chat(gateway.new_key(rpm_limit=0))
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
