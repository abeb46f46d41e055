"""What must be true of a command before the ledger looks at it: names that can be stored, amounts ≥ 0."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Final

from outlay.domain.accounts import check_account_id, check_detail, check_name
from outlay.domain.budgets import MAX_CHARGE, UNITS, check_amount
from outlay.domain.commands import (
    Command,
    FreeSlot,
    FreeSlots,
    Grant,
    Increase,
    Probe,
    PutAccount,
    Record,
    Reserve,
    Reset,
    Settle,
    Void,
)
from outlay.domain.entries import SOURCES, VOID_REASONS
from outlay.errors import InvalidValueError

_OUR_SUFFIXES: Final = ("#correct", "#reverse")
_OUR_PREFIX: Final = "carry:"


def check_command(command: Command) -> None:
    """Check a command as somebody gave it. The rest of accounts and budgets is checked when they are put.

    Raises:
        InvalidAmountError: an amount is no whole number, negative, or absurd.
        InvalidValueError: a name that cannot be stored, an id that the journal makes itself, an unknown
            unit, source or reason, a span or attempt below 1.
    """
    if isinstance(command, Reserve):
        _check_reserve(command)
    elif isinstance(command, Probe):
        _check_reserve(command.reserve)
    elif isinstance(command, Settle | Record):
        _check_charge(command)
    elif isinstance(command, FreeSlot):
        _check_id(command.project, command.id)
    elif isinstance(command, Void):
        _check_id(command.project, command.id)
        _check_among(command.reason, VOID_REASONS, "reason")
    elif isinstance(command, Increase):
        _check_id(command.project, command.id)
        for unit, amount in command.amounts.items():
            _check_among(unit, UNITS, "unit")
            check_amount(amount, unit)
    elif isinstance(command, Grant | Reset):
        _check_id(command.project, command.id)
        if isinstance(command, Grant):
            check_amount(command.amount, "amount")
    elif isinstance(command, FreeSlots):
        check_name(command.project, "project")
        check_name(command.holder, "holder")
    elif isinstance(command, PutAccount):
        check_detail(command.account.detail)


def _check_reserve(command: Reserve) -> None:
    _check_id(command.project, command.id)
    _check_accounts(command.accounts)
    _check_accounts(command.attempt_accounts)
    output_tokens = check_amount(command.least_output_tokens, "least_output_tokens")
    if command.wanted_output_tokens is not None:
        wanted = check_amount(command.wanted_output_tokens, "wanted_output_tokens")
        output_tokens = max(output_tokens, wanted)
    for unit, amount in command.amounts.items():
        _check_among(unit, UNITS, "unit")
        check_amount(amount.fixed, unit)
        check_amount(amount.per_output_token, f"{unit} for each output token")
        check_amount(amount.fixed + amount.per_output_token * output_tokens, unit)
    if command.hold_micros < 1 or command.attempt < 1:
        raise InvalidValueError("hold_micros and attempt must be at least 1")
    if command.holder is not None:
        check_name(command.holder, "holder")


def _check_charge(command: Settle | Record) -> None:
    _check_id(command.project, command.id)
    if command.usd_nanos is not None:
        check_amount(command.usd_nanos, "usd_nanos", MAX_CHARGE)
    if command.priced_nanos is not None:
        check_amount(command.priced_nanos, "priced_nanos", MAX_CHARGE)
    check_amount(command.tokens, "tokens", MAX_CHARGE)
    _check_among(command.source, SOURCES, "source")
    if isinstance(command, Record):
        _check_accounts(command.accounts)
        check_amount(command.requests, "requests")


def _check_id(project: str, id: str) -> None:
    check_name(project, "project")
    check_name(id, "id")
    if id.endswith(_OUR_SUFFIXES) or id.startswith(_OUR_PREFIX):
        raise InvalidValueError(
            f"id must not look like one the journal makes itself (carry:…, …#correct, …#reverse): {id!r}"
        )


@lru_cache(maxsize=4096)
def _check_accounts(accounts: tuple[str, ...]) -> None:
    for account in accounts:
        check_account_id(account)


def _check_among(value: str, known: Collection[str], field: str) -> None:
    if value not in known:
        raise InvalidValueError(f"{field} must be one of {', '.join(known)}, not {value!r}")
