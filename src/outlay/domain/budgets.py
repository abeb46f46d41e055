"""Budgets and periods: a limit on one account over one window, and what was spent of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, get_args

from outlay.domain.accounts import check_account_id, check_name
from outlay.domain.windows import Window, check_zone
from outlay.errors import InvalidAmountError, InvalidValueError

Unit = Literal["usd", "tokens", "requests", "concurrency"]
Mode = Literal["hard", "crossing", "soft"]

UNITS: Final[tuple[Unit, ...]] = get_args(Unit)
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
MAX_AMOUNT: Final = 10**18
"""The most one limit or hold may be, in nanos or counts: sums of several still fit 64 bits."""
MAX_CHARGE: Final = 10**15
"""The most one charge may be: a million dollars. Thousands of them fit a period's 64 bits."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit on one account over one window.

    `limit` is in nanos for `usd`, else a count. `key` is the store's number for this generation of the
    budget: changing the window makes a new generation, changing the limit does not. `models` and
    `providers` narrow the budget to requests of those; empty means all. `alert_percents` are thresholds of
    the limit. `is_by_model` keeps a running total by model for each period.
    """

    project: str
    id: str
    account: str
    unit: Unit
    limit: int
    window: Window
    mode: Mode = "hard"
    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    alert_percents: tuple[int, ...] = ()
    is_by_model: bool = False
    key: int = 0

    def applies_to(self, provider: str | None, model: str | None, aliases: Sequence[str] = ()) -> bool:
        """Whether a request for this provider and model counts against this budget.

        `models` may name it with its provider in front or without it (`openai/gpt-4o`, `gpt-4o`), in whatever
        letters, or by one of its `aliases`.
        """
        return (not self.models or self._names(provider, model, aliases)) and (
            not self.providers or provider in self.providers
        )

    def _names(self, provider: str | None, model: str | None, aliases: Sequence[str]) -> bool:
        if model in self.models:
            return True
        if model is None:
            return False
        spellings = {model.lower(), *(alias.lower() for alias in aliases)}
        if provider is not None:
            prefix = f"{provider}/".lower()
            spellings |= {prefix + model.lower(), model.lower().removeprefix(prefix)}
        return any(name.lower() in spellings for name in self.models)

    def has_same_rule(self, other: Budget) -> bool:
        """Whether `other` counts the same things over the same periods, whatever its limit and mode."""
        return (
            self.account == other.account
            and self.unit == other.unit
            and self.window == other.window
            and self.models == other.models
            and self.providers == other.providers
            and self.is_by_model == other.is_by_model
        )


PeriodKey = tuple[int, int]
"""Which period: the budget's key and the period's start."""


class Period(NamedTuple):
    """One interval of one budget and its counters, all ≥ 0, in nanos for `usd`, else counts.

    `overrun` is the part of `settled` that went above its own reservations.
    """

    budget_key: int
    starts_at: int
    ends_at: int
    granted: int = 0
    reserved: int = 0
    settled: int = 0
    overrun: int = 0

    @property
    def key(self) -> PeriodKey:
        """The key of this period."""
        return self[:2]


def running_period(budget: Budget, newest: Period | None, now: int) -> Period:
    """Find the period that counts at `now`: the newest while it lasts, else a fresh one from the window."""
    if newest is not None and now < newest.ends_at:
        return newest
    starts_at, ends_at = budget.window.interval_at(now)
    if newest is not None and starts_at < newest.ends_at:
        starts_at = newest.ends_at
    return Period(budget.key, starts_at, ends_at)


def check_budget(budget: Budget) -> Budget:
    """Check a budget as somebody gave it.

    Raises:
        InvalidAmountError: the limit is not an integer ≥ 0, or absurd.
        InvalidValueError: an unknown unit, mode, account kind or time zone, or a bad filter or threshold.
    """
    check_name(budget.project, "project")
    check_name(budget.id, "budget id")
    check_account_id(budget.account)
    if budget.unit not in UNITS:
        raise InvalidValueError(f"unit must be one of {', '.join(UNITS)}, not {budget.unit!r}")
    if budget.mode not in MODES:
        raise InvalidValueError(f"mode must be one of {', '.join(MODES)}, not {budget.mode!r}")
    check_amount(budget.limit, "limit")
    check_zone(budget.window.zone, "time zone")
    _check_names(budget.models, "models")
    _check_names(budget.providers, "providers")
    for percent in budget.alert_percents:
        if not isinstance(percent, int) or not 0 < percent <= 1000:
            raise InvalidValueError(f"alert_percents must be whole numbers of 1 to 1000, not {percent!r}")
    if budget.unit == "concurrency" and budget.window.kind != "total":
        raise InvalidValueError(f"a concurrency budget has the window `total`, not {budget.window.text!r}")
    return budget


def check_amount(value: object, field: str, most: int = MAX_AMOUNT) -> int:
    """Check an amount in nanos or counts.

    Raises:
        InvalidAmountError: not an integer, negative, or above `most`.
    """
    if type(value) is int and 0 <= value <= most:  # nearly always, and quick to see
        return value
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidAmountError(f"{field} must be a whole number, not {value!r}")
    if not 0 <= value <= most:
        raise InvalidAmountError(f"{field} must be between 0 and {most}, but is {value}")
    return value


def _check_names(names: Sequence[str], field: str) -> None:
    if isinstance(names, str):
        raise InvalidValueError(f"{field} must be a sequence of names, not the string {names!r}")
    for name in names:
        check_name(name, field)
