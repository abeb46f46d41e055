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
_TOO_LARGE_ID: Final = 10**MAX_USER_LENGTH


def user_name(user: object) -> object:
    """The name of a user as it was given: an id that is an int is its text, as JSON has it."""
    if not isinstance(user, int) or isinstance(user, bool) or abs(user) >= _TOO_LARGE_ID:
        return user
    return str(int(user))


def user_account(user: str | int) -> str:
    """The id of a user's account.

    Raises:
        InvalidValueError: the name is no text or int, is empty, too long, or has control characters.
    """
    name = user_name(user)
    if not isinstance(name, str):
        raise InvalidValueError(f"user must be a string or an int, not {user!r}")
    check_name(name, "user")
    if len(name) > MAX_USER_LENGTH:
        raise InvalidValueError(f"user must have at most {MAX_USER_LENGTH} characters, but has {len(name)}")
    return _PREFIX + name  # not formatted: an enum of texts formats as its own name


def user_of_account(account: str) -> str:
    """The name of the user whose account this is."""
    return account.removeprefix(_PREFIX)


def user_account_row(project: str, user: str) -> Account:
    """The row of a user's account, to be put before the budget."""
    return Account(project, user_account(user), name=user)


def user_budget_id(user: str | int) -> str:
    """The id of a user's budget."""
    return f"{user_account(user)}/usd"


def user_budget(
    project: str, user: str | int, limit_nanos: int, duration: str | None, created_at_micros: int, mode: Mode
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
