"""The configuration's file: what a user who moves from LiteLLM has, and Outlay's own section."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from outlay.gateway.config import Config, Limits
from outlay.gateway.config_file import ConfigError, load_config
from outlay.providers.transport import Timeouts
from outlay.routing.configured import ConfiguredRoutes

pytestmark = pytest.mark.once("rules that are the same on every Python")

ENVIRON = {
    "OPENAI_API_KEY": "sk-openai-key-of-the-test",
    "ANTHROPIC_API_KEY": "sk-ant-key-of-the-test",
    "LITELLM_MASTER_KEY": "sk-master-of-the-test",
}

MOVING = """
model_list:
  - model_name: gpt-4o
    litellm_params: &gpt
      model: openai/gpt-4o
      api_key: os.environ/OPENAI_API_KEY
      rpm: 500
      tpm: 1000000
    model_info: {id: gpt-4o-first, mode: chat}
  - model_name: gpt-4o
    litellm_params:
      <<: *gpt
      api_key: sk-the-second-key-in-the-file
      weight: 3
  - model_name: claude-sonnet
    litellm_params:
      model: anthropic/claude-sonnet-4-5
      api_key: os.environ/ANTHROPIC_API_KEY
      timeout: 900
      stream_timeout: 60
  - model_name: local
    litellm_params:
      model: hosted_vllm/qwen3
      api_base: http://localhost:8000/v1
      input_cost_per_token: 0
      output_cost_per_token: 1e-07
  - model_name: "openai/*"
    litellm_params: {model: "openai/*", api_key: os.environ/OPENAI_API_KEY}

router_settings:
  routing_strategy: simple-shuffle
  num_retries: 2
  model_group_alias: {gpt-4: gpt-4o, quiet: {model: claude-sonnet, hidden: true}}
  provider_budget_config:
    openai: {budget_limit: 100, time_period: 1d}
  redis_host: os.environ/REDIS_HOST

litellm_settings:
  max_budget: 500
  budget_duration: 30d
  timezone: Europe/Berlin
  request_timeout: 300
  budget_exceeded_status_code: 429
  drop_params: true
  success_callback: [langfuse]
  default_key_generate_params: {max_budget: 5, budget_duration: 1d, duration: 30d}
  upperbound_key_generate_params: {max_budget: 100, duration: 90d, rpm_limit: 1000}

general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
  database_url: sqlite:///spend.db
  apply_user_budget_to_team_keys: true
  alerting: [slack]

