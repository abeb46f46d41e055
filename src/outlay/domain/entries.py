"""Entries: the immutable rows of the journal, from which every counter can be recomputed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from outlay.domain.budgets import PeriodKey, Unit

EntryKind = Literal["settle", "void", "expire", "correct", "record", "grant", "reverse", "reset", "carry"]
Source = Literal["provider", "counted", "presumed", "manual"]
VoidReason = Literal["never_sent", "rejected", "provider_error"]

SOURCES: Final[tuple[Source, ...]] = ("provider", "counted", "presumed", "manual")
VOID_REASONS: Final[tuple[VoidReason, ...]] = ("never_sent", "rejected", "provider_error")
RESOLUTIONS: Final = frozenset({"settle", "void", "expire"})


class Post(NamedTuple):
    """What an entry did to one period: `held` left reserved; the others were added to their counters."""

    budget_key: int
    starts_at: int
    unit: Unit
    held: int
    settled: int
    overrun: int
    granted: int

    @property
    def period_key(self) -> PeriodKey:
        """The key of that period."""
        return self[:2]


_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Entry(NamedTuple):
    """One row of the journal.

    `id` is the reservation's for its resolution, `ID#correct` for the correction of a presumed charge,
    `ID#reverse` for a reversal, and the caller's own id for the others. `usd_nanos` is None where the cost
    is unknown. `admitted_at` is when the reservation was made (for the other kinds: `at`): charges belong to
    the period of that moment. `completion_key` names the provider's completion that was charged, so that it
    is not charged twice. `priced_nanos` is our own price of what was charged, where its provider stated a
    cost; of a correction and a reversal it is, as `usd_nanos` is, what they change.
    """

    project: str
    id: str
    kind: EntryKind
    at: int
    admitted_at: int
    accounts: tuple[str, ...] = ()
    posts: tuple[Post, ...] = ()
    usd_nanos: int | None = None
    tokens: int | None = None
    usage: Mapping[str, int] = _NOTHING
    source: Source | None = None
    provider: str | None = None
    model: str | None = None
    price_version: str | None = None
    request_id: str | None = None
    attempt: int = 1
    output_cap: int | None = None
    tags: tuple[str, ...] = ()
    reason: str | None = None
    detail: Mapping[str, object] = _NOTHING
    completion_key: str | None = None
    fingerprint: bytes = b""
    reserve_fingerprint: bytes = b""
    priced_nanos: int | None = None
    seq: int = 0

    @property
    def reservation_id(self) -> str | None:
        """The id of the reservation that this entry resolved or corrected, if it did."""
        if self.kind in RESOLUTIONS:
            return self.id
        return self.id.removesuffix("#correct") if self.kind == "correct" else None


def correction_id(reservation_id: str) -> str:
    """The id of the one correction that a presumed charge may take."""
    return f"{reservation_id}#correct"


def reversal_id(charge_id: str) -> str:
    """The id of the one reversal that a charge may take."""
    return f"{charge_id}#reverse"
