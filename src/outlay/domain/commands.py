"""Commands: what callers ask of the ledger, as frozen values. Each carries the id that makes it repeatable.

Amounts are nanos for `usd` and counts for the other units; spans are microseconds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from outlay.domain.accounts import Account
from outlay.domain.budgets import Budget
from outlay.domain.entries import Source, VoidReason


class Amount(NamedTuple):
    """What a request needs at most in one unit: a fixed part, and a part for each output token of its cap."""

    fixed: int
    per_output_token: int = 0


@dataclass(frozen=True, slots=True)
class Reserve:
    """Hold an estimate on every budget of `accounts` and of those above them: all or none.

    `amounts` may leave out `usd` where the price is unknown; then any usd budget refuses. `requests` and
    `concurrency` are 1 unless given. The granted output cap lies between `least_output_tokens` and
    `wanted_output_tokens`. `unbounded_reason` says why the amounts are no bound: all but soft budgets refuse.
    `unproven_reason` says why nobody knows whether they are one: hard budgets refuse. Both concern tokens,
    and usd unless the model `is_free`.
    `attempt_accounts` (a deployment, a provider) count requests once per attempt, `accounts` once per
    request. `model_aliases` are other names by which budgets may know the model. `catalogue_version` is the
    one at which the caller read its accounts, `holder` names the instance of a program that asks (see
    `FreeSlots`), `disclosed_accounts` are those whose balances the outcome may tell the caller (None: all):
    a repeat may say others.
    """

    project: str
    id: str
    accounts: tuple[str, ...]
    amounts: Mapping[str, Amount]
    hold_micros: int
    wanted_output_tokens: int | None = None
    least_output_tokens: int = 0
    unbounded_reason: str | None = None
    attempt_accounts: tuple[str, ...] = ()
    request_id: str | None = None
    attempt: int = 1
    provider: str | None = None
    model: str | None = None
    price_version: str | None = None
    tags: tuple[str, ...] = ()
    catalogue_version: int | None = None
    holder: str | None = None
    disclosed_accounts: Collection[str] | None = None
    model_aliases: tuple[str, ...] = ()
    unproven_reason: str | None = None
    is_free: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask whether `reserve` would be refused whatever others hold. Nothing is held.

    For a request that takes long to count: ask with the least that it can need, and count it only if a
    budget has something left.
    """

    reserve: Reserve


@dataclass(frozen=True, slots=True)
class Settle:
    """Replace a reservation's hold by the actual cost. `usd_nanos` is None where the cost is unknown.

    `priced_nanos` is our own price of the same usage, where the provider stated a cost.
    """

    project: str
    id: str
    usd_nanos: int | None
    tokens: int
    usage: Mapping[str, int] = field(default_factory=dict)
    source: Source = "provider"
    price_version: str | None = None
    completion_key: str | None = None
    detail: Mapping[str, object] = field(default_factory=dict)
    priced_nanos: int | None = None


@dataclass(frozen=True, slots=True)
class Void:
    """End a reservation without a charge; `reason` proves that nothing was billed."""

    project: str
    id: str
    reason: VoidReason
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Increase:
    """Hold more on a pending reservation, on all its budgets or none."""

    project: str
    id: str
    reservation_id: str
    amounts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Record:
    """Charge spend that already happened; never refused. `priced_nanos` as in `Settle`."""

    project: str
    id: str
    accounts: tuple[str, ...]
    usd_nanos: int | None
    tokens: int = 0
    requests: int = 1
    usage: Mapping[str, int] = field(default_factory=dict)
    source: Source = "manual"
    provider: str | None = None
    model: str | None = None
    price_version: str | None = None
    request_id: str | None = None
    tags: tuple[str, ...] = ()
    completion_key: str | None = None
    detail: Mapping[str, object] = field(default_factory=dict)
    priced_nanos: int | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """Allow more in the running period of one budget."""

    project: str
    id: str
    budget_id: str
    amount: int
    by: str


@dataclass(frozen=True, slots=True)
class Reverse:
    """Undo a final charge (a settled, presumed or recorded one) by a new entry."""

    project: str
    charge_id: str
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reset:
    """End the running period of one budget now; the next one has the same end."""

    project: str
    id: str
    budget_id: str
    by: str


@dataclass(frozen=True, slots=True)
class PutAccount:
    """Make an account, or change its parent, name, status or detail."""

    account: Account


@dataclass(frozen=True, slots=True)
class PutBudget:
    """Make a budget, or change it. A new rule makes a new generation whose running period is recomputed.

    With `is_anchor_kept` a budget that exists keeps the anchor of its window, whatever this one says.
    """

    budget: Budget
    by: str = ""
    is_anchor_kept: bool = False


@dataclass(frozen=True, slots=True)
class RemoveBudget:
    """Retire a budget: it admits and refuses nothing any more; its history stays."""

    project: str
    budget_id: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class FreeSlots:
    """Give back what the pending reservations of one holder hold of concurrency budgets.

    For an instance that starts again: its dead self will end none of them, so what else they hold stays
    held until they expire. A holder's name must be its own: what a living one holds would be freed too.
    """

    project: str
    holder: str


@dataclass(frozen=True, slots=True)
class FreeSlot:
    """Give back what one pending reservation holds of concurrency budgets: its call is over.

    What else it holds stays held. One that ended, or was freed before, holds no slot: nothing changes.
    """

    project: str
    id: str


@dataclass(frozen=True, slots=True)
class ConfirmClock:
    """An operator says that the wall clock is right after a jump."""

    by: str


Command = (
    Reserve
    | Probe
    | Settle
    | Void
    | Increase
    | Record
    | Grant
    | Reverse
    | Reset
    | PutAccount
    | PutBudget
    | RemoveBudget
    | FreeSlots
    | FreeSlot
    | ConfirmClock
)
