"""The admitting decisions: may this estimate be held on every budget it belongs to?

Pure: no I/O, no clock, no randomness. One implementation serves every store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from outlay.domain.budgets import Budget, Period, PeriodKey, Unit, running_period
from outlay.domain.commands import Amount, Increase, Reserve
from outlay.domain.entries import Entry
from outlay.domain.outcomes import Alert, Increased, Outcome, Refusal, RefusalReason, Reserved
from outlay.domain.reservations import Hold, Reservation
from outlay.domain.windows import NEVER
from outlay.errors import IdempotencyConflictError


class Decision(NamedTuple):
    """What a command answers, and what it writes: the periods' new states, a reservation, an entry."""

    outcome: Outcome
    periods: Sequence[Period] = ()
    reservation: Reservation | None = None
    resolved_id: str | None = None
    entry: Entry | None = None


class Line(NamedTuple):
    """One budget that a request counts against: its running period, and what the request needs of it.

    `room` is what is available: below zero after a lowered limit or an overrun. `stuck` is the part of what
    is reserved that calls hold which are over: it will be presumed spent.
    """

    budget: Budget
    period: Period
    fixed: int
    per_output_token: int
    room: int
    stuck: int = 0

    def needed(self, output_tokens: int) -> int:
        """What the request needs with this output cap."""
        return self.fixed + self.per_output_token * output_tokens


ONE = Amount(1)
NOTHING = Amount(0)
NO_AMOUNTS: Mapping[PeriodKey, int] = MappingProxyType({})


def decide_reserve(
    command: Reserve,
    accounts: tuple[str, ...],
    budgets: Sequence[Budget],
    newest: Mapping[int, Period | None],
    now: int,
    fingerprint: bytes,
    stuck: Mapping[PeriodKey, int] = NO_AMOUNTS,
) -> Decision:
    """Hold the estimate on every budget of the request, or refuse.

    `accounts` are the command's with all those above them; `newest` has the newest period by budget key.
    `stuck` is what calls that are over still hold, by period; only whether waiting helps depends on it.
    """
    lines, watching, refusal = _lines(command, budgets, newest, now)
    if refusal is not None:
        return Decision(refusal)
    cap = _granted_cap(command, lines)
    output_tokens = max(cap or 0, command.least_output_tokens) if cap is not None else 0
    refusals = [line for line in lines if not _admits(line, output_tokens)]
    if refusals:
        refusals = [line._replace(stuck=stuck.get(line.period.key, 0)) for line in refusals]
        return Decision(_refuse(command, refusals, lines, output_tokens))
    periods, holds, alerts, remaining, is_limited, first = [], [], [], None, False, None
    disclosed, is_usd_limited = command.disclosed_accounts, False
    for budget, period, fixed, per_output_token, room, _ in lines:
        needed = fixed + per_output_token * output_tokens
        key, starts_at, ends_at, granted, reserved, settled, overrun = period
        holds.append(Hold(key, starts_at, budget.unit, needed))
        held = Period(key, starts_at, ends_at, granted, reserved + needed, settled, overrun)
        periods.append(held)
        if budget.mode == "soft" or budget.alert_percents:
            alerts += crossed(budget, period, held)
        if budget.mode != "soft" and _is_metered(budget.unit):
            is_limited = True
            is_usd_limited = is_usd_limited or budget.unit == "usd"
            if budget.unit == "usd" and (disclosed is None or budget.account in disclosed):
                remaining = room - needed if remaining is None else min(remaining, room - needed)
                if first is None and budget.account == command.accounts[0]:
                    first = settled, budget.limit + granted
    holds += [Hold(budget.key, period.starts_at, budget.unit, 0) for budget, period, *_ in watching]
    periods += [period for _, period, *_ in watching]
    amounts = {
        unit: amount.fixed + amount.per_output_token * output_tokens
        for unit, amount in command.amounts.items()
    }
    reservation = Reservation(
        command.project,
        command.id,
        accounts,
        amounts,
        tuple(holds),
        now,
        now + command.hold_micros,
        fingerprint,
        cap,
        command.request_id,
        command.attempt,
        command.provider,
        command.model,
        command.price_version,
        command.tags,
        holder=command.holder,
    )
    outcome = Reserved(
        command.id,
        cap,
        reservation.expires_at,
        remaining_nanos=None if remaining is None else max(remaining, 0),
        alerts=tuple(alerts),
        is_limited=is_limited,
        first_budget=first,
        is_cap_disclosed=cap == command.wanted_output_tokens or not _is_bound_by_others(command, lines, cap),
        is_usd_limited=is_usd_limited,
    )
    return Decision(outcome, periods, reservation)


