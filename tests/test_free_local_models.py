"""A model of Ollama's costs nothing unless a price is stated: for the library. A gateway must be told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gateways import run_gateway
from journal import HELLO, Journal

import outlay
from outlay import BudgetManager, PriceUnknownError
from outlay.bootstrap import open_price_book
from outlay.completions import _price_book
from outlay.routing.configured import Row
from outlay.settings import Settings
from outlay.testing.provider import FakeProvider

pytest_plugins = ["front_doors"]
pytestmark = pytest.mark.usefixtures("process_budget")

MODELS = ["ollama/llama3.2", "ollama_chat/qwen3:8b", "OLLAMA/nobody-knows-this"]


@pytest.fixture(autouse=True)
def ollama(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> FakeProvider:
    """The fake provider as an Ollama of this machine, which the library's price book has not seen."""
    monkeypatch.setenv("OLLAMA_API_BASE", provider.base_url)
    monkeypatch.delenv("OUTLAY_PRICES", raising=False)
    monkeypatch.setattr("outlay.completions._price_book", _price_book.__wrapped__)
    return provider


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("mode", ["crossing", "hard", "soft"])
def test_a_local_model_is_free_under_every_budget(
    manager: BudgetManager, journal: Journal, monkeypatch: pytest.MonkeyPatch, model: str, mode: str
) -> None:
    monkeypatch.setattr(outlay, "max_budget", 1e-9)
    monkeypatch.setattr(outlay, "budget_mode", mode)
    manager.create_budget(1e-9, "bob", mode=mode)  # type: ignore[arg-type]
    reply = manager.completion(user="bob", model=model, messages=HELLO)
    chunks = list(manager.completion(user="bob", model=model, messages=HELLO, stream=True))
    assert (reply.cost, outlay.current_cost(), manager.get_current_cost("bob")) == (0.0, 0.0, 0.0)
    assert chunks
    assert [entry.usd_nanos for entry in journal.entries("settle")] == [0, 0]
    assert journal.pending() == 0


@pytest.mark.parametrize("model", MODELS)
def test_a_local_models_texts_prompts_and_completions_are_free(manager: BudgetManager, model: str) -> None:
    reply = outlay.completion(model, HELLO)
    manager.update_cost("alice", reply)
    manager.update_cost("alice", model=model, input_text="Hello!", output_text="Hi!")
    assert manager.projected_cost(model, HELLO, "alice") == 0.0
    assert (manager.get_current_cost("alice"), manager.get_model_cost("alice")) == (0.0, {})


def test_a_calls_own_price_wins(manager: BudgetManager) -> None:
    prices: dict[str, Any] = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
    reply = manager.completion(user="alice", model="ollama/llama3.2", messages=HELLO, **prices)
    assert reply.cost


def test_a_price_in_the_users_file_wins(
    manager: BudgetManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "prices.json"
    models = {"ollama/llama3.2": {"input_mtok": 1, "output_mtok": 2}}
    file.write_text(json.dumps({"models": models}), encoding="utf-8")
    monkeypatch.setenv("OUTLAY_PRICES", str(file))
    assert manager.completion(user="alice", model="ollama/llama3.2", messages=HELLO).cost
    assert manager.completion(user="alice", model="ollama/mistral", messages=HELLO).cost == 0.0


def test_a_price_that_begins_later_ends_what_is_free(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    models = {"ollama/llama3.2": [{"from": "2030-01-01", "input_mtok": 1, "output_mtok": 2}]}
    file.write_text(json.dumps({"models": models}), encoding="utf-8")
    book = open_price_book(Settings(tmp_path / "outlay.db", file))
    begins = 1_893_456_000_000_000
    assert book.price("ollama", "llama3.2", at=begins - 1).is_free
    assert not book.price("ollama", "llama3.2", at=begins).is_free


def test_a_model_of_another_local_server_is_unknown(provider: FakeProvider, manager: BudgetManager) -> None:
    with pytest.raises(PriceUnknownError, match="free"):
        manager.completion(
            user="alice", model="hosted_vllm/llama3.2", messages=HELLO, api_base=provider.base_url
        )


def test_a_gateway_is_told_that_its_local_model_is_free(provider: FakeProvider, tmp_path: Path) -> None:
    base = provider.base_url
    rows = [
        Row("untold", "ollama/llama3.2", "untold-1", api_base=base),
        Row("told", "ollama/llama3.2", "told-1", api_base=base, own_price={"free": True}),
    ]
    with run_gateway(provider, tmp_path, rows_of=rows) as gateway:
        key = gateway.new_key(max_budget=1e-6)
        refused, served = (gateway.chat(key, model=name) for name in ("untold", "told"))
        assert (refused.status_code, refused.json()["error"]["type"]) == (403, "price_unknown")
        assert (served.status_code, served.headers["x-outlay-cost"]) == (200, "0")
