"""Spend reset: `spend: 0` in a request ends the running period of `max_budget`, with an entry (by whom).

No counter is edited, so no other amount can be said.
"""

from __future__ import annotations

from typing import Any, Final

from outlay.domain.accounts import Account
from outlay.domain.commands import Reset
from outlay.domain.money import parse_limit
from outlay.errors import InvalidValueError
from outlay.gateway.config import PROJECT
from outlay.gateway.management.catalogue import Catalogue
from outlay.gateway.management.figures import figures_of
from outlay.gateway.records import Record

_BUDGETS: Final = ("usd", "usd:soft")
"""Those whose spend is the account's: see `budgeting`."""


def take_reset(fields: dict[str, Any]) -> bool:
    """Take `spend` out of a request's fields: whether it asks for a reset.

    Raises:
        InvalidValueError: another amount than 0.
    """
    spend = fields.pop("spend", None)
    if spend is None:
        return False
    if parse_limit(spend, "spend"):
        raise InvalidValueError(
            f"spend must be 0, which begins the period of max_budget anew, not {spend}: what was spent is in "
            "the journal and is not edited"
        )
    return True


def check_reset(fields: dict[str, Any], record: Record) -> None:
    """Check that there will be a budget to reset, once these fields of the record are changed.

    Raises:
        InvalidValueError: there is no `max_budget`, and without one the spend is all that the journal has.
    """
    if fields.get("max_budget", record.max_budget) is None:
        raise InvalidValueError(
            "spend: there is no max_budget whose period could begin anew, and the journal is not edited; "
            "leave it out, or state max_budget too"
        )


def check_new_reset(fields: dict[str, Any], catalogue: Catalogue, account: str) -> None:
    """Check that an account made with `spend: 0` can have none: its name may have spent before.

    Raises:
        InvalidValueError: as `check_reset`, where something was spent.
    """
    nameless = Account(PROJECT, account)
    with catalogue.ledger.read() as reader:
        if figures_of(reader, [(nameless, Record())])[account].spend:
            check_reset(fields, Record())


def reset_spend(catalogue: Catalogue, account: str, *, by: str, is_new: bool = False) -> None:
    """End the running periods of `max_budget` and `soft_budget`; of a new account only if they have spend."""
    with catalogue.ledger.read() as reader:
        budgets = [each for each in reader.budgets(PROJECT, account) if each.id in _ids(account)]
        periods = figures_of(reader, [(Account(PROJECT, account), Record())])[account].periods
    for budget in budgets:
        if not is_new or periods[budget.id.removeprefix(f"{account}/")].settled:
            catalogue.ledger.execute(Reset(PROJECT, catalogue.services.new_id(), budget.id, by))


def _ids(account: str) -> list[str]:
    return [f"{account}/{name}" for name in _BUDGETS]
