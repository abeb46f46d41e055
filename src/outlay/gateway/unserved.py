"""Unserved: budgets that bind nothing, since no request of this gateway is counted by what they name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from outlay.domain.budgets import Budget
from outlay.routing.deployments import Routes
from outlay.routing.served import unserved


def unserved_budgets(routes: Routes, budgets: Iterable[Budget]) -> list[str]:
    """Say of budgets of a configuration which models and providers nobody can call."""
    notes, served, providers = list[str](), routes.served_models(), frozenset(routes.providers)
    for budget in budgets:
        notes += [f"the budget {budget.id!r}: {why}" for why in unserved(served, budget.models)]
        kind, _, name = budget.account.partition(":")
        named = (*budget.providers, *((name,) if kind == "provider" else ()))
        notes += [
            f"the budget {budget.id!r}: no model of the gateway is served by {provider}, so no request counts"
            for provider in named
            if provider not in providers
        ]
    return notes


def unserved_limits(routes: Routes, row: Mapping[str, Any]) -> list[str]:
    """Say of the limits by model that a row of the management API shows which bind nothing."""
    shared = {
        f"model_max_budget.{model}": (model, *limit["models"])
        for model, limit in row["model_max_budget"].items()
    }
    rates = {
        f"{field}.{model}": (model,)
        for field in ("model_rpm_limit", "model_tpm_limit")
        for model in row[field]
    }
    named = {**shared, **rates}
    served = routes.served_models() if named else []
    return [f"{field}: {why}" for field, names in named.items() for why in unserved(served, names)]
