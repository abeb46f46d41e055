"""Gateways: Outlay, LiteLLM's proxy and the bare pass-through, each before the same upstream."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.servers import Server, free_port, post

MODEL = "gpt-4o"
MASTER_KEY = "sk-bench-master-key-0123456789abcdef"
INPUT_USD, OUTPUT_USD = 0.0000025, 0.00001
PLENTY = 1_000_000.0
"""USD: a limit that no benchmark of speed reaches."""


def passthrough(folder: Path, upstream: str) -> Server:
    """The bare pass-through."""
    port = free_port()
    command = [sys.executable, "-m", "bench.passthrough", "--port", str(port), "--upstream", upstream]
    return Server("pass-through", command, f"http://127.0.0.1:{port}", folder / "passthrough.log")


def outlay(
    folder: Path, upstream: str, settings: Mapping[str, Any] | None = None, *, prefix: Sequence[str] = ()
) -> Server:
    """Outlay's gateway with a database in `folder`; `settings` are more of its config.

    `prefix` stands between Python and `serve`, `-m outlay` unless given.
    """
    port = free_port()
    config = _write(folder / "outlay.yaml", {**_config(upstream), **(settings or {})})
    options = ["serve", "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    return Server(
        "Outlay",
        [sys.executable, *(prefix or ("-m", "outlay")), *options],
        f"http://127.0.0.1:{port}",
        folder / "outlay.log",
        environ={"OUTLAY_DATABASE_URL": str(folder / "outlay.db")},
    )


def litellm(peers: Path, folder: Path, upstream: str, settings: Mapping[str, Any] | None = None) -> Server:
    """LiteLLM's proxy without a database: one worker, its prices from its own package."""
    port = free_port()
    config = _write(folder / "litellm.yaml", {**_config(upstream), **(settings or {})})
    command = [str(peers.parent / "litellm"), "--config", str(config), "--num_workers", "1"]
    return Server(
        "LiteLLM's proxy",
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        f"http://127.0.0.1:{port}",
        folder / "litellm.log",
        ready_path="/health/liveliness",
        environ={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"},
    )


def key_with_budgets(gateway: Server, limits: Mapping[str, float], name: str, model: str = MODEL) -> str:
    """Make a key, its user and its team on Outlay, each with a budget where `limits` (USD) has one.

    A `customer` of that name is made too if `limits` has one.
    """
    url = gateway.root_url
    if "user" in limits:
        post(f"{url}/user/new", _account("user_id", name, limits["user"], auto_create_key=False), MASTER_KEY)
    if "team" in limits:
        post(f"{url}/team/new", _account("team_id", name, limits["team"]), MASTER_KEY)
    if "customer" in limits:
        post(f"{url}/customer/new", _account("user_id", name, limits["customer"]), MASTER_KEY)
    asked: dict[str, object] = {"key_alias": name, "models": [model]}
    asked |= {f"{kind}_id": name for kind in ("user", "team") if kind in limits}
    if "key" in limits:
        asked["max_budget"] = limits["key"]
    secret: str = post(f"{url}/key/generate", asked, MASTER_KEY)["key"]
    return secret


def deployment(upstream: str) -> dict[str, Any]:
    """The parameters of the upstream's model, with the prices that the fake provider bills by."""
    return {
        "model": f"openai/{MODEL}",
        "api_base": f"{upstream}/v1",
        "api_key": "sk-fake",
        "input_cost_per_token": INPUT_USD,
        "output_cost_per_token": OUTPUT_USD,
    }


def chat(**more: object) -> dict[str, object]:
    """A small chat request."""
    messages = [{"role": "user", "content": "Name three rivers in Europe, please."}]
    return {"model": MODEL, "messages": messages, **more}


def _account(field: str, name: str, limit: float, **more: object) -> dict[str, object]:
    return {field: name, "max_budget": limit, **more}


def _config(upstream: str) -> dict[str, Any]:
    """The parts of LiteLLM's format that both read."""
    return {
        "model_list": [{"model_name": MODEL, "litellm_params": deployment(upstream)}],
        "general_settings": {"master_key": MASTER_KEY, "apply_user_budget_to_team_keys": True},
    }


def _write(path: Path, config: Mapping[str, Any]) -> Path:
    """JSON is YAML too."""
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")
    return path
