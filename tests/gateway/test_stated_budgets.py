"""Budgets of the configuration are in force while it states them, wherever a start breaks off."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from gateways import usd_budget

from outlay.bootstrap import open_ledger
from outlay.domain.budgets import Budget
from outlay.domain.commands import Command
from outlay.domain.outcomes import Outcome
from outlay.gateway.config import PROJECT
from outlay.gateway.stated_budgets import put_stated_budgets
from outlay.ledger.ledger import Ledger
from outlay.settings import Settings

OLD = (usd_budget("global", 1), usd_budget("user:ada", 2))
NEW = (usd_budget("user:ada", 3), usd_budget("tag:x", 4))
COMMANDS = 5
"""How many it takes to get from OLD to NEW."""


class KilledError(Exception):
    """The process ends here."""


class Mortal(Ledger):
    """A ledger whose process is killed before a command."""

    lives = 0

    def execute(self, command: Command, *, wait_seconds: float = 0.0) -> Outcome:
        if self.lives == 0:
            raise KilledError
        self.lives -= 1
        return super().execute(command, wait_seconds=wait_seconds)


def in_force(ledger: Ledger) -> dict[str, int]:
    with ledger.read() as reader:
        return {budget.account: budget.limit for budget in reader.budgets(PROJECT)}


def limits(budgets: Sequence[Budget]) -> dict[str, int]:
    return {budget.account: budget.limit for budget in budgets}


@pytest.mark.parametrize("lives", range(COMMANDS))
def test_a_start_that_was_killed_leaves_nothing_that_the_next_one_forgets(tmp_path: Path, lives: int) -> None:
    ledger = open_ledger(Settings(tmp_path / "outlay.db"))
    put_stated_budgets(ledger, OLD)
    mortal = Mortal(ledger.store)
    mortal.lives = lives
    with pytest.raises(KilledError):
        put_stated_budgets(mortal, NEW)
    mortal.close()
    put_stated_budgets(ledger, OLD)
    assert in_force(ledger) == limits(OLD)
    put_stated_budgets(ledger, ())
    assert in_force(ledger) == {}
    ledger.close()
