"""The directory: finds accounts of the gateway, and reads their records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from outlay.domain.accounts import Account
from outlay.errors import InvalidValueError
from outlay.gateway.config import PROJECT
from outlay.gateway.failures import GatewayError
from outlay.gateway.records import Record, TeamRecord, record_of
from outlay.ledger.store import Reader

R = TypeVar("R", bound=Record)


class NoSuchAccountError(GatewayError, InvalidValueError):
    """There is no key, user, team or customer of that name; the message says of which field it was."""

    code = "not_found"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(404, "not_found", f"{field}: {message}", param=field)


def find_account(reader: Reader, id: str) -> Account | None:
    """Find one account, deleted or not."""
    return reader.accounts_by_id(PROJECT, (id,)).get(id)


def find_record(reader: Reader, id: str, kind: type[R]) -> R | None:
    """Find the record of one account that is not deleted."""
    account = find_account(reader, id)
    record = None if account is None else record_of(account, kind)
    return None if record is None or record.is_deleted else record


def existing(reader: Reader, id: str, field: str) -> Account:
    """Find one account that is not deleted; `field` is what named it.

    Raises:
        NoSuchAccountError: there is none.
    """
    account = find_account(reader, id)
    if account is None or account.detail.get("is_deleted"):
        kind, _, name = id.partition(":")
        shown = "such key" if kind == "key" else f"{kind} {name!r}"
        raise NoSuchAccountError(field, f"there is no {shown}")
    return account


def key_named(reader: Reader, id: str) -> Account | None:
    """Find a key by its own account, or by that of any secret it had."""
    account = find_account(reader, id)
    key_id = None if account is None else account.detail.get("stands_for")
    return find_account(reader, key_id) if isinstance(key_id, str) else account


def key_opened_by(reader: Reader, id: str) -> Account | None:
    """Find the key that the secret with this account opens; a secret that was replaced opens none."""
    account = key_named(reader, id)
    return account if account is not None and account.detail.get("opened_by", account.id) == id else None


def live(reader: Reader, account_kind: str, kind: type[R]) -> Iterator[tuple[Account, R]]:
    """Give the accounts of one kind that are not deleted, each with its record, by id."""
    for account in reader.accounts(PROJECT, account_kind):
        record = record_of(account, kind)
        if not record.is_deleted:
            yield account, record


def teams_of(reader: Reader, user_id: str) -> dict[str, TeamRecord]:
    """Give the teams that a user is a member of, by id."""
    return {
        account.id.partition(":")[2]: team
        for account, team in live(reader, "team", TeamRecord)
        if any(member.user_id == user_id for member in team.members)
    }


def memberships(reader: Reader) -> dict[str, list[str]]:
    """Give the ids of the teams of each user who is a member of one."""
    found: dict[str, list[str]] = {}
    for account, team in live(reader, "team", TeamRecord):
        for member in team.members:
            found.setdefault(member.user_id, []).append(account.id.partition(":")[2])
    return found
