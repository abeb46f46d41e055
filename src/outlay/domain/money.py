"""Money is an integer of nano-dollars: 1 USD = 10⁹ nanos, 64 bit. No float gets past this module."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal, InvalidOperation
from functools import lru_cache
from math import isfinite, nextafter
from typing import Final

from outlay.errors import InvalidAmountError

NANOS_PER_USD: Final = 1_000_000_000
MAX_NANOS: Final = 10**9 * NANOS_PER_USD
"""A billion dollars: more in one amount is a mistake, and sums of them still fit 64 bits."""

_EXACT: Final = Context(prec=1000, traps=[])
"""Not the context of the thread: a program that rounds to two digits does not round our money."""
_MOST_SHOWN: Final = 40


def parse_usd(value: object, field: str = "amount") -> int:
    """Read a USD amount that was spent, exactly, as nanos (rounded half-up).

    Floats are read by their shortest decimal text, so 0.1 is 0.1. For what limits spending: `parse_limit`.

    Raises:
        InvalidAmountError: not a number, negative, NaN, infinite, or above a billion dollars.
    """
    return round_half_up(_read_nanos(value, field))


def parse_limit(value: object, field: str = "limit") -> int:
    """Read a USD limit that a person or a program gave, as nanos: never more than it says, so rounded down.

    Raises:
        InvalidAmountError: as `parse_usd`, or above 0 but below a nano-dollar: it must not become 0, which
            may mean another thing.
    """
    exact = _read_nanos(value, field)
    nanos = int(exact.to_integral_value(ROUND_FLOOR))
    if nanos == 0 and exact > 0:
        raise InvalidAmountError(
            f"{field} is {_shown(value)} USD, which is less than the smallest amount that is counted "
            "(0.000000001): state at least that, or 0"
        )
    return nanos


def limit_float(value: object, field: str = "limit") -> float:
    """Read a USD limit as the float that LiteLLM-shaped records keep, never above what it says.

    Raises:
        InvalidAmountError: as `parse_limit`.
    """
    parse_limit(value, field)
    return float_at_most(str(value))


def float_at_most(text: str) -> float:
    """The float of a decimal text, never above it: a limit of many digits must not grow by being read.

    Raises:
        ValueError: no number, or so small that it would become 0.
    """
    number = float(text)
    if not isfinite(number):
        return number
    try:
        exact = Decimal(text)
    except InvalidOperation:
        exact = None  # an exponent of twenty digits
    if exact is None or (number == 0 and exact != 0):
        raise ValueError(f"{text[:_MOST_SHOWN]} is too small to be told from 0")
    is_above = abs(Decimal(repr(number))) > abs(exact)
    return nextafter(number, 0.0) if is_above else number


def _read_nanos(value: object, field: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise InvalidAmountError(f"{field} must be a number of USD, not {value!r}")
    try:
        amount = Decimal(str(value))
    except (InvalidOperation, ValueError):  # ValueError: a whole number with thousands of digits
        amount = None
    if amount is None or (isinstance(value, str) and not value.isascii()):  # digits that look like others
        raise InvalidAmountError(f"{field} must be a number of USD, not {_shown(value)}")
    if not amount.is_finite():
        raise InvalidAmountError(f"{field} must be finite, not {_shown(value)}")
    if amount < 0:
        raise InvalidAmountError(f"{field} must not be negative, but is {_shown(value)}")
    if amount > MAX_NANOS // NANOS_PER_USD:
        raise InvalidAmountError(f"{field} must be at most 1,000,000,000 USD, but is {_shown(value)}")
    return _EXACT.multiply(amount, NANOS_PER_USD)


def _shown(value: object) -> str:
    try:
        return repr(value)[:_MOST_SHOWN]
    except ValueError:
        return "a number of thousands of digits"


def round_half_up(nanos: Decimal) -> int:
    """Round a cost: once per call."""
    return int(nanos.to_integral_value(ROUND_HALF_UP))


def round_up(nanos: Decimal) -> int:
    """Round an estimate: never below the cost it bounds."""
    return int(nanos.to_integral_value(ROUND_CEILING))


def usd_float(nanos: int) -> float:
    """Give nanos as the USD float that LiteLLM-shaped fields carry: the float nearest to the exact value."""
    return nanos / NANOS_PER_USD


@lru_cache(maxsize=4096)
def usd_text(nanos: int) -> str:
    """Give nanos as an exact decimal string of USD, without trailing zeros: 1_500_000_000 → "1.5"."""
    sign = "-" if nanos < 0 else ""
    whole, rest = divmod(abs(nanos), NANOS_PER_USD)
    digits = f"{rest:09d}".rstrip("0")
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"
