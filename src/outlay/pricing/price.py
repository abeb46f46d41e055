"""Price: the rates of one model at one time, compiled to integers for the hot path.

The arithmetic is genai-prices' own (its `decompose.py` and `types.py`): a unit that has a rate is charged
for its count less the counts of the priced parts below it; a tier is a cliff on the total input tokens;
`requests` counts one per call. All rates of a price share one denominator, so a cost is a sum of integer
products, rounded half-up to nanos once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import chain, product
from math import ceil, lcm, prod
from typing import Final, Literal, NamedTuple

from outlay.pricing.rates import BoundRates, CacheWrites, Rates, dearest_rate, scaled, tier_starts
from outlay.pricing.units import Lattice, lattice
from outlay.pricing.usage import Usage

Origin = Literal["genai-prices", "user", "deployment", "provider"]
Choice = tuple[str, str]
"""A dimension and one of its values, such as `("service_tier", "priority")`."""
FEE_DIMENSIONS: Final = frozenset(("search_context_size", "web_search_tool"))
"""The dimensions that change fees alone; the tables of their values have nothing else."""
NO_CHOICES: Final[frozenset[Choice]] = frozenset()
FOREVER_MICROS: Final = 1 << 62
_ONE: Final = Fraction(1)


class _Part(NamedTuple):
    """One priced unit, ready to be charged: the parts below it (by position), and what it may not miss."""

    key: str
    below: tuple[int, ...]
    parts: frozenset[str]
    overlaps: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Price:
    """What a call to one model costs. Immutable but for a cache of its own bounds; made by `compile_price`.

    `valid_from` and `valid_until` (µs since the epoch, UTC) say when these rates hold. `values` are those of
    each dimension that have a price of their own (see `dimensions`). `per_request_nanos` is the most that a
    call costs before its first token, rounded up.
    """

    rates: Rates
    version: str
    origin: Origin
    is_free: bool
    valid_from: int
    valid_until: int
    values: Mapping[str, frozenset[str]]
    dearer: tuple[Rates, ...] = field(repr=False)
    variants: Mapping[Choice, tuple[Rates, ...]] = field(repr=False)
    factors: Mapping[Choice, Fraction] = field(repr=False)
    minimum_audio_seconds: int = field(repr=False)
    per_request_nanos: int = field(repr=False)
    _denominator: int = field(repr=False)
    _starts: tuple[int, ...] = field(repr=False)
    _parts: tuple[_Part, ...] = field(repr=False)
    _numerators: tuple[tuple[int, ...], ...] = field(repr=False)
    _request: int = field(repr=False)
    _plain: tuple[tuple[int, int], ...] = field(repr=False)
    _reach: tuple[int, ...] = field(repr=False)
    _bounds: dict[tuple[int, frozenset[Choice], bool, CacheWrites], BoundRates] = field(repr=False)
    _fees: dict[tuple[str, frozenset[Choice]], Fraction | None] = field(repr=False)

    def for_answers(self, answers: int) -> Price:
        """Give the price of a call of so many answers, each of which pays the fee of a request."""
        return replace(self, _request=self._request * answers) if self._request and answers > 1 else self

    @property
    def is_declared_free(self) -> bool:
        """Whether somebody declared that it costs nothing: a zero of published prices is no such word."""
        return self.is_free and self.origin != "genai-prices"

    def cost(self, usage: Usage) -> int:
        """Give the cost of a usage in nanos, rounded half-up once.

        Where genai-prices would refuse a usage (parts above their totals, totals missing), a total is
        raised to its parts and an unreported overlap is taken the dearer way: never an error, never less.
        """
        counts = usage.counts
        if len(counts) == 2 and "input_tokens" in counts and "output_tokens" in counts:
            tokens = counts["input_tokens"]
            plain = self._plain[bisect_left(self._starts, tokens)] if self._starts else self._plain[0]
            return self._rounded(plain[0] * tokens + plain[1] * counts["output_tokens"])
        if self.minimum_audio_seconds:
            counts = self._with_minimum(counts)
        leaves = self._leaves(counts)
        if leaves is None:
            return self._safe_cost(counts)
        row = self._numerators[bisect_left(self._starts, counts.get("input_tokens", 0))]
        return self._rounded(sum(rate * leaf for rate, leaf in zip(row, leaves, strict=True)))

    def bound_rates(
        self,
        *,
        input_tokens: int | None = None,
        choices: frozenset[Choice] = NO_CHOICES,
        has_media: bool = False,
        writes: CacheWrites = "any",
    ) -> BoundRates:
        """Give the dearest rate an input token and an output token can meet, in exact nanos.

        The dearest of uncached, cache writes up to the lifetime `writes`, every long-context tier that
        `input_tokens` can reach (all tiers if None), this price and each of the choices that can be served;
        reasoning, image and audio output always count, audio, image and video input only with `has_media`.
        """
        tokens = FOREVER_MICROS if input_tokens is None else input_tokens
        key = (bisect_left(self._reach, tokens), choices, has_media, writes)
        found = self._bounds.get(key)
        if found is None:
            if len(self._bounds) > 256:
                self._bounds.clear()
            tables = list(self._tables(choices))
            factor = self._factor(choices)
            found = self._bounds[key] = BoundRates(
                factor * dearest_rate(tables, "input", tokens, has_media=has_media, writes=writes),
                factor * dearest_rate(tables, "output", tokens, has_media=True, writes=writes),
            )
        return found

    def bound_fee(self, usage_key: str, choices: frozenset[Choice] = NO_CHOICES) -> Fraction | None:
        """Give the most that one `web_searches`, `requests` or another unit beyond tokens can cost, in nanos.

        None if it has no price. What the request chooses of `FEE_DIMENSIONS` goes before the dearest.
        """
        key = (usage_key, choices)
        if key not in self._fees:
            if len(self._fees) > 256:
                self._fees.clear()
            self._fees[key] = self._dearest_fee(usage_key, choices)
        return self._fees[key]

    @property
    def is_input_priced(self) -> bool:
        """Whether input tokens have a price."""
        return "input_tokens" in self.rates

    @property
    def is_output_priced(self) -> bool:
        """Whether output tokens have a price (an embedding model's have none)."""
        return "output_tokens" in self.rates

    def has_rate(self, usage_key: str) -> bool:
        """Whether this unit has a rate of its own."""
        return usage_key in self.rates

    def _dearest_fee(self, usage_key: str, choices: frozenset[Choice]) -> Fraction | None:
        asked = frozenset(choice for choice in choices if choice[0] in FEE_DIMENSIONS)
        chosen = [table[usage_key].base for table in self._variant_tables(asked) if usage_key in table]
        if chosen:
            return max(chosen)
        found = [table[usage_key].base for table in self._tables(choices) if usage_key in table]
        return max(found, default=None)

    def _rounded(self, numerator: int) -> int:
        denominator = self._denominator
        return (2 * (numerator + self._request) + denominator) // (2 * denominator)

    def _with_minimum(self, counts: Mapping[str, int]) -> Mapping[str, int]:
        seconds = counts.get("audio_seconds") or counts.get("input_audio_seconds")
        if seconds is None:
            return counts
        billed = max(seconds, self.minimum_audio_seconds) if seconds > 0 else 0
        return {**counts, "audio_seconds": billed, "input_audio_seconds": billed}

    def _leaves(self, counts: Mapping[str, int]) -> list[int] | None:
        """Give each priced unit's own count, or None where genai-prices would refuse the usage."""
        if self._starts and _is_missing("input_tokens", lattice().parts["input_tokens"], (), counts):
            return None
        leaves: list[int] = []
        for key, below, parts, overlaps in self._parts:
            count = counts.get(key)
            if count is None:
                if _is_missing(key, parts, overlaps, counts):
                    return None
                count = 0
            for position in below:
                count -= leaves[position]
            if count < 0:
                return None
            leaves.append(count)
        return leaves

    def _safe_cost(self, counts: Mapping[str, int]) -> int:
        units = lattice()
        raised = {part.key: units.raised(part.key, counts) for part in self._parts}
        choices = []
        for part in self._parts:
            if part.key not in counts:
                pairs = [(units.raised(a, counts), units.raised(b, counts)) for a, b in part.overlaps]
                most = max((min(pair) for pair in pairs), default=0)
                choices.append([(part.key, count) for count in {raised[part.key], most}])
        total = units.raised("input_tokens", counts)
        return max(self._clamped_cost({**raised, **dict(chosen)}, total) for chosen in product(*choices))

    def _clamped_cost(self, counts: Mapping[str, int], input_tokens: int) -> int:
        leaves: list[int] = []
        for part in self._parts:
            leaves.append(max(0, counts[part.key] - sum(leaves[position] for position in part.below)))
        charged = sum(
            leaf for part, leaf in zip(self._parts, leaves, strict=True) if _is_input(part.key, lattice())
        )
        row = self._numerators[bisect_left(self._starts, max(input_tokens, charged))]
        return self._rounded(sum(rate * leaf for rate, leaf in zip(row, leaves, strict=True)))

    def _tables(self, choices: frozenset[Choice]) -> Iterator[Rates]:
        yield self.rates
        yield from self.dearer
        yield from self._variant_tables(choices)

    def _variant_tables(self, choices: frozenset[Choice]) -> Iterator[Rates]:
        return chain.from_iterable(self.variants.get(choice, ()) for choice in choices)

    def _factor(self, choices: frozenset[Choice]) -> Fraction:
        """The dearest of each dimension that multiplies, all together."""
        dearest: dict[str, Fraction] = {}
        for choice in choices:
            dearest[choice[0]] = max(dearest.get(choice[0], _ONE), self.factors.get(choice, _ONE))
        return prod(dearest.values(), start=_ONE)


def compile_price(
    rates: Rates,
    *,
    version: str,
    origin: Origin,
    choices: Mapping[str, str] | None = None,
    valid_from: int = 0,
    valid_until: int = FOREVER_MICROS,
    dearer: tuple[Rates, ...] = (),
    variants: Mapping[Choice, tuple[Rates, ...]] | None = None,
    factors: Mapping[Choice, Fraction] | None = None,
    minimum_audio_seconds: int = 0,
) -> Price:
    """Compile rates to integers.

    `dearer` are rates that may apply before the call ends (the next hour's). `variants` are those of the
    service tiers, speeds and sizes of a search that have their own, `factors` what multiplies all token rates
    (a region). They count in bounds; in costs only those of `choices`, whose tier and speed the rates are of.
    """
    units = lattice()
    variants, factors = variants or {}, factors or {}
    rates = _chosen(rates, choices or {}, variants, factors)
    keys = sorted(
        (key for key in rates if key != "requests"), key=lambda key: (-len(units.units[key].dimensions), key)
    )
    parts = tuple(
        _Part(
            key,
            tuple(i for i, other in enumerate(keys) if other in units.parts[key]),
            units.parts[key],
            units.overlaps.get(key, ()),
        )
        for key in keys
    )
    starts = tier_starts([rates])
    points = [0, *(start + 1 for start in starts)]
    everything = [rate.base for rate in rates.values()]
    everything += [above for rate in rates.values() for _, above in rate.tiers]
    denominator = lcm(*(value.denominator for value in everything)) if everything else 1
    rows = tuple(tuple(int(rates[key].at(point) * denominator) for key in keys) for point in points)
    ends = ("input_tokens", "output_tokens")
    plain = tuple(
        (_numerator(rates, ends[0], point, denominator), _numerator(rates, ends[1], point, denominator))
        for point in points
    )
    return Price(
        rates=rates,
        version=version,
        origin=origin,
        is_free=not any(everything),
        valid_from=valid_from,
        valid_until=valid_until,
        values=_values([*variants, *factors]),
        dearer=dearer,
        variants=variants,
        factors=factors,
        minimum_audio_seconds=minimum_audio_seconds,
        _denominator=denominator,
        _starts=starts,
        _parts=parts,
        _numerators=rows,
        per_request_nanos=_per_request(chain([rates], dearer, *variants.values())),
        _request=_numerator(rates, "requests", 0, denominator),
        _plain=plain,
        _reach=tier_starts(chain([rates], dearer, *variants.values())),
        _bounds={},
        _fees={},
    )


def _chosen(
    rates: Rates,
    choices: Mapping[str, str],
    variants: Mapping[Choice, tuple[Rates, ...]],
    factors: Mapping[Choice, Fraction],
) -> Rates:
    """The rates with the fees that are chosen, and the factors of what multiplies."""
    chosen = dict(rates)
    for choice in choices.items():
        if choice[0] in FEE_DIMENSIONS:
            for table in variants.get(choice, ()):
                chosen.update(table)
    factor = prod((factors.get(choice, _ONE) for choice in choices.items()), start=_ONE)
    return chosen if factor == 1 else scaled(chosen, factor)


def _values(choices: Iterable[Choice]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for name, value in choices:
        found.setdefault(name, set()).add(value)
    return {name: frozenset(values) for name, values in found.items()}


def _per_request(tables: Iterable[Rates]) -> int:
    return ceil(max((table["requests"].base for table in tables if "requests" in table), default=0))


def _numerator(rates: Rates, key: str, input_tokens: int, denominator: int) -> int:
    return int(rates[key].at(input_tokens) * denominator) if key in rates else 0


def _is_missing(
    key: str, parts: frozenset[str], overlaps: tuple[tuple[str, str], ...], counts: Mapping[str, int]
) -> bool:
    """Whether genai-prices would insist that this unit be reported, given what is."""
    if key in counts:
        return False
    if any(count > 0 and other in parts for other, count in counts.items()):
        return True
    return any(counts.get(one, 0) > 0 and counts.get(other, 0) > 0 for one, other in overlaps)


def _is_input(key: str, units: Lattice) -> bool:
    unit = units.units[key]
    return unit.has("family", "tokens") and unit.has("direction", "input")
