"""Values: what a configuration's keys may hold, read strictly; a variable's text counts as what it says.

Each `read_…(value, field)` gives the value, or raises InvalidValueError, whose message begins with `field`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, Final, TypeVar

from outlay.domain.accounts import check_name
from outlay.errors import InvalidValueError

T = TypeVar("T")

_MOST_SHOWN: Final = 80


def read_number(value: Any, field: str, *, least: float, most: float) -> float:
    """Read a finite number, or the text of one."""
    number = _parsed(value, float)
    if number is None or not isfinite(number) or not least <= number <= most:
        raise InvalidValueError(
            f"{field} must be a number from {least:g} to {most:,g}, not {shown_value(value)}"
        )
    return number


def read_whole(value: Any, field: str, *, least: int, most: int) -> int:
    """Read a whole number, or the text of one."""
    number = _parsed(value, int)
    if number is None or (isinstance(value, float) and number != value) or not least <= number <= most:
        raise InvalidValueError(
            f"{field} must be a whole number from {least:,} to {most:,}, not {shown_value(value)}"
        )
    return number


def shown_value(value: object) -> str:
    """A value as a message shows it: of one with parts, only what it is."""
    return type(value).__name__ if isinstance(value, dict | list) else repr(value)[:_MOST_SHOWN]


def _parsed(value: Any, kind: Callable[[Any], T]) -> T | None:
    """A number, or the text of one: variables hold nothing else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return kind(value)
    except (ValueError, OverflowError):
        return None


def read_flag(value: Any, field: str) -> bool:
    """Read `true` or `false`, or the text of one."""
    texts = {"true": True, "false": False}
    found = texts.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(found, bool):
        raise InvalidValueError(f"{field} must be true or false, not {shown_value(value)}")
    return found


def read_choice(value: Any, field: str, choices: Sequence[T]) -> T:
    """Read one of some texts or numbers."""
    for each in choices:
        if str(value) == str(each) and not isinstance(value, bool):
            return each
    raise InvalidValueError(
        f"{field} must be one of {', '.join(map(str, choices))}, not {shown_value(value)}"
    )


def read_names(value: Any, field: str) -> tuple[str, ...]:
    """Read a list of names, or a single one."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list):
        raise InvalidValueError(f"{field} must be a list of names, not {shown_value(value)}")
    return tuple(check_name(each, f"{field}[{n}]") for n, each in enumerate(given))
