"""`outlay import-litellm`: whole or not at all, and once."""

from __future__ import annotations

import json
import time

import pytest
from command_line import CommandLine

ADA = {
    "total_budget": 10.0,
    "duration": 28,
    "created_at": time.time() - 3600,
    "last_updated_at": time.time() - 3600,
    "current_cost": 1.25,
    "model_cost": {"gpt-4o": 1.0, "o3": 0.25},
}


@pytest.fixture
def moving(outlay: CommandLine) -> CommandLine:
    users = {"ada": ADA, "bob": {"total_budget": 5}}
    (outlay.folder / "user_cost.json").write_text(json.dumps(users))
    return outlay


def test_budgets_and_costs_are_imported_once(moving: CommandLine) -> None:
    arguments = ("import-litellm", "user_cost.json", "--project", "shop")
    assert moving(*arguments).out == "Imported into project shop: 2 budgets made, $1.25 recorded.\n"
    found = moving("balance", "--json").json["balances"]
    assert [(each["account"], each["limit"], each["settled"], each["window"]) for each in found] == [
        ("user:ada", "10", "1.25", "1mo"),
        ("user:bob", "5", "0", "total"),
    ]
    again = moving(*arguments, "--json").json
    assert again == {"project": "shop", "made": [], "kept": ["ada", "bob"], "ended": [], "recorded_usd": "0"}
    assert moving("balance", "--json").json["balances"] == found
    assert moving("audit").code == 0


@pytest.mark.once("how fast the ledger takes much")
def test_many_users_are_imported_quickly(outlay: CommandLine) -> None:
    users = {f"user {n}": {"total_budget": n, "current_cost": 1} for n in range(1500)}
    (outlay.folder / "user_cost.json").write_text(json.dumps(users))
    ran = outlay("--project", "shop", "import-litellm", "user_cost.json")
    assert ran.out == "Imported into project shop: 1,500 budgets made, $1500 recorded.\n"


def test_a_file_with_a_fault_imports_nothing(moving: CommandLine) -> None:
    users = {"ada": ADA, "bob": {"total_budget": -5}}
    (moving.folder / "user_cost.json").write_text(json.dumps(users))
    line = moving.fails("import-litellm", "user_cost.json", "--project", "shop")
    assert line == "outlay: user 'bob': total_budget must not be negative, but is -5\n"
    assert not moving.database.exists()


def test_a_project_and_a_file_are_needed(moving: CommandLine) -> None:
    assert "needs --project" in moving.fails("import-litellm", "user_cost.json")
    assert "nowhere.json cannot be read" in moving.fails("import-litellm", "nowhere.json", "--project", "p")
