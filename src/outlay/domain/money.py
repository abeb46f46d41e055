"""Money is an integer of nano-dollars: 1 USD = 10⁹ nanos, 64 bit. No float gets past this module."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_UP, Context, Decimal, InvalidOperation
from functools import lru_cache
from typing import Final

from outlay.errors import InvalidAmountError

NANOS_PER_USD: Final = 1_000_000_000
MAX_NANOS: Final = 10**9 * NANOS_PER_USD
"""A billion dollars: more in one amount is a mistake, and sums of them still fit 64 bits."""

_EXACT: Final = Context(prec=1000, traps=[])
"""Not the context of the thread: a program that rounds to two digits does not round our money."""
_MOST_SHOWN: Final = 40


def parse_usd(value: object, field: str = "amount") -> int:
    """Read a USD amount that a person or a program gave, exactly, as nanos (rounded half-up).

    Floats are read by their shortest decimal text, so 0.1 is 0.1.

    Raises:
        InvalidAmountError: not a number, negative, NaN, infinite, or above a billion dollars.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise InvalidAmountError(f"{field} must be a number of USD, not {value!r}")
    try:
        shown = repr(value)[:_MOST_SHOWN]
        amount = Decimal(str(value))
    except (InvalidOperation, ValueError):  # ValueError: a whole number with thousands of digits
        shown = repr(value)[:_MOST_SHOWN] if isinstance(value, str) else "a number of thousands of digits"
        raise InvalidAmountError(f"{field} must be a number of USD, not {shown}") from None
    if not amount.is_finite():
        raise InvalidAmountError(f"{field} must be finite, not {shown}")
    if amount < 0:
        raise InvalidAmountError(f"{field} must not be negative, but is {shown}")
    if amount > MAX_NANOS // NANOS_PER_USD:
        raise InvalidAmountError(f"{field} must be at most 1,000,000,000 USD, but is {shown}")
    return round_half_up(_EXACT.multiply(amount, NANOS_PER_USD))


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
