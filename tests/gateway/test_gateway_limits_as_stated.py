"""A limit is never looser than stated, wherever it is stated: over HTTP, and in a configuration."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from gateways import Gateway, run_gateway
from management import message_of

from outlay.domain.budgets import Budget
from outlay.gateway.config import PROJECT
from outlay.gateway.config_file import ConfigError, load_config
from outlay.testing.provider import FakeProvider

pytestmark = pytest.mark.once("rules that are the same on every Python")

ENVIRON = {"OPENAI_API_KEY": "sk-test", "LIMIT": "0.0000000019", "TINY": "5e-10", "WIDE": "１"}
STATED = [
    ("0.0000000019", 1),
    ("1.9999999999", 1_999_999_999),
    ("0.99999999999999999999", 999_999_999),
    ("123456789.123456789", 123_456_789_123_456_789),
    ("0.10000000000000000001", 100_000_000),
    ("0", 0),
]
"""Numbers as a document writes them, and the nanos that they are at most."""
TINY = ["5e-10", "0.0000000001", "1e-400", "0.00000000099"]
PLACES: list[tuple[str, str]] = [
    ("/key/generate", '{"max_budget": %s}'),
    ("/key/generate", '{"soft_budget": %s}'),
    ("/key/generate", '{"budget_limits": [{"max_budget": %s, "budget_duration": "1d"}]}'),
    ("/key/generate", '{"model_max_budget": {"demo": {"budget_limit": %s, "time_period": "1d"}}}'),
    ("/user/new", '{"max_budget": %s}'),
    ("/team/new", '{"max_budget": %s}'),
    ("/customer/new", '{"user_id": "%%d", "max_budget": %s}'),
]
"""Every shape in which a management request states an amount."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with (
        FakeProvider() as provider,
        run_gateway(provider, tmp_path_factory.mktemp("limits")) as running,
    ):
        yield running


def budgets(gateway: Gateway) -> dict[str, Budget]:
    with gateway.services.ledger.read() as reader:
        return {budget.id: budget for budget in reader.budgets(PROJECT)}


def ask(gateway: Gateway, path: str, body: str) -> Any:
    if "%d" in body:
        body %= len(budgets(gateway))
    with gateway.http() as client:
        return client.post(path, content=body, headers={"content-type": "application/json"})


@pytest.mark.parametrize(("path", "body"), PLACES)
@pytest.mark.parametrize(("text", "most"), STATED)
def test_a_limit_over_http_is_rounded_down(
    gateway: Gateway, path: str, body: str, text: str, most: int
) -> None:
    before = budgets(gateway)
    answer = ask(gateway, path, body % text)
    assert answer.status_code == 200, answer.text
    (made,) = (budget for id, budget in budgets(gateway).items() if id not in before)
    assert made.limit <= Decimal(text) * 10**9
    assert most - 20 <= made.limit <= most, "at most a float's last digit is lost"


@pytest.mark.parametrize(("path", "body"), [*PLACES, ("/team/new", '{"team_member_budget": %s}')])
@pytest.mark.parametrize("text", TINY)
def test_a_limit_over_http_that_would_become_zero_is_refused(
    gateway: Gateway, path: str, body: str, text: str
) -> None:
    before = budgets(gateway)
    answer = ask(gateway, path, body % text)
    assert answer.status_code == 400, answer.text
    message = message_of(answer.json())
    assert "less than the smallest amount" in message or "too small" in message
    assert budgets(gateway) == before


def test_a_limit_of_zero_admits_nothing(gateway: Gateway) -> None:
    key = gateway.new_key(max_budget=0)
    assert gateway.chat(key).status_code == 402
    assert gateway.chat(gateway.new_key(tpm_limit=0)).status_code == 400
    assert gateway.chat(gateway.new_key(rpm_limit=0)).status_code == 429
    assert gateway.chat(gateway.new_key(max_parallel_requests=0)).status_code == 429


@pytest.mark.parametrize("field", ["rpm_limit", "tpm_limit", "max_parallel_requests"])
@pytest.mark.parametrize("text", ["0.5", "1.9", "1e-400", '"１"'])
def test_a_count_over_http_is_whole_or_refused(gateway: Gateway, field: str, text: str) -> None:
    answer = ask(gateway, "/key/generate", f'{{"{field}": {text}}}')
    assert answer.status_code == 400, answer.text


IN_FILE = [
    "litellm_settings: {max_budget: %s}",
    "router_settings: {provider_budget_config: {openai: {budget_limit: %s, time_period: 1d}}}",
    "router_settings: {provider_budget_config: {openai: {max_budget: %s, budget_duration: 1d}}}",
    "outlay: {budgets: [{account: 'team:red', limit: %s}]}",
    "model_list: [{model_name: m, litellm_params: {model: gpt-4o, max_budget: %s, budget_duration: 1d}}]",
]
RULES = [
    "litellm_settings: {default_key_generate_params: {max_budget: %s}}",
    "litellm_settings: {default_key_generate_params: {soft_budget: %s}}",
    "litellm_settings: {upperbound_key_generate_params: {max_budget: %s}}",
    "litellm_settings: {default_key_generate_params: {model_max_budget: {m: {budget_limit: %s}}}}",
]


@pytest.mark.parametrize("place", IN_FILE)
@pytest.mark.parametrize(
    ("text", "most"),
    [*(pair for pair in STATED if pair[1]), ("'1.9999999999'", 1_999_999_999), ("os.environ/LIMIT", 1)],
)
def test_a_limit_in_a_configuration_is_rounded_down(tmp_path: Path, place: str, text: str, most: int) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(place % text)
    (budget,) = load_config(path, ENVIRON).budgets
    assert most - 20 <= budget.limit <= most


@pytest.mark.parametrize("place", IN_FILE[1:])
def test_zero_in_a_configuration_is_a_limit(tmp_path: Path, place: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(place % "0")
    (budget,) = load_config(path, ENVIRON).budgets
    assert budget.limit == 0


@pytest.mark.parametrize("place", [*IN_FILE, *RULES])
@pytest.mark.parametrize(
    "text", ["5.0e-10", "'5e-10'", "1.0e-400", "os.environ/TINY", "os.environ/WIDE", "１"]
)
def test_a_limit_in_a_configuration_that_would_become_zero_is_refused(
    tmp_path: Path, place: str, text: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(place % text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, ENVIRON)
    (problem,) = caught.value.problems
    names = ("max_budget", "soft_budget", "budget_limit", "limit", "config.yaml, line 1")
    assert any(name in problem for name in names), "it names the field, or the line"


@pytest.mark.parametrize("limit", ["0.5", "1.5", "'1.5'", "1.0e-400"])
@pytest.mark.parametrize("unit", ["tokens", "requests", "concurrency"])
def test_a_count_in_a_configuration_is_whole_or_refused(tmp_path: Path, unit: str, limit: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"outlay: {{budgets: [{{account: 'team:red', unit: {unit}, limit: {limit}}}]}}")
    with pytest.raises(ConfigError):
        load_config(path, ENVIRON)
