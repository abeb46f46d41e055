"""One transaction of the SQLite store: bulk reads, and one write for all that a batch decided."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import apsw

from outlay.domain.accounts import Account
from outlay.domain.budgets import Budget, Period, PeriodKey
from outlay.domain.entries import Entry
from outlay.domain.reservations import Reservation
from outlay.domain.windows import NEVER
from outlay.ledger.clock import Clock, believe_clock, read_clock
from outlay.ledger.store import CatalogueChange, Changes, ClockState, Ref, Spend
from outlay.stores.sqlite import rows, statements

T = TypeVar("T")


@dataclass(slots=True)
class Known:
    """What the last transaction left behind, true until somebody else writes: it saves a few reads each time.

    `next_due_at` is no later than the first `expires_at` of all reservations.
    """

    clock: ClockState | None = None
    catalogue_version: int | None = None
    next_due_at: int | None = None


class SQLiteTransaction:
    """See outlay.ledger.store.Transaction."""

    def __init__(
        self, connection: apsw.Connection, clock: Clock, known: Known, *, is_unchanged: bool
    ) -> None:
        self._execute = connection.execute
        self._executemany = connection.executemany
        self._known = known
        last = known.clock or rows.clock_of(self._execute(statements.CLOCK).fetchone())
        self.now, self._clock_state = read_clock(clock, last)
        self.lag = max(0, last.newest_at - self._clock_state.read_at)
        self.is_unchanged = is_unchanged
        if self._clock_state.offset != last.offset:  # a jump is noted even when nothing else is written
            self._remember_clock()

    def catalogue_version(self) -> int:
        """The newest version."""
        if self._known.catalogue_version is None:
            self._known.catalogue_version = self._execute(statements.CATALOGUE_VERSION).get
        return self._known.catalogue_version or 0

    def catalogue_changes(self, after: int) -> Sequence[CatalogueChange]:
        """Changes, oldest first."""
        return [CatalogueChange(*row) for row in self._execute(statements.CATALOGUE_CHANGES, (after,))]

    def accounts(self, refs: Collection[Ref]) -> dict[Ref, tuple[Account, int]]:
        """Accounts, each with its version."""
        found = self._select(statements.ACCOUNTS, refs, lambda row: (rows.account_of(row), row[6]))
        return {Ref(account.project, account.id): (account, version) for account, version in found}

    def budgets(self, refs: Collection[Ref]) -> dict[Ref, list[Budget]]:
        """Budgets in force by account."""
        by_account: dict[Ref, list[Budget]] = {}
        for budget in self._select(statements.BUDGETS_OF_ACCOUNTS, refs, rows.budget_of):
            by_account.setdefault(Ref(budget.project, budget.account), []).append(budget)
        return by_account

    def budgets_by_key(self, keys: Collection[int]) -> dict[int, tuple[Budget, bool]]:
        """Budgets, each with whether it is in force."""
        found = self._execute(statements.BUDGETS_BY_KEY, {"ids": rows.json_text(list(keys))})
        return {row[13]: (rows.budget_of(row), bool(row[14])) for row in found}

    def budget(self, ref: Ref) -> Budget | None:
        """The budget in force with this id."""
        row = self._execute(statements.BUDGET_BY_ID, ref).fetchone()
        return None if row is None else rows.budget_of(row)

    def newest_periods(self, budget_keys: Collection[int]) -> dict[int, Period]:
        """The newest period of each."""
        ids = rows.json_text(sorted(budget_keys))
        found = self._execute(statements.NEWEST_PERIODS, {"ids": ids})
        return {row[0]: rows.period_of(row) for row in found}

    def periods(self, keys: Collection[PeriodKey]) -> dict[PeriodKey, Period]:
        """Periods by key."""
        found = (self._execute(statements.PERIOD, key).fetchone() for key in sorted(keys))
        return {rows.period_key_of(row): rows.period_of(row) for row in found if row is not None}

    def reservations(self, refs: Collection[Ref]) -> dict[Ref, Reservation]:
        """Pending ones."""
        found = self._select(statements.RESERVATIONS, refs, rows.reservation_of)
        return {Ref(each.project, each.id): each for each in found}

    def entries(self, refs: Collection[Ref]) -> dict[Ref, Entry]:
        """Entries by id."""
        found = self._select(statements.ENTRIES, refs, rows.entry_of)
        return {Ref(entry.project, entry.id): entry for entry in found}

    def completions(self, refs: Collection[Ref]) -> dict[Ref, Entry]:
        """Entries by completion."""
        found = self._select(statements.COMPLETIONS, refs, rows.entry_of)
        return {Ref(entry.project, entry.completion_key or ""): entry for entry in found}

    def due_reservations(self, limit: int) -> list[Reservation]:
        """Those whose time has come."""
        if self._known.next_due_at is None:
            self._known.next_due_at = self._execute(statements.NEXT_DUE).get or NEVER
        if self.now < self._known.next_due_at:
            return []
        self._known.next_due_at = None
        due = self._execute(statements.DUE_RESERVATIONS, (self.now, limit))
        return [rows.reservation_of(row) for row in due]

    def pending_of(self, ref: Ref) -> list[Reservation]:
        """Pending ones of one account."""
        return [rows.reservation_of(row) for row in self._execute(statements.PENDING_OF_ACCOUNT, ref)]

    def pending_of_holder(self, project: str, holder: str) -> list[Reservation]:
        """Pending ones of one holder."""
        found = self._execute(statements.PENDING_OF_HOLDER, (project, holder))
        return [rows.reservation_of(row) for row in found]

    def pending_over(self, project: str) -> list[Reservation]:
        """Pending ones whose call is over."""
        return [rows.reservation_of(row) for row in self._execute(statements.PENDING_OVER, (project,))]

    def spend_since(self, budget: Budget, since: int) -> Spend:
        """Add up the journal."""
        wanted = {"since": since, "project": budget.project, "account": budget.account}
        column = {"usd": 2, "tokens": 3, "requests": 4}.get(budget.unit)
        total, by_model = 0, dict[str, int]()
        for row in self._execute(statements.SPEND_SINCE, wanted):
            amount = row[column] or 0 if column is not None else 0
            if amount and budget.applies_to(row[1], row[0]):
                total += amount
                if row[0] is not None:
                    by_model[row[0]] = by_model.get(row[0], 0) + amount
        return Spend(total, by_model)

    def last_reset(self, ref: Ref) -> int:
        """When it was last reset by hand."""
        if not self._execute(statements.IS_RETIRED, ref).get:
            return 0
        starts_at = self._execute(statements.LAST_RESET, {"project": ref.project, "id": ref.id}).get
        return starts_at or 0

    def put_account(self, account: Account) -> None:
        """Insert or update."""
        self._execute(statements.PUT_ACCOUNT, rows.account_row(account))
        self._note_change("account", Ref(account.project, account.id))

    def put_budget(self, budget: Budget) -> Budget:
        """Insert a new generation or update one."""
        if budget.key:
            row = (budget.limit, budget.mode, rows.json_text(budget.alert_percents), budget.key)
            self._execute(statements.UPDATE_BUDGET, row)
            key = budget.key
        else:
            key = self._execute(statements.INSERT_BUDGET, rows.budget_row(budget)).get
        self._note_change("budget", Ref(budget.project, budget.account))
        inserted = self.budgets_by_key((key,))[key][0]
        self._remember_clock()
        return inserted

    def retire_budget(self, budget: Budget) -> None:
        """Take out of force."""
        self._execute(statements.RETIRE_BUDGET, (self.now, budget.key))
        self._note_change("budget", Ref(budget.project, budget.account))

    def confirm_clock(self) -> None:
        """Believe the wall clock."""
        self._clock_state = believe_clock(self._clock_state)
        self._remember_clock()

    def write(self, changes: Changes) -> None:
        """Write what was decided: each kind of row in one statement."""
        if changes.periods:
            self._executemany(statements.PUT_PERIOD, changes.periods.values())
        kept = [row for ref, row in changes.reservations.items() if ref not in changes.resolved]
        if kept:
            self._executemany(statements.PUT_RESERVATION, map(rows.reservation_row, kept))
            if self._known.next_due_at is not None:
                first = min(reservation.expires_at for reservation in kept)
                self._known.next_due_at = min(first, self._known.next_due_at)
        if changes.entries:
            self._executemany(statements.INSERT_ENTRY, map(rows.entry_row, changes.entries))
        if changes.resolved:
            self._executemany(statements.REMOVE_RESERVATION, changes.resolved)
        if changes.model_totals:
            totals = ((*key, amount) for key, amount in changes.model_totals.items())
            self._executemany(statements.ADD_MODEL_TOTAL, totals)
        for budget_key in changes.pruned:
            self._execute(statements.PRUNE_PERIODS, (budget_key, self.now))
        self._remember_clock()

    def _remember_clock(self) -> None:
        self._execute(statements.SET_CLOCK, rows.clock_row(self._clock_state))
        self._known.clock = self._clock_state

    def _note_change(self, kind: str, ref: Ref) -> None:
        self._execute(statements.NOTE_CHANGE, (kind, *ref))
        self._known.catalogue_version = None

    def _select(self, sql: str, refs: Collection[Ref], make: Callable[[Any], T]) -> Iterator[T]:
        """Run a statement of a project and a set of ids, once for each project."""
        by_project: dict[str, list[str]] = {}
        for project, id in refs:
            by_project.setdefault(project, []).append(id)
        for project, ids in by_project.items():
            for row in self._execute(sql, {"project": project, "ids": rows.json_text(ids)}):
                yield make(row)
