"""`outlay check-config`: what would be served, and what is wrong."""

from __future__ import annotations

import json

import pytest
from command_line import CommandLine

pytestmark = pytest.mark.once("rules that are the same on every Python")

CONFIG = """
model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/OPENAI_API_KEY, rpm: 60, weight: 2}
    model_info: {id: first, mode: chat}
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: sk-literal-in-the-file, input_cost_per_token: 1e-6,
      output_cost_per_token: 1e-6}
    model_info: {id: second}
  - model_name: local
    litellm_params: {model: hosted_vllm/qwen3, api_base: "http://localhost:9/v1"}
    model_info: {id: third}
  - model_name: "openai/*"
    litellm_params: {model: "openai/*"}
    model_info: {id: wild}
router_settings: {model_group_alias: {best: gpt-4o}, retry_after: 5}
litellm_settings: {max_budget: 12.5, budget_duration: 1d}
general_settings: {master_key: sk-master-in-the-file, database_url: spend.db}
"""
SECRETS = ("sk-openai-in-the-environment", "sk-literal-in-the-file", "sk-master-in-the-file")
ENVIRON = {"OPENAI_API_KEY": SECRETS[0]}


@pytest.fixture
def checked(outlay: CommandLine) -> CommandLine:
    """A folder with a configuration."""
    (outlay.folder / "config.yaml").write_text(CONFIG)
    return outlay


def test_what_would_be_served_is_shown_without_secrets(checked: CommandLine) -> None:
    ran = checked("check-config", "--config", "config.yaml", COLUMNS="200", **ENVIRON)
    assert (ran.code, ran.err) == (0, "")
    for shown in (
        "https://api.openai.com/v1",
        "http://localhost:9/v1",
        "openai_compatible/qwen3",
        "Alias: best is gpt-4o",
        "No price is known for local: under a budget of USD it is refused.",
        "global/usd",
        "$12.5",
        "deployment:first/requests:1m",
        "Database: spend.db",
        "Not implemented, so without effect: model_list[0].model_info.mode",
        "Not implemented, so without effect: router_settings.retry_after",
    ):
        assert shown in ran.out, shown
    assert not [secret for secret in SECRETS if secret in ran.out]


def test_json_has_the_same_for_programs(checked: CommandLine) -> None:
    ran = checked("check-config", "--config", "config.yaml", "--json", **ENVIRON)
    assert not [secret for secret in SECRETS if secret in ran.out]
    facts = ran.json
    models = {each["id"]: each for each in facts.pop("models")}
    assert {id: (each["model"], each["provider_model"], each["price"]) for id, each in models.items()} == {
        "first": ("gpt-4o", "gpt-4o", "genai-prices"),
        "second": ("gpt-4o", "gpt-4o", "own"),
        "third": ("local", "qwen3", "unknown"),
        "wild": ("openai/*", "*", None),
    }
    assert models["first"]["weight"] == 2
    assert [budget["id"] for budget in facts["budgets"]] == ["global/usd", "deployment:first/requests:1m"]
    assert facts["budgets"][0] == {
        "id": "global/usd",
        "account": "global",
        "unit": "usd",
        "limit": "12.5",
        "window": "daily",
        "mode": "hard",
        "models": [],
        "providers": [],
    }
    assert facts["aliases"] == {"best": "gpt-4o"}
    assert facts["unknown"] == ["model_list[0].model_info.mode", "router_settings.retry_after"]
    assert (facts["problems"], facts["file"], facts["has_master_key"]) == ([], "config.yaml", True)
    assert facts["database"] == "spend.db"


def test_nothing_is_made(checked: CommandLine) -> None:
    assert checked("check-config", "--config", "config.yaml", **ENVIRON).code == 0
    assert [path.name for path in checked.folder.iterdir()] == ["config.yaml"]


def test_every_problem_is_a_line(checked: CommandLine) -> None:
    with (checked.folder / "config.yaml").open("a") as file:
        file.write("outlay: {clamp: never}\n")
    ran = checked("check-config", "--config", "config.yaml")
    assert (ran.code, ran.out) == (2, "")
    lines = ran.err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("outlay: config.yaml: model_list[0].litellm_params.api_key is os.environ/")
    assert lines[1].startswith("outlay: config.yaml: model_list[3] (openai/*): There is no API key")
    assert lines[2].startswith("outlay: config.yaml: outlay.clamp must be one of")
    told = checked("check-config", "--config", "config.yaml", "--json")
    assert (told.code, told.err) == (2, "")
    assert [f"outlay: {problem}" for problem in json.loads(told.out)["problems"]] == lines


def test_a_file_that_is_not_there_is_named(outlay: CommandLine) -> None:
    line = outlay.fails("check-config", "--config", "none.yaml")
    assert line.startswith("outlay: none.yaml cannot be read (No such file or directory)")


def test_without_a_file_the_environment_is_shown(outlay: CommandLine) -> None:
    ran = outlay("check-config", OPENAI_API_KEY="sk-x", GROQ_API_KEY="gsk-x")
    assert "Providers of the environment: OpenAI, Groq" in ran.out
    assert "none has a key" in outlay("check-config").out
    facts = outlay("--database", "other.db", "check-config", "--json").json
    assert (facts["file"], facts["models"], facts["database"]) == (None, [], "other.db")


PRICES = """
model_list:
  - model_name: claude
    litellm_params: {model: anthropic/claude-sonnet-4-6, api_key: k, input_cost_per_token: 1e-6,
      output_cost_per_token: 2e-6}
  - model_name: qwen
    litellm_params: {model: hosted_vllm/qwen3, api_base: "http://localhost:9/v1"}
    model_info: {input_cost_per_token: 0, output_cost_per_token: 0, input_cost_per_second: 0.001}
  - model_name: gpt
    litellm_params: {model: openai/gpt-4o, api_key: k, cache_read_input_token_cost: 1e-7}
  - model_name: of no cost
    litellm_params: {model: hosted_vllm/qwen3, api_base: "http://localhost:9/v1", input_cost_per_token: 0,
      output_cost_per_token: 0}
"""


def test_what_an_own_price_leaves_out_or_cannot_have_is_named(outlay: CommandLine) -> None:
    (outlay.folder / "config.yaml").write_text(PRICES)
    said = " ".join(outlay("check-config", "--config", "config.yaml").out.split())
    assert "2 × input for an hour and 1.25 × for five minutes" in said
    assert "input_cost_per_second is not counted" in said
    models = outlay("check-config", "--config", "config.yaml", "--json").json["models"]
    assert [model["price"] for model in models] == ["own", "unknown", "own", "own"]
    assert [len(model["price_notes"]) for model in models] == [1, 1, 0, 0]
