"""Accounts: users, teams and customers, made, changed and deleted with the limits of their records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from outlay.domain.accounts import Account
from outlay.domain.commands import PutAccount
from outlay.errors import InvalidValueError
from outlay.gateway.budgeting import end_budgets, put_limits
from outlay.gateway.directory import existing, find_account
from outlay.gateway.records import Record, TeamRecord, check_id, gateway_account, record_of, with_fields
from outlay.ledger.ledger import Ledger

R = TypeVar("R", bound=Record)


def make_account(
    ledger: Ledger, id: str, blank: R, fields: Mapping[str, Any], *, by: str, zone: str, field: str
) -> tuple[Account, R]:
    """Make `KIND:NAME` with a record and its limits; `fields` may say `blocked`, `field` is what named it.

    One that was deleted may be made again; what it spent before counts where its new budgets count.

    Raises:
        InvalidValueError: a field, or there is one already; nothing is made.
    """
    kind, _, name = id.partition(":")
    check_id(name, field)
    given = {name: value for name, value in fields.items() if value is not None}
    is_blocked = given.pop("blocked", False) is True
    with ledger.read() as reader:
        before, at = find_account(reader, id), reader.now()
    if before is not None and not before.detail.get("is_deleted"):
        raise InvalidValueError(f"{field}: the {kind} {name!r} exists; update it, or take another id")
    record = with_fields(
        blank, {**given, "created_at": at, "created_by": by, "updated_at": at, "updated_by": by}
    )
    account = gateway_account(id, record, parent=_parent(record), is_blocked=is_blocked)
    put_limits(ledger, account, record, zone=zone, by=by)
    return account, record


def update_account(
    ledger: Ledger, id: str, kind: type[R], fields: Mapping[str, Any], *, by: str, zone: str, field: str
) -> tuple[Account, R]:
    """Change some fields of an account (None clears one); its spend stays.

    Raises:
        NoSuchAccountError: there is none.
        InvalidValueError: a field; nothing is changed.
    """
    given = dict(fields)
    blocked = given.pop("blocked", None)
    with ledger.read() as reader:
        before, at = existing(reader, id, field), reader.now()
    record = with_fields(record_of(before, kind), {**given, "updated_at": at, "updated_by": by})
    is_blocked = before.status == "blocked" if blocked is None else blocked is True
    account = gateway_account(id, record, parent=_parent(record), is_blocked=is_blocked)
    put_limits(ledger, account, record, zone=zone, by=by)
    return account, record


def delete_account(ledger: Ledger, id: str, kind: type[R], *, by: str, field: str) -> R:
    """End an account: it is blocked at once, and its journal stays. Give the record it had.

    Raises:
        NoSuchAccountError: there is none.
    """
    with ledger.read() as reader:
        before, at = existing(reader, id, field), reader.now()
    record = record_of(before, kind)
    gone = with_fields(record, {"is_deleted": True, "updated_at": at, "updated_by": by})
    ledger.execute(PutAccount(gateway_account(id, gone, parent=before.parent)))
    end_budgets(ledger, id, by=by)
    return record


def _parent(record: Record) -> str | None:
    if isinstance(record, TeamRecord) and record.organization_id is not None:
        return f"organization:{check_id(record.organization_id, 'organization_id')}"
    return None
