"""The Store protocol: what a database must do for the ledger. A store locks, reads, writes and commits."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from outlay.domain.accounts import Account
from outlay.domain.budgets import Budget, Period, PeriodKey
from outlay.domain.entries import Entry
from outlay.domain.reservations import Reservation


class Ref(NamedTuple):
    """A name within a project: of an account, a budget, a reservation, an entry, a completion."""

    project: str
    id: str


class CatalogueChange(NamedTuple):
    """One row of the list of what changed: `kind` is `account` or `budget`, `id` always an account's."""

    version: int
    kind: str
    project: str
    id: str


class ModelKey(NamedTuple):
    """One model within one period."""

    budget_key: int
    starts_at: int
    model: str


class Spend(NamedTuple):
    """What the journal says an account spent in one unit since some moment, in all and by model."""

    amount: int
    by_model: Mapping[str, int]


@dataclass(slots=True)
class Changes:
    """What one transaction writes."""

    periods: dict[PeriodKey, Period] = field(default_factory=dict)
    reservations: dict[Ref, Reservation] = field(default_factory=dict)
    resolved: set[Ref] = field(default_factory=set)
    entries: list[Entry] = field(default_factory=list)
    model_totals: dict[ModelKey, int] = field(default_factory=dict)
    pruned: set[int] = field(default_factory=set)
    """Keys of budgets with short windows that opened a new period: their closed ones may go."""

    def __bool__(self) -> bool:
        return bool(self.periods or self.reservations or self.resolved or self.entries)


class DaySpend(NamedTuple):
    """What one day of UTC (counted from 1970) adds up to for one set of accounts and one model."""

    day: int
    accounts: tuple[str, ...]
    model: str | None
    usd_nanos: int
    tokens: int


class Drift(NamedTuple):
    """What the charges of one model add up to, and our own prices of them; the difference is drift."""

    provider: str | None
    model: str | None
    calls: int
    charged_nanos: int
    priced_nanos: int


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Which entries a report wants; None means any. Times are microseconds, `[since, until)`.

    An entry must have one account of each group of `any_of`. The first group is looked up in the index by
    account, so the one that fewest entries have goes first. `request_id` is the request's own, or that of the
    provider's answer (`response_id` in a detail), which finds all attempts of that request.
    """

    project: str | None = None
    account: str | None = None
    model: str | None = None
    tag: str | None = None
    kinds: tuple[str, ...] = ()
    source: str | None = None
    since: int | None = None
    until: int | None = None
    request_id: str | None = None
    any_of: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class ClockState:
    """What the store last saw of the clocks: microseconds of wall and boot time, and which boot.

    `offset` is how far windows lag behind the wall clock while a forward jump is not believed, and
    `suspect_since` the boot time at which the jump was first seen. While the wall clock is behind the newest
    time, wall and boot time are those that belong to that newest time. `read_at` is what the wall clock says
    at this reading; it is not stored.
    """

    newest_at: int = 0
    wall_at: int = 0
    boot_at: int = 0
    boot_id: str = ""
    offset: int = 0
    suspect_since: int = 0
    read_at: int = 0


class Reader(Protocol):
    """A consistent look at the database, for reports. Rows come in a stable order."""

    def now(self) -> int:
        """The store's time, microseconds since the epoch."""

    def clock_state(self) -> ClockState:
        """What the store last saw of the clocks."""

    def integrity(self) -> list[str]:
        """What the database engine itself finds wrong with the file; empty if nothing is."""

    def catalogue_version(self) -> int:
        """The newest version of the catalogue: what else this look shows is as of it."""

    def accounts(self, project: str | None = None, kind: str | None = None) -> list[Account]:
        """All accounts, of one project or kind, by id."""

    def accounts_by_id(self, project: str, ids: Collection[str]) -> dict[str, Account]:
        """Those of these accounts that exist, by id."""

    def budgets(
        self, project: str | None = None, account: str | None = None, *, has_retired: bool = False
    ) -> list[Budget]:
        """The budgets in force (or all), by account and id."""

    def budgets_after(self, project: str, account: str, budget_id: str, limit: int) -> list[Budget]:
        """So many budgets in force, by account and id, of those after this account and id."""

    def budget(self, project: str, budget_id: str) -> Budget | None:
        """The budget in force with this id."""

    def newest_periods(self, budget_keys: Collection[int]) -> dict[int, Period]:
        """The newest period of each budget that has one."""

    def periods(self) -> Iterator[Period]:
        """All periods, by budget and start."""

    def model_totals(self, budget_key: int, starts_at: int) -> dict[str, int]:
        """What was settled in one period, by model; for budgets with `is_by_model`."""

    def all_model_totals(self) -> Iterator[tuple[ModelKey, int]]:
        """All running totals by model."""

    def reservations(self, project: str | None = None) -> Iterator[Reservation]:
        """All pending reservations, oldest first."""

    def reservation(self, project: str, id: str) -> Reservation | None:
        """One pending reservation by its id."""

    def entry(self, project: str, entry_id: str) -> Entry | None:
        """One entry by its id."""

    def entries_by_id(self, project: str, ids: Collection[str]) -> dict[str, Entry]:
        """Those of these entries that exist, by id."""

    def entries(
        self,
        wanted: EntryFilter,
        *,
        after_seq: int = 0,
        before_seq: int | None = None,
        limit: int | None = None,
        is_newest_first: bool = False,
    ) -> Iterator[Entry]:
        """The entries between two numbers that match, in the order of the journal (or the newest first)."""

    def spend_by_day(
        self, wanted: EntryFilter, *, after_seq: int = 0, before_seq: int | None = None
    ) -> Iterator[DaySpend]:
        """What the entries between two numbers add up to, by the day their request was admitted.

        `since` and `until` bound that moment. Carried sums, grants and resets are no spend.
        """

    def drift(self, wanted: EntryFilter) -> Iterator[Drift]:
        """What the charges that match add up to beside our own price, by provider and model.

        Only charges whose provider stated a cost count. A correction counts with what it changed.
        """


