"""Users and updates in bulk, through the ledger's own commands and many threads: one commit takes many."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from outlay.bootstrap import open_ledger
from outlay.domain.commands import Command, PutBudget, Record
from outlay.ledger.clock import SystemClock
from outlay.ledger.ids import new_id
from outlay.ledger.user_budgets import user_account, user_budget
from outlay.settings import Settings

PROJECT = "bench"
MODEL = "gpt-4o"
INPUT_TEXT = "Hello, how are you?"
OUTPUT_TEXT = "I'm fine, and you?"
LIMIT_NANOS = 1000 * 10**9


def user_name(number: int) -> str:
    """The name of the n-th user."""
    return f"user-{number}"


def make_users(path: Path, count: int) -> None:
    """Give `count` users the budget that `create_budget` gives."""
    now = SystemClock().wall()
    budgets = (
        user_budget(PROJECT, user_name(n), LIMIT_NANOS, "monthly", now, "crossing") for n in range(count)
    )
    _carry_out(path, (PutBudget(budget, "bench") for budget in budgets))


def record_updates(path: Path, user: str, count: int) -> None:
    """Charge one user as often as `count` calls of `update_cost` do."""
    account = (user_account(user),)
    usage = {"input_tokens": 6, "output_tokens": 6}
    _carry_out(
        path,
        (
            Record(PROJECT, new_id(), account, 75_000, 12, usage=usage, provider="openai", model=MODEL)
            for _ in range(count)
        ),
    )


def _carry_out(path: Path, commands: Iterable[Command]) -> None:
    ledger = open_ledger(Settings(path))
    with ThreadPoolExecutor(64) as pool:
        for _ in pool.map(ledger.execute, commands, chunksize=1):
            pass
    ledger.close()
