"""`allowed_request_fields` and `unknown_request_fields` in a configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gateways import CREDENTIAL

from outlay.cli.check_config import _print_request_fields
from outlay.gateway.config_file import ConfigError, load_config

pytestmark = pytest.mark.once("rules that are the same on every Python")


def load(folder: Path, outlay: dict[str, Any], info: dict[str, Any] | None = None) -> Any:
    model = {
        "model_name": "demo",
        "litellm_params": {"model": "openai/gpt-4o", "api_key": CREDENTIAL},
        "model_info": info or {},
    }
    path = folder / "config.yaml"
    path.write_text(json.dumps({"model_list": [model], "outlay": outlay}))
    return load_config(path, {})


def test_by_default_nothing_is_allowed_and_unknown_fields_are_refused(tmp_path: Path) -> None:
    config = load(tmp_path, {})
    assert (config.allowed_request_fields, config.unknown_request_fields) == (frozenset(), "refuse")


def test_fields_are_allowed_for_all_and_for_a_deployment(tmp_path: Path) -> None:
    stated = {"allowed_request_fields": ["frob", "reasoning.turbo"], "unknown_request_fields": "pass"}
    config = load(tmp_path, stated, {"allowed_request_fields": ["mood"]})
    assert config.allowed_request_fields == {"frob", "reasoning.turbo"}
    assert config.unknown_request_fields == "pass"
    (deployment,) = config.routes.find("demo").deployments
    assert deployment.allowed_request_fields == {"mood"}
    assert config.unknown == ()


@pytest.mark.parametrize(
    ("outlay", "problem"),
    [
        ({"allowed_request_fields": ["preset"]}, "outlay.allowed_request_fields must not name 'preset'"),
        ({"allowed_request_fields": 3}, "outlay.allowed_request_fields must be a list of names"),
        ({"unknown_request_fields": "allow"}, "outlay.unknown_request_fields must be"),
    ],
)
def test_what_cannot_be_used_is_a_problem(tmp_path: Path, outlay: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load(tmp_path, outlay)


def test_what_a_deployment_cannot_allow_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model_info.allowed_request_fields must not name 'n_predict'"):
        load(tmp_path, {}, {"allowed_request_fields": ["n_predict"]})


def test_check_config_shows_what_is_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    models = [
        {"id": "first", "allowed_request_fields": ["mood"]},
        {"id": "two", "allowed_request_fields": []},
    ]
    _print_request_fields({"request_fields": {"allowed": ["a", "b"], "unknown": "pass"}, "models": models})
    assert capsys.readouterr().out.splitlines() == [
        "Request fields allowed for all models: a, b",
        "Request fields allowed for first: mood",
        "Unknown request fields pass under hard budgets; the entries of their calls say unproven",
    ]
