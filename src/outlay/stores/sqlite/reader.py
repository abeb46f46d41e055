"""A consistent look at the SQLite store, for reports."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import apsw

from outlay.domain.accounts import Account
from outlay.domain.budgets import Budget, Period
from outlay.domain.entries import Entry
from outlay.domain.reservations import Reservation
from outlay.ledger.clock import Clock, read_clock
from outlay.ledger.store import ClockState, EntryFilter, ModelKey
from outlay.stores.sqlite import opening, rows, statements


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

    def entry(self, project: str, entry_id: str) -> Entry | None:
        """One entry."""
        row = self._execute(statements.ENTRY, (project, entry_id)).fetchone()
        return None if row is None else rows.entry_of(row)

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
        sql, bindings = _find_entries(wanted)
        if before_seq is not None:
            sql += " AND seq < :before_seq"
        order = "DESC" if is_newest_first else "ASC"
        sql += f" ORDER BY seq {order} LIMIT :limit"
        bindings |= {"after_seq": after_seq, "before_seq": before_seq}
        bindings["limit"] = -1 if limit is None else limit
        return (rows.entry_of(row) for row in self._execute(sql, bindings))


_CONDITIONS = {
    "project": "project = :project",
    "account": "EXISTS (SELECT 1 FROM json_each(accounts) WHERE value = :account)",
    "model": "model = :model",
    "tag": "EXISTS (SELECT 1 FROM json_each(tags) WHERE value = :tag)",
    "source": "source = :source",
    "since": "at >= :since",
    "until": "at < :until",
    "request_id": "request_id = :request_id",
}


def _find_entries(wanted: EntryFilter) -> tuple[str, dict[str, object]]:
    bindings: dict[str, object] = {
        name: value for name in _CONDITIONS if (value := getattr(wanted, name)) is not None
    }
    conditions = [_CONDITIONS[name] for name in bindings]
    if wanted.kinds:
        conditions.append("kind IN (SELECT value FROM json_each(:kinds))")
        bindings["kinds"] = rows.json_text(wanted.kinds)
    return " AND ".join([statements.FIND_ENTRIES, *conditions]), bindings
