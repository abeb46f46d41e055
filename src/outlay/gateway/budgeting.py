"""Budgeting: the limits of a record, as LiteLLM's fields state them, become budgets of its account.

    ACCOUNT/usd                 max_budget over budget_duration, in budget_mode
    ACCOUNT/usd:soft            soft_budget over budget_duration; never refuses
    ACCOUNT/usd:1d              each of budget_limits, by its duration
    ACCOUNT/usd:model:NAME      each of model_max_budget
    ACCOUNT/requests:1m         rpm_limit              ACCOUNT/requests:model:NAME   model_rpm_limit
    ACCOUNT/tokens:1m           tpm_limit              ACCOUNT/tokens:model:NAME     model_tpm_limit
    ACCOUNT/concurrency         max_parallel_requests

Budgets with other ids are somebody else's and stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final, get_args

from outlay.domain.accounts import Account
from outlay.domain.budgets import Budget, Mode, Unit, check_amount, check_budget
from outlay.domain.commands import PutAccount, PutBudget, RemoveBudget
from outlay.domain.money import parse_limit
from outlay.domain.windows import Window
from outlay.errors import InvalidValueError
from outlay.gateway.config import PROJECT
from outlay.gateway.durations import litellm_window
from outlay.gateway.records import Record
from outlay.gateway.stated_budgets import stated_ids
from outlay.ledger.ledger import Ledger

_OURS: Final = re.compile(r"usd(:.+)?|(requests|tokens):(1m|model:.+)|concurrency", re.DOTALL)
_MINUTE: Final = Window.parse("1m")
_TOTAL: Final = Window.parse("total")
_MODES: Final[tuple[Mode, ...]] = get_args(Mode)
"""From the one that refuses most to the one that never does."""


def budgets_of(account: str, record: Record, *, zone: str, at: int) -> list[Budget]:
    """Give the budgets that a record's limits are.

    `zone` is the IANA time zone in which days, weeks and months begin; windows of other lengths count from
    `at` (µs), the moment the account was made.

    Raises:
        InvalidAmountError: a limit is negative, NaN, infinite or absurd; the message names its field.
        InvalidValueError: an unknown duration or mode, or two limits over the same duration.
    """
    if record.budget_mode not in _MODES:
        raise InvalidValueError(f"budget_mode must be one of {', '.join(_MODES)}, not {record.budget_mode!r}")
    found = [*_usd_budgets(account, record, zone, at), *_rate_budgets(account, record)]
    ids = [budget.id for budget in found]
    for id in ids:
        if ids.count(id) > 1:
            raise InvalidValueError(f"budget_limits must not state one budget_duration twice ({id!r})")
    return [check_budget(budget) for budget in found]


def put_limits(ledger: Ledger, account: Account, record: Record, *, zone: str, by: str) -> None:
    """Make an account, or change it, with the budgets that its record states.

    Budgets are made and lowered before the account is changed, and raised and removed after it, so that at
    no moment it may spend more than both the old and the new record say.

    Raises:
        InvalidValueError: as `budgets_of`; then nothing is changed.
    """
    wanted = budgets_of(account.id, record, zone=zone, at=record.created_at)
    with ledger.read() as reader:
        present = {budget.id: budget for budget in reader.budgets(PROJECT, account.id)}
        for budget in wanted:
            other = None if budget.id in present else reader.budget(PROJECT, budget.id)
            if other is not None:
                raise InvalidValueError(f"the budget id {budget.id!r} is in use by {other.account}")
    widened = [budget for budget in wanted if _is_wider(budget, present.get(budget.id))]
    for budget in wanted:
        if budget not in widened:
            ledger.execute(PutBudget(budget, by, is_anchor_kept=True))
    ledger.execute(PutAccount(account))
    for budget in widened:
        ledger.execute(PutBudget(budget, by, is_anchor_kept=True))
    _remove_others(ledger, present, {budget.id for budget in wanted}, by)


def end_budgets(ledger: Ledger, account: str, *, by: str) -> None:
    """Remove all budgets of an account that is deleted, whoever set them, but for those of the configuration.

    A name may be made again, and then what the configuration states of it must hold from the start.
    """
    with ledger.read() as reader:
        stated = stated_ids(reader)
        present = [budget for budget in reader.budgets(PROJECT, account) if budget.id not in stated]
    for budget in present:
        ledger.execute(RemoveBudget(PROJECT, budget.id, by))


def is_of_record(budget: Budget) -> bool:
    """Whether a record's limit made this budget, going by its id."""
    account, slash, rest = budget.id.partition(f"{budget.account}/")
    return not account and bool(slash) and _OURS.fullmatch(rest) is not None


