"""The audit: recompute every counter from the journal and the pending reservations, and compare.

One pass over the journal; what is kept in memory grows with the periods and the totals by model, not with
the entries. Finding nothing means that invariants 2, 3 and 5 to 11 of the ledger hold, as far as a database
can show it. Closed periods of an hour or less are pruned, so the journal may name some that are gone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from outlay.domain.budgets import Budget, Period, PeriodKey
from outlay.domain.entries import Entry
from outlay.domain.reservations import Reservation
from outlay.domain.windows import to_datetime
from outlay.ledger.audit_entries import check_entry
from outlay.ledger.store import EntryFilter, ModelKey, Reader

Progress = Callable[[int, int], None]
"""Hears now and then how far the audit is: the journal's number reached, and its last one."""

MOST_FINDINGS: Final = 1000
_STRIDE: Final = 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be: which invariant it breaks (0: the file itself), where, and how."""

    invariant: int
    where: str
    message: str


@dataclass(slots=True)
class AuditReport:
    """What the audit found, and how much it looked at. After `MOST_FINDINGS`, findings are only counted."""

    findings: list[Finding] = field(default_factory=list)
    unlisted: int = 0
    entries: int = 0
    reservations: int = 0
    budgets: int = 0
    periods: int = 0
    model_totals: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether there is no finding."""
        return not self.findings

    def add(self, invariant: int, where: str, message: str) -> None:
        """Note a finding."""
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(invariant, where, message))
        else:
            self.unlisted += 1


def audit(reader: Reader, progress: Progress | None = None) -> AuditReport:
    """Check a database. The reader's look is one consistent moment."""
    auditor = _Auditor(reader)
    auditor.load_periods()
    auditor.read_reservations()
    auditor.read_journal(progress)
    auditor.compare_periods()
    auditor.compare_models()
    return auditor.report


@dataclass(slots=True)
class _Tally:
    """One period as its row says, and as the journal and the reservations have it."""

    row: Period
    granted: int = 0
    reserved: int = 0
    settled: int = 0
    overrun: int = 0
    earliest: tuple[int, str] | None = None
    latest: tuple[int, str] | None = None

    def admit(self, at: int, what: str) -> None:
        if self.earliest is None or at < self.earliest[0]:
            self.earliest = (at, what)
        if self.latest is None or at > self.latest[0]:
            self.latest = (at, what)