mcp_servers: {}
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a configuration into the test's folder."""

    def to_file(text: str, name: str = "config.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


def problems(path: Path | None, environ: dict[str, str] | None = None, **flags: str) -> list[str]:
    """What is wrong, without the folder's name."""
    with pytest.raises(ConfigError) as caught:
        load_config(path, ENVIRON if environ is None else environ, **flags)
    folder = f"{path.parent}/" if path else ""
    return [problem.replace(folder, "") for problem in caught.value.problems]


def deployments(config: Config, model: str) -> list[str]:
    group = config.routes.find(model)
    assert group is not None
    return [each.id for each in group.deployments]


def test_the_file_of_a_moving_user_is_read(write: Write) -> None:
    config = load_config(write(MOVING), ENVIRON)
    assert config.master_key == "sk-master-of-the-test"
    assert config.database_url == "sqlite:///spend.db"
    assert config.time_zone == "Europe/Berlin"
    assert config.budget_exceeded_status == 429
    assert config.is_user_budget_on_team_keys is True
    assert config.default_key_params == {"max_budget": 5, "budget_duration": "1d", "duration": "30d"}
    assert config.upperbound_key_params == {"max_budget": 100, "duration": "90d", "rpm_limit": 1000}
    assert config.timeouts == Timeouts(first_byte_seconds=300)


def test_what_is_not_implemented_is_named_by_its_path(write: Write) -> None:
    assert set(load_config(write(MOVING), ENVIRON).unknown) == {
        "model_list[0].model_info.mode",
        "router_settings.num_retries",
        "router_settings.redis_host",
        "litellm_settings.drop_params",
        "litellm_settings.success_callback",
        "general_settings.alerting",
        "mcp_servers",
    }


def test_a_variable_of_an_unknown_key_need_not_be_set(write: Write) -> None:
    config = load_config(write("router_settings: {redis_host: os.environ/REDIS_HOST}"), ENVIRON)
    assert config.unknown == ("router_settings.redis_host",)


def test_models_are_found_by_group_alias_and_wildcard(write: Write) -> None:
    config = load_config(write(MOVING), ENVIRON)
    assert deployments(config, "gpt-4") == deployments(config, "gpt-4o")
    assert deployments(config, "gpt-4o")[0] == "gpt-4o-first"
    wild = config.routes.find("openai/o3")
    assert wild is not None
    assert wild.deployments[0].target.model == "o3"
    assert config.routes.find("quiet") is config.routes.find("claude-sonnet")
    assert "gpt-4" in config.routes.names()
    assert "quiet" not in config.routes.names()
    assert config.routes.find("nobody") is None


def test_a_deployment_has_its_key_address_weight_price_and_timeouts(write: Write) -> None:
    routes = load_config(write(MOVING), ENVIRON).routes
    gpt, claude, local = (routes.find(name) for name in ("gpt-4o", "claude-sonnet", "local"))
    assert gpt is not None
    assert claude is not None
    assert local is not None
    assert [each.target.credential for each in gpt.deployments] == [
        "sk-openai-key-of-the-test",
        "sk-the-second-key-in-the-file",
    ]
    assert [each.weight for each in gpt.deployments] == [1, 3]
    assert claude.deployments[0].timeouts == Timeouts(
        first_byte_seconds=900, between_chunks_seconds=60, total_seconds=900
    )
    assert local.deployments[0].target.base_url == "http://localhost:8000/v1"
    assert local.deployments[0].target.credential == ""
    assert dict(local.deployments[0].own_price) == {
        "input_cost_per_token": 0,
        "output_cost_per_token": "1e-07",
    }


def test_the_ids_of_deployments_stay_when_a_key_is_changed_and_others_come(write: Write) -> None:
    before = load_config(write(MOVING), ENVIRON)
    changed = MOVING.replace("sk-the-second-key-in-the-file", "sk-another-key-in-the-file").replace(
        "model_list:", "model_list:\n  - {model_name: new, litellm_params: {model: gpt-4o-mini}}"
    )
    after = load_config(write(changed), ENVIRON)
    for model in ("gpt-4o", "claude-sonnet", "local"):
        assert deployments(before, model) == deployments(after, model)
    assert len(set(deployments(before, "gpt-4o"))) == 2


def test_outlays_own_section_is_read(write: Write) -> None:
    config = load_config(
        write(
            """
outlay:
  default_max_tokens: 2000
  clamp: always
  estimate: margin
  budget_wait_seconds: 2.5
  prices: {"openai/mine": {input_mtok: 1, output_mtok: 2}}
  limits: {max_body_bytes: 65536, max_depth: 20, max_concurrency: 9, receive_seconds: 5, drain_seconds: 0}
  timeouts: {connect_seconds: 1, first_byte_seconds: 2, between_chunks_seconds: 3, total_seconds: 4}
"""
        ),
        ENVIRON,
    )
    assert (config.default_max_tokens, config.clamp, config.estimate) == (2000, "always", "margin")
    assert config.budget_wait_seconds == 2.5
    assert config.prices == {"openai/mine": {"input_mtok": 1, "output_mtok": 2}}
    assert config.limits == Limits(65536, 20, 9, 5.0, 0.0)
    assert config.timeouts == Timeouts(1, 2, 3, 4)
    assert config.unknown == ()


def test_without_a_file_the_environment_has_the_providers() -> None:
    config = load_config(None, ENVIRON)
    assert config.routes.find("gpt-4o") is not None
    assert config.routes.find("claude-sonnet-4-5") is not None
    assert config.routes.find("groq/llama-3.3-70b-versatile") is None
    assert (config.master_key, config.database_url, config.budgets) == ("sk-master-of-the-test", None, ())


def test_a_file_without_models_serves_the_providers_of_the_environment(write: Write) -> None:
    text = "router_settings: {model_group_alias: {best: gpt-4o}}"
    config = load_config(write(text), ENVIRON)
    assert config.routes.find("claude-sonnet-4-5") is not None
    best = config.routes.find("best")
    assert best is not None
    assert best.deployments[0].target.model == "gpt-4o"


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({"OUTLAY_MASTER_KEY": "sk-a", "LITELLM_MASTER_KEY": "sk-b"}, "sk-a"),
        ({"OUTLAY_MASTER_KEY": " ", "LITELLM_MASTER_KEY": "sk-b"}, "sk-b"),
        ({}, ""),
    ],
)
def test_the_master_key_is_the_environments_where_no_file_has_one(
    environ: dict[str, str], found: str
) -> None:
    assert load_config(None, environ).master_key == found


