"""Figures: what accounts spent, and when their budgets begin anew, as the ledger says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from outlay.domain.accounts import Account
from outlay.domain.budgets import Period, running_period
from outlay.domain.money import usd_float
from outlay.domain.windows import NEVER, to_datetime
from outlay.gateway.config import PROJECT
from outlay.gateway.records import Record
from outlay.ledger.store import EntryFilter, Reader


@dataclass(frozen=True, slots=True)
class Figures:
    """One account's spend in nanos, and the running periods of its budgets by the rest of the budget's id.

    The spend is that of the running period of `max_budget`, else all that the journal has.
    """

    spend: int = 0
    periods: Mapping[str, Period] = field(default_factory=dict)

    def spent(self, budget: str) -> float:
        """USD settled in the running period of one budget, `usd:1d` say."""
        period = self.periods.get(budget)
        return 0.0 if period is None else usd_float(period.settled)

    def reset_at(self, budget: str) -> str | None:
        """When one budget begins anew; None for never."""
        period = self.periods.get(budget)
        return None if period is None or period.ends_at == NEVER else moment(period.ends_at)


def figures_of(reader: Reader, found: Sequence[tuple[Account, Record]]) -> dict[str, Figures]:
    """Give the figures of accounts, by account. Those without a `max_budget` are summed from the journal."""
    budgets = {account.id: reader.budgets(PROJECT, account.id) for account, _ in found}
    newest = reader.newest_periods([budget.key for each in budgets.values() for budget in each])
    now = reader.now()
    periods = {
        id: {
            budget.id.removeprefix(f"{id}/"): running_period(budget, newest.get(budget.key), now)
            for budget in each
        }
        for id, each in budgets.items()
    }
    sums = {
        account.id: _journal_sum(reader, account.id, record)
        for account, record in found
        if "usd" not in periods[account.id]
    }
    spent = {id: sums[id] if id in sums else each["usd"].settled for id, each in periods.items()}
    return {id: Figures(spent[id], each) for id, each in periods.items()}


def limits_row(record: Record, figures: Figures, *, is_blocked: bool) -> dict[str, Any]:
    """What a row of any account shows, under LiteLLM's names: the record's limits and the figures."""
    held = figures.periods.get("usd")
    return {
        "models": list(record.models),
        "metadata": record.metadata,
        "tags": list(record.tags),
        "spend": usd_float(figures.spend),
        "reserved": 0.0 if held is None else usd_float(held.reserved),
        "max_budget": record.max_budget,
        "soft_budget": record.soft_budget,
        "budget_duration": record.budget_duration,
        "budget_reset_at": figures.reset_at("usd") or figures.reset_at("usd:soft"),
        "budget_mode": record.budget_mode,
        "budget_limits": [
            {
                "budget_duration": each.budget_duration,
                "max_budget": each.max_budget,
                "spend": figures.spent(f"usd:{each.budget_duration}"),
                "reset_at": figures.reset_at(f"usd:{each.budget_duration}"),
            }
            for each in record.budget_limits
        ],
        "model_max_budget": {
            model: msgspec.to_builtins(each) for model, each in record.model_max_budget.items()
        },
        "model_spend": {model: figures.spent(f"usd:model:{model}") for model in record.model_max_budget},
        "rpm_limit": record.rpm_limit,
        "tpm_limit": record.tpm_limit,
        "max_parallel_requests": record.max_parallel_requests,
        "model_rpm_limit": record.model_rpm_limit,
        "model_tpm_limit": record.model_tpm_limit,
        "blocked": is_blocked,
        "created_at": moment(record.created_at),
        "created_by": record.created_by,
        "updated_at": moment(record.updated_at),
        "updated_by": record.updated_by,
    }


def moment(at: int) -> str:
    """Microseconds since the epoch in ISO 8601, UTC."""
    return to_datetime(at).isoformat()


def _journal_sum(reader: Reader, id: str, record: Record) -> int:
    """All that an account spent. A key spent nothing before it was made; other names may be older."""
    since = record.created_at if id.startswith("key:") else None
    wanted = EntryFilter(PROJECT, since=since, any_of=((id,),))
    return sum(each.usd_nanos for each in reader.spend_by_day(wanted))
