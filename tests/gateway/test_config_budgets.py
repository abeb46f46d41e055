"""Budgets of a configuration: of the gateway, providers, deployments, and any account."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlay.domain.budgets import Budget, check_budget
from outlay.domain.windows import HOUR, SECOND
from outlay.gateway.config import PROJECT
from outlay.gateway.config_file import ConfigError, load_config

pytestmark = pytest.mark.once("rules that are the same on every Python")

ENVIRON = {"OPENAI_API_KEY": "sk-test"}


def read(folder: Path, text: str) -> dict[str, Budget]:
    path = folder / "config.yaml"
    path.write_text(text)
    found = load_config(path, ENVIRON).budgets
    for budget in found:
        assert check_budget(budget).project == PROJECT
    return {budget.id: budget for budget in found}


def own(folder: Path, entry: str) -> Budget:
    (budget,) = read(
        folder, f"litellm_settings: {{timezone: Europe/Berlin}}\noutlay: {{budgets: [{entry}]}}"
    ).values()
    return budget


def problem(folder: Path, text: str) -> str:
    path = folder / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, ENVIRON)
    (only,) = caught.value.problems
    return only.replace(f"{folder}/", "")


def test_the_gateway_has_litellms_global_budget(tmp_path: Path) -> None:
    text = "litellm_settings: {max_budget: 12.5, budget_duration: 30d, timezone: Asia/Tokyo}"
    budget = read(tmp_path, text)["global/usd"]
    assert (budget.account, budget.unit, budget.limit) == ("global", "usd", 12_500_000_000)
    assert (budget.window.text, budget.window.zone, budget.mode) == ("monthly", "Asia/Tokyo", "hard")


def test_a_global_budget_without_a_duration_never_begins_anew(tmp_path: Path) -> None:
    assert read(tmp_path, "litellm_settings: {max_budget: 1}")["global/usd"].window.kind == "total"


def test_a_global_budget_of_zero_is_asked_about(tmp_path: Path) -> None:
    told = problem(tmp_path, "litellm_settings: {max_budget: 0}")
    assert told.startswith("config.yaml: litellm_settings.max_budget is 0, which is no limit in LiteLLM")


def test_providers_have_budgets_by_any_of_their_names(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "router_settings: {provider_budget_config: {openai: {budget_limit: 5, time_period: 1d}, "
        "x-ai: {max_budget: 7, budget_duration: 36h}}}",
    )
    assert found["provider:openai/usd"].window.text == "daily"
    other = found["provider:xai/usd"]
    assert (other.account, other.limit) == ("provider:xai", 7_000_000_000)
    assert (other.window.kind, other.window.length) == ("exact", 36 * HOUR)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{acme: {budget_limit: 1}}", ".acme names no provider: There is no provider called 'acme'"),
        ("{openai: {time_period: 1d}}", ".openai.budget_limit is missing"),
        ("{openai: {budget_limit: 1, time_period: often}}", ".openai.time_period must be a length such as"),
        ("{openai: 5}", ".openai must be a mapping, not int"),
        ("{openai: {budget_limit: 100, max_budget: 1}}", ".openai.budget_limit is stated twice"),
        (
            "{openai: {budget_limit: 1, time_period: 1d, budget_duration: 30d}}",
            ".openai.time_period is stated twice",
        ),
    ],
)
def test_a_bad_budget_of_a_provider_is_refused(tmp_path: Path, entry: str, message: str) -> None:
    told = problem(tmp_path, f"router_settings: {{provider_budget_config: {entry}}}")
    assert told.startswith(f"config.yaml: router_settings.provider_budget_config{message}")


def test_a_deployment_has_rates_and_a_budget(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "model_list: [{model_name: a, litellm_params: {model: gpt-4o, rpm: 60, tpm: 5000, "
        "max_parallel_requests: 4, max_budget: 3, budget_duration: 12h}, model_info: {id: mine}}]",
    )
    assert {id: (each.unit, each.limit, each.window.length) for id, each in found.items()} == {
        "deployment:mine/requests:1m": ("requests", 60, 60 * SECOND),
        "deployment:mine/tokens:1m": ("tokens", 5000, 60 * SECOND),
        "deployment:mine/concurrency": ("concurrency", 4, 0),
        "deployment:mine/usd": ("usd", 3_000_000_000, 12 * HOUR),
    }
    assert {each.account for each in found.values()} == {"deployment:mine"}


def test_a_duration_without_an_amount_is_no_budget_of_a_deployment(tmp_path: Path) -> None:
    text = "model_list: [{model_name: a, litellm_params: {model: gpt-4o, budget_duration: 1d}}]"
    assert problem(tmp_path, text).startswith(
        "config.yaml: model_list[0].litellm_params.max_budget is missing: state the limit in USD"
    )


def test_any_account_has_budgets_of_outlays_own(tmp_path: Path) -> None:
    budget = own(
        tmp_path,
        "{account: 'team:research', limit: '0.05', window: monthly, mode: soft, models: [gpt-4o, o3], "
        "providers: [x-ai]}",
    )
    assert budget.id == "config/team:research/usd/monthly/gpt-4o/o3/xai"
    assert (budget.account, budget.limit, budget.mode) == ("team:research", 50_000_000, "soft")
    assert (budget.models, budget.providers) == (("gpt-4o", "o3"), ("xai",))
    assert (budget.window.text, budget.window.zone) == ("monthly", "Europe/Berlin")


@pytest.mark.parametrize(
    ("window", "kind", "length"),
    [
        ("daily", "aligned", 0),
        ("quarterly", "aligned", 0),
        ("1d", "exact", 24 * HOUR),
        ("30d", "exact", 720 * HOUR),
        ("90m", "exact", 90 * 60 * SECOND),
        ("hourly", "exact", HOUR),
        ("3mo", "calendar", 3),
        ("1y", "calendar", 12),
        ("total", "total", 0),
        ("null", "total", 0),
    ],
)
def test_windows_are_what_they_say(tmp_path: Path, window: str, kind: str, length: int) -> None:
    budget = own(tmp_path, f"{{account: global, limit: 1, window: {window}}}")
    assert (budget.window.kind, budget.window.length) == (kind, length)


def test_a_budget_has_a_time_zone_of_its_own(tmp_path: Path) -> None:
    stated = own(tmp_path, "{account: global, limit: 1, window: daily, time_zone: Asia/Tokyo}")
    assert (stated.window.text, stated.window.zone) == ("daily", "Asia/Tokyo")
    assert own(tmp_path, "{account: global, limit: 1, window: daily}").window.zone == "Europe/Berlin"


def test_counts_and_an_id_of_ones_own(tmp_path: Path) -> None:
    budget = own(tmp_path, "{account: 'tag:batch', limit: 100, unit: requests, window: 1h, id: batches}")
    assert (budget.id, budget.unit, budget.limit) == ("batches", "requests", 100)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{limit: 1}", "[0].account is missing: a budget needs an account and a limit"),
        ("{account: global}", "[0].limit is missing"),
        ("{account: ada, limit: 1}", "[0].account must be `global` or `KIND:NAME`"),
        ("{account: 'key:laptop', limit: 1}", "[0].account must name a key by its hash"),
        ("{account: 'key:sk-0123456789abcdef', limit: 1}", "[0].account must name a key by its hash"),
        ("{account: 'provider:acme', limit: 1}", "[0].account names no provider"),
        ("{account: global, limit: -1}", "[0].limit must not be negative"),
        ("{account: global, limit: 1.5, unit: tokens}", "[0].limit must be a whole number from 0"),
        ("{account: global, limit: 1, unit: euro}", "[0].unit must be one of usd, tokens, requests"),
        ("{account: global, limit: 1, mode: firm}", "[0].mode must be one of hard, crossing, soft"),
        ("{account: global, limit: 1, window: sometimes}", "[0].window must be total, a length such as 90m"),
        ("{account: global, limit: 1, window: [1]}", "[0].window must be total, a length such as 90m"),
        ("{account: global, limit: 1, models: 5}", "[0].models must be a list of names, not 5"),
        ("{account: global, limit: 1, providers: [acme]}", "[0].providers names no provider"),
        ("{account: 'user:a', limit: 1, id: 'user:a/usd'}", "[0].id must not be 'user:a/usd'"),
        (
            "{account: 'user:a', limit: 1, unit: concurrency, window: 1d}",
            "[0]: a concurrency budget has the window `total`",
        ),
        ("{account: global, limit: 1, time_zone: Berlin}", "[0].time_zone must be an IANA name such as"),
        ("{account: global, limit: 1, time_zone: [UTC]}", "[0].time_zone must be an IANA name such as"),
        ("5", "[0] must be a mapping, not int"),
    ],
)
def test_a_bad_budget_is_refused_by_its_path(tmp_path: Path, entry: str, message: str) -> None:
    told = problem(tmp_path, f"outlay: {{budgets: [{entry}]}}")
    assert told.startswith(f"config.yaml: outlay.budgets{message}")


def test_the_secret_of_a_key_is_not_told_when_it_is_refused(tmp_path: Path) -> None:
    told = problem(tmp_path, "outlay: {budgets: [{account: 'key:sk-0123456789abcdef', limit: 1}]}")
    assert "0123456789abcdef" not in told


def test_budgets_of_a_provider_go_by_any_of_its_names(tmp_path: Path) -> None:
    assert own(tmp_path, "{account: 'provider:x-ai', limit: 1}").account == "provider:xai"


def test_two_budgets_with_one_id_are_refused(tmp_path: Path) -> None:
    entry = "{account: global, limit: 1, window: daily}"
    told = problem(tmp_path, f"outlay: {{budgets: [{entry}, {entry}]}}")
    assert told == (
        "config.yaml: there are two budgets 'config/global/usd/daily': take one out, or give it another id"
    )


def test_two_deployments_with_one_id_are_refused(tmp_path: Path) -> None:
    entry = "{model_name: a, litellm_params: {model: gpt-4o}, model_info: {id: one}}"
    told = problem(tmp_path, f"model_list: [{entry}, {entry}]")
    assert told.startswith("config.yaml: model_list[1].model_info.id is 'one' as another's")


def test_a_budget_of_a_deployment_that_there_is_not_is_told(tmp_path: Path) -> None:
    entry = "{model_name: a, litellm_params: {model: gpt-4o}, model_info: {id: one}}"
    one, two = (f"{{account: 'deployment:{name}', limit: 1}}" for name in ("one", "two"))
    told = problem(tmp_path, f"model_list: [{entry}]\noutlay: {{budgets: [{one}, {two}]}}")
    assert told.startswith("config.yaml: deployment:two is no deployment")
