"""Budgets of a model: by whatever spelling they name it they bind, and one that binds nothing is told."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine
from gateways import CREDENTIAL, MASTER_KEY, Gateway, run_gateway
from management import done

from outlay.gateway.config_file import load_config
from outlay.routing.configured import Alias, ConfiguredRoutes, Row
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

pytest_plugins = ["gateway_fixtures"]

PRICE = {"input_cost_per_token": 2.5e-6, "output_cost_per_token": 1e-5}
LIMITS: list[dict[str, Any]] = [
    {"model_max_budget": {"NAME": {"budget_limit": 0}}},
    {"model_max_budget": {"claude-sonnet-4-6": {"budget_limit": 0, "models": ["NAME"]}}},
    {"model_rpm_limit": {"NAME": 0}},
    {"model_tpm_limit": {"NAME": 0}},
]


def named(limit: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(limit).replace("NAME", name))
    return found


def rows_for(provider: FakeProvider) -> list[Row]:
    """A group that is named without its provider, and wildcards."""
    plain = Row(
        "demo", "openai/demo", "demo-1", api_key=CREDENTIAL, api_base=provider.base_url, own_price=PRICE
    )
    return [
        plain,
        replace(plain, group="openai/*", model="openai/*", id="star"),
        replace(plain, group="any/*", model="openai/*", id="any"),
        replace(plain, group="claude-sonnet-4-6", model="openai/claude", id="claude"),
    ]


@pytest.fixture
def wild(provider: FakeProvider, tmp_path: Path) -> Iterator[Gateway]:
    aliases = {"best": Alias("demo"), "quick": Alias("openai/gpt-4o-mini", is_hidden=True)}
    routes = ConfiguredRoutes(rows_for(provider), aliases, {})
    with run_gateway(provider, tmp_path, routes=routes) as running:
        yield running


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("gpt-4o", "openai/gpt-4o"),
        ("openai/gpt-4o", "openai/gpt-4o"),
        ("GPT-4o", "openai/gpt-4o"),
        ("demo", "demo"),
        ("openai/demo", "demo"),
        ("best", "demo"),
        ("demo", "best"),
        ("quick", "openai/gpt-4o-mini"),
        ("gpt-4o-mini", "quick"),
        ("any/gpt-4o", "any/gpt-4o"),
    ],
)
def test_a_limit_binds_by_whatever_name_the_model_has(
    wild: Gateway, limit: dict[str, Any], name: str, asked: str
) -> None:
    row = done(wild, "/key/generate", named(limit, name))
    assert "warnings" not in row
    assert wild.chat(row["key"], model=asked).status_code in (400, 402, 429)
    assert wild.chat(row["key"], model="openai/gpt-4.1").status_code == 200  # another model


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("name", ["gpt-5-nonsense", "anthropic/demo", "any/made-up", "mistral/*", "dmeo"])
def test_a_limit_that_binds_nothing_is_told(wild: Gateway, limit: dict[str, Any], name: str) -> None:
    row = done(wild, "/key/generate", named(limit, name))
    (warning,) = row["warnings"]
    assert warning.startswith(f"{next(iter(limit))}.")
    assert name in warning
    assert "no request counts" in warning
    again = done(wild, "/key/update", {"key": row["key"], "metadata": {"a": 1}})
    assert again["warnings"] == [warning]
    cleared = done(wild, "/key/update", {"key": row["key"], next(iter(limit)): None})
    assert "warnings" not in cleared


@pytest.mark.parametrize(
    ("path", "change", "fields"),
    [
        ("/key/generate", None, {}),
        ("/user/new", "/user/update", {"user_id": "ada", "auto_create_key": False}),
        ("/team/new", "/team/update", {"team_id": "red"}),
        ("/customer/new", "/customer/update", {"user_id": "acme"}),
        ("/end_user/new", "/end_user/update", {"user_id": "acme"}),
    ],
)
def test_every_route_that_takes_limits_warns(
    wild: Gateway, path: str, change: str | None, fields: dict[str, Any]
) -> None:
    typo = {"model_rpm_limit": {"dmeo": 5}}
    assert len(done(wild, path, {**fields, **typo})["warnings"]) == 1
    if change is not None:
        named_by = {name: value for name, value in fields.items() if name != "auto_create_key"}
        assert len(done(wild, change, {**named_by, **typo})["warnings"]) == 1


def test_what_was_spent_before_counts_by_either_spelling(wild: Gateway) -> None:
    key = wild.new_key()
    assert wild.chat(key, model="openai/gpt-4o").status_code == 200
    wild.settled()
    limit = {"model_max_budget": {"gpt-4o": {"budget_limit": 1}}}
    row = done(wild, "/key/update", {"key": key, **limit})
    assert row["model_spend"]["gpt-4o"] == wild.journal.charged_nanos() / 1e9 > 0


def config_with(folder: Path, provider: FakeProvider, *budgets: dict[str, Any], **more: Any) -> Path:
    params = {"model": "openai/demo", "api_base": provider.base_url, "api_key": CREDENTIAL, **PRICE}
    document = {
        "model_list": [
            {"model_name": "demo", "litellm_params": params},
            {"model_name": "openai/*", "litellm_params": {**params, "model": "openai/*"}},
        ],
        "general_settings": {"master_key": MASTER_KEY},
        "outlay": {"budgets": list(budgets)},
        **more,
    }
    path = folder / "config.yaml"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        ({"account": "global", "limit": 1, "models": ["demo"]}, None),
        ({"account": "global", "limit": 1, "models": ["openai/demo", "gpt-4o"]}, None),
        ({"account": "provider:openai", "limit": 1}, None),
        ({"account": "global", "limit": 1, "models": ["dmeo"]}, "dmeo"),
        ({"account": "user:ada", "limit": 1, "models": ["demo", "anthropic/demo"]}, "anthropic/demo"),
        ({"account": "global", "limit": 1, "providers": ["mistral"]}, "mistral"),
        ({"account": "provider:anthropic", "limit": 1}, "anthropic"),
    ],
)
def test_a_configurations_budget_that_binds_nothing_is_told(
    tmp_path: Path, provider: FakeProvider, budget: dict[str, Any], told: str | None
) -> None:
    path = config_with(tmp_path, provider, budget)
    notes = load_config(path, dict(os.environ)).notes
    shown = CommandLine(tmp_path)("check-config", "--config", str(path), "--json").json["notes"]
    assert list(notes) == shown
    assert [(told or "") in note and "no request counts" in note for note in notes] == [True] * (
        told is not None
    )


def test_a_providers_budget_without_its_models_is_told(tmp_path: Path, provider: FakeProvider) -> None:
    settings = {"provider_budget_config": {"anthropic": {"budget_limit": 1, "time_period": "1d"}}}
    path = config_with(tmp_path, provider, router_settings=settings)
    (note,) = load_config(path, dict(os.environ)).notes
    assert "'provider:anthropic/usd'" in note


def test_the_command_line_warns_by_what_the_gateway_serves(gateway: Gateway) -> None:
    outlay = CommandLine(gateway.path.parent)
    for models, warned in (("demo", 0), ("openai/demo", 0), ("demo,dmeo", 1), ("gpt-4o", 1)):
        ran = outlay("budget", "set", "user:ada", "5", "daily", "--models", models)
        assert (ran.code, ran.err.count("Warning: ")) == (0, warned), ran
    ran = outlay("budget", "set", "ada", "5", "daily", "--models", "anything", "--project", "library")
    assert "Warning" not in ran.err


def test_without_a_gateway_the_command_line_knows_no_better(tmp_path: Path) -> None:
    ran = CommandLine(tmp_path)("budget", "set", "user:ada", "5", "daily", "--models", "anything")
    assert (ran.code, ran.err) == (0, "")


def test_models_of_the_environment_are_known(
    provider: FakeProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_BASE")
    routes = load_config(None, {"OPENAI_API_KEY": CREDENTIAL, "OUTLAY_MASTER_KEY": MASTER_KEY}).routes
    with run_gateway(provider, tmp_path, routes=routes) as running:
        limits = {"model_rpm_limit": dict.fromkeys(("gpt-4o", "openai/gpt-4o", "gpt-4o-typo"), 1)}
        (warning,) = done(running, "/key/generate", limits)["warnings"]
        assert "gpt-4o-typo" in warning
