"""Stated budgets: those that the configuration states are in force while it states them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from outlay.domain.accounts import Account
from outlay.domain.budgets import Budget
from outlay.domain.commands import PutAccount, PutBudget, RemoveBudget
from outlay.gateway.config import PROJECT
from outlay.gateway.directory import find_account
from outlay.ledger.ledger import Ledger
from outlay.ledger.store import Reader
from outlay.routing.deployments import Routes
from outlay.routing.served import Served

_BY: Final = "config"
_FIELD: Final = "stated_budgets"
_SERVED: Final = "served_models"
_MOST_SERVED: Final = 500
"""So that they fit an account's detail."""


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


def remember_served(ledger: Ledger, routes: Routes) -> None:
    """Let commands that read no configuration know which models this gateway serves.

    Raises:
        StoreError: the database cannot be used.
    """
    served = [[each.name, list(each.providers), each.is_wildcard] for each in routes.served_models()]
    with ledger.read() as reader:
        before = find_account(reader, "global")
    if len(served) <= _MOST_SERVED and (before is None or before.detail.get(_SERVED) != served):
        _put(ledger, _SERVED, served)


def served_models(reader: Reader) -> list[Served]:
    """The models that the newest gateway on this database serves; none if no gateway ever ran on it."""
    everything = find_account(reader, "global")
    known = None if everything is None else everything.detail.get(_SERVED)
    if not isinstance(known, list):
        return []
    return [Served(name, tuple(providers), is_wildcard) for name, providers, is_wildcard in known]


def _remember(ledger: Ledger, ids: Sequence[str]) -> None:
    _put(ledger, _FIELD, list(ids))


def _put(ledger: Ledger, field: str, value: object) -> None:
    """Put one field of what the account `global` remembers; the others stay."""
    with ledger.read() as reader:
        before = find_account(reader, "global")
    account = Account(PROJECT, "global") if before is None else before
    ledger.execute(PutAccount(replace(account, detail={**account.detail, field: value})))
