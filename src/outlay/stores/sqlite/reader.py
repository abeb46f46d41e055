"""A consistent look at the SQLite store, for reports."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import Final

import apsw

from outlay.domain.accounts import Account
from outlay.domain.budgets import Budget, Period
from outlay.domain.entries import Entry
from outlay.domain.reservations import Reservation
from outlay.ledger.clock import Clock, read_clock
from outlay.ledger.store import ClockState, DaySpend, Drift, EntryFilter, ModelKey
from outlay.stores.sqlite import opening, rows, statements
from outlay.stores.sqlite.finding import entry_conditions, indexed_group

BLOCK_BITS: Final = 10
_END: Final = 2**63 - 1


class SQLiteReader:
    """See outlay.ledger.store.Reader."""

    def __init__(self, connection: apsw.Connection, clock: Clock) -> None:
        self._execute = connection.execute
        self._clock = clock

    def now(self) -> int:
        """The store's time."""
        return read_clock(self._clock, self.clock_state())[0]

    def clock_state(self) -> ClockState:
        """What was last seen of the clocks."""
        return rows.clock_of(self._execute(statements.CLOCK).fetchone())

    def integrity(self) -> list[str]:
        """What the engine finds, and what of the schema is gone: constraints, indexes and triggers."""
        found = [row[0] for row in self._execute("PRAGMA integrity_check") if row[0] != "ok"]
        for table, row_id, parent, _ in self._execute("PRAGMA foreign_key_check"):
            found.append(f"row {row_id} of {table} refers to a row of {parent} that does not exist")
        schema = dict(self._execute(statements.SCHEMA))
        for name, sql in opening.pristine_schema().items():
            if name not in schema:
                found.append(f"{name} is missing from the schema")
            elif schema[name] != sql:
                found.append(f"{name} was altered in the schema")
        return found

    def catalogue_version(self) -> int:
        """The newest version."""
        return int(self._execute(statements.CATALOGUE_VERSION).get)

    def accounts(self, project: str | None = None, kind: str | None = None) -> list[Account]:
        """Accounts by id."""
        found = self._execute(statements.ALL_ACCOUNTS, {"project": project, "kind": kind})
        return [rows.account_of(row) for row in found]

    def accounts_by_id(self, project: str, ids: Collection[str]) -> dict[str, Account]:
        """Accounts that exist."""
        found = self._execute(statements.ACCOUNTS_BY_ID, {"project": project, "ids": rows.json_text([*ids])})
        return {row[1]: rows.account_of(row) for row in found}

    def budgets(
        self, project: str | None = None, account: str | None = None, *, has_retired: bool = False
    ) -> list[Budget]:
        """Budgets by account and id."""
        wanted = {"project": project, "account": account, "has_retired": has_retired}
        is_one = project is not None and account is not None and not has_retired
        sql = statements.BUDGETS_OF_ACCOUNT if is_one else statements.ALL_BUDGETS
        return [rows.budget_of(row) for row in self._execute(sql, wanted)]

    def budgets_after(self, project: str, account: str, budget_id: str, limit: int) -> list[Budget]:
        """Budgets by account and id, from there on."""
        bindings = {"project": project, "account": account, "id": budget_id, "limit": limit}
        return [rows.budget_of(row) for row in self._execute(statements.BUDGETS_AFTER, bindings)]

    def budget(self, project: str, budget_id: str) -> Budget | None:
        """The budget in force."""
        row = self._execute(statements.BUDGET_BY_ID, (project, budget_id)).fetchone()
        return None if row is None else rows.budget_of(row)

    def newest_periods(self, budget_keys: Collection[int]) -> dict[int, Period]:
        """The newest period of each."""
        ids = rows.json_text(list(budget_keys))
        found = self._execute(statements.NEWEST_PERIODS, {"ids": ids})
        return {row[0]: rows.period_of(row) for row in found}

    def periods(self) -> Iterator[Period]:
        """All periods."""
        return (rows.period_of(row) for row in self._execute(statements.ALL_PERIODS))

    def model_totals(self, budget_key: int, starts_at: int) -> dict[str, int]:
        """Totals of one period."""
        return dict(self._execute(statements.MODEL_TOTALS, (budget_key, starts_at)))

    def all_model_totals(self) -> Iterator[tuple[ModelKey, int]]:
        """All totals."""
        return ((ModelKey(*row[:3]), row[3]) for row in self._execute(statements.ALL_MODEL_TOTALS))

    def reservations(self, project: str | None = None) -> Iterator[Reservation]:
        """Pending ones, oldest first."""
        found = self._execute(statements.ALL_RESERVATIONS, {"project": project})
        return (rows.reservation_of(row) for row in found)

    def reservation(self, project: str, id: str) -> Reservation | None:
        """One pending reservation."""
        wanted = {"project": project, "ids": rows.json_text((id,))}
        row = self._execute(statements.RESERVATIONS, wanted).fetchone()
        return None if row is None else rows.reservation_of(row)

    def entry(self, project: str, entry_id: str) -> Entry | None:
        """One entry."""
        row = self._execute(statements.ENTRY, (project, entry_id)).fetchone()
        return None if row is None else rows.entry_of(row)

    def entries_by_id(self, project: str, ids: Collection[str]) -> dict[str, Entry]:
        """Entries that exist."""
        found = self._execute(statements.ENTRIES, {"project": project, "ids": rows.json_text([*ids])})
        return {row[1]: rows.entry_of(row) for row in found}

    def entries(
        self,
        wanted: EntryFilter,
        *,
        after_seq: int = 0,
        before_seq: int | None = None,
        limit: int | None = None,
        is_newest_first: bool = False,
    ) -> Iterator[Entry]:
        """Entries that match."""
        after, before = self._span(wanted, after_seq, before_seq)
        conditions, bindings = entry_conditions(wanted)
        order = "DESC" if is_newest_first else "ASC"
        sql = f"{' AND '.join([statements.FIND_ENTRIES, *conditions])} ORDER BY seq {order} LIMIT :limit"
        blocks = self._blocks(wanted, after, before)
        if blocks is None:
            found = self._find(sql, bindings, after, before, limit)
        else:
            spans = [(max(after, (b << BLOCK_BITS) - 1), min(before, (b + 1) << BLOCK_BITS)) for b in blocks]
            spans = spans[::-1] if is_newest_first else spans
            found = chain.from_iterable(self._find(sql, bindings, *span, limit) for span in spans)
        return map(rows.entry_of, islice(found, limit))

    def spend_by_day(
        self, wanted: EntryFilter, *, after_seq: int = 0, before_seq: int | None = None
    ) -> Iterator[DaySpend]:
        """Add up by day, accounts and model."""
        after, before = self._span(replace(wanted, until=None), after_seq, before_seq)
        conditions, bindings = entry_conditions(wanted)
        for name, operator in (("since", ">="), ("until", "<")):
            if getattr(wanted, name) is not None:
                conditions.append(f"admitted_at {operator} :{name}")
                bindings[name] = getattr(wanted, name)
        blocks = self._blocks(wanted, after, before)
        start = statements.SPEND_BY_DAY if blocks is None else statements.SPEND_BY_DAY_IN_BLOCKS
        bindings |= {"after_seq": after, "before_seq": before, "blocks": rows.json_text(blocks)}
        sql = f"{' AND '.join([start, *conditions])} GROUP BY 1, 2, 3"
        for day, accounts, model, usd_nanos, tokens in self._execute(sql, bindings):
            yield DaySpend(day, rows.names_of(accounts), model, usd_nanos or 0, tokens or 0)

    def drift(self, wanted: EntryFilter) -> Iterator[Drift]:
        """Add up what was charged and what we priced it at, by provider and model."""
        after, before = self._span(wanted, 0, None)
        conditions, bindings = entry_conditions(wanted)
        sql = f"{' AND '.join([statements.DRIFT, *conditions])} GROUP BY 1, 2 ORDER BY 1, 2"
        for row in self._execute(sql, bindings | {"after_seq": after, "before_seq": before}):
            yield Drift(*row)

    def _find(
        self, sql: str, bindings: dict[str, object], after: int, before: int, limit: int | None
    ) -> Iterator[rows.Row]:
        span = {"after_seq": after, "before_seq": before, "limit": -1 if limit is None else limit}
        return iter(self._execute(sql, bindings | span))

    def _span(self, wanted: EntryFilter, after: int, before: int | None) -> tuple[int, int]:
        """The numbers between which the entries of a span of time lie; both are outside of it."""
        before = _END if before is None else before
        if wanted.since is not None:
            after = max(after, (self._execute(statements.SEQ_SINCE, (wanted.since,)).get or _END) - 1)
        if wanted.until is not None:
            before = min(before, self._execute(statements.SEQ_SINCE, (wanted.until,)).get or _END)
        return after, before

    def _blocks(self, wanted: EntryFilter, after: int, before: int) -> list[int] | None:
        """The blocks in which the accounts that are wanted have entries; None if it is not known."""
        group = indexed_group(wanted)
        if group is None:
            return None
        bindings: dict[str, object] = {
            "project": wanted.project,
            "accounts": rows.json_text(group),
            "first": (after + 1) >> BLOCK_BITS,
            "last": (before - 1) >> BLOCK_BITS,
        }
        return [row[0] for row in self._execute(statements.BLOCKS, bindings)]
