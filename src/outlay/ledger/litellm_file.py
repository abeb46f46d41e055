"""LiteLLM's `user_cost.json`: what its BudgetManager kept, as commands for the ledger.

    {user: {"total_budget": 10.0, "duration": 28, "created_at": seconds, "last_updated_at": seconds,
            "current_cost": 1.25, "model_cost": {"gpt-4o": 1.25}}}

All but `total_budget` may be missing; `duration` (days) needs `created_at`. The whole file is checked before
anything is planned. Ids are made from the names, so that what was imported once is not imported again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final

from outlay.domain.accounts import check_name
from outlay.domain.budgets import Mode
from outlay.domain.commands import Command, PutAccount, PutBudget, Record
from outlay.domain.money import parse_limit, parse_usd
from outlay.domain.windows import HOUR, SECOND
from outlay.errors import InvalidValueError
from outlay.ledger.store import Reader
from outlay.ledger.user_budgets import (
    DURATIONS,
    user_account,
    user_account_row,
    user_budget,
    user_budget_id,
)

_DAYS: Final = {days: name for name, (_, days) in DURATIONS.items()}
_LATEST_SECONDS: Final = 4_102_444_800
"""The year 2100."""


@dataclass(frozen=True, slots=True)
class FileUser:
    """One user of the file: amounts in nanos, times in microseconds. `costs` by model, "" for the rest."""

    name: str
    limit: int
    duration: str | None
    created_at: int | None
    ends_at: int | None
    costs: Mapping[str, int]


@dataclass(slots=True)
class ImportPlan:
    """What an import does: its commands in order, and what they come to.

    Budgets come before all records: a new budget looks through the journal for what its account spent.
    `kept` are users whose budget was there already, `ended` those whose costs belong to a period that is
    over, as LiteLLM counts periods: they are not carried into the running one.
    """

    budgets: list[Command] = field(default_factory=list)
    records: list[Command] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    recorded_nanos: int = 0

    @property
    def commands(self) -> list[Command]:
        """All commands, in order."""
        return self.budgets + self.records


def read_users(content: bytes) -> list[FileUser]:
    """Read the file, all of it.

    Raises:
        InvalidValueError: it is torn or not such a file; the message names the user and the field.
    """
    try:
        data = json.loads(content, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise InvalidValueError(f"the file is not whole JSON ({error}): restore it from a backup") from error
    if not isinstance(data, dict):
        raise InvalidValueError("the file must hold an object of users, as LiteLLM's BudgetManager writes it")
    return [_read_user(name, record) for name, record in data.items()]


def plan_import(reader: Reader, project: str, users: list[FileUser], mode: Mode = "crossing") -> ImportPlan:
    """Plan what is still to be imported into a project.

    Raises:
        InvalidValueError: a cost was imported before with another value.
    """
    check_name(project, "project")
    plan, now = ImportPlan(), reader.now()
    for user in users:
        if reader.budget(project, user_budget_id(user.name)) is None:
            anchor = now if user.created_at is None else user.created_at
            budget = user_budget(project, user.name, user.limit, user.duration, anchor, mode)
            plan.budgets += [
                PutAccount(user_account_row(project, user.name)),
                PutBudget(budget, "import-litellm"),
            ]
            plan.made.append(user.name)
        else:
            plan.kept.append(user.name)
        _plan_costs(plan, reader, project, user, now)
    return plan


def _plan_costs(plan: ImportPlan, reader: Reader, project: str, user: FileUser, now: int) -> None:
    if user.ends_at is not None and user.ends_at <= now:
        if user.costs:
            plan.ended.append(user.name)
        return
    for model, nanos in user.costs.items():
        entry_id = _entry_id(user.name, model)
        before = reader.entry(project, entry_id)
        if before is None:
            plan.records.append(_record(project, user.name, model, nanos, entry_id))
            plan.recorded_nanos += nanos
        elif before.usd_nanos != nanos:
            raise InvalidValueError(
                f"user {user.name!r}: model_cost[{model!r}] was imported before with another value: the "
                "file was written since then. What was spent since belongs into update_cost"
            )


def _entry_id(user: str, model: str) -> str:
    return f"litellm:{blake2b(json.dumps([user, model]).encode(), digest_size=16).hexdigest()}"


def _record(project: str, user: str, model: str, nanos: int, entry_id: str) -> Record:
    return Record(
        project,
        entry_id,
        (user_account(user),),
        nanos,
        requests=0,
        model=model or None,
        detail={"imported_from": "litellm"},
    )


def _read_user(name: str, record: object) -> FileUser:
    where = f"user {name!r}"
    user_account(name)
    if not isinstance(record, dict):
        raise InvalidValueError(f"{where} must be an object, not {record!r}")
    if record.get("total_budget") is None:
        raise InvalidValueError(f"{where}: total_budget is missing")
    created_at = _seconds(record.get("created_at"), f"{where}: created_at")
    updated_at = _seconds(record.get("last_updated_at"), f"{where}: last_updated_at")
    days = record.get("duration")
    if days is not None and (isinstance(days, bool) or days not in tuple(_DAYS)):
        raise InvalidValueError(f"{where}: duration must be 1, 7, 28 or 365 days, not {days}")
    if days is not None and created_at is None:
        raise InvalidValueError(f"{where}: created_at is missing, which its duration needs")
    started_at = created_at if updated_at is None else updated_at
    ends_at = None
    if days is not None and started_at is not None:
        ends_at = started_at + int(days) * 24 * HOUR
    return FileUser(
        name,
        parse_limit(record["total_budget"], f"{where}: total_budget"),
        None if days is None else _DAYS[int(days)],
        created_at,
        ends_at,
        _read_costs(record, where),
    )


def _read_costs(record: Mapping[str, Any], where: str) -> dict[str, int]:
    """The current cost by model; what no model accounts for stands under ""."""
    by_model = record.get("model_cost")
    if by_model is None:
        by_model = {}
    if not isinstance(by_model, dict):
        raise InvalidValueError(f"{where}: model_cost must be an object of models, not {by_model!r}")
    costs = {
        check_name(model, f"{where}: a model in model_cost"): parse_usd(
            cost, f"{where}: model_cost[{model!r}]"
        )
        for model, cost in by_model.items()
    }
    known, current = sum(costs.values()), record.get("current_cost")
    total = known if current is None else parse_usd(current, f"{where}: current_cost")
    rest, rounding = total - known, len(costs) + 1
    if rest < -rounding:
        raise InvalidValueError(f"{where}: model_cost adds up to more than current_cost ({current})")
    if costs and abs(rest) <= rounding:  # each was rounded to nanos by itself
        dearest = max(costs, key=lambda model: costs[model])
        costs[dearest] = max(0, costs[dearest] + rest)
    elif rest > 0:
        costs[""] = rest
    return {model: nanos for model, nanos in costs.items() if nanos}


def _seconds(value: object, where: str) -> int | None:
    """Seconds since the epoch as microseconds."""
    if value is None:
        return None
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    if not is_number or not Decimal(str(value)).is_finite() or not 0 <= Decimal(str(value)) < _LATEST_SECONDS:
        raise InvalidValueError(f"{where} must be seconds since 1970, not {value}")
    return int(Decimal(str(value)) * SECOND)