class Transaction(Protocol):
    """One atomic, durable change of the database; only the writer thread uses it."""

    now: int
    """The later of the clock and the newest stored time, microseconds since the epoch."""

    lag: int
    """How far the clock is behind the newest stored time, microseconds ≥ 0."""

    is_unchanged: bool
    """Whether nobody else wrote since this store's last commit, so that what it read still holds."""

    def catalogue_version(self) -> int:
        """The newest version of the catalogue."""

    def catalogue_changes(self, after: int) -> Sequence[CatalogueChange]:
        """What changed after that version, oldest first."""

    def accounts(self, refs: Collection[Ref]) -> dict[Ref, tuple[Account, int]]:
        """Those accounts that exist, each with the version of its last change."""

    def budgets(self, refs: Collection[Ref]) -> dict[Ref, list[Budget]]:
        """The budgets in force of each account, by id."""

    def budgets_by_key(self, keys: Collection[int]) -> dict[int, tuple[Budget, bool]]:
        """Budgets by key, each with whether it is in force."""

    def budget(self, ref: Ref) -> Budget | None:
        """The budget in force with this id."""

    def newest_periods(self, budget_keys: Collection[int]) -> dict[int, Period]:
        """Lock, in key order, and read the newest period of each budget that has one."""

    def periods(self, keys: Collection[PeriodKey]) -> dict[PeriodKey, Period]:
        """Lock, in key order, and read periods."""

    def reservations(self, refs: Collection[Ref]) -> dict[Ref, Reservation]:
        """Those of the reservations that are pending."""

    def entries(self, refs: Collection[Ref]) -> dict[Ref, Entry]:
        """Those of the entries that exist, by id."""

    def completions(self, refs: Collection[Ref]) -> dict[Ref, Entry]:
        """The entries that charged these completions."""

    def due_reservations(self, limit: int) -> list[Reservation]:
        """Pending reservations whose `expires_at` has come, oldest first."""

    def pending_of(self, ref: Ref) -> list[Reservation]:
        """All pending reservations of one account."""

    def pending_of_holder(self, project: str, holder: str) -> list[Reservation]:
        """All pending reservations that one holder made, oldest first."""

    def pending_over(self, project: str) -> list[Reservation]:
        """All pending reservations whose call is over: their amount of concurrency is 0."""

    def spend_since(self, budget: Budget, since: int) -> Spend:
        """What the journal says the budget's account spent since then, within the budget's filters."""

    def last_reset(self, ref: Ref) -> int:
        """When a budget of this id was last reset by hand; 0 if never."""

    def put_account(self, account: Account) -> None:
        """Insert or update an account, and note the change."""

    def put_budget(self, budget: Budget) -> Budget:
        """Insert a new generation (key 0: the store numbers it) or update one, and note the change."""

    def retire_budget(self, budget: Budget) -> None:
        """Take a generation out of force, and note the change."""

    def confirm_clock(self) -> None:
        """Believe the wall clock from now on."""

    def write(self, changes: Changes) -> None:
        """Write what the commands of this transaction decided."""


class Store(Protocol):
    """A database. Opened on first use; `close` and first use may alternate (a fork closes it)."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Begin; commit durably at a clean exit, else roll back.

        Raises:
            StoreError: the database cannot be opened, locked, written or committed.
        """

    def read(self) -> AbstractContextManager[Reader]:
        """A consistent look, from any thread.

        Raises:
            StoreError: the database cannot be opened or read.
        """

    def close(self) -> None:
        """Close every connection. The store may be used again, and opens anew."""

    def pause(self) -> None:
        """Close every connection before a fork, and let nobody open one until `resume`."""

    def resume(self, *, is_child: bool) -> None:
        """Allow use again after a fork; in the child, with locks of its own."""
