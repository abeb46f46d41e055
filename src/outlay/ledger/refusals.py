"""Refusals as errors: the same facts, in the units people read."""

from __future__ import annotations

from outlay.domain.budgets import Unit
from outlay.domain.money import usd_float, usd_text
from outlay.domain.outcomes import Outcome, Refusal, Stale
from outlay.domain.windows import to_datetime
from outlay.errors import (
    AccountBlockedError,
    BudgetExceededError,
    CostUnboundedError,
    LedgerStaleError,
    OutlayError,
    PriceUnknownError,
)


def refusal_error(refusal: Refusal) -> OutlayError:
    """The error that tells a refusal."""
    if refusal.reason == "account_blocked":
        return AccountBlockedError(
            f"{refusal.account} is blocked: ask whoever runs this ledger to unblock it"
        )
    if refusal.reason == "price_unknown":
        return PriceUnknownError(
            f"the model has no price, and {refusal.account} has a usd budget: add the price to the "
            "price file, or declare the model `free: true`"
        )
    if refusal.reason == "cost_unbounded":
        return CostUnboundedError(
            f"{refusal.account} has a budget that must hold, and the request has no upper bound: "
            f"{refusal.detail or 'give it one, or make the budget soft'}"
        )
    return _exceeded(refusal)


def stale_error(outcome: Outcome) -> LedgerStaleError:
    """The error that tells that an account changed."""
    account = outcome.account if isinstance(outcome, Stale) else "an account"
    return LedgerStaleError(f"{account} changed since it was read: read it again and repeat")


def amount_float(amount: int, unit: Unit) -> float:
    """An amount as people read it: USD for nanos, a count for the other units."""
    return usd_float(amount) if unit == "usd" else amount


def amount_text(amount: int, unit: Unit) -> str:
    """An amount with its unit: `$1.50`-like for usd, `12 tokens` for the others."""
    return f"${usd_text(amount)}" if unit == "usd" else f"{amount} {unit}"


def _exceeded(refusal: Refusal) -> BudgetExceededError:
    unit = refusal.unit
    current, limit = amount_float(refusal.settled, unit), amount_float(refusal.limit, unit)
    resets_at = None if refusal.resets_at is None else to_datetime(refusal.resets_at)
    message = f"Budget has been exceeded! Current cost: {current}, Max budget: {limit}"
    facts = [
        f"{refusal.account}: {amount_text(refusal.settled, unit)} settled",
        f"{amount_text(refusal.reserved, unit)} reserved by other requests",
        f"this one needs {amount_text(refusal.needed, unit)}",
    ]
    if refusal.affordable_output_tokens is not None:
        facts.append(f"it would fit with max_tokens of {refusal.affordable_output_tokens}")
    if refusal.can_wait:
        facts.append("it may fit once they are settled")
    if resets_at is not None:
        facts.append(f"resets at {resets_at:%Y-%m-%d %H:%M:%S} UTC")
    return BudgetExceededError(
        current,
        limit,
        f"{message} ({'; '.join(facts)})",
        budget=refusal.budget_id,
        account=refusal.account,
        unit=unit,
        limit=limit,
        settled=current,
        reserved=amount_float(refusal.reserved, unit),
        needed=amount_float(refusal.needed, unit),
        affordable_max_tokens=refusal.affordable_output_tokens,
        resets_at=resets_at,
        can_wait=refusal.can_wait,
    )
