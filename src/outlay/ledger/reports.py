"""Reports: balances of budgets, pages of the journal, and sums of it.

Amounts are nanos or counts; `amount_value` and the `to_json` methods show money as exact decimal strings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, get_args

from outlay.domain.budgets import Budget, Mode, Period, Unit, running_period
from outlay.domain.entries import Entry, correction_id, reversal_id
from outlay.domain.money import usd_text
from outlay.domain.windows import NEVER, to_datetime
from outlay.errors import InvalidValueError
from outlay.ledger.store import EntryFilter, Reader

Dimension = Literal["account", "model", "tag", "day"]
DIMENSIONS: Final[tuple[Dimension, ...]] = get_args(Dimension)
MAX_PAGE: Final = 10_000
_REQUESTS: Final = {"settle": 1, "expire": 1, "record": 1, "reverse": -1}
_SPEND: Final = ("settle", "void", "expire", "correct", "record", "reverse")


@dataclass(frozen=True, slots=True)
class Balance:
    """The running period of one budget. Amounts are nanos for `usd`, else counts.

    `available` is what is left, below zero after an overrun or a lowered limit. `ends_at` is None for a
    period that does not end.
    """

    project: str
    account: str
    budget_id: str
    unit: Unit
    mode: Mode
    window: str
    limit: int
    granted: int
    settled: int
    reserved: int
    available: int
    overrun: int
    starts_at: datetime
    ends_at: datetime | None

    @property
    def resets_at(self) -> datetime | None:
        """When the next period begins; None if never."""
        return self.ends_at

    def to_json(self) -> dict[str, Any]:
        """The balance as JSON values: USD as decimal strings, counts as numbers, times in ISO 8601."""
        amounts = ("limit", "granted", "settled", "reserved", "available", "overrun")
        return {
            "project": self.project,
            "account": self.account,
            "budget": self.budget_id,
            "unit": self.unit,
            "mode": self.mode,
            "window": self.window,
            **{name: amount_value(getattr(self, name), self.unit) for name in amounts},
            "starts_at": self.starts_at.isoformat(),
            "resets_at": None if self.ends_at is None else self.ends_at.isoformat(),
        }


class EntryPage(NamedTuple):
    """Some entries of the journal; `next_cursor` gives those after them, None if there are none."""

    entries: list[Entry]
    next_cursor: str | None


@dataclass(slots=True)
class SpendSum:
    """What the journal says was spent under one key (None: entries without one).

    `requests` counts charges, less those reversed; `unpriced` entries whose cost is unknown.
    """

    key: str | None
    usd_nanos: int = 0
    tokens: int = 0
    requests: int = 0
    unpriced: int = 0

    def to_json(self) -> dict[str, Any]:
        """The sum as JSON values: USD as a decimal string."""
        return {
            "key": self.key,
            "usd": usd_text(self.usd_nanos),
            "tokens": self.tokens,
            "requests": self.requests,
            "unpriced": self.unpriced,
        }


def balances(reader: Reader, project: str | None = None, account: str | None = None) -> list[Balance]:
    """Give the balance of every budget in force, by project, account and id, as it is now."""
    return balances_of(reader, reader.budgets(project, account))


def balances_of(reader: Reader, budgets: Sequence[Budget]) -> list[Balance]:
    """Give the balance of each of these budgets, as it is now."""
    newest = reader.newest_periods([budget.key for budget in budgets])
    now = reader.now()
    return [_balance(budget, running_period(budget, newest.get(budget.key), now)) for budget in budgets]


def balance_of(reader: Reader, budget: Budget) -> Balance:
    """Give the balance of one budget in force, as it is now."""
    newest = reader.newest_periods([budget.key]).get(budget.key)
    return _balance(budget, running_period(budget, newest, reader.now()))


def entries(
    reader: Reader,
    wanted: EntryFilter | None = None,
    *,
    limit: int = 100,
    cursor: str | None = None,
    is_newest_first: bool = True,
) -> EntryPage:
    """Give one page of the entries that match. Pages do not shift when new entries are written.

    Raises:
        InvalidValueError: `limit` is not of 1 to `MAX_PAGE`, or `cursor` is not one that a page gave.
    """
    if not isinstance(limit, int) or not 1 <= limit <= MAX_PAGE:
        raise InvalidValueError(f"limit must be a whole number of 1 to {MAX_PAGE}, not {limit!r}")
    if cursor is not None and not (cursor.isascii() and cursor.isdigit() and 0 < len(cursor) < 19):
        raise InvalidValueError(f"cursor must be the next_cursor of a page, not {cursor!r}")
    found = list(
        reader.entries(
            wanted or EntryFilter(),
            after_seq=int(cursor) if cursor and not is_newest_first else 0,
            before_seq=int(cursor) if cursor and is_newest_first else None,
            limit=limit + 1,
            is_newest_first=is_newest_first,
        )
    )
    page = found[:limit]
    return EntryPage(page, str(page[-1].seq) if len(found) > limit else None)


def spend_by(
    reader: Reader,
    dimension: Dimension,
    *,
    project: str | None = None,
    account: str | None = None,
    since: int | None = None,
    until: int | None = None,
) -> list[SpendSum]:
    """Sum the journal by account, model, tag or day (of UTC), the keys in order, entries without one last.

    A charge counts on the day its request was admitted, and so do its correction and its reversal; `since`
    and `until` (microseconds, `[since, until)`) bound that moment. An entry counts under each of its
    accounts (a team's sum contains its members') and under each of its tags.

    Raises:
        InvalidValueError: an unknown dimension.
    """
    if dimension not in DIMENSIONS:
        raise InvalidValueError(f"dimension must be one of {', '.join(DIMENSIONS)}, not {dimension!r}")
    sums: dict[str | None, SpendSum] = {}
    # No entry is written before its request was admitted, so `since` bounds what must be read.
    for entry in reader.entries(EntryFilter(project, account, kinds=_SPEND, since=since)):
        if since is not None and entry.admitted_at < since:
            continue
        if until is not None and entry.admitted_at >= until:
            continue
        for key in _keys(entry, dimension):
            _add(sums.setdefault(key, SpendSum(key)), entry)
    return sorted(sums.values(), key=lambda each: (each.key is None, each.key or ""))


def presumed(reader: Reader, project: str | None = None) -> Iterator[Entry]:
    """Give the presumed charges that are neither corrected nor reversed, oldest first."""
    for entry in reader.entries(EntryFilter(project, kinds=("expire",))):
        ended = (correction_id(entry.id), reversal_id(entry.id))
        if all(reader.entry(entry.project, each) is None for each in ended):
            yield entry


def entry_json(entry: Entry) -> dict[str, Any]:
    """An entry as JSON values: USD as a decimal string (None: unknown), times in ISO 8601."""
    return {
        "number": entry.seq,
        "project": entry.project,
        "id": entry.id,
        "kind": entry.kind,
        "at": to_datetime(entry.at).isoformat(),
        "admitted_at": to_datetime(entry.admitted_at).isoformat(),
        "accounts": list(entry.accounts),
        "usd": None if entry.usd_nanos is None else usd_text(entry.usd_nanos),
        "priced_usd": None if entry.priced_nanos is None else usd_text(entry.priced_nanos),
        "tokens": entry.tokens,
        "usage": dict(entry.usage),
        "source": entry.source,
        "provider": entry.provider,
        "model": entry.model,
        "price_version": entry.price_version,
        "request_id": entry.request_id,
        "attempt": entry.attempt,
        "tags": list(entry.tags),
        "reason": entry.reason,
        "detail": dict(entry.detail),
    }


def amount_value(amount: int, unit: Unit) -> str | int:
    """An amount as a JSON value: a decimal string of USD, or a count."""
    return usd_text(amount) if unit == "usd" else amount


def _balance(budget: Budget, period: Period) -> Balance:
    return Balance(
        project=budget.project,
        account=budget.account,
        budget_id=budget.id,
        unit=budget.unit,
        mode=budget.mode,
        window=budget.window.text,
        limit=budget.limit,
        granted=period.granted,
        settled=period.settled,
        reserved=period.reserved,
        available=budget.limit + period.granted - period.settled - period.reserved,
        overrun=period.overrun,
        starts_at=to_datetime(period.starts_at),
        ends_at=None if period.ends_at == NEVER else to_datetime(period.ends_at),
    )


def _keys(entry: Entry, dimension: Dimension) -> tuple[str | None, ...]:
    if dimension == "account":
        return entry.accounts or (None,)
    if dimension == "tag":
        return entry.tags or (None,)
    if dimension == "model":
        return (entry.model,)
    return (f"{to_datetime(entry.admitted_at):%Y-%m-%d}",)


def _add(total: SpendSum, entry: Entry) -> None:
    total.usd_nanos += entry.usd_nanos or 0
    total.tokens += entry.tokens or 0
    total.requests += _REQUESTS.get(entry.kind, 0)
    total.unpriced += entry.usd_nanos is None
