"""What the conformance tests stand on: a store under a fake clock, and short ways to say things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from outlay.domain.accounts import Account
from outlay.domain.budgets import Budget, Mode, Period, Unit
from outlay.domain.commands import (
    Amount,
    Command,
    Grant,
    Increase,
    PutAccount,
    PutBudget,
    Record,
    Reserve,
    Reset,
    Reverse,
    Settle,
    Void,
)
from outlay.domain.entries import Entry, VoidReason
from outlay.domain.outcomes import Increased, Outcome, Posted, Refusal, Reserved
from outlay.domain.reservations import Reservation
from outlay.domain.windows import SECOND, Window, to_micros
from outlay.errors import OutlayError
from outlay.ledger.audit import audit
from outlay.ledger.store import Drift, EntryFilter, Store
from outlay.testing.clock import FakeClock
from outlay.testing.inline import InlineLedger

T = TypeVar("T")
ANN = "user:ann"
PROJECT = "p"


class Bench:
    """A store to test. A subclass says how to make one and how to come back to what it holds."""

    def make_store(self, clock: FakeClock) -> Store:
        """A new, empty store."""
        raise NotImplementedError

    def reopen_store(self, store: Store, clock: FakeClock) -> Store:
        """The same data through a store that knows nothing of the old one, which was not closed."""
        raise NotImplementedError

    def setup_method(self) -> None:
        """Begin with nothing; the store is made when it is first used."""
        self.clock = FakeClock()
        self._ledger: InlineLedger | None = None

    def teardown_method(self) -> None:
        """Whatever a test did, the journal must add up."""
        if self._ledger is not None:
            self.check_audit()
            self._ledger.store.close()

    @property
    def ledger(self) -> InlineLedger:
        """The ledger, which works in the test's own thread."""
        if self._ledger is None:
            self._ledger = InlineLedger(self.make_store(self.clock))
        return self._ledger

    def reopen(self) -> None:
        """Lose all that the process knows, as a crash does."""
        self._ledger = InlineLedger(self.reopen_store(self.ledger.store, self.clock))

    # Saying things.

    def do(self, command: Command, kind: type[T] = object) -> T:  # type: ignore[assignment] # any outcome
        """Carry out a command; check what kind of answer comes."""
        outcome = self.ledger.execute(command)
        assert isinstance(outcome, kind), outcome
        return outcome

    def error(self, command: Command) -> OutlayError:
        """Carry out a command that must be wrong; give its error."""
        try:
            outcome: Outcome = self.ledger.execute(command)
        except OutlayError as error:
            return error
        raise AssertionError(f"{command} should be an error, but gave {outcome}")

    def put_budget(
        self, limit: int = 100, unit: Unit = "usd", window: str = "total", **fields: Any
    ) -> Budget:
        """Put a budget; of user:ann and named `b` unless told otherwise."""
        budget = a_budget(limit, unit, window, **fields)
        self.do(PutBudget(budget, by="test"))
        return budget

    def put_account(self, id: str, **fields: Any) -> None:
        """Put an account."""
        self.do(PutAccount(Account(fields.pop("project", PROJECT), id, **fields)))

    def admit(self, id: str, usd: int = 10, **fields: Any) -> Reserved:
        """Reserve; it must be admitted."""
        return self.do(a_reserve(id, usd, **fields), Reserved)

    def refuse(self, id: str, usd: int = 10, **fields: Any) -> Refusal:
        """Reserve; it must be refused."""
        return self.do(a_reserve(id, usd, **fields), Refusal)

    def settle(self, id: str, usd: int | None = 10, tokens: int = 0, **fields: Any) -> Entry:
        """Settle; it must be accepted."""
        return self.do(a_settle(id, usd, tokens, **fields), Posted).entry

    def void(self, id: str, reason: VoidReason = "never_sent") -> Entry:
        """Void; it must be accepted."""
        return self.do(Void(PROJECT, id, reason), Posted).entry

    def increase(self, id: str, of: str, **amounts: int) -> Increased:
        """Increase; it must be admitted."""
        return self.do(Increase(PROJECT, id, of, amounts), Increased)

    def record(self, id: str, usd: int | None = 10, **fields: Any) -> Posted:
        """Record."""
        return self.do(a_record(id, usd, **fields), Posted)

    def grant(self, id: str, amount: int, budget: str = "b") -> Entry:
        """Grant."""
        return self.do(Grant(PROJECT, id, budget, amount, "test"), Posted).entry

    def reset(self, id: str, budget: str = "b") -> Entry:
        """Reset by hand."""
        return self.do(Reset(PROJECT, id, budget, "test"), Posted).entry

    def reverse(self, charge_id: str) -> Entry:
        """Reverse a charge."""
        return self.do(Reverse(PROJECT, charge_id, "test"), Posted).entry

    # Looking.

    def period(self, budget: str = "b", project: str = PROJECT) -> Period:
        """The newest period of a budget in force."""
        with self.ledger.store.read() as reader:
            found = reader.budget(project, budget)
            assert found is not None, f"no budget {budget}"
            periods = reader.newest_periods([found.key])
            return periods.get(found.key, Period(found.key, 0, 1))

    def counters(self, budget: str = "b", project: str = PROJECT) -> tuple[int, int]:
        """What is reserved and what is settled in the newest period."""
        period = self.period(budget, project)
        return period.reserved, period.settled

    def periods(self) -> list[Period]:
        """All periods."""
        with self.ledger.store.read() as reader:
            return list(reader.periods())

    def entries(self, **wanted: Any) -> list[Entry]:
        """The journal."""
        with self.ledger.store.read() as reader:
            return list(reader.entries(EntryFilter(**wanted)))

    def drift(self, **wanted: Any) -> list[Drift]:
        """What providers billed beside our own prices, by model."""
        with self.ledger.store.read() as reader:
            return list(reader.drift(EntryFilter(**wanted)))

    def pending(self) -> list[Reservation]:
        """All pending reservations."""
        with self.ledger.store.read() as reader:
            return list(reader.reservations())

    def check_audit(self) -> None:
        """The journal, the holds and the counters agree."""
        with self.ledger.store.read() as reader:
            findings = audit(reader).findings
        assert not findings, findings

    def at(self, text: str) -> None:
        """Let time pass until an ISO moment."""
        from datetime import datetime

        self.clock.advance((to_micros(datetime.fromisoformat(text)) - self.clock.wall()) / SECOND)


