"""User budgets: how the budget manager's users are named and kept in the ledger.

A user NAME of a project is the account `user:NAME` with one usd budget, `user:NAME/usd`, that keeps a
running total by model and whose periods are anchored at its `created_at`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from outlay.domain.accounts import Account, check_name
from outlay.domain.budgets import Budget, Mode
from outlay.domain.windows import Window
from outlay.errors import InvalidValueError

DURATIONS: Final[Mapping[str, tuple[str, int]]] = {
    "daily": ("1d", 1),
    "weekly": ("1w", 7),
    "monthly": ("1mo", 28),
    "yearly": ("1y", 365),
}
"""A duration as LiteLLM's page names it → (the window's rule, the days that its records show)."""

MAX_USER_LENGTH: Final = 500
_PREFIX: Final = "user:"


def user_account(user: str) -> str:
    """The id of a user's account.

    Raises:
        InvalidValueError: the name is empty, too long, or has control characters.
    """
    check_name(user, "user")
    if len(user) > MAX_USER_LENGTH:
        raise InvalidValueError(f"user must have at most {MAX_USER_LENGTH} characters, but has {len(user)}")
    return f"{_PREFIX}{user}"


def user_of_account(account: str) -> str:
    """The name of the user whose account this is."""
    return account.removeprefix(_PREFIX)


def user_account_row(project: str, user: str) -> Account:
    """The row of a user's account, to be put before the budget."""
    return Account(project, user_account(user), name=user)


def user_budget_id(user: str) -> str:
    """The id of a user's budget."""
    return f"{user_account(user)}/usd"


def user_budget(
    project: str, user: str, limit_nanos: int, duration: str | None, created_at_micros: int, mode: Mode
) -> Budget:
    """The budget of a user. `duration` is one of `DURATIONS`, or None for one that never resets.

    Raises:
        InvalidValueError: an unknown duration, or a bad name.
    """
    if duration is None:
        rule = "total"
    elif isinstance(duration, str) and duration in DURATIONS:
        rule = DURATIONS[duration][0]
    else:
        raise InvalidValueError(
            f"duration must be one of {', '.join(DURATIONS)}, or None for a budget that never resets; "
            f"not {duration!r}"
        )
    return Budget(
        project,
        user_budget_id(user),
        user_account(user),
        "usd",
        limit_nanos,
        Window.parse(rule, anchor_at=created_at_micros),
        mode,
        is_by_model=True,
    )


def duration_of(window: Window) -> str | None:
    """The duration that a user budget's window was made from; None for one that never resets."""
    return next((name for name, (rule, _) in DURATIONS.items() if rule == window.text), None)
