"""Outcomes: what the ledger answers to a command that was not wrong in itself."""

from __future__ import annotations

from typing import Literal, NamedTuple

from outlay.domain.budgets import Mode, Unit
from outlay.domain.entries import Entry

RefusalReason = Literal["budget_exceeded", "price_unknown", "cost_unbounded", "account_blocked"]


class Alert(NamedTuple):
    """A threshold that this command crossed: `percent` of the budget's limit is spent or held."""

    budget_id: str
    account: str
    percent: int


class Reserved(NamedTuple):
    """The estimate is held. `state` tells a repeat what became of the reservation since.

    `output_cap` is the granted number of output tokens per answer; `is_cap_disclosed` says that it tells of
    no budget but those of the disclosed accounts. `remaining_nanos` is what the tightest usd budget of those
    accounts has left after this hold, None without one. `is_limited` says that a budget that can refuse
    counts its money or its tokens, so that the cap must be obeyed, `is_usd_limited` that one counts money.
    `first_budget` has the settled nanos and the limit of the first usd budget of the command's first account.
    A repeat says none of these.
    """

    reservation_id: str
    output_cap: int | None
    expires_at: int
    state: Literal["pending", "settle", "void", "expire"] = "pending"
    is_replay: bool = False
    remaining_nanos: int | None = None
    alerts: tuple[Alert, ...] = ()
    is_limited: bool = False
    first_budget: tuple[int, int] | None = None
    is_cap_disclosed: bool = True
    is_usd_limited: bool = False


class Refusal(NamedTuple):
    """A budget cannot admit the request; nothing is held.

    Amounts are nanos or counts of `unit`; `window` and `mode` are the budget's, the window as it is written
    (`1m`, `daily` …). `can_wait` says that only reserved amounts stand in the way.
    `affordable_output_tokens` is the largest output cap that every hard budget would admit now, None if
    none would do, or if it would tell of a budget whose account is not disclosed.
    """

    reason: RefusalReason
    account: str
    budget_id: str | None = None
    unit: Unit = "usd"
    limit: int = 0
    settled: int = 0
    reserved: int = 0
    needed: int = 0
    resets_at: int | None = None
    can_wait: bool = False
    affordable_output_tokens: int | None = None
    detail: str | None = None
    window: str | None = None
    mode: Mode | None = None


class Possible(NamedTuple):
    """A probed request may be admitted: now, or when others have ended."""


class Stale(NamedTuple):
    """An account of the request changed after the caller read it."""

    account: str


class Posted(NamedTuple):
    """The entry that a command made, or that an earlier one with the same content had made."""

    entry: Entry
    is_replay: bool = False
    alerts: tuple[Alert, ...] = ()


class Increased(NamedTuple):
    """More is held on the reservation."""

    reservation_id: str
    is_replay: bool = False


class Put(NamedTuple):
    """An account or a budget is as asked. `is_changed` is False where it was already."""

    is_changed: bool


class Freed(NamedTuple):
    """So many reservations gave back what they held of concurrency budgets."""

    reservations: int


Outcome = Reserved | Refusal | Possible | Stale | Posted | Increased | Put | Freed
