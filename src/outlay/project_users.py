"""The users of a project: their budgets, and what they spent, read from the ledger."""

from __future__ import annotations

from math import inf
from typing import Any, Final, cast

from outlay.domain.budgets import Budget, Period, running_period
from outlay.domain.commands import Reset
from outlay.domain.money import usd_float
from outlay.domain.windows import HOUR, SECOND
from outlay.errors import InvalidValueError, UnknownUserError
from outlay.ledger.ids import new_id
from outlay.ledger.ledger import Ledger
from outlay.ledger.store import Reader
from outlay.ledger.user_budgets import DURATIONS, duration_of, user_budget_id, user_of_account
from outlay.user_records import ReadOnlyDict, UserDict, UserRecord

_LATEST_SECONDS: Final = 4_102_444_800.0


class ProjectUsers:
    """The users of a project that have a budget. Each method sees one moment of the ledger."""

    def __init__(self, ledger: Ledger, project: str) -> None:
        self._ledger = ledger
        self._project = project

    def has(self, user: str | int) -> bool:
        """Whether the user has a budget; what cannot be a user's id has none."""
        try:
            budget_id = user_budget_id(user)
        except InvalidValueError:
            return False
        with self._ledger.read() as reader:
            return reader.budget(self._project, budget_id) is not None

    def names(self) -> list[str]:
        """All users with a budget, by name."""
        with self._ledger.read() as reader:
            return [user_of_account(each.account) for each in self._all(reader)]

    def budget(self, user: str | int) -> Budget:
        """The user's budget.

        Raises:
            UnknownUserError: there is none.
        """
        with self._ledger.read() as reader:
            return self._budget(reader, user)

    def settled(self, user: str | int) -> int:
        """What the user spent in the running period, in nanos."""
        with self._ledger.read() as reader:
            return _running(reader, self._budget(reader, user)).settled

    def cost_by_model(self, user: str | int) -> dict[str, float]:
        """What the user spent in the running period by model, in USD."""
        with self._ledger.read() as reader:
            return _by_model(reader, _running(reader, self._budget(reader, user)))

    def record(self, user: str | int) -> UserRecord:
        """The user's record."""
        with self._ledger.read() as reader:
            budget = self._budget(reader, user)
            return self._record(reader, budget, _running(reader, budget))

    def records(self) -> UserDict:
        """Each user's record."""
        with self._ledger.read() as reader:
            budgets, now = self._all(reader), reader.now()
            newest = reader.newest_periods([budget.key for budget in budgets])
            records = [
                self._record(reader, budget, running_period(budget, newest.get(budget.key), now))
                for budget in budgets
            ]
        return UserDict({record.user: record for record in records})

    def _all(self, reader: Reader) -> list[Budget]:
        return [each for each in reader.budgets(self._project) if each.id == f"{each.account}/usd"]

    def _budget(self, reader: Reader, user: str | int) -> Budget:
        budget = reader.budget(self._project, user_budget_id(user))
        if budget is None:
            raise UnknownUserError(
                f"project {self._project!r} has no user {user!r}: call create_budget first"
            )
        return budget

    def _record(self, reader: Reader, budget: Budget, period: Period) -> UserRecord:
        fields: dict[str, Any] = {
            "total_budget": usd_float(budget.limit),
            "current_cost": usd_float(period.settled),
            "model_cost": ReadOnlyDict(_by_model(reader, period)),
        }
        duration = duration_of(budget.window)
        if duration is not None:
            fields["duration"] = DURATIONS[duration][1]
            fields["created_at"] = budget.window.anchor_at / SECOND
            fields["last_updated_at"] = period.starts_at / SECOND
        return UserRecord(fields, user_of_account(budget.account), self._end_period)

    def _end_period(self, user: str, last_updated_at: object) -> UserRecord:
        """Serve a write of `last_updated_at`: LiteLLM's manager resets a user when it is a duration ago."""
        at = seconds_as_micros(last_updated_at, "last_updated_at")
        with self._ledger.read() as reader:
            duration, now = duration_of(self._budget(reader, user).window), reader.now()
        days = DURATIONS[duration][1] if duration is not None else inf
        if at > now - days * 24 * HOUR:
            raise InvalidValueError(
                f"last_updated_at can be set to a duration ({days} days) ago or more, which ends the running "
                f"period of {user!r}; not to {last_updated_at!r}: call reset_cost to end it now"
            )
        self._ledger.execute(Reset(self._project, new_id(), user_budget_id(user), "last_updated_at"))
        return self.record(user)


def seconds_as_micros(value: object, field: str) -> int:
    """Read a time in seconds since 1970 that a program gave.

    Raises:
        InvalidValueError: no number, or beyond the year 2100.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value < _LATEST_SECONDS:  # type: ignore[operator]
        raise InvalidValueError(f"{field} must be seconds since 1970, not {value!r}")
    return round(cast(float, value) * SECOND)


def _running(reader: Reader, budget: Budget) -> Period:
    newest = reader.newest_periods((budget.key,)).get(budget.key)
    return running_period(budget, newest, reader.now())


def _by_model(reader: Reader, period: Period) -> dict[str, float]:
    totals = reader.model_totals(period.budget_key, period.starts_at)
    return {model: usd_float(nanos) for model, nanos in totals.items() if nanos}
