"""The journal: its entries as `/v1/entries` shows them, and its pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from outlay.domain.entries import Entry
from outlay.ledger.ledger import Ledger
from outlay.ledger.reports import entries, entry_json
from outlay.ledger.store import EntryFilter, Reader

Row = dict[str, Any]

MOST_AT_ONCE: Final = 500
"""Entries for one look at the database: requests that must look too wait no longer than that takes."""
_KINDS: Final = ("key", "user", "team", "organization", "customer", "deployment")
_FACTS: Final = (
    *("endpoint", "upstream_model", "stream", "status", "latency_seconds"),
    *("first_chunk_seconds", "response_id", "estimate", "error"),
)
"""What `settle` notes of every call that it applies to; null in entries that nobody noted it for."""


def read_rows(
    ledger: Ledger,
    wanted: EntryFilter,
    make: Callable[[Reader, list[Entry]], list[Row]],
    *,
    limit: int,
    cursor: str | None = None,
    is_newest_first: bool = True,
) -> tuple[list[Row], str | None]:
    """Give a page of the entries that match, one row for each, and the cursor of the next page.

    Raises:
        InvalidValueError: the cursor is not one that a page gave.
    """
    rows: list[Row] = []
    while True:
        size = min(limit - len(rows), MOST_AT_ONCE)
        with ledger.read() as reader:
            page = entries(reader, wanted, limit=size, cursor=cursor, is_newest_first=is_newest_first)
            rows += make(reader, page.entries)
        cursor = page.next_cursor
        if cursor is None or len(rows) >= limit:
            return rows, cursor


def entry_rows(_: Reader, found: Iterable[Entry]) -> list[Row]:
    """Entries as `/v1/entries` shows them."""
    return [_entry_row(entry) for entry in found]


def owners_of(entry: Entry) -> dict[str, str | None]:
    """Whose an entry is, by kind of account: the part of the account's id behind the colon, or None."""
    owners: dict[str, str | None] = dict.fromkeys(_KINDS)
    for account in entry.accounts:
        kind, _, name = account.partition(":")
        if kind in owners and owners[kind] is None:
            owners[kind] = name
        elif kind == "member":
            owners["user"] = owners["user"] or name.partition("/")[2]
    return owners


def _entry_row(entry: Entry) -> Row:
    shown = entry_json(entry)
    detail = shown.pop("detail")
    del shown["project"]
    facts = {name: detail.pop(name, None) for name in _FACTS}
    owners = owners_of(entry)
    detail = {name: value for name, value in detail.items() if name not in ("deployment", "user_id")}
    return {**shown, **owners, **facts, "detail": detail}