def a_budget(limit: int = 100, unit: Unit = "usd", window: str = "total", **fields: Any) -> Budget:
    """A budget; of user:ann and named `b` unless told otherwise."""
    mode: Mode = fields.pop("mode", "hard")
    rule = Window.parse(window, anchor_at=fields.pop("anchor_at", 0), zone=fields.pop("zone", "UTC"))
    return Budget(
        fields.pop("project", PROJECT),
        fields.pop("id", "b"),
        fields.pop("account", ANN),
        unit,
        limit,
        rule,
        mode,
        **fields,
    )


def a_reserve(id: str, usd: int | Amount = 10, **fields: Any) -> Reserve:
    """A reserve of user:ann for ten minutes."""
    amounts: Mapping[str, Amount] = fields.pop("amounts", {"usd": _amount(usd), "tokens": Amount(1)})
    return Reserve(
        fields.pop("project", PROJECT),
        id,
        fields.pop("accounts", (ANN,)),
        amounts,
        fields.pop("hold_micros", 600 * SECOND),
        **fields,
    )


def a_settle(id: str, usd: int | None = 10, tokens: int = 0, **fields: Any) -> Settle:
    """A settle."""
    return Settle(fields.pop("project", PROJECT), id, usd, tokens, **fields)


def a_record(id: str, usd: int | None = 10, **fields: Any) -> Record:
    """A record of user:ann."""
    return Record(fields.pop("project", PROJECT), id, fields.pop("accounts", (ANN,)), usd, **fields)


def _amount(usd: int | Amount) -> Amount:
    return usd if isinstance(usd, Amount) else Amount(usd)
