"""Bills: what an answer says that it cost, and whether that is the provider's own bill.

A provider's record says where its answers state their bill, and in which unit; only an answer of the
provider's own host is believed. What anybody else states (a proxy's `x-litellm-response-cost`, a
`usage.cost`) can raise a charge and never lower it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Context, Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

from outlay.domain.money import parse_usd
from outlay.errors import InvalidAmountError
from outlay.providers.catalogue import TICKS, USD, BillRecord, Provider
from outlay.providers.hosts import is_own_host
from outlay.providers.wires.reading import Reading

COST_HEADER: Final = "x-litellm-response-cost"
_OTHERS: Final = (("cost",), ("cost", "total_cost"), ("estimated_cost",))
_OTHER_TICKS: Final = ("cost_in_usd_ticks",)
_NAMES: Final = frozenset({path[0] for path in (*_OTHERS, _OTHER_TICKS)})
_EXACT: Final = Context(prec=1000, traps=[])
_MOST_DIGITS: Final = 400


class StatedCost(NamedTuple):
    """What was stated: nanos (None: no amount), whether it is the provider's own bill, and as it came."""

    nanos: int | None
    is_bill: bool
    said: object


def stated_cost(reading: Reading, provider: Provider, base_url: str | None) -> StatedCost | None:
    """Give what an answer says that it cost, or None if it does not say.

    `base_url` is where it came from; None where only the provider's name is known.
    """
    usages = [usage for usage in reading.tally.usages() if not _NAMES.isdisjoint(usage)]
    if reading.stated_cost is None and not usages:
        return None
    record = provider.bill
    if record is not None and is_own_host(base_url, provider.base_url):
        bills = [(usage, said) for usage in usages if (said := _at(usage, record.path)) is not None]
        if bills:
            found = [_bill(usage, record, said) for usage, said in bills]
            amounts = [each for each in found if each is not None]
            return StatedCost(sum(amounts) if len(amounts) == len(found) else None, True, bills[0][1])
    others = [(_together(usages, path, USD), _first(usages, path)) for path in _OTHERS]
    others.append((_together(usages, _OTHER_TICKS, TICKS), _first(usages, _OTHER_TICKS)))
    others.append((_of_text(reading.stated_cost), reading.stated_cost))
    known = [(nanos, said) for nanos, said in others if nanos is not None]
    if not known:
        return None
    nanos, said = max(known, key=lambda amount: amount[0])
    return StatedCost(nanos, False, said)


def charged_nanos(priced: int | None, stated: StatedCost) -> tuple[int | None, bool]:
    """Say what is charged where a cost was stated beside our own price of it, and whether that is disputed.

    A bill counts upwards always, and downwards to half of our price; any other statement only upwards.
    """
    if stated.nanos is None:
        return priced, True
    if not priced or stated.nanos >= priced:
        is_nothing = priced is None and not stated.is_bill and not stated.nanos
        return (priced if is_nothing else stated.nanos), False
    if not stated.is_bill:
        return priced, False
    return (stated.nanos, False) if 2 * stated.nanos >= priced else (priced, True)


def _bill(usage: Mapping[str, Any], record: BillRecord, said: object) -> int | None:
    nanos = _nanos(said, record.exponent)
    upstream = _at(usage, record.upstream) if record.upstream else None
    if nanos is None or upstream is None:
        return nanos
    beside = _nanos(upstream, record.exponent)
    is_own_key = usage.get("is_byok")
    if is_own_key is False or (is_own_key is not True and beside == nanos):
        return nanos
    return None if beside is None else nanos + beside


def _together(usages: Sequence[Mapping[str, Any]], path: tuple[str, ...], exponent: int) -> int | None:
    """What the usages of an answer, or of its choices, state together."""
    found = [nanos for usage in usages if (nanos := _nanos(_at(usage, path), exponent)) is not None]
    return sum(found) if found else None


def _first(usages: Sequence[Mapping[str, Any]], path: tuple[str, ...]) -> object:
    return next((said for usage in usages if (said := _at(usage, path)) is not None), None)


def _at(usage: Mapping[str, Any], path: tuple[str, ...]) -> object:
    value: Any = usage
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _nanos(value: object, exponent: int) -> int | None:
    """An amount of which 10 ** exponent are a dollar, exactly, as nanos; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        return parse_usd(Decimal(str(value)).scaleb(-exponent, _EXACT))
    except (InvalidAmountError, InvalidOperation, ValueError):
        return None


def _of_text(text: str | None) -> int | None:
    if text is None or len(text) > _MOST_DIGITS:
        return None
    try:
        return parse_usd(text.strip())
    except InvalidAmountError:
        return None