def test_the_files_master_key_goes_before_the_environments(write: Write) -> None:
    config = load_config(write("general_settings: {master_key: sk-file}"), {"OUTLAY_MASTER_KEY": "sk-env"})
    assert config.master_key == "sk-file"


def test_the_database_is_the_flags_then_the_files_then_the_environments(write: Write) -> None:
    path = write("general_settings: {database_url: file.db}")
    environ = {"OUTLAY_DATABASE_URL": "ours.db", "DATABASE_URL": "theirs.db"}
    assert load_config(path, environ, database_url="flag.db").database_url == "flag.db"
    assert load_config(path, environ).database_url == "file.db"
    assert load_config(None, environ).database_url == "ours.db"
    assert load_config(None, {"DATABASE_URL": "theirs.db"}).database_url == "theirs.db"
    assert load_config(None, {}).database_url is None


def test_a_postgresql_database_that_is_meant_for_outlay_is_refused_without_its_password(write: Write) -> None:
    url = "postgresql://user:the-password-of-it@db/x"
    for told in (problems(None, {"OUTLAY_DATABASE_URL": url}), problems(None, {}, database_url=url)):
        assert len(told) == 1
        assert "database names PostgreSQL" in told[0]
        assert "the-password-of-it" not in told[0]


def test_variables_of_the_file_go_before_the_environment(write: Write) -> None:
    config = load_config(
        write(
            """
environment_variables: {OPENAI_API_KEY: sk-of-the-file, MY_KEY: sk-master, HTTPS_PROXY: "http://p:1"}
general_settings: {master_key: os.environ/MY_KEY}
"""
        ),
        ENVIRON,
    )
    group = config.routes.find("gpt-4o")
    assert group is not None
    assert group.deployments[0].target.credential == "sk-of-the-file"
    assert config.master_key == "sk-master"
    assert config.unknown == ("environment_variables.HTTPS_PROXY",)


def test_a_variable_that_is_not_set_is_told_once_with_its_path(write: Write) -> None:
    assert problems(write(MOVING), {"OPENAI_API_KEY": "sk-x", "LITELLM_MASTER_KEY": "sk-y"}) == [
        "config.yaml: model_list[2].litellm_params.api_key is os.environ/ANTHROPIC_API_KEY, and "
        "ANTHROPIC_API_KEY is not set: set it, or write a value"
    ]


