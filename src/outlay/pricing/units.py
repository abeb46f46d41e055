"""Units: the lattice of things a price can count, as genai-prices defines it.

A unit is a set of dimensions (family, direction, modality, token type, cache lifetime). One unit is a
*part* of another when its dimensions include the other's: `cache_read_tokens` of `input_tokens`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations


@dataclass(frozen=True, slots=True)
class Unit:
    """A thing that is counted: its usage key, its price key, how many its price is for, its dimensions."""

    usage_key: str
    price_key: str
    per: int
    dimensions: frozenset[tuple[str, str]]

    def is_part_of(self, other: Unit) -> bool:
        """Whether this unit lies strictly below the other."""
        return other.dimensions < self.dimensions

    def has(self, name: str, value: str) -> bool:
        """Whether this unit has the dimension `name` with `value`."""
        return (name, value) in self.dimensions


@dataclass(frozen=True, slots=True)
class Lattice:
    """Every unit, with the relations that pricing needs."""

    units: Mapping[str, Unit]
    by_price_key: Mapping[str, Unit]
    parts: Mapping[str, frozenset[str]]
    """usage key → the usage keys strictly below it."""
    splits: Mapping[str, tuple[tuple[str, ...], ...]]
    """usage key → each way one further dimension splits it into parts that exclude each other."""
    overlaps: Mapping[str, tuple[tuple[str, str], ...]]
    """usage key of a join → the pairs of units whose overlap it counts."""

    def raised(self, usage_key: str, counts: Mapping[str, int]) -> int:
        """Give a unit's count, raised to what its reported parts add up to: never below either."""
        most = counts.get(usage_key, 0)
        if self.parts[usage_key].isdisjoint(counts):
            return most
        for split in self.splits[usage_key]:
            most = max(most, sum(self.raised(part, counts) for part in split))
        return most

    def join(self, one: str, other: str) -> str | None:
        """Give the unit that counts the overlap of two units, if they can overlap and it exists."""
        left, right = self.units[one].dimensions, self.units[other].dimensions
        both = left | right
        if left <= right or right <= left or len(dict(both)) != len(both):
            return None
        return next((key for key, unit in self.units.items() if unit.dimensions == both), None)


@cache
def lattice() -> Lattice:
    """Build the lattice from genai-prices' registry of units, once."""
    from genai_prices.data_units import unit_data

    units = {
        key: Unit(key, raw.get("price_key", key), raw["per"], frozenset(raw["dimensions"].items()))
        for key, raw in unit_data.items()
    }
    built = Lattice(
        units=units,
        by_price_key={unit.price_key: unit for unit in units.values()},
        parts={
            key: frozenset(other.usage_key for other in units.values() if other.is_part_of(unit))
            for key, unit in units.items()
        },
        splits={key: _splits(unit, units) for key, unit in units.items()},
        overlaps={},
    )
    return Lattice(built.units, built.by_price_key, built.parts, built.splits, _overlaps(built))


def _splits(unit: Unit, units: Mapping[str, Unit]) -> tuple[tuple[str, ...], ...]:
    found: dict[str, list[str]] = {}
    for other in units.values():
        extra = other.dimensions - unit.dimensions
        if other.is_part_of(unit) and len(extra) == 1:
            found.setdefault(next(iter(extra))[0], []).append(other.usage_key)
    return tuple(tuple(keys) for keys in found.values())


def _overlaps(built: Lattice) -> dict[str, tuple[tuple[str, str], ...]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for one, other in combinations(built.units, 2):
        join = built.join(one, other)
        if join is not None:
            found.setdefault(join, []).append((one, other))
    return {key: tuple(pairs) for key, pairs in found.items()}
