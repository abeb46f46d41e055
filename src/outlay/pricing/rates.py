"""Rates: what one count of each unit costs, and the dearest of many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Literal, NamedTuple

from outlay.pricing.units import lattice


@dataclass(frozen=True, slots=True)
class Rate:
    """Nanos for one count of a unit, and what it becomes where the input is longer than a tier's start."""

    base: Fraction
    tiers: tuple[tuple[int, Fraction], ...] = ()

    def at(self, input_tokens: int) -> Fraction:
        """Give the rate that all counts pay when the call has so many input tokens."""
        rate = self.base
        for start, above in self.tiers:
            if input_tokens > start:
                rate = above
        return rate

    def times(self, factor: Fraction) -> Rate:
        """Give the rate times a factor, in every tier."""
        return Rate(self.base * factor, tuple((start, above * factor) for start, above in self.tiers))


Rates = Mapping[str, Rate]
"""usage key → rate."""


class BoundRates(NamedTuple):
    """The dearest rates that a call can meet, in nanos per token, exact."""

    input: Fraction
    output: Fraction


def times(rate: Fraction, count: int) -> int:
    """Give what so many counts cost, rounded up to whole nanos."""
    return -(-rate.numerator * count // rate.denominator)


def tier_starts(tables: Iterable[Rates]) -> tuple[int, ...]:
    """Give the input lengths, ascending, above which some rate changes."""
    rates = chain.from_iterable(table.values() for table in tables)
    return tuple(sorted({start for rate in rates for start, _ in rate.tiers}))


CacheWrites = Literal["none", "5m", "any"]
"""The longest lifetime of a cache that a call can write to."""


def dearest_rate(
    tables: list[Rates], direction: str, input_tokens: int, *, has_media: bool, writes: CacheWrites
) -> Fraction:
    """Give the dearest token rate of a direction that so many input tokens can reach, in nanos a token."""
    units = lattice().units
    dearest = Fraction(0)
    for table in tables:
        for key, rate in table.items():
            unit = units[key]
            if not unit.has("family", "tokens") or not unit.has("direction", direction):
                continue
            if not has_media and dict(unit.dimensions).get("modality", "text") != "text":
                continue
            is_write = unit.has("token_type", "cache_write")
            if is_write and (writes == "none" or (writes == "5m" and unit.has("cache_ttl", "1h"))):
                continue
            reachable = [above for start, above in rate.tiers if input_tokens > start]
            dearest = max(dearest, rate.base, *reachable)
    return dearest


def scaled(rates: Rates, factor: Fraction) -> Rates:
    """Give the rates with those of tokens times a factor; fees stay as they are."""
    units = lattice().units
    return {
        key: rate.times(factor) if units[key].has("family", "tokens") else rate for key, rate in rates.items()
    }
