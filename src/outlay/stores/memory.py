"""The memory store: for tests and for `outlay.max_budget`. Forgets everything with the process."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from outlay.domain.accounts import Account
from outlay.domain.budgets import Budget, Period, PeriodKey
from outlay.domain.entries import Entry
from outlay.domain.reservations import Reservation
from outlay.domain.windows import HOUR
from outlay.ledger.clock import Clock, SystemClock, believe_clock, read_clock
from outlay.ledger.store import (
    CatalogueChange,
    Changes,
    ClockState,
    DaySpend,
    Drift,
    EntryFilter,
    ModelKey,
    Ref,
    Spend,
)


@dataclass(slots=True)
class _Tables:
    max_entries: int | None = None
    seq: int = 0
    accounts: dict[Ref, Account] = field(default_factory=dict)
    budgets: dict[int, Budget] = field(default_factory=dict)
    in_force: dict[Ref, int] = field(default_factory=dict)
    by_account: dict[Ref, tuple[int, ...]] = field(default_factory=dict)
    periods: dict[int, dict[int, Period]] = field(default_factory=dict)
    model_totals: dict[ModelKey, int] = field(default_factory=dict)
    reservations: dict[Ref, Reservation] = field(default_factory=dict)
    entries: dict[Ref, Entry] = field(default_factory=dict)
    completions: dict[Ref, Entry] = field(default_factory=dict)
    changes: dict[int, CatalogueChange] = field(default_factory=dict)
    changed: dict[Ref, int] = field(default_factory=dict)
    clock: dict[str, ClockState] = field(default_factory=lambda: {"": ClockState()})


class MemoryStore:
    """Tables in memory, with the same promises as the others but for durability.

    With `max_entries` only that many entries of the journal are kept, the newest.
    """

    def __init__(self, clock: Clock | None = None, *, max_entries: int | None = None) -> None:
        self._clock = clock or SystemClock()
        self._tables = _Tables(max_entries=max_entries)
        self._lock = threading.RLock()

    @contextmanager
    def transaction(self) -> Iterator[MemoryTransaction]:
        """Begin; an error undoes what was written."""
        with self._lock:
            tx = MemoryTransaction(self._tables, self._clock)
            try:
                yield tx
            except BaseException:
                tx.undo()
                raise
            tx.forget_oldest()

    @contextmanager
    def read(self) -> Iterator[MemoryReader]:
        """Look, while nobody writes."""
        with self._lock:
            yield MemoryReader(self._tables, self._clock)

    def drop_reservations(self) -> None:
        """Release all that is held; what is settled stays. For a forked child: its parent holds them."""
        with self._lock:
            tables = self._tables
            for reservation in tables.reservations.values():
                for hold in reservation.holds:
                    periods = tables.periods[hold.budget_key]
                    period = periods[hold.starts_at]
                    periods[hold.starts_at] = period._replace(reserved=period.reserved - hold.amount)
            tables.reservations.clear()

    def close(self) -> None:
        """Nothing to close: what is in memory stays."""

    def pause(self) -> None:
        """Let nobody in until `resume`."""
        self._lock.acquire()

    def resume(self, *, is_child: bool) -> None:
        """Let others in again."""
        if is_child:
            self._lock = threading.RLock()
        else:
            self._lock.release()


class MemoryTransaction:
    """See outlay.ledger.store.Transaction."""

    def __init__(self, tables: _Tables, clock: Clock) -> None:
        self._tables = tables
        self._undo: list[tuple[MutableMapping[Any, Any], Any, Any]] = []
        self.now, self._clock_state = read_clock(clock, tables.clock[""])
        self.lag = max(0, tables.clock[""].newest_at - self._clock_state.read_at)
        self.is_unchanged = True
        if self._clock_state.offset != tables.clock[""].offset:  # noted even when nothing else is written
            self._set(tables.clock, "", self._clock_state)

    def undo(self) -> None:
        """Put everything back as it was."""
        for table, key, old in reversed(self._undo):
            if old is None:
                table.pop(key, None)
            else:
                table[key] = old
        self._undo.clear()

    def forget_oldest(self) -> None:
        """Keep as many entries as are wanted; after the commit, for an undo would not keep their order."""
        tables = self._tables
        while tables.max_entries is not None and len(tables.entries) > tables.max_entries:
            entry = tables.entries.pop(next(iter(tables.entries)))
            tables.completions.pop(Ref(entry.project, entry.completion_key or ""), None)

    def catalogue_version(self) -> int:
        """The number of changes so far."""
        return len(self._tables.changes)

    def catalogue_changes(self, after: int) -> Sequence[CatalogueChange]:
        """Changes, oldest first."""
        changes = self._tables.changes
        return [changes[version] for version in range(after + 1, len(changes) + 1)]

    def accounts(self, refs: Collection[Ref]) -> dict[Ref, tuple[Account, int]]:
        """Accounts, each with its version."""
        tables = self._tables
        return {
            ref: (tables.accounts[ref], tables.changed.get(ref, 0)) for ref in refs if ref in tables.accounts
        }

    def budgets(self, refs: Collection[Ref]) -> dict[Ref, list[Budget]]:
        """Budgets in force by account."""
        tables = self._tables
        return {
            ref: sorted((tables.budgets[key] for key in tables.by_account.get(ref, ())), key=lambda b: b.id)
            for ref in refs
        }

    def budgets_by_key(self, keys: Collection[int]) -> dict[int, tuple[Budget, bool]]:
        """Budgets, each with whether it is in force."""
        budgets, in_force = self._tables.budgets, self._tables.in_force
        return {
            key: (budget, in_force.get(Ref(budget.project, budget.id)) == key)
            for key in keys
            if (budget := budgets.get(key)) is not None
        }

    def budget(self, ref: Ref) -> Budget | None:
        """The budget in force with this id."""
        key = self._tables.in_force.get(ref)
        return None if key is None else self._tables.budgets[key]

    def newest_periods(self, budget_keys: Collection[int]) -> dict[int, Period]:
        """The newest period of each."""
        periods = self._tables.periods
        return {key: periods[key][max(periods[key])] for key in budget_keys if periods.get(key)}

    def periods(self, keys: Collection[PeriodKey]) -> dict[PeriodKey, Period]:
        """Periods by key."""
        periods = self._tables.periods
        return {key: periods[key[0]][key[1]] for key in keys if key[1] in periods.get(key[0], {})}

    def reservations(self, refs: Collection[Ref]) -> dict[Ref, Reservation]:
        """Pending ones."""
        return _those(self._tables.reservations, refs)

    def entries(self, refs: Collection[Ref]) -> dict[Ref, Entry]:
        """Entries by id."""
        return _those(self._tables.entries, refs)

    def completions(self, refs: Collection[Ref]) -> dict[Ref, Entry]:
        """Entries by completion."""
        return _those(self._tables.completions, refs)

    def due_reservations(self, limit: int) -> list[Reservation]:
        """Those whose time has come."""
        due = [each for each in self._tables.reservations.values() if each.expires_at <= self.now]
        return sorted(due, key=lambda each: each.expires_at)[:limit]

    def pending_of(self, ref: Ref) -> list[Reservation]:
        """Pending ones of one account."""
        pending = self._tables.reservations.values()
        return [each for each in pending if each.project == ref.project and ref.id in each.accounts]

    def pending_of_holder(self, project: str, holder: str) -> list[Reservation]:
        """Pending ones of one holder."""
        pending = self._tables.reservations.values()
        found = [each for each in pending if (each.project, each.holder) == (project, holder)]
        return sorted(found, key=lambda each: (each.reserved_at, each.id))

    def pending_over(self, project: str) -> list[Reservation]:
        """Pending ones whose call is over."""
        pending = self._tables.reservations.values()
        return [each for each in pending if each.project == project and each.amounts.get("concurrency") == 0]

    def spend_since(self, budget: Budget, since: int) -> Spend:
        """Add up the journal."""
        total, by_model = 0, dict[str, int]()
        for entry in self._tables.entries.values():
            if entry.project != budget.project or entry.admitted_at < since:
                continue
            if budget.account not in entry.accounts or not budget.applies_to(entry.provider, entry.model):
                continue
            amount = spent(entry, budget.unit)
            total += amount
            if entry.model is not None and amount:
                by_model[entry.model] = by_model.get(entry.model, 0) + amount
        return Spend(total, by_model)

    def last_reset(self, ref: Ref) -> int:
        """When it was last reset by hand."""
        starts = [
            entry.posts[-1].starts_at
            for entry in self._tables.entries.values()
            if entry.kind == "reset"
            and entry.project == ref.project
            and self._tables.budgets[entry.posts[0].budget_key].id == ref.id
        ]
        return max(starts, default=0)

    def put_account(self, account: Account) -> None:
        """Insert or update."""
        ref = Ref(account.project, account.id)
        self._set(self._tables.accounts, ref, account)
        self._note("account", ref)

    def put_budget(self, budget: Budget) -> Budget:
        """Insert a new generation or update one."""
        tables = self._tables
        if not budget.key:
            budget = replace(budget, key=len(tables.budgets) + 1)
        ref = Ref(budget.project, budget.account)
        keys = tables.by_account.get(ref, ())
        if budget.key not in keys:
            self._set(tables.by_account, ref, (*keys, budget.key))
        self._set(tables.budgets, budget.key, budget)
        self._set(tables.in_force, Ref(budget.project, budget.id), budget.key)
        self._note("budget", ref)
        self._set(tables.clock, "", self._clock_state)
        return budget

    def retire_budget(self, budget: Budget) -> None:
        """Take out of force."""
        tables = self._tables
        ref = Ref(budget.project, budget.account)
        kept = tuple(key for key in tables.by_account.get(ref, ()) if key != budget.key)
        self._set(tables.by_account, ref, kept)
        self._set(tables.in_force, Ref(budget.project, budget.id), None)
        self._note("budget", ref)

    def confirm_clock(self) -> None:
        """Believe the wall clock."""
        self._clock_state = believe_clock(self._clock_state)
        self._set(self._tables.clock, "", self._clock_state)

    def write(self, changes: Changes) -> None:
        """Write what was decided."""
        tables = self._tables
        for key, period in changes.periods.items():
            _check_counters(period)
            if key[0] not in tables.periods:
                self._set(tables.periods, key[0], {})
            self._set(tables.periods[key[0]], key[1], period)
        for ref, reservation in changes.reservations.items():
            self._set(tables.reservations, ref, reservation)
        for ref in changes.resolved:
            self._set(tables.reservations, ref, None)
        for entry in changes.entries:
            self._append(entry)
        for model_key, amount in changes.model_totals.items():
            self._set(tables.model_totals, model_key, tables.model_totals.get(model_key, 0) + amount)
        for budget_key in changes.pruned:
            self._prune(budget_key)
        self._set(tables.clock, "", self._clock_state)

    def _append(self, entry: Entry) -> None:
        tables, ref = self._tables, Ref(entry.project, entry.id)
        if ref in tables.entries:
            raise AssertionError(f"the journal has an entry {entry.id!r} already")
        tables.seq += 1  # as in a database, a number that was rolled back is not used again
        entry = entry._replace(seq=tables.seq)
        self._set(tables.entries, ref, entry)
        if entry.completion_key is not None:
            self._set(tables.completions, Ref(entry.project, entry.completion_key), entry)

    def _prune(self, budget_key: int) -> None:
        periods = self._tables.periods[budget_key]
        for starts_at in [s for s, p in periods.items() if p.ends_at <= self.now and not p.reserved]:
            self._set(periods, starts_at, None)

    def _note(self, kind: str, ref: Ref) -> None:
        version = len(self._tables.changes) + 1
        self._set(self._tables.changes, version, CatalogueChange(version, kind, ref.project, ref.id))
        if kind == "account":
            self._set(self._tables.changed, ref, version)

    def _set(self, table: MutableMapping[Any, Any], key: Any, value: Any) -> None:
        self._undo.append((table, key, table.get(key)))
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value


class MemoryReader:
    """See outlay.ledger.store.Reader."""

    def __init__(self, tables: _Tables, clock: Clock) -> None:
        self._tables = tables
        self._now, _ = read_clock(clock, tables.clock[""])

    def now(self) -> int:
        """The store's time."""
        return self._now

    def clock_state(self) -> ClockState:
        """What was last seen of the clocks."""
        return self._tables.clock[""]

    def integrity(self) -> list[str]:
        """There is no file."""
        return []

    def catalogue_version(self) -> int:
        """The number of changes so far."""
        return len(self._tables.changes)

    def accounts(self, project: str | None = None, kind: str | None = None) -> list[Account]:
        """Accounts by id."""
        found = [
            _copy(account)
            for account in self._tables.accounts.values()
            if project in (None, account.project) and kind in (None, account.kind)
        ]
        return sorted(found, key=lambda account: (account.project, account.id))

    def accounts_by_id(self, project: str, ids: Collection[str]) -> dict[str, Account]:
        """Accounts that exist."""
        found = _those(self._tables.accounts, [Ref(project, id) for id in ids])
        return {ref.id: _copy(account) for ref, account in found.items()}

    def budgets(
        self, project: str | None = None, account: str | None = None, *, has_retired: bool = False
    ) -> list[Budget]:
        """Budgets by account and id."""
        in_force = set(self._tables.in_force.values())
        found = [
            budget
            for budget in self._tables.budgets.values()
            if project in (None, budget.project)
            and account in (None, budget.account)
            and (has_retired or budget.key in in_force)
        ]
        return sorted(found, key=lambda b: (b.project, b.account, b.id, b.key))

    def budgets_after(self, project: str, account: str, budget_id: str, limit: int) -> list[Budget]:
        """Budgets by account and id, from there on."""
        found = self.budgets(project)
        return [each for each in found if (each.account, each.id) > (account, budget_id)][:limit]

    def budget(self, project: str, budget_id: str) -> Budget | None:
        """The budget in force."""
        key = self._tables.in_force.get(Ref(project, budget_id))
        return None if key is None else self._tables.budgets[key]

    def newest_periods(self, budget_keys: Collection[int]) -> dict[int, Period]:
        """The newest period of each."""
        periods = self._tables.periods
        return {key: periods[key][max(periods[key])] for key in budget_keys if periods.get(key)}

    def periods(self) -> Iterator[Period]:
        """All periods."""
        for _, periods in sorted(self._tables.periods.items()):
            for _, period in sorted(periods.items()):
                yield period

    def model_totals(self, budget_key: int, starts_at: int) -> dict[str, int]:
        """Totals of one period."""
        return {
            key.model: amount
            for key, amount in sorted(self._tables.model_totals.items())
            if (key.budget_key, key.starts_at) == (budget_key, starts_at)
        }

    def all_model_totals(self) -> Iterator[tuple[ModelKey, int]]:
        """All totals."""
        yield from sorted(self._tables.model_totals.items())

    def reservations(self, project: str | None = None) -> Iterator[Reservation]:
        """Pending ones, oldest first."""
        pending = sorted(self._tables.reservations.values(), key=lambda each: (each.reserved_at, each.id))
        yield from (each for each in pending if project in (None, each.project))

    def reservation(self, project: str, id: str) -> Reservation | None:
        """One pending reservation."""
        return self._tables.reservations.get(Ref(project, id))

    def entry(self, project: str, entry_id: str) -> Entry | None:
        """One entry."""
        return self._tables.entries.get(Ref(project, entry_id))

    def entries_by_id(self, project: str, ids: Collection[str]) -> dict[str, Entry]:
        """Entries that exist."""
        found = _those(self._tables.entries, [Ref(project, id) for id in ids])
        return {ref.id: entry for ref, entry in found.items()}

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
        known, named = self._tables.entries.values(), {wanted.request_id}
        if wanted.request_id is not None:
            named |= {each.request_id for each in known if _answer_id(each) == wanted.request_id} - {None}
        found = [each for each in known if _matches(each, wanted, after_seq) and _is_of(each, named)]
        if before_seq is not None:
            found = [entry for entry in found if entry.seq < before_seq]
        found.sort(key=lambda entry: entry.seq, reverse=is_newest_first)
        yield from found[:limit]

    def spend_by_day(
        self, wanted: EntryFilter, *, after_seq: int = 0, before_seq: int | None = None
    ) -> Iterator[DaySpend]:
        """Add up by day, accounts and model."""
        since, until = wanted.since or 0, wanted.until
        sums: dict[tuple[int, tuple[str, ...], str | None], tuple[int, int]] = {}
        for entry in self.entries(replace(wanted, until=None), after_seq=after_seq, before_seq=before_seq):
            at = entry.admitted_at
            if entry.kind in _NO_SPEND or at < since or (until is not None and at >= until):
                continue
            key = (at // (24 * HOUR), entry.accounts, entry.model)
            usd_nanos, tokens = sums.get(key, (0, 0))
            sums[key] = (usd_nanos + (entry.usd_nanos or 0), tokens + (entry.tokens or 0))
        for key, (usd_nanos, tokens) in sums.items():
            yield DaySpend(*key, usd_nanos, tokens)

    def drift(self, wanted: EntryFilter) -> Iterator[Drift]:
        """Add up what was charged and what we priced it at, by provider and model."""
        sums: dict[tuple[str | None, str | None], Drift] = {}
        for entry in self.entries(wanted):
            if entry.priced_nanos is None:
                continue
            key = (entry.provider, entry.model)
            calls = -1 if entry.kind == "reverse" else 1
            _, _, count, charged, priced = sums.get(key, Drift(*key, 0, 0, 0))
            charged, priced = charged + (entry.usd_nanos or 0), priced + entry.priced_nanos
            sums[key] = Drift(*key, count + calls, charged, priced)
        yield from sorted(sums.values(), key=lambda each: (each.provider or "", each.model or ""))


_NO_SPEND = ("carry", "grant", "reset")


def spent(entry: Entry, unit: str) -> int:
    """What an entry adds to an account's spend in a unit; a carried sum, a grant and a reset add nothing."""
    if entry.kind in _NO_SPEND:
        return 0
    if unit == "usd":
        return entry.usd_nanos or 0
    if unit == "tokens":
        return entry.tokens or 0
    if unit == "requests":
        if entry.kind in ("void", "correct") and entry.reason == "never_sent":
            return -1 if entry.kind == "correct" else 0
        return {"settle": 1, "void": 1, "expire": 1, "record": 1, "reverse": -1}.get(entry.kind, 0)
    return 0


def _matches(entry: Entry, wanted: EntryFilter, after_seq: int) -> bool:
    return (
        entry.seq > after_seq
        and wanted.project in (None, entry.project)
        and (wanted.account is None or wanted.account in entry.accounts)
        and wanted.model in (None, entry.model)
        and (wanted.tag is None or wanted.tag in entry.tags)
        and (not wanted.kinds or entry.kind in wanted.kinds)
        and wanted.source in (None, entry.source)
        and (wanted.since is None or entry.at >= wanted.since)
        and (wanted.until is None or entry.at < wanted.until)
        and all(not set(group).isdisjoint(entry.accounts) for group in wanted.any_of)
    )


def _answer_id(entry: Entry) -> object:
    return entry.detail.get("response_id")


def _is_of(entry: Entry, requests: Collection[str | None]) -> bool:
    return None in requests or entry.request_id in requests


def _those(table: dict[Ref, Any], refs: Collection[Ref]) -> dict[Ref, Any]:
    return {ref: table[ref] for ref in refs if ref in table}


def _copy(account: Account) -> Account:
    """An account whose detail may be changed without changing the store's."""
    return replace(account, detail=deepcopy(account.detail)) if account.detail else account


def _check_counters(period: Period) -> None:
    if min(period.granted, period.reserved, period.settled, period.overrun) < 0:
        raise AssertionError(f"a counter would fall below zero: {period}")
