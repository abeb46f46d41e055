"""Rows ↔ values of the domain."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import msgspec

from outlay.domain.accounts import Account
from outlay.domain.budgets import Budget, Period, PeriodKey
from outlay.domain.entries import Entry, Post
from outlay.domain.reservations import Hold, Reservation
from outlay.domain.windows import SECOND, Window
from outlay.ledger.store import ClockState

Row = Any
"""A tuple of what SQLite holds: int, str, bytes or None."""

_END_OF_TIME: Final = 253_402_300_800 * SECOND
"""The year 10,000."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_decode_holds = msgspec.json.Decoder(tuple[Hold, ...]).decode
_decode_posts = msgspec.json.Decoder(tuple[Post, ...]).decode
_decode_names = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_percents = msgspec.json.Decoder(tuple[int, ...]).decode
_decode_object = msgspec.json.Decoder(dict[str, object]).decode
_decode_increases = msgspec.json.Decoder(dict[str, bytes]).decode


_FEW_NAMES: Final = 8


class DamagedRowError(ValueError):
    """A row that this code cannot have written."""


def json_text(value: object) -> str:
    """A list or map as JSON text."""
    return _encode(value).decode()


def names_text(names: tuple[str, ...]) -> str:
    """A tuple of names as JSON text; the same few come again and again, and many are rarely the same."""
    return _few_names_text(names) if len(names) <= _FEW_NAMES else _encode(names).decode()


@lru_cache(maxsize=4096)
def _few_names_text(names: tuple[str, ...]) -> str:
    return _encode(names).decode()


def names_of(text: str) -> tuple[str, ...]:
    """The tuple of names that `names_text` wrote."""
    return _decode_names(text)


def account_of(row: Row) -> Account:
    """The columns of statements.ACCOUNT_COLUMNS."""
    project, id, parent, name, status, detail = row[:6]
    return Account(project, id, parent, name, status, _decode_object(detail))


def account_row(account: Account) -> Row:
    """The same columns."""
    detail = json_text(account.detail) if account.detail else "{}"
    return (account.project, account.id, account.parent, account.name, account.status, detail)


def budget_of(row: Row) -> Budget:
    """The columns of statements.BUDGET_COLUMNS."""
    project, id, account, unit, limit, window, anchor_at, zone, mode, models, providers, percents = row[:12]
    return Budget(
        project,
        id,
        account,
        unit,
        limit,
        Window.parse(window, anchor_at=anchor_at, zone=zone),
        mode,
        _decode_names(models),
        _decode_names(providers),
        _decode_percents(percents),
        bool(row[12]),
        row[13],
    )


def budget_row(budget: Budget) -> Row:
    """The columns of statements.BUDGET_COLUMNS but the key."""
    return (
        budget.project,
        budget.id,
        budget.account,
        budget.unit,
        budget.limit,
        budget.window.text,
        budget.window.anchor_at,
        budget.window.zone,
        budget.mode,
        json_text(budget.models),
        json_text(budget.providers),
        json_text(budget.alert_percents),
        int(budget.is_by_model),
    )


def period_of(row: Row) -> Period:
    """The columns of statements.PERIOD_COLUMNS."""
    return Period(*row)


def period_key_of(row: Row) -> PeriodKey:
    """The first two columns of statements.PERIOD_COLUMNS."""
    return (row[0], row[1])


def reservation_of(row: Row) -> Reservation:
    """The columns of statements.RESERVATION_COLUMNS."""
    return Reservation(  # type: ignore[call-arg] # mypy cannot count the columns
        row[0],
        row[1],
        _decode_names(row[2]),
        _decode(row[3]),
        _decode_holds(row[4]),
        *row[5:14],
        _decode_names(row[14]),
        _decode_increases(row[15]),
        row[16],
    )


def reservation_row(reservation: Reservation) -> Row:
    """The columns of statements.RESERVATION_COLUMNS."""
    return (
        reservation.project,
        reservation.id,
        names_text(reservation.accounts),
        json_text(reservation.amounts),
        json_text(reservation.holds),
        reservation.reserved_at,
        reservation.expires_at,
        reservation.fingerprint,
        reservation.output_cap,
        reservation.request_id,
        reservation.attempt,
        reservation.provider,
        reservation.model,
        reservation.price_version,
        names_text(reservation.tags),
        json_text(reservation.increases) if reservation.increases else "{}",
        reservation.holder,
    )


def entry_of(row: Row) -> Entry:
    """The columns of statements.ENTRY_COLUMNS and seq."""
    _check_time(row[3])
    return Entry(  # type: ignore[call-arg] # mypy cannot count the columns
        *row[:5],
        _decode_names(row[5]),
        _decode_posts(row[6]),
        row[7],
        row[8],
        _decode(row[9]),
        *row[10:17],
        _decode_names(row[17]),
        row[18],
        _decode(row[19]),
        *row[20:25],
    )


def entry_row(entry: Entry) -> Row:
    """The columns of statements.ENTRY_COLUMNS."""
    return (
        entry.project,
        entry.id,
        entry.kind,
        entry.at,
        entry.admitted_at,
        names_text(entry.accounts),
        json_text(entry.posts),
        entry.usd_nanos,
        entry.tokens,
        json_text(entry.usage) if entry.usage else "{}",
        entry.source,
        entry.provider,
        entry.model,
        entry.price_version,
        entry.request_id,
        entry.attempt,
        entry.output_cap,
        names_text(entry.tags),
        entry.reason,
        json_text(entry.detail) if entry.detail else "{}",
        entry.completion_key,
        entry.fingerprint,
        entry.reserve_fingerprint,
        entry.priced_nanos,
    )


def clock_of(row: Row) -> ClockState:
    """newest_at, wall_at, boot_at, boot_id, jump, suspect_since."""
    if row is None:
        raise DamagedRowError("the row of the clock is gone")
    _check_time(row[0])
    return ClockState(*row)


def _check_time(at: int) -> None:
    """Refuse a moment that no calendar has."""
    if not 0 <= at < _END_OF_TIME:
        raise DamagedRowError(f"{at} is no time")


def clock_row(state: ClockState) -> Row:
    """The same columns."""
    return (
        state.newest_at,
        state.wall_at,
        state.boot_at,
        state.boot_id,
        state.offset,
        state.suspect_since,
    )
