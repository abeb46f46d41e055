"""Reservations: an estimate held on every applicable budget, until it is resolved."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from outlay.domain.budgets import PeriodKey, Unit


class Hold(NamedTuple):
    """What a reservation holds on one period of one budget, in the budget's unit."""

    budget_key: int
    starts_at: int
    unit: Unit
    amount: int

    @property
    def period_key(self) -> PeriodKey:
        """The key of that period."""
        return self[:2]


class Reservation(NamedTuple):
    """A pending reservation. Times are microseconds since the epoch, amounts nanos or counts by unit.

    `accounts` are all that the request belongs to, those above them included. `output_cap` is the granted
    number of output tokens per answer, None where the request has no output. `increases` are the ids and
    fingerprints of the increases it took. `holder` names the instance of a program that made it.
    """

    project: str
    id: str
    accounts: tuple[str, ...]
    amounts: Mapping[str, int]
    holds: tuple[Hold, ...]
    reserved_at: int
    expires_at: int
    fingerprint: bytes
    output_cap: int | None = None
    request_id: str | None = None
    attempt: int = 1
    provider: str | None = None
    model: str | None = None
    price_version: str | None = None
    tags: tuple[str, ...] = ()
    increases: Mapping[str, bytes] = MappingProxyType({})
    holder: str | None = None