def repeat_reserve(pending: Reservation | None, ended: Entry | None, fingerprint: bytes) -> Reserved | None:
    """Answer a repeated reserve as the first time; None if the id is new.

    Raises:
        IdempotencyConflictError: the id was used with other content.
    """
    if pending is not None:
        if pending.fingerprint != fingerprint:
            raise IdempotencyConflictError(_conflict(pending.id))
        return Reserved(pending.id, pending.output_cap, pending.expires_at, is_replay=True)
    if ended is None:
        return None
    kind = ended.kind
    if ended.reserve_fingerprint != fingerprint or kind not in ("settle", "void", "expire"):
        raise IdempotencyConflictError(_conflict(ended.id))
    return Reserved(ended.id, ended.output_cap, ended.at, kind, is_replay=True)


def decide_increase(
    command: Increase,
    reservation: Reservation,
    budgets: Mapping[int, Budget],
    periods: Mapping[PeriodKey, Period],
    fingerprint: bytes,
) -> Decision:
    """Hold more on a pending reservation, on all its budgets or none.

    `budgets` has those of the reservation's budgets that are not retired, by key.

    Raises:
        IdempotencyConflictError: this increase's id was used with other content.
    """
    first = reservation.increases.get(command.id)
    if first is not None:
        if first != fingerprint:
            raise IdempotencyConflictError(_conflict(command.id))
        return Decision(Increased(reservation.id, is_replay=True))
    changed, holds = [], []
    for hold in reservation.holds:
        more = command.amounts.get(hold.unit, 0)
        holds.append(hold._replace(amount=hold.amount + more))
        period, budget = periods.get(hold.period_key), budgets.get(hold.budget_key)
        if period is None:  # pruned: it held nothing, and admits nothing any more
            continue
        if budget is not None and more:
            line = _line(budget, period, Amount(more))
            if not _admits(line, 0):
                return Decision(_refusal(line, 0, None))
        changed.append(period._replace(reserved=period.reserved + more))
    amounts = {
        unit: reservation.amounts.get(unit, 0) + command.amounts.get(unit, 0)
        for unit in {**reservation.amounts, **command.amounts}
    }
    increased = Reservation(
        reservation.project,
        reservation.id,
        reservation.accounts,
        amounts,
        tuple(holds),
        reservation.reserved_at,
        reservation.expires_at,
        reservation.fingerprint,
        reservation.output_cap,
        reservation.request_id,
        reservation.attempt,
        reservation.provider,
        reservation.model,
        reservation.price_version,
        reservation.tags,
        {**reservation.increases, command.id: fingerprint},
        reservation.holder,
    )
    return Decision(Increased(reservation.id), changed, increased)


def crossed(budget: Budget, before: Period, after: Period) -> list[Alert]:
    """The alert thresholds that lie between two states of a period; a soft budget alerts at 100 % too."""
    percents = budget.alert_percents
    if budget.mode == "soft" and 100 not in percents:
        percents = (*percents, 100)
    limit = budget.limit + after.granted
    low, high = before.settled + before.reserved, after.settled + after.reserved
    return [
        Alert(budget.id, budget.account, percent)
        for percent in percents
        if low * 100 < limit * percent <= high * 100
    ]


def _lines(
    command: Reserve, budgets: Sequence[Budget], newest: Mapping[int, Period | None], now: int
) -> tuple[list[Line], list[Line], Refusal | None]:
    """Find what counts against which period; refuse what has no amount where one is needed.

    The second list are budgets of USD of which a free model needs nothing, and which cannot refuse it: what
    its provider bills all the same is their overrun.
    """
    lines: list[Line] = []
    watching: list[Line] = []
    for budget in budgets:
        if not budget.applies_to(command.provider, command.model, command.model_aliases):
            continue
        amount = _amount(command, budget)
        if amount is None:
            reason: RefusalReason = "price_unknown" if budget.unit == "usd" else "cost_unbounded"
            return [], [], _unpriced(command, budget, reason)
        if _lacks_bound(command, budget):
            return [], [], _unpriced(command, budget, "cost_unbounded")
        is_unbounded = command.unbounded_reason is not None and _is_metered(budget.unit)
        is_needed = amount.fixed or amount.per_output_token or is_unbounded
        if is_needed or budget.unit == "usd":
            period = newest.get(budget.key)
            if period is None or now >= period.ends_at:
                period = running_period(budget, period, now)
            (lines if is_needed else watching).append(_line(budget, period, amount))
    return lines, watching, None


