"""The books: what the writer thread knows of the database, and how a batch of commands changes it.

Within a transaction the books load what the commands touch, decide each in arrival order, and collect what
is to be written. Between transactions they keep what they read, and trust it only while the store says that
nobody else wrote; the catalogue is dropped piece by piece as its version moves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from outlay.domain.accounts import Account
from outlay.domain.budgets import Budget, Period, PeriodKey
from outlay.domain.commands import (
    Command,
    FreeSlot,
    FreeSlots,
    Grant,
    Increase,
    Probe,
    Record,
    Reserve,
    Reset,
    Reverse,
    Settle,
    Void,
)
from outlay.domain.decide import Decision, decide_increase, decide_reserve, repeat_reserve
from outlay.domain.entries import Entry, correction_id, reversal_id
from outlay.domain.outcomes import Freed, Outcome, Possible, Posted, Refusal, Stale
from outlay.domain.reservations import Reservation
from outlay.domain.resolve import (
    decide_expire,
    decide_grant,
    decide_late,
    decide_record,
    decide_reset,
    decide_reverse,
    decide_settle,
    decide_void,
    repeat_entry,
    repeat_resolution,
)
from outlay.domain.slots import decide_free, has_slots
from outlay.domain.windows import HOUR, SECOND
from outlay.errors import (
    ClockError,
    IdempotencyConflictError,
    InvalidValueError,
    ReservationNotFoundError,
)
from outlay.ledger.catalogue import change_catalogue
from outlay.ledger.fingerprint import fingerprint
from outlay.ledger.store import Changes, ModelKey, Ref, Transaction

EXPIRE_AT_ONCE: Final = 100
"""How many due reservations each batch expires first."""

_MOST_CACHED: Final = 200_000
_MOST_VIEWS: Final = 50_000
_MOST_LINEAGES: Final = 20_000
"""Callers name customers and tags as they like: what is known of names must not grow for ever."""
_MOST_LAG: Final = 24 * HOUR


@dataclass(slots=True)
class AccountView:
    """One account as the books know it: its row (if it has one), its last change, its budgets in force."""

    account: Account | None
    version: int
    budgets: tuple[Budget, ...]


@dataclass(slots=True)
class Lineage:
    """A request's accounts with all those above them, and every budget of any of them."""

    accounts: tuple[str, ...]
    budgets: tuple[Budget, ...]
    blocked: str | None
    version: int
    latest: str