class _Auditor:
    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.report = AuditReport()
        self.budgets: dict[int, Budget] = {b.key: b for b in reader.budgets(has_retired=True)}
        self.report.budgets = len(self.budgets)
        self.tallies: dict[PeriodKey, _Tally] = {}
        self.newest: dict[int, int] = {}
        self.missing: set[PeriodKey] = set()
        self.models: dict[ModelKey, int] = {}
        # A reset opens its period no earlier than the ended one's start, which can be microseconds ahead.
        self.ended_by_reset: dict[PeriodKey, int] = {}
        self.opened_by_reset: dict[tuple[str, str, int], int] = {}

    def load_periods(self) -> None:
        last: Period | None = None
        for period in self.reader.periods():
            self.report.periods += 1
            self.tallies[period.key] = _Tally(period)
            self.newest[period.budget_key] = period.starts_at
            if period.budget_key not in self.budgets:
                self.report.add(2, self._period(period.key), "belongs to no budget")
            if min(period.granted, period.reserved, period.settled, period.overrun) < 0:
                self.report.add(7, self._period(period.key), f"has a counter below zero: {_counters(period)}")
            if period.ends_at <= period.starts_at:
                self.report.add(9, self._period(period.key), f"ends at {_time(period.ends_at)}")
            if last and last.budget_key == period.budget_key and last.ends_at > period.starts_at:
                self.report.add(
                    9,
                    self._period(period.key),
                    f"starts before the last one ends ({_time(last.ends_at)})",
                )
            last = period

    def read_reservations(self) -> None:
        for reservation in self.reader.reservations():
            self.report.reservations += 1
            where = f"reservation {reservation.id!r} of project {reservation.project!r}"
            entry = self.reader.entry(reservation.project, reservation.id)
            if entry is not None:
                self.report.add(3, where, f"is pending, but entry {entry.seq} ({entry.kind}) has ended it")
            self._check_holds(reservation, where)

    def _check_holds(self, reservation: Reservation, where: str) -> None:
        for hold in reservation.holds:
            key = hold.period_key
            self._check_budget(key, hold.unit, reservation.project, reservation.accounts, where)
            if hold.amount < 0:
                self.report.add(7, where, f"holds {hold.amount} {hold.unit}")
            if hold.unit in ("usd", "tokens") and hold.amount != reservation.amounts.get(hold.unit, 0):
                amount = reservation.amounts.get(hold.unit, 0)
                self.report.add(
                    6, where, f"holds {hold.amount} {hold.unit} on budget {hold.budget_key}, not its {amount}"
                )
            tally = self.tallies.get(key)
            if tally is None:
                self._note_missing(key)
                continue
            tally.reserved += hold.amount
            tally.admit(reservation.reserved_at, where)

    def read_journal(self, progress: Progress | None) -> None:
        newest = next(self.reader.entries(EntryFilter(), limit=1, is_newest_first=True), None)
        last_seq, last_at = 0 if newest is None else newest.seq, 0
        for entry in self.reader.entries(EntryFilter()):
            self.report.entries += 1
            where = f"entry {entry.id!r} of project {entry.project!r} (number {entry.seq}, {entry.kind})"
            if entry.at < last_at:
                self.report.add(9, where, f"is of {_time(entry.at)}, before the entry in front of it")
            if entry.admitted_at > entry.at:
                self.report.add(9, where, "was admitted after it was written")
            last_at = max(last_at, entry.at)
            self._check_entry(entry, where)
            self._tally(entry, where)
            if progress is not None and self.report.entries % _STRIDE == 0:
                progress(entry.seq, last_seq)
        if self.reader.clock_state().newest_at < last_at:
            self.report.add(9, "the stored clock", f"is behind the newest entry ({_time(last_at)})")
        if progress is not None:
            progress(last_seq, last_seq)

    def _check_entry(self, entry: Entry, where: str) -> None:
        def find(entry_id: str) -> Entry | None:
            return self.reader.entry(entry.project, entry_id)

        for problem in check_entry(entry, find, self.tallies):
            self.report.add(problem.invariant, where, problem.message)

    def _tally(self, entry: Entry, where: str) -> None:
        is_charge = entry.kind not in ("grant", "reset")
        for post in entry.posts:
            key = post.period_key
            self._check_budget(key, post.unit, entry.project, entry.accounts, where)
            budget = self.budgets.get(post.budget_key)
            if budget is not None and budget.is_by_model and post.settled:
                self._tally_models(entry, key, post.settled)
            tally = self.tallies.get(key)
            if tally is None:
                self._note_missing(key)
                continue
            tally.granted += post.granted
            tally.settled += post.settled
            tally.overrun += post.overrun
            if is_charge:
                tally.admit(entry.admitted_at, where)
        if entry.kind == "reset" and len(entry.posts) == 2:
            self._note_reset(entry)

    def _tally_models(self, entry: Entry, key: PeriodKey, settled: int) -> None:
        carried = entry.detail.get("by_model") if entry.kind == "carry" else None
        amounts = {entry.model: settled} if carried is None else carried
        for model, amount in amounts.items() if isinstance(amounts, dict) else ():
            if model is not None:
                model_key = ModelKey(*key, model)
                self.models[model_key] = self.models.get(model_key, 0) + amount

    def _note_reset(self, entry: Entry) -> None:
        ended, opened = entry.posts
        self.ended_by_reset[ended.period_key] = entry.at
        budget = self.budgets.get(opened.budget_key)
        if budget is not None:
            self.opened_by_reset[budget.project, budget.id, opened.starts_at] = entry.at

    def _check_budget(
        self, key: PeriodKey, unit: str, project: str, accounts: tuple[str, ...], where: str
    ) -> None:
        budget = self.budgets.get(key[0])
        if budget is None:
            self.report.add(2, where, f"posts to budget {key[0]}, which does not exist")
        elif budget.project != project or budget.account not in accounts:
            self.report.add(11, where, f"posts to {budget.id!r} of {budget.account!r} in {budget.project!r}")
        elif budget.unit != unit:
            self.report.add(6, where, f"posts {unit} to {budget.id!r}, which counts {budget.unit}")

    def _note_missing(self, key: PeriodKey) -> None:
        """A period without a row: pruned if its window is short and a later one is there."""
        budget = self.budgets.get(key[0])
        is_pruned = budget is not None and budget.window.is_short
        if is_pruned and self.newest.get(key[0], key[1]) > key[1]:
            return
        if budget is not None and key not in self.missing:
            self.missing.add(key)
            self.report.add(2, self._period(key), "is in the journal or held on, but has no row")

    def compare_periods(self) -> None:
        for key, tally in self.tallies.items():
            row = tally.row
            for name in ("granted", "reserved", "settled", "overrun"):
                stored, wanted = getattr(row, name), getattr(tally, name)
                if stored != wanted:
                    source = "the pending reservations hold" if name == "reserved" else "the journal says"
                    self.report.add(2, self._period(key), f"has {name} {stored}, but {source} {wanted}")
            self._check_admissions(key, tally)

    def _check_admissions(self, key: PeriodKey, tally: _Tally) -> None:
        budget = self.budgets.get(key[0])
        if budget is None or tally.earliest is None or tally.latest is None:
            return
        opened_at = self.opened_by_reset.get((budget.project, budget.id, key[1]), key[1])
        ended_at = self.ended_by_reset.get(key, -1)
        if tally.earliest[0] < min(opened_at, key[1]):
            at, what = tally.earliest
            self.report.add(8, self._period(key), f"has {what}, admitted before it at {_time(at)}")
        if tally.latest[0] >= tally.row.ends_at and tally.latest[0] > ended_at:
            at, what = tally.latest
            self.report.add(8, self._period(key), f"has {what}, admitted after its end at {_time(at)}")

    def compare_models(self) -> None:
        for key, stored in self.reader.all_model_totals():
            self.report.model_totals += 1
            wanted = self.models.pop(key, 0)
            if stored != wanted:
                where = f"{key.model!r} in {self._period(key[:2])}"
                self.report.add(2, where, f"has settled {stored}, but the journal says {wanted}")
        for key, wanted in self.models.items():
            if wanted:
                where = f"{key.model!r} in {self._period(key[:2])}"
                self.report.add(2, where, f"has no total, but the journal says {wanted}")

    def _period(self, key: PeriodKey) -> str:
        budget = self.budgets.get(key[0])
        name = f"budget {key[0]}"
        if budget is not None:
            name = f"{budget.id!r} of project {budget.project!r} (budget {key[0]})"
        return f"{name}, period from {_time(key[1])}"


def _counters(period: Period) -> str:
    return (
        f"granted {period.granted}, reserved {period.reserved}, settled {period.settled}, "
        f"overrun {period.overrun}"
    )


def _time(at: int) -> str:
    try:
        return f"{to_datetime(at):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError):
        return f"{at} µs"
