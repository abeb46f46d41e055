"""Stated budgets: those that the configuration states are in force while it states them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from outlay.domain.accounts import Account
from outlay.domain.budgets import Budget
from outlay.domain.commands import PutAccount, PutBudget, RemoveBudget
from outlay.gateway.config import PROJECT
from outlay.gateway.directory import find_account
from outlay.ledger.ledger import Ledger
from outlay.ledger.store import Reader

_BY: Final = "config"
_FIELD: Final = "stated_budgets"


def put_stated_budgets(ledger: Ledger, budgets: Sequence[Budget]) -> None:
    """Put the budgets in force, and retire those that an earlier configuration stated and this one does not.

    The account `global` remembers which they were. What was spent stays, for it is in the journal.

    Raises:
        InvalidValueError: a budget cannot be.
        StoreError: the database cannot be used.
    """
    with ledger.read() as reader:
        before = stated_ids(reader)
    stated = [budget.id for budget in budgets]
    if new := [id for id in stated if id not in before]:  # remembered first, so that none is forgotten
        _remember(ledger, [*before, *new])
    for budget in budgets:
        ledger.execute(PutBudget(budget, _BY, is_anchor_kept=True))
    for id in before:
        if id not in stated:
            ledger.execute(RemoveBudget(PROJECT, id, _BY))
    if set(before) - set(stated):
        _remember(ledger, stated)


def stated_ids(reader: Reader) -> list[str]:
    """The ids of the budgets that the newest configuration states."""
    everything = find_account(reader, "global")
    known = [] if everything is None else everything.detail.get(_FIELD, [])
    return [str(id) for id in known] if isinstance(known, list) else []


def _remember(ledger: Ledger, ids: Sequence[str]) -> None:
    ledger.execute(PutAccount(Account(PROJECT, "global", detail={_FIELD: list(ids)})))