def _lacks_bound(command: Reserve, budget: Budget) -> bool:
    """Whether the budget needs a bound that the request has not: a hard one needs a proven one."""
    if command.unbounded_reason is None and (command.unproven_reason is None or budget.mode != "hard"):
        return False
    is_concerned = budget.unit == "tokens" or (budget.unit == "usd" and not command.is_free)
    return budget.mode != "soft" and is_concerned


def _line(budget: Budget, period: Period, amount: Amount) -> Line:
    room = budget.limit + period.granted - period.settled - period.reserved
    return Line(budget, period, amount.fixed, amount.per_output_token, room)


def _amount(command: Reserve, budget: Budget) -> Amount | None:
    amount = command.amounts.get(budget.unit)
    if amount is not None or _is_metered(budget.unit):
        return amount
    if budget.unit == "requests" and command.attempt > 1 and budget.account not in command.attempt_accounts:
        return NOTHING
    return ONE


def _is_metered(unit: Unit) -> bool:
    return unit in ("usd", "tokens")


def _granted_cap(command: Reserve, lines: Sequence[Line]) -> int | None:
    """The largest output cap, up to the wanted one, that every hard budget admits."""
    cap = command.wanted_output_tokens
    if cap is None:
        return None
    for budget, _, fixed, per_output_token, room, _ in lines:
        if per_output_token and budget.mode == "hard":
            cap = min(cap, (room - fixed) // per_output_token)
    return max(cap, command.least_output_tokens)


def _admits(line: Line, output_tokens: int) -> bool:
    budget, _, fixed, per_output_token, room, _ = line
    if budget.mode == "hard" or (budget.mode == "crossing" and not _is_metered(budget.unit)):
        return fixed + per_output_token * output_tokens <= room
    return budget.mode == "soft" or room > 0


def _refuse(command: Reserve, refusals: Sequence[Line], lines: Sequence[Line], output_tokens: int) -> Refusal:
    """Report the budget that no waiting can open, if there is one, and what would be affordable."""
    chosen = next((line for line in refusals if not _can_wait(line, output_tokens)), refusals[0])
    return _refusal(chosen, output_tokens, _affordable(command, lines))


def _can_wait(line: Line, output_tokens: int) -> bool:
    """Whether the line would be admitted if all calls that run came to nothing.

    A request that was sent counts as one, whatever becomes of it.
    """
    if line.budget.unit == "requests":
        return False
    return _admits(line._replace(room=line.room + line.period.reserved - line.stuck), output_tokens)


def _is_bound_by_others(command: Reserve, lines: Sequence[Line], cap: int | None) -> bool:
    """Whether a budget of an account that is not disclosed allows no more than this cap."""
    disclosed = command.disclosed_accounts
    return (
        disclosed is not None
        and cap is not None
        and any(
            line.per_output_token
            and line.budget.mode == "hard"
            and line.budget.account not in disclosed
            and (line.room - line.fixed) // line.per_output_token <= cap
            for line in lines
        )
    )


def _affordable(command: Reserve, lines: Sequence[Line]) -> int | None:
    if command.wanted_output_tokens is None:
        return None
    capped = [line for line in lines if line.per_output_token and line.budget.mode == "hard"]
    others = [line for line in lines if not (line.per_output_token and line.budget.mode == "hard")]
    caps = [(line.room - line.fixed) // line.per_output_token for line in capped]
    if not caps or min(caps) <= 0 or not all(_admits(line, 0) for line in others):
        return None
    most = min(caps)
    return None if _is_bound_by_others(command, lines, most) else most


def _refusal(line: Line, output_tokens: int, affordable: int | None) -> Refusal:
    budget, period = line.budget, line.period
    return Refusal(
        "budget_exceeded",
        budget.account,
        budget.id,
        budget.unit,
        budget.limit + period.granted,
        period.settled,
        period.reserved,
        line.needed(output_tokens),
        None if period.ends_at == NEVER else period.ends_at,
        _can_wait(line, output_tokens),
        affordable,
        window=budget.window.text,
        mode=budget.mode,
    )


def _unpriced(command: Reserve, budget: Budget, reason: RefusalReason) -> Refusal:
    return Refusal(
        reason,
        budget.account,
        budget.id,
        budget.unit,
        budget.limit,
        detail=command.unbounded_reason or command.unproven_reason,
        window=budget.window.text,
        mode=budget.mode,
    )


def _conflict(id: str) -> str:
    return f"the id {id!r} was used before with other content: use a new id for a new command"
