"""Changes of the catalogue: accounts and budgets, and what a budget's new rule does to its running period."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from outlay.domain.accounts import Account, check_account_id, check_detail, check_name, detail_text
from outlay.domain.budgets import Budget, Period, PeriodKey, check_budget, running_period
from outlay.domain.commands import Command, ConfirmClock, PutAccount, PutBudget, RemoveBudget
from outlay.domain.decide import Decision
from outlay.domain.entries import Entry, Post
from outlay.domain.outcomes import Outcome, Put
from outlay.domain.reservations import Hold, Reservation
from outlay.domain.windows import Interval
from outlay.errors import InvalidValueError
from outlay.ledger.store import Ref, Spend, Transaction


def change_catalogue(command: Command, tx: Transaction) -> tuple[Outcome, Sequence[Decision]]:
    """Carry out a catalogue command; the decisions it gives are for the journal and the counters.

    Raises:
        InvalidValueError: the account or budget is not one.
    """
    if isinstance(command, PutAccount):
        return _put_account(command.account, tx), ()
    if isinstance(command, PutBudget):
        return _put_budget(command, tx)
    if isinstance(command, RemoveBudget):
        budget = tx.budget(Ref(command.project, command.budget_id))
        if budget is not None:
            tx.retire_budget(budget)
        return Put(budget is not None), ()
    if isinstance(command, ConfirmClock):
        tx.confirm_clock()
        return Put(is_changed=True), ()
    raise InvalidValueError(f"the ledger has no command {type(command).__name__}")


def _put_account(account: Account, tx: Transaction) -> Put:
    check_name(account.project, "project")
    check_account_id(account.id)
    if account.status not in ("active", "blocked"):
        raise InvalidValueError(f"status must be active or blocked, not {account.status!r}")
    account = replace(account, detail=check_detail(account.detail))
    found = tx.accounts((Ref(account.project, account.id),))
    if any(_is_same(before, account) for before, _ in found.values()):
        return Put(is_changed=False)
    _check_parents(account, tx)
    tx.put_account(account)
    return Put(is_changed=True)


def _is_same(before: Account, account: Account) -> bool:
    """Whether nothing would change; 1 and true are equal in Python, and not in JSON."""
    return before == account and detail_text(before.detail) == detail_text(account.detail)


def _check_parents(account: Account, tx: Transaction) -> None:
    above, seen = account.parent, {account.id}
    while above is not None:
        check_account_id(above, "parent")
        if above in seen:
            raise InvalidValueError(f"parent {account.parent!r} would put {account.id!r} above itself")
        seen.add(above)
        found = tx.accounts((Ref(account.project, above),))
        above = next((row.parent for row, _ in found.values()), None)


def _put_budget(command: PutBudget, tx: Transaction) -> tuple[Put, Sequence[Decision]]:
    budget = check_budget(command.budget)
    before = tx.budget(Ref(budget.project, budget.id))
    if before is not None and command.is_anchor_kept:
        budget = replace(budget, window=replace(budget.window, anchor_at=before.window.anchor_at))
    if before is not None and before.has_same_rule(budget):
        budget = replace(budget, key=before.key)
        if budget == before:
            return Put(is_changed=False), ()
        tx.put_budget(budget)
        return Put(is_changed=True), ()
    if before is not None:
        tx.retire_budget(before)
    budget = tx.put_budget(replace(budget, key=0))
    return Put(is_changed=True), _open_with_history(budget, before, command.by, tx)


def _open_with_history(budget: Budget, before: Budget | None, by: str, tx: Transaction) -> list[Decision]:
    """Open the running period of a new generation with what its account already spent and holds in it."""
    interval = _running_interval(budget, before, tx)
    starts_at = max(interval.starts_at, tx.last_reset(Ref(budget.project, budget.id)))
    spent = tx.spend_since(budget, starts_at)
    period = Period(budget.key, starts_at, interval.ends_at, settled=spent.amount)
    decisions = []
    if spent.amount:
        entry = _carry(budget, period, spent, by, tx.now)
        decisions.append(Decision(Put(is_changed=True), (period,), entry=entry))
    pending = [
        reservation
        for reservation in tx.pending_of(Ref(budget.project, budget.account))
        if reservation.reserved_at >= starts_at and budget.applies_to(reservation.provider, reservation.model)
    ]
    replaced = {
        hold.period_key
        for reservation in pending
        for hold in reservation.holds
        if before is not None and hold.budget_key == before.key
    }
    periods = {**tx.periods(replaced), period.key: period}
    for reservation in pending:
        moved, changed = _hold_too(reservation, budget, replaced, periods, period.key)
        periods.update((each.key, each) for each in changed)
        decisions.append(Decision(Put(is_changed=True), changed, moved))
    return decisions


def _running_interval(budget: Budget, before: Budget | None, tx: Transaction) -> Interval:
    """What the running period of a new generation spans: a new anchor alone must not forget what was spent.

    With the same window but for its anchor, the running period goes on to its end, and the anchor counts from
    the next one. With another window it begins no later than it would with the old anchor.
    """
    now, window = tx.now, budget.window
    interval = window.interval_at(now)
    if before is None:
        return interval
    if (before.window.text, before.window.zone) != (window.text, window.zone):
        kept = replace(window, anchor_at=before.window.anchor_at).interval_at(now)
        return Interval(min(interval.starts_at, kept.starts_at), interval.ends_at)
    running = running_period(before, tx.newest_periods((before.key,)).get(before.key), now)
    if window.kind == "total":
        return Interval(min(interval.starts_at, running.starts_at), interval.ends_at)
    return Interval(running.starts_at, running.ends_at)


def _carry(budget: Budget, period: Period, spent: Spend, by: str, now: int) -> Entry:
    return Entry(
        budget.project,
        f"carry:{budget.key}",
        "carry",
        now,
        now,
        (budget.account,),
        (Post(budget.key, period.starts_at, budget.unit, 0, spent.amount, 0, 0),),
        source="manual",
        detail={"by": by, "by_model": dict(spent.by_model)},
    )


def _hold_too(
    reservation: Reservation,
    budget: Budget,
    replaced: Collection[PeriodKey],
    periods: Mapping[PeriodKey, Period],
    key: PeriodKey,
) -> tuple[Reservation, list[Period]]:
    """Let a pending reservation hold on the new generation, in place of the one it replaces."""
    amount = reservation.amounts.get(budget.unit, 0 if budget.unit in ("usd", "tokens") else 1)
    kept, changed = [], []
    for hold in reservation.holds:
        old = hold.period_key
        if old in replaced:
            amount = hold.amount if hold.unit == budget.unit else amount
            changed.append(periods[old]._replace(reserved=periods[old].reserved - hold.amount))
        else:
            kept.append(hold)
    kept.append(Hold(budget.key, key[1], budget.unit, amount))
    changed.append(periods[key]._replace(reserved=periods[key].reserved + amount))
    return reservation._replace(holds=tuple(kept)), changed