def test_all_problems_are_told_at_once(write: Write) -> None:
    told = problems(
        write(
            """
model_list:
  - {model_name: a, litellm_params: {model: gpt-4o, rpm: -1, weight: heavy, input_cost_per_token: .nan}}
  - {litellm_params: {model: 5}}
  - {model_name: c, litellm_params: {model: azure/gpt-4o, api_base: "https://x.example"}}
  - just text
litellm_settings: {max_budget: ten, timezone: Mars/Olympus, budget_exceeded_status_code: 402}
general_settings: {apply_user_budget_to_team_keys: perhaps, master_key: 1234}
outlay: {clamp: never, estimate: guess, default_max_tokens: 1.5, limits: {max_depth: 0}, timeouts: []}
"""
        )
    )
    begins = [
        "model_list[0].litellm_params.input_cost_per_token must be between 0 and",
        "model_list[0].litellm_params.rpm must be a whole number from 0",
        "model_list[0].litellm_params.weight must be a number from 0",
        "model_list[1].litellm_params.model must be text, not 5: put it in quotes",
        "model_list[1].model_name is missing: name the model that callers ask for",
        "model_list[2].litellm_params.model is 'azure/gpt-4o', whose wire Outlay does not speak",
        "model_list[3] must be a mapping, not str",
        "litellm_settings.max_budget must be a number of USD, not 'ten'",
        "litellm_settings.timezone must be an IANA time zone such as Europe/Berlin, not 'Mars/Olympus'",
        "litellm_settings.budget_exceeded_status_code must be one of 422, 429, 400, not 402",
        "general_settings.apply_user_budget_to_team_keys must be true or false, not 'perhaps'",
        "general_settings.master_key must be text, not int: put it in quotes",
        "outlay.clamp must be one of undeclared, always, not 'never'",
        "outlay.estimate must be one of auto, exact, margin, bytes, not 'guess'",
        "outlay.default_max_tokens must be a whole number from 1",
        "outlay.limits.max_depth must be a whole number from 1 to 500, not 0",
        "outlay.timeouts must be a mapping, not list",
    ]
    for begin in begins:
        assert [line for line in told if line.startswith(f"config.yaml: {begin}")], begin
    assert len(told) == len(begins), told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "model_list: [{model_name: a, litellm_params: {model: nobody/x}}]",
            "config.yaml: model_list[0] (a): There is no provider called 'nobody'",
        ),
        (
            "model_list: [{model_name: a, litellm_params: {model: groq/x}}]",
            "config.yaml: model_list[0] (a): There is no API key for Groq: set GROQ_API_KEY",
        ),
        (
            "model_list: [{model_name: a, litellm_params: {model: 'gpt-4o', api_base: 'ftp://x'}}]",
            "config.yaml: model_list[0] (a): api_base 'ftp://x' is not an http or https URL",
        ),
        (
            "model_list: [{model_name: a, litellm_params: {model: '*'}}]",
            "config.yaml: model_list[0] (a): model has a * and model_name has none",
        ),
        ("model_list: []", "config.yaml: model_list is empty"),
        (
            "router_settings: {model_group_alias: {a: {hidden: true}}}",
            "config.yaml: router_settings.model_group_alias.a must name a model",
        ),
        (
            "model_list: [{model_name: a, litellm_params: {model: gpt-4o}}]\n"
            "router_settings: {model_group_alias: {b: c}}",
            "config.yaml: router_settings.model_group_alias: the alias 'b' leads to 'c', which is no",
        ),
        (
            "litellm_settings: {default_key_generate_params: {max_budget: -1}}",
            "config.yaml: litellm_settings.default_key_generate_params.max_budget must not be negative",
        ),
        (
            "litellm_settings: {upperbound_key_generate_params: {duration: soon}}",
            "config.yaml: litellm_settings.upperbound_key_generate_params: duration must be",
        ),
        ("outlay: {prices: {gpt-4o: {free: true}}}", "config.yaml: outlay.prices must name provider/model"),
        ("outlay: {prices: {openai/x: {cost: 1}}}", "config.yaml: outlay.prices.openai/x.cost is no price"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_remedy(write: Write, text: str, message: str) -> None:
    told = problems(write(text))
    assert told[0].startswith(message), told


def test_a_bad_key_in_the_environment_is_named() -> None:
    told = problems(None, {"OPENAI_API_KEY": "sk with spaces in it"})
    assert "OpenAI" in told[0]
    assert "sk with" not in told[0]
    assert problems(None, {"OUTLAY_MASTER_KEY": "two words"})[0].startswith("OUTLAY_MASTER_KEY must be")


def test_a_key_with_the_value_that_outlay_has_anyway_is_not_unknown(write: Write) -> None:
    text = """
router_settings: {routing_strategy: simple-shuffle, num_retries: 0}
litellm_settings:
  {cache: , set_verbose: false, json_logs: true, telemetry: false, turn_off_message_logging: true}
general_settings: {store_model_in_db: false, store_prompts_in_spend_logs: false, disable_spend_logs: false}
"""
    assert load_config(write(text), ENVIRON).unknown == ()
    other = load_config(write("router_settings: {routing_strategy: usage-based-routing-v2}"), ENVIRON)
    assert other.unknown == ("router_settings.routing_strategy",)


def test_rules_for_keys_that_outlay_has_not_are_unknown(write: Write) -> None:
    config = load_config(
        write(
            "litellm_settings: {default_key_generate_params: {models: [a], guardrails: [b]}, "
            "upperbound_key_generate_params: {tpd_limit: 5}}"
        ),
        ENVIRON,
    )
    assert config.default_key_params == {"models": ["a"]}
    assert config.upperbound_key_params == {}
    assert config.unknown == (
        "litellm_settings.default_key_generate_params.guardrails",
        "litellm_settings.upperbound_key_generate_params.tpd_limit",
    )


def test_numbers_may_come_from_variables(write: Write) -> None:
    environ = {**ENVIRON, "RPM": "60", "LIMIT": "2.5", "APPLY": "true"}
    config = load_config(
        write(
            """
model_list: [{model_name: a, litellm_params: {model: gpt-4o, rpm: os.environ/RPM}}]
litellm_settings: {max_budget: os.environ/LIMIT}
general_settings: {apply_user_budget_to_team_keys: os.environ/APPLY}
"""
        ),
        environ,
    )
    assert [budget.limit for budget in config.budgets] == [2_500_000_000, 60]
    assert config.is_user_budget_on_team_keys is True


# Secrets.


def test_no_problem_shows_a_secret(write: Write) -> None:
    canary = "sk-canary-0123456789abcdefghijklmnopqrstuvwxyz"
    text = """
model_list:
  - {model_name: a, litellm_params: {model: gpt-4o, api_base: os.environ/KEY, rpm: os.environ/KEY}}
  - {model_name: b, litellm_params: {model: os.environ/KEY, custom_llm_provider: os.environ/KEY}}
  - {model_name: c, litellm_params: {model: groq/x, api_key: "SECRET with spaces"}}
litellm_settings: {max_budget: os.environ/KEY, timezone: os.environ/KEY, budget_duration: os.environ/KEY}
general_settings: {master_key: "SECRET \\t", database_url: "mysql://user:SECRET@host/x"}
outlay: {budgets: [{account: os.environ/KEY, limit: os.environ/KEY, window: os.environ/KEY}]}
environment_variables: {GROQ_API_KEY: ["SECRET"], KEY2: SECRET}
""".replace("SECRET", canary)
    told = problems(write(text), {"KEY": canary, "OPENAI_API_KEY": f"{canary}2"})
    assert len(told) >= 10
    assert not [line for line in told if canary[:12] in line]
    begin = "config.yaml: litellm_settings.max_budget must be a number of USD, not 'os.environ/KEY"
    assert [line for line in told if line.startswith(begin)]


def test_no_repr_shows_a_secret(write: Write) -> None:
    config = load_config(write(MOVING), ENVIRON)
    assert isinstance(config.routes, ConfiguredRoutes)
    shown = repr([config, config.routes.served, config.routes.find("gpt-4o"), config.budgets])
    for secret in (*ENVIRON.values(), "sk-the-second-key-in-the-file"):
        assert secret not in shown


# Any value anywhere.

EVERYTHING = """
model_list:
  - model_name: a
    litellm_params: {model: gpt-4o, api_key: k, api_base: "http://x/v1", custom_llm_provider: openai,
      weight: 1, rpm: 1, max_budget: 4, budget_duration: 1d, timeout: 5, input_cost_per_token: 1,
      output_cost_per_token: 1}
    model_info: {id: x, base_model: gpt-4o}
router_settings: {model_group_alias: {b: a, c: {model: a, hidden: true}}, timeout: 3,
  provider_budget_config: {openai: {budget_limit: 1, time_period: 1d}}}
litellm_settings: {max_budget: 5, budget_duration: 1d, timezone: UTC, budget_exceeded_status_code: 422,
  default_key_generate_params: {max_budget: 1, duration: 1d, models: [a]},
  upperbound_key_generate_params: {rpm_limit: 1, budget_duration: 1d}}
general_settings: {master_key: sk-x, database_url: x.db, apply_user_budget_to_team_keys: true}
outlay: {clamp: always, estimate: auto, prices: {openai/a: {input_mtok: 1, output_mtok: 2}},
  limits: {max_depth: 5}, timeouts: {total_seconds: 5}, budgets: [{account: global, limit: 1, window: daily,
  unit: usd, mode: hard, models: [a], providers: [openai], id: z}]}
environment_variables: {A_NAME: x}
"""
Place = tuple[str | int, ...]


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    if place:
        yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield from places(each, (*place, key))


@pytest.mark.parametrize("odd", [True, "text", {"a": [1]}], ids=repr)
def test_any_value_anywhere_is_read_or_refused_by_its_path(write: Write, odd: object) -> None:
    everything = yaml.safe_load(EVERYTHING)
    assert load_config(write(EVERYTHING), ENVIRON).unknown == ("environment_variables.A_NAME",)
    for place in places(everything):
        changed = copy.deepcopy(everything)
        holder: Any = changed
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = odd
        path = write(json.dumps(changed))
        try:
            load_config(path, ENVIRON)
        except ConfigError as error:
            assert all(problem.startswith(f"{path}: ") for problem in error.problems), place  # noqa: PT017 # some are read
