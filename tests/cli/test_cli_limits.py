"""Limits on the command line are never looser than stated."""

from __future__ import annotations

import json

import pytest
from command_line import CommandLine

pytestmark = pytest.mark.once("rules that are the same on every Python")

STATE: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    (("budget", "set", "user:ada"), ("total",)),
    (("key", "create", "--max-budget"), ()),
]


@pytest.mark.parametrize("amount", ["5e-10", "0.0000000001", "1e-400", "１"])
@pytest.mark.parametrize(("command", "more"), STATE)
def test_a_limit_that_would_become_zero_is_refused(
    outlay: CommandLine, command: tuple[str, ...], more: tuple[str, ...], amount: str
) -> None:
    told = outlay.fails(*command, amount, *more)
    assert "smallest amount" in told or "must be a number" in told


def test_a_limit_is_rounded_down(outlay: CommandLine) -> None:
    assert outlay("budget", "set", "user:ada", "1.9999999999", "total").code == 0
    assert outlay("key", "create", "--max-budget", "123456789.123456789").code == 0
    with outlay.ledger() as ledger, ledger.read() as reader:
        limits = sorted(budget.limit for budget in reader.budgets())
    assert limits[0] == 1_999_999_999
    assert 123_456_789_123_456_760 <= limits[1] <= 123_456_789_123_456_789


def test_an_imported_limit_is_rounded_down_or_refused(outlay: CommandLine) -> None:
    file = outlay.folder / "user_cost.json"
    file.write_text(json.dumps({"ada": {"total_budget": 5e-10}}))
    assert "smallest amount" in outlay.fails("import-litellm", str(file), "--project", "p")
    file.write_text('{"ada": {"total_budget": 1.9999999999}}')
    assert outlay("import-litellm", str(file), "--project", "p").code == 0
    with outlay.ledger() as ledger, ledger.read() as reader:
        assert [budget.limit for budget in reader.budgets()] == [1_999_999_999]