def _remove_others(ledger: Ledger, present: Mapping[str, Budget], kept: set[str], by: str) -> None:
    for budget in present.values():
        if budget.id not in kept and is_of_record(budget):
            ledger.execute(RemoveBudget(PROJECT, budget.id, by))


def _is_wider(budget: Budget, before: Budget | None) -> bool:
    """Whether this budget refuses less than the one it replaces."""
    if before is None:
        return False
    return budget.limit > before.limit or _MODES.index(budget.mode) > _MODES.index(before.mode)


def _usd_budgets(account: str, record: Record, zone: str, at: int) -> Iterator[Budget]:
    def usd(name: str, amount: object, duration: str | None, field: str, prefix: str = "") -> Budget:
        window = _anchored(litellm_window(duration, zone, field=f"{prefix}budget_duration"), account, at)
        limit = parse_limit(amount, f"{prefix}{field}")
        return _budget(f"{account}/{name}", account, "usd", limit, window, mode=_mode(record))

    if record.max_budget is not None:
        yield usd("usd", record.max_budget, record.budget_duration, "max_budget")
    if record.soft_budget is not None:
        soft = usd("usd:soft", record.soft_budget, record.budget_duration, "soft_budget")
        yield replace(soft, mode="soft")
    for each in record.budget_limits:
        duration = each.budget_duration
        yield usd(f"usd:{duration}", each.max_budget, duration, "max_budget", "budget_limits.")
    for model, limit in record.model_max_budget.items():
        prefix = f"model_max_budget.{model}."
        budget = usd(f"usd:model:{model}", limit.budget_limit, limit.time_period, "budget_limit", prefix)
        yield replace(budget, models=tuple(dict.fromkeys((model, *limit.models))))


def _rate_budgets(account: str, record: Record) -> Iterator[Budget]:
    """Rates and concurrency are hard whatever the mode of the money: they protect what is shared."""
    rates: list[tuple[str, Unit, object, str, Window]] = [
        ("requests:1m", "requests", record.rpm_limit, "rpm_limit", _MINUTE),
        ("tokens:1m", "tokens", record.tpm_limit, "tpm_limit", _MINUTE),
        ("concurrency", "concurrency", record.max_parallel_requests, "max_parallel_requests", _TOTAL),
    ]
    for name, unit, limit, field, window in rates:
        if limit is not None:
            yield _budget(f"{account}/{name}", account, unit, check_amount(limit, field), window)
    by_model: list[tuple[Unit, Mapping[str, int], str]] = [
        ("requests", record.model_rpm_limit, "model_rpm_limit"),
        ("tokens", record.model_tpm_limit, "model_tpm_limit"),
    ]
    for unit, limits, field in by_model:
        for model, limit in limits.items():
            amount = check_amount(limit, f"{field}.{model}")
            budget = _budget(f"{account}/{unit}:model:{model}", account, unit, amount, _MINUTE)
            yield replace(budget, models=(model,))


def _budget(id: str, account: str, unit: Unit, limit: int, window: Window, *, mode: Mode = "hard") -> Budget:
    return Budget(PROJECT, id, account, unit, limit, window, mode)


def _mode(record: Record) -> Mode:
    mode: Mode = record.budget_mode  # type: ignore[assignment] # checked before
    return mode


def _anchored(window: Window, account: str, at: int) -> Window:
    """Lengths count from when the account was made. A total counts all that was ever spent.

    A key spent nothing before it was made, so that its total need not look further back; others may have.
    """
    if window.kind in ("exact", "calendar") or (window.kind == "total" and account.startswith("key:")):
        return replace(window, anchor_at=at)
    return window