class Books:
    """What the writer thread knows; not shared with any other thread."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Know nothing: after a failure, or when the database may be another."""
        self._version = -1
        self._views: dict[Ref, AccountView] = {}
        self._lineages: dict[tuple[str, tuple[str, ...]], Lineage] = {}
        self._budgets: dict[int, tuple[Budget, bool]] = {}
        self._forget_state()
        self._changes = Changes()

    def _forget_state(self) -> None:
        self._newest: dict[int, Period | None] = {}
        self._periods: dict[PeriodKey, Period] = {}
        self._pending: dict[Ref, Reservation] = {}

    # One batch, from top to bottom.

    def begin(self, tx: Transaction) -> None:
        """Start a transaction: drop what no longer holds, and expire what is due."""
        self._tx = tx
        self._changes = Changes()
        self._entries: dict[Ref, Entry] = {}
        self._completions: dict[Ref, Entry] = {}
        self._gone: set[Ref] = set()
        self._stuck_of: dict[str, dict[PeriodKey, int]] = {}
        if not tx.is_unchanged or len(self._periods) + len(self._pending) > _MOST_CACHED:
            self._forget_state()
        self._follow_catalogue()
        self._expire()

    def load(self, commands: Collection[Command]) -> None:
        """Read all that these commands touch, in a few bulk reads."""
        self._commands, self._is_loaded = commands, True
        ends: set[Ref] = set()  # of reservations
        entries: set[Ref] = set()
        completions: set[Ref] = set()
        for command in commands:
            if isinstance(command, Settle | Void | FreeSlot):
                ends.add(Ref(command.project, command.id))
            elif isinstance(command, Increase):
                ends.add(Ref(command.project, command.reservation_id))
            elif isinstance(command, Reverse):
                entries.update(_charge_refs(Ref(command.project, command.charge_id)))
            elif isinstance(command, Reserve | Record | Grant | Reset):
                entries.add(Ref(command.project, command.id))
            if isinstance(command, Record | Settle) and command.completion_key is not None:
                completions.add(Ref(command.project, command.completion_key))
        named = (command.reserve if isinstance(command, Probe) else command for command in commands)
        self._load_lineages(command for command in named if isinstance(command, Reserve | Record))
        if unknown := (ends | entries) - self._pending.keys() - self._gone:
            self._pending.update(self._tx.reservations(unknown))
        for ref in ends - self._pending.keys():
            entries.update(_charge_refs(ref))
        if unknown := entries - self._entries.keys():
            self._entries.update(self._tx.entries(unknown))
        if completions:
            self._completions.update(self._tx.completions(completions))
        self._load_periods(entries, ends)

    def decide(self, command: Command) -> Outcome:
        """Decide one command and take it into the books.

        Raises:
            LedgerError: the command cannot be what the caller meant; nothing is changed.
        """
        mark = fingerprint(command)
        if not self._is_loaded:
            self.load(self._commands)
        if isinstance(command, Reserve):
            decision = self._reserve(command, mark)
        elif isinstance(command, Settle | Void):
            decision = self._end(command, mark)
        elif isinstance(command, Record):
            decision = self._record(command, mark)
        elif isinstance(command, Increase):
            decision = self._increase(command, mark)
        elif isinstance(command, Grant | Reset):
            decision = self._adjust(command, mark)
        elif isinstance(command, Reverse):
            decision = self._reverse(command, mark)
        elif isinstance(command, Probe):
            return self._probe(command.reserve)
        elif isinstance(command, FreeSlot):
            decision = self._free_slot(command)
        elif isinstance(command, FreeSlots):
            return self._free_slots(command)
        else:
            return self._change_catalogue(command)
        self._apply(decision)
        return decision.outcome

    def finish(self) -> None:
        """Write what was decided; the transaction commits after this."""
        if self._changes:
            self._tx.write(self._changes)

    # The commands.

    def _reserve(self, command: Reserve, mark: bytes) -> Decision:
        ref = Ref(command.project, command.id)
        first = repeat_reserve(self._pending.get(ref), self._entries.get(ref), mark)
        if first is not None:
            return Decision(first)
        if self._tx.lag > _MOST_LAG:
            raise ClockError(
                f"the clock is {self._tx.lag // SECOND} s behind the newest time in the database: "
                "set the system clock; until then nothing is admitted, and spend is still recorded"
            )
        lineage = self._lineage(command)
        barred = _barred(command, lineage)
        if barred is not None:
            return Decision(barred)
        return self._admit(command, lineage, mark)

    def _probe(self, command: Reserve) -> Outcome:
        """Only what no waiting can open refuses a probe."""
        lineage = self._lineage(command)
        outcome = _barred(command, lineage) or self._admit(command, lineage, b"").outcome
        if isinstance(outcome, Stale) or (isinstance(outcome, Refusal) and not outcome.can_wait):
            return outcome
        return Possible()

    def _admit(self, command: Reserve, lineage: Lineage, mark: bytes) -> Decision:
        newest, now = self._newest_of(lineage.budgets), self._tx.now
        decision = decide_reserve(command, lineage.accounts, lineage.budgets, newest, now, mark)
        outcome = decision.outcome
        if isinstance(outcome, Refusal) and outcome.can_wait and (stuck := self._stuck(command.project)):
            return decide_reserve(command, lineage.accounts, lineage.budgets, newest, now, mark, stuck)
        return decision

    def _stuck(self, project: str) -> Mapping[PeriodKey, int]:
        """What calls that are over still hold, by period."""
        found = self._stuck_of.get(project)
        if found is None:
            self.finish()  # the store finds the reservations, so what was decided is written first
            self._changes = Changes()
            found = self._stuck_of[project] = {}
            for reservation in self._tx.pending_over(project):
                for hold in reservation.holds:
                    found[hold.period_key] = found.get(hold.period_key, 0) + hold.amount
        return found

    def _end(self, command: Settle | Void, mark: bytes) -> Decision:
        ref = Ref(command.project, command.id)
        reservation = self._pending.get(ref)
        if reservation is not None:
            now, periods = self._tx.now, self._periods
            if isinstance(command, Void):
                return decide_void(command, reservation, periods, now, mark)
            return decide_settle(self._once(command), reservation, periods, now, mark)
        ended = self._entries.get(ref)
        if ended is None:
            raise ReservationNotFoundError(f"there is no reservation {command.id!r} in this project")
        if ended.kind != "expire" or ended.fingerprint == mark:
            return Decision(repeat_resolution(ended, mark))
        correction = self._entries.get(Ref(command.project, correction_id(command.id)))
        reversal = self._entries.get(Ref(command.project, reversal_id(command.id)))
        command = self._once(command) if isinstance(command, Settle) else command
        return decide_late(command, ended, correction, reversal, self._periods, self._tx.now, mark)

    def _once(self, command: Settle) -> Settle:
        """A settle is never refused: a completion that was charged before keeps its first charge's key."""
        if command.completion_key is None:
            return command
        if Ref(command.project, command.completion_key) not in self._completions:
            return command
        return replace(command, completion_key=None)

    def _record(self, command: Record, mark: bytes) -> Decision:
        ref = Ref(command.project, command.id)
        entry = self._entries.get(ref)
        if entry is not None:
            return Decision(repeat_entry(entry, "record", mark))
        self._check_not_pending(ref)
        if command.completion_key is not None:
            charged = self._completions.get(Ref(command.project, command.completion_key))
            if charged is not None:
                return Decision(Posted(charged, is_replay=True))
        lineage = self._lineage(command)
        newest = self._newest_of(lineage.budgets)
        return decide_record(command, lineage.accounts, lineage.budgets, newest, self._tx.now, mark)

    def _increase(self, command: Increase, mark: bytes) -> Decision:
        reservation = self._pending.get(Ref(command.project, command.reservation_id))
        if reservation is None:
            raise ReservationNotFoundError(
                f"there is no pending reservation {command.reservation_id!r} to increase"
            )
        if unknown := {hold.budget_key for hold in reservation.holds} - self._budgets.keys():
            self._budgets.update(self._tx.budgets_by_key(unknown))
        budgets = {
            hold.budget_key: budget
            for hold in reservation.holds
            for budget, is_active in (self._budgets[hold.budget_key],)
            if is_active
        }
        return decide_increase(command, reservation, budgets, self._periods, mark)

    def _adjust(self, command: Grant | Reset, mark: bytes) -> Decision:
        kind = "grant" if isinstance(command, Grant) else "reset"
        ref = Ref(command.project, command.id)
        entry = self._entries.get(ref)
        if entry is not None:
            return Decision(repeat_entry(entry, kind, mark))  # type: ignore[arg-type] # both are kinds
        self._check_not_pending(ref)
        budget = self._tx.budget(Ref(command.project, command.budget_id))
        if budget is None:
            raise InvalidValueError(
                f"there is no budget {command.budget_id!r} in project {command.project!r}"
            )
        newest = self._newest_of((budget,)).get(budget.key)
        decide = decide_grant if isinstance(command, Grant) else decide_reset
        return decide(command, budget, newest, self._tx.now, mark)  # type: ignore[arg-type] # they match

    def _reverse(self, command: Reverse, mark: bytes) -> Decision:
        reversal = self._entries.get(Ref(command.project, reversal_id(command.charge_id)))
        if reversal is not None:
            return Decision(repeat_entry(reversal, "reverse", mark))
        charge = self._entries.get(Ref(command.project, command.charge_id))
        correction = self._entries.get(Ref(command.project, correction_id(command.charge_id)))
        return decide_reverse(command, charge, correction, self._periods, self._tx.now, mark)

    def _check_not_pending(self, ref: Ref) -> None:
        """An entry with the id of a pending reservation would keep that from ending."""
        if ref in self._pending:
            raise IdempotencyConflictError(f"the id {ref.id!r} is a pending reservation's: use a new id")

    def _free_slot(self, command: FreeSlot) -> Decision:
        pending = self._pending.get(Ref(command.project, command.id))
        if pending is None or not has_slots(pending):
            return Decision(Freed(0))
        return decide_free(pending, self._periods)

    def _free_slots(self, command: FreeSlots) -> Freed:
        """The store finds the holder's reservations, so what was decided before is written first."""
        self.finish()
        self._changes = Changes()
        pending = self._tx.pending_of_holder(command.project, command.holder)
        self._pending.update((Ref(each.project, each.id), each) for each in pending)
        self._load_periods((), {Ref(each.project, each.id) for each in pending})
        count = 0
        for reservation in filter(has_slots, pending):
            decision = decide_free(reservation, self._periods)
            self._apply(decision)
            count += isinstance(decision.outcome, Freed) and decision.outcome.reservations
        return Freed(count)

    def _change_catalogue(self, command: Command) -> Outcome:
        """Catalogue commands read and write in place, so what was decided before them is written first."""
        self.finish()
        self._changes = Changes()
        outcome, decisions = change_catalogue(command, self._tx)
        for decision in decisions:
            self._apply(decision)
        self.finish()
        self._changes = Changes()
        self._forget_state()
        self._follow_catalogue()
        self._is_loaded = False
        return outcome

    def _expire(self) -> None:
        due = self._tx.due_reservations(EXPIRE_AT_ONCE)
        if not due:
            return
        self._pending.update((Ref(each.project, each.id), each) for each in due)
        self._load_periods((), {Ref(each.project, each.id) for each in due})
        for reservation in due:
            self._apply(decide_expire(reservation, self._periods, self._tx.now))

    # What a decision changes.

    def _apply(self, decision: Decision) -> None:
        changes = self._changes
        for period in decision.periods:
            key = period.key
            changes.periods[key] = self._periods[key] = period
            if period.budget_key in self._newest:  # else it is read when it is needed
                self._follow_newest(period)
        if decision.reservation is not None:
            ref = Ref(decision.reservation.project, decision.reservation.id)
            changes.reservations[ref] = decision.reservation
            self._pending[ref] = decision.reservation
            if not has_slots(decision.reservation):
                self._stuck_of.clear()
        entry = decision.entry
        if entry is None:
            return
        ref = Ref(entry.project, entry.id)
        self._entries[ref] = entry
        if entry.completion_key is not None:
            self._completions[Ref(entry.project, entry.completion_key)] = entry
        changes.entries.append(entry)
        self._count_models(entry)
        if decision.resolved_id is not None:
            ended = self._pending.pop(ref, None)
            if ended is not None and not has_slots(ended):
                self._stuck_of.clear()
            self._gone.add(ref)
            changes.resolved.add(ref)

    def _follow_newest(self, period: Period) -> None:
        newest = self._newest[period.budget_key]
        if newest is not None and newest.starts_at != period.starts_at:
            if newest.starts_at > period.starts_at:
                return
            if self._budget(period.budget_key).window.is_short:
                self._changes.pruned.add(period.budget_key)
        self._newest[period.budget_key] = period

    def _count_models(self, entry: Entry) -> None:
        for post in entry.posts:
            if post.settled and self._budget(post.budget_key).is_by_model:
                for model, amount in _by_model(entry, post.settled):
                    key = ModelKey(post.budget_key, post.starts_at, model)
                    totals = self._changes.model_totals
                    totals[key] = totals.get(key, 0) + amount

    # What the books know.

    def _follow_catalogue(self) -> None:
        version = self._tx.catalogue_version()
        is_full = len(self._views) > _MOST_VIEWS
        if version == self._version and not is_full:
            return
        if self._version < 0 or version < self._version or is_full:
            self._views.clear()
        else:
            for change in self._tx.catalogue_changes(self._version):
                self._views.pop(Ref(change.project, change.id), None)
        self._lineages.clear()
        self._budgets.clear()
        self._version = version

    def _load_lineages(self, commands: Iterable[Reserve | Record]) -> None:
        """Load the views of all accounts named, then of their parents, level by level, where not known."""
        wanted = {
            Ref(command.project, account)
            for command in commands
            if (command.project, _named(command)) not in self._lineages
            for account in _named(command)
        }
        while wanted:
            self._load_views(wanted - self._views.keys())
            rows = ((ref.project, self._views[ref].account) for ref in wanted)
            wanted = {Ref(project, row.parent) for project, row in rows if row and row.parent is not None}

    def _load_views(self, refs: Collection[Ref]) -> None:
        if not refs:
            return
        accounts, budgets = self._tx.accounts(refs), self._tx.budgets(refs)
        for ref in refs:
            account, version = accounts.get(ref, (None, 0))
            if account is not None and account.detail:  # the books need none of it
                account = replace(account, detail={})
            view = self._views[ref] = AccountView(account, version, tuple(budgets.get(ref, ())))
            self._budgets.update((budget.key, (budget, True)) for budget in view.budgets)

    def _lineage(self, command: Reserve | Record) -> Lineage:
        named = _named(command)
        key = (command.project, named)
        lineage = self._lineages.get(key)
        if lineage is None:
            if len(self._lineages) > _MOST_LINEAGES:
                self._lineages.clear()
            self._load_lineages((command,))
            lineage = self._lineages[key] = self._trace(command.project, named)
        return lineage

    def _trace(self, project: str, named: tuple[str, ...]) -> Lineage:
        accounts: dict[str, None] = {}
        for account in named:
            above: str | None = account
            while above is not None and above not in accounts:
                accounts[above] = None
                row = self._views[Ref(project, above)].account
                above = None if row is None else row.parent
        views = [self._views[Ref(project, account)] for account in accounts]
        budgets = tuple(budget for view in views for budget in view.budgets)
        blocked = next(
            (view.account.id for view in views if view.account and view.account.status == "blocked"), None
        )
        version, latest = max(
            ((view.version, account) for view, account in zip(views, accounts, strict=True)), default=(0, "")
        )
        return Lineage(tuple(accounts), budgets, blocked, version, latest)

    def _newest_of(self, budgets: Sequence[Budget]) -> Mapping[int, Period | None]:
        known = self._newest
        missing = [budget.key for budget in budgets if budget.key not in known]
        if missing:
            found = self._tx.newest_periods(missing)
            for key in missing:
                newest = found.get(key)
                # What this batch decided about it is not written yet.
                known[key] = None if newest is None else self._periods.setdefault(newest.key, newest)
        return known

    def _budget(self, key: int) -> Budget:
        if key not in self._budgets:
            self._budgets.update(self._tx.budgets_by_key((key,)))
        return self._budgets[key][0]

    def _load_periods(self, entries: Iterable[Ref], reservations: Iterable[Ref]) -> None:
        """Load the periods that these reservations hold on and these entries posted to, and their budgets."""
        known, missing = self._periods, set[PeriodKey]()
        for ref in reservations:
            if ref in self._pending:
                missing.update(h.period_key for h in self._pending[ref].holds if h.period_key not in known)
        for ref in entries:
            if ref in self._entries:
                missing.update(p.period_key for p in self._entries[ref].posts if p.period_key not in known)
        if missing:
            known.update(self._tx.periods(missing))
            self._budgets.update(self._tx.budgets_by_key({key[0] for key in missing}))


def _barred(command: Reserve, lineage: Lineage) -> Stale | Refusal | None:
    """Why a request is not even decided: its accounts changed since they were read, or one is blocked."""
    if command.catalogue_version is not None and lineage.version > command.catalogue_version:
        return Stale(lineage.latest)
    return None if lineage.blocked is None else Refusal("account_blocked", lineage.blocked)


def _named(command: Reserve | Record) -> tuple[str, ...]:
    if isinstance(command, Reserve) and command.attempt_accounts:
        return command.accounts + command.attempt_accounts
    return command.accounts


def _charge_refs(charge: Ref) -> tuple[Ref, ...]:
    project, id = charge
    return charge, Ref(project, correction_id(id)), Ref(project, reversal_id(id))


def _by_model(entry: Entry, settled: int) -> list[tuple[str, int]]:
    """Under which models an entry's post counts: a carried sum says so itself."""
    if entry.kind == "carry":
        by_model = entry.detail.get("by_model")
        return list(by_model.items()) if isinstance(by_model, dict) else []
    return [] if entry.model is None else [(entry.model, settled)]
