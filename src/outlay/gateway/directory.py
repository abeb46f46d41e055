"""The directory: finds accounts of the gateway, and reads their records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from outlay.domain.accounts import Account
from outlay.gateway.config import PROJECT
from outlay.gateway.records import Record, record_of
from outlay.ledger.store import Reader

R = TypeVar("R", bound=Record)


def find_account(reader: Reader, id: str) -> Account | None:
    """Find one account, deleted or not."""
    return reader.accounts_by_id(PROJECT, (id,)).get(id)


def find_record(reader: Reader, id: str, kind: type[R]) -> R | None:
    """Find the record of one account that is not deleted."""
    account = find_account(reader, id)
    record = None if account is None else record_of(account, kind)
    return None if record is None or record.is_deleted else record


def live(reader: Reader, account_kind: str, kind: type[R]) -> Iterator[tuple[Account, R]]:
    """Give the accounts of one kind that are not deleted, each with its record, by id."""
    for account in reader.accounts(PROJECT, account_kind):
        record = record_of(account, kind)
        if not record.is_deleted:
            yield account, record
