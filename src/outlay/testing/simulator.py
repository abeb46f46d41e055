"""The simulator: callers, a provider, clocks, crashes and failing stores, all from one seed.

    python -m outlay.testing.simulator --seeds 1000 --steps 200 --first 0

Each step is one batch of commands to one of two nodes on one store. What the nodes answer is compared with
the model (outlay.testing.model), which is told only what was committed, in which order and when. Now and
then, and at the end when all faults have stopped, the store itself is compared with the model, its journal
with the provider's own bill, and the audit must be clean. A seed that fails is printed and fails again.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Final

from outlay.domain.accounts import Account, AccountStatus
from outlay.domain.budgets import Budget, Mode, Period, PeriodKey, Unit
from outlay.domain.commands import (
    Amount,
    Command,
    ConfirmClock,
    FreeSlot,
    FreeSlots,
    Grant,
    Increase,
    PutAccount,
    PutBudget,
    Record,
    RemoveBudget,
    Reserve,
    Reset,
    Reverse,
    Settle,
    Void,
)
from outlay.domain.entries import VoidReason
from outlay.domain.outcomes import Outcome, Reserved
from outlay.domain.windows import SECOND, Window
from outlay.errors import DatabaseLockedError, LedgerUnavailableError, OutlayError, StoreError
from outlay.ledger.audit import audit
from outlay.ledger.store import EntryFilter, Reader, Store
from outlay.ledger.writer import before_begin
from outlay.stores.memory import MemoryStore
from outlay.stores.sqlite import SQLiteStore
from outlay.testing.clock import FakeClock
from outlay.testing.inline import InlineLedger
from outlay.testing.model import Digest, Model, Name, digest_of, is_repeat

SQLITE_EVERY: Final = 25
"""Every so many seeds run on an SQLite file instead of in memory."""

LOOK_EVERY: Final = 70
"""Every so many steps the whole store is compared."""

HOLD: Final = 300 * SECOND
PROJECTS: Final = ("p", "p", "p", "q")
ACCOUNTS: Final = ("key:1", "key:2", "user:ann", "user:bob", "team:red", "organization:acme")
TREE: Final = (
    ("key:1", "user:ann"),
    ("key:2", "user:bob"),
    ("user:ann", "team:red"),
    ("team:red", "organization:acme"),
)
MODELS: Final = ("gpt", "claude", "llama")
WINDOWS: Final = ("total", "30s", "1m", "1h", "36h", "daily", "monthly")
HOLDERS: Final = ("node 1", "node 2")
FAULTS: Final = ("locked", "within", "before commit", "after commit")


class SimulationError(AssertionError):
    """A promise was broken; the message has the seed and the step."""


@dataclass(slots=True)
class Attempt:
    """One transaction that a node began: its fault and its time, whether it was committed, and heard of."""

    fault: str | None = None
    error: Exception | None = None
    now: int = 0
    is_committed: bool = False
    is_heard: bool = False


class Disturbed:
    """A node's way to the store, on which the faults lie; it notes what was committed."""

    def __init__(self, world: World, store: Store) -> None:
        self._world = world
        self._store = store
        self.attempts: list[Attempt] = []
        self.read = store.read
        self.close = store.close
        self.pause = store.pause
        self.resume = store.resume

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """As the store's, until a fault."""
        fault = self._world.next_fault()
        attempt = Attempt(fault)
        self.attempts.append(attempt)
        if fault == "locked":
            raise before_begin(DatabaseLockedError("simulated"))
        with self._store.transaction() as tx:
            attempt.now = tx.now
            if isinstance(self._store, MemoryStore):
                tx.is_unchanged = self._world.last_writer is self
            try:
                yield _Faltering(tx, self._world.random.randrange(8)) if fault == "within" else tx
            except Exception as error:
                attempt.error = error
                raise
            if fault in ("within", "before commit"):
                raise OSError("simulated: the transaction failed")
        attempt.is_committed = True
        self._world.last_writer = self
        if fault == "after commit":
            raise OSError("simulated: the commit succeeded, but nobody heard")
        attempt.is_heard = True


class _Faltering:
    """A transaction that fails at its n-th call."""

    def __init__(self, tx: Any, calls: int) -> None:
        self._tx = tx
        self._left = calls

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._tx, name)
        if callable(value):
            self._left -= 1
            if self._left < 0:
                raise OSError(f"simulated: {name} failed")
        return value


@dataclass(eq=False, slots=True)
class Call:
    """One call of a caller to the provider: what the provider billed, and what the caller came to know."""

    reserve: Reserve
    is_heard: bool = False
    is_sent: bool = False
    bill: int = 0
    is_known: bool = False
    is_reversed: bool = False


@dataclass(slots=True)
class Jump:
    """A forward jump of the wall clock that is not believed yet."""

    micros: int
    noticed_at: int | None = None


@dataclass(slots=True)
class Tally:
    """What a simulation went through, to see that it goes everywhere."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, what: str) -> None:
        """Count."""
        self.counts[what] = self.counts.get(what, 0) + 1


class World:
    """Everything that happens under one seed."""

    def __init__(self, seed: int, *, folder: Path | None = None) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.clock = FakeClock()
        self.model = Model()
        self.tally = Tally()
        self.step = 0
        self.fault_rate = self.random.choice((0.0, 0.02, 0.1, 0.3))
        self.last_writer: Disturbed | None = None
        self.newest_now = 0
        self.jump: Jump | None = None
        self.ids: dict[str, int] = {}
        self.calls: dict[Name, Call] = {}
        self.todo: list[Command] = []
        self.past: list[Command] = []
        self._folder = folder
        self._memory = MemoryStore(self.clock)
        self._files: list[SQLiteStore] = []
        self.nodes = [self._new_node(), self._new_node()]

    def run(self, steps: int) -> None:
        """Live through some steps, then let the faults stop and look whether all came right."""
        try:
            self._set_up()
            for self.step in range(1, steps + 1):
                self._pass_time()
                self._one_step()
                if self.step % LOOK_EVERY == 0:
                    self._look()
            self._calm_down()
        except Exception as error:
            raise SimulationError(
                f"seed {self.seed}, step {self.step} "
                f"({'SQLite' if self._folder else 'memory'}): {type(error).__name__}: {error}"
            ) from error
        finally:
            for store in self._files:
                store.close()

    def next_fault(self) -> str | None:
        """Which fault the next transaction meets."""
        if not self.fault_rate or self.random.random() >= self.fault_rate:
            return None
        fault = self.random.choice(FAULTS)
        self.tally.add(fault)
        return fault

    # What happens.

    def _set_up(self) -> None:
        rate, self.fault_rate = self.fault_rate, 0.0
        self._submit([Record("p", self._new_id("p"), ("user:nobody",), 0)])  # the clocks are known
        for project in ("p", "q"):
            for account, parent in TREE:
                self._submit([PutAccount(Account(project, account, parent))])
        for _ in range(6):
            self._submit([PutBudget(self._any_budget())])
        self.fault_rate = rate

    def _pass_time(self) -> None:
        dice = self.random.random()
        if dice < 0.6:
            self.clock.advance(self.random.random() * 5)
        elif dice < 0.8:
            self.clock.advance(self.random.random() * 120)
        elif dice < 0.84:
            self.clock.advance(self.random.random() * 9000)
        elif dice < 0.85:
            self.clock.advance(self.random.random() * 86400 * 20)
        elif dice < 0.86:
            self.clock.jump(-self.random.random() * 3000)
            self.jump = None  # while it is behind, nothing is checked but that time does not run backwards
            self.tally.add("jump back")
        elif dice < 0.865 and self.jump is None and self.clock.wall() >= self.newest_now:
            seconds = 61 + self.random.random() * 86400 * 3
            self.jump = Jump(round(seconds * SECOND))
            self.clock.jump(seconds)
            self.tally.add("jump forward")

    def _one_step(self) -> None:
        dice = self.random.random()
        if dice < 0.02:
            self.nodes[self.random.randrange(2)] = self._new_node()
            self.tally.add("crash")
        elif dice < 0.08:
            self._submit([self._any_catalogue_change()])
        elif dice < 0.11:
            self._submit([self._any_catalogue_change(), *self._any_commands()])
        else:
            self._submit(self._any_commands())

    def _any_commands(self) -> list[Command]:
        count = self.random.choice((1, 1, 1, 2, 3, 5))
        return [self._any_command() for _ in range(count)]

    def _any_command(self) -> Command:
        dice = self.random.random()
        if dice < 0.42 or not self.past:
            return self._new_reserve()
        if dice < 0.74 and self.todo:
            return self.todo.pop(self.random.randrange(len(self.todo)))
        if dice < 0.82:
            return self._again()
        return self._rare()

    def _again(self) -> Command:
        """An earlier command once more, mostly with the same content."""
        command = self.random.choice(self.past[-60:])
        if isinstance(command, Reserve | Settle | Void | Record) and self.random.random() < 0.2:
            self.tally.add("other content")
            if isinstance(command, Reserve):
                return replace(command, attempt=command.attempt + 1)
            return replace(command, detail={"other": 1})
        self.tally.add("repeat")
        if isinstance(command, Reserve) and self.random.random() < 0.2:
            return replace(command, holder=self.random.choice(HOLDERS))
        return command

    def _rare(self) -> Command:
        dice = self.random.random()
        project = self.random.choice(PROJECTS)
        if dice < 0.3:
            return Record(
                project,
                self._new_id(project),
                (self.random.choice(ACCOUNTS),),
                self.random.choice((None, 5, 50)),
                self.random.randrange(50),
                model=self.random.choice(MODELS),
                completion_key=self.random.choice((None, f"c{self.random.randrange(30)}")),
            )
        if dice < 0.5 and self.model.pending:
            project, id = self.random.choice(list(self.model.pending))
            more = {"usd": self.random.randrange(30), "tokens": self.random.randrange(30)}
            return Increase(project, self._new_id(project), id, more)
        if dice < 0.6 and self.model.in_force:
            project, budget_id = self.random.choice(list(self.model.in_force))
            return Grant(project, self._new_id(project), budget_id, self.random.randrange(100), "sim")
        if dice < 0.68 and self.model.in_force:
            project, budget_id = self.random.choice(list(self.model.in_force))
            return Reset(project, self._new_id(project), budget_id, "sim")
        if dice < 0.75 and self.model.done:
            project, id = self.random.choice(list(self.model.done))
            return Reverse(project, id.partition("#")[0], "sim")
        if dice < 0.77:
            return Settle(project, f"never {self._new_id(project)}", 1, 1)
        if dice < 0.785:
            return FreeSlots(project, self.random.choice(HOLDERS))
        if dice < 0.8 and self.calls:
            return FreeSlot(*self.random.choice(list(self.calls)[-20:]))
        if dice < 0.83 and self.jump is not None:
            return ConfirmClock("sim")
        return self._new_reserve()

    def _new_reserve(self) -> Reserve:
        random = self.random
        has_output = random.random() < 0.5
        model, project = random.choice(MODELS), random.choice(PROJECTS)
        reserve = Reserve(
            project,
            self._new_id(project),
            (random.choice(ACCOUNTS),),
            {
                "usd": Amount(random.randrange(60), random.randrange(3) if has_output else 0),
                "tokens": Amount(random.randrange(60), 1 if has_output else 0),
            },
            random.choice((HOLD, HOLD, HOLD * 20)),
            random.choice((10, 100)) if has_output else None,
            random.choice((0, 1, 20)) if has_output else 0,
            provider="x" if model != "llama" else "y",
            model=model,
            price_version="v1",
            holder=random.choice(HOLDERS),
            unbounded_reason="no n" if (dice := random.random()) < 0.03 else None,
            unproven_reason="a new field" if 0.03 <= dice < 0.1 else None,
            is_free=0.02 <= dice < 0.05,
        )
        self.calls[reserve.project, reserve.id] = Call(reserve)
        return reserve

    def _any_catalogue_change(self) -> Command:
        dice = self.random.random()
        project = self.random.choice(PROJECTS)
        if dice < 0.15:
            account, parent = self.random.choice(TREE)
            status: AccountStatus = "blocked" if self.random.random() < 0.2 else "active"
            parent = self.random.choice((parent, "organization:acme"))
            return PutAccount(Account(project, account, parent, None, status))
        if dice < 0.25 and self.model.in_force:
            return RemoveBudget(*self.random.choice(list(self.model.in_force)), "sim")
        if dice < 0.6 and self.model.in_force:  # another limit
            rule = self.model.in_force[self.random.choice(list(self.model.in_force))]
            return PutBudget(replace(rule.budget, limit=self.random.choice((0, 50, 200, 1000))))
        return PutBudget(self._any_budget())

    def _any_budget(self) -> Budget:
        random = self.random
        unit: Unit = random.choice(("usd", "usd", "usd", "tokens", "requests", "concurrency"))
        mode: Mode = random.choice(("hard", "hard", "hard", "crossing", "soft"))
        limit = (
            random.choice((3, 8)) if unit in ("requests", "concurrency") else random.choice((100, 400, 2000))
        )
        return Budget(
            random.choice(PROJECTS),
            f"b{random.randrange(6)}",
            random.choice(ACCOUNTS),
            unit,
            limit,
            Window.parse("total" if unit == "concurrency" else random.choice(WINDOWS)),
            mode,
            models=random.choice(((), (), (), ("gpt", "claude"))),
            providers=random.choice(((), (), (), ("x",))),
        )

    # Asking a node, and what callers make of the answer.

    def _submit(self, commands: Sequence[Command]) -> None:
        node = self.random.choice(self.nodes)
        store = node.store
        assert isinstance(store, Disturbed)
        store.attempts.clear()
        answers = node.batch(*commands)
        for attempt in store.attempts:
            if not (attempt.is_heard or attempt.fault):
                message = f"a transaction failed by itself: {commands}: {answers}"
                raise AssertionError(message) from attempt.error
        expected = self._follow(commands, store.attempts)
        for command, answer, digest in zip(commands, answers, expected, strict=True):
            self.tally.add(f"{type(command).__name__} {digest_of(answer)[0]}")
            if digest is None:
                assert isinstance(answer, StoreError | LedgerUnavailableError), f"{command}: {answer}"
            else:
                assert digest_of(answer) == digest, f"{command}: answered {answer}, expected {digest}"
            self._hear(command, answer)
        self.past += commands

    def _follow(self, commands: Sequence[Command], attempts: Sequence[Attempt]) -> list[Digest | None]:
        """Tell the model what was committed; give what each command must be answered, None for a failure."""
        first, singles = attempts[0], attempts[1:]
        answers: list[Digest | None] = [None] * len(commands)
        if first.is_committed:
            applied = self._apply(commands, first.now)
            if first.is_heard:
                answers = list(applied)
        for n, attempt in enumerate(singles):
            if attempt.is_committed:
                (alone,) = self._apply([commands[n]], attempt.now)
                answers[n] = alone if attempt.is_heard else None
        return answers

    def _apply(self, commands: Sequence[Command], now: int) -> list[Digest]:
        """One committed transaction."""
        self._check_time(now)
        before = self.model.written
        self.model.expire(now)
        answers = [self.model.apply(command, now) for command in commands]
        if before != self.model.written:
            self.newest_now = now  # something was written at this time
        if any(isinstance(command, ConfirmClock) for command in commands):
            self.jump = None
        return answers

    def _hear(self, command: Command, answer: Outcome | OutlayError) -> None:
        """What the caller does next: send, settle, void, try again, give up, or never be heard of."""
        random = self.random
        call = self.calls.get((getattr(command, "project", ""), getattr(command, "id", "")))
        if isinstance(answer, StoreError | LedgerUnavailableError):
            if not isinstance(command, Reserve) or random.random() < 0.5:
                self.todo.append(command)
            return
        if isinstance(command, Reverse) and not isinstance(answer, OutlayError):
            reversed_call = self.calls.get((command.project, command.charge_id))
            if reversed_call is not None:
                reversed_call.is_reversed = True
        is_admitted = isinstance(answer, Reserved) and answer.state == "pending"
        if call is not None and is_admitted and not call.is_heard and _is_repeat(command, call):
            call.is_heard = True
            if random.random() < 0.95:
                self._send(call, answer)

    def _send(self, call: Call, answer: Outcome | OutlayError) -> None:
        """The provider serves the request, or not; the caller hears of it, or not."""
        random, reserve = self.random, call.reserve
        assert isinstance(answer, Reserved)
        tokens = answer.output_cap or 0
        bound = {
            unit: amount.fixed + amount.per_output_token * tokens for unit, amount in reserve.amounts.items()
        }
        if random.random() < 0.05:
            self.todo.append(Void(reserve.project, reserve.id, "never_sent"))
            return
        call.is_sent = True
        dice = random.random()
        if dice < 0.12:
            reason: VoidReason = random.choice(("rejected", "provider_error"))
            self.todo.append(Void(reserve.project, reserve.id, reason))
            call.is_known = True
            return
        call.bill = random.randint(0, bound["usd"])
        if dice < 0.7:
            call.is_known = True
            if random.random() < 0.08:
                call.bill = bound["usd"] + random.randrange(1, 200)
                self.tally.add("bill above the bound")
            usd = call.bill
        elif dice < 0.75:
            self.todo.append(Settle(reserve.project, reserve.id, None, 0))  # served, but at an unknown cost
            return
        else:
            if dice < 0.93:  # the connection was lost: the call is over, and nobody knows what it cost
                self.todo.append(FreeSlot(reserve.project, reserve.id))
            return  # or the caller died
        key = f"c{random.randrange(30)}" if random.random() < 0.2 else None
        counted = random.randint(0, bound["tokens"])
        self.todo.append(
            Settle(reserve.project, reserve.id, usd, counted, {"output": counted}, completion_key=key)
        )

    # Looking.

    def _check_time(self, now: int) -> None:
        """The ledger's time never runs backwards, and a jump forward moves it only when it is believed."""
        assert now >= self.newest_now, f"time ran backwards, from {self.newest_now} to {now}"
        wall, boot, jump = self.clock.wall(), self.clock.boot(), self.jump
        if jump is not None:
            if jump.noticed_at is None:
                jump.noticed_at = boot
            if boot - jump.noticed_at >= 600 * SECOND:
                self.jump = None
            else:
                limit = max(self.newest_now, wall - jump.micros + 60 * SECOND)
                assert now <= limit, f"a jump of {jump.micros} µs was believed: {now} > {limit}"

    def _look(self) -> None:
        """Compare the store with the model, and audit it."""
        with self.nodes[0].store.read() as reader:
            findings = audit(reader).findings
            assert not findings, findings
            self._compare_periods({period.key: period for period in reader.periods()}, reader)
            pending = {(each.project, each.id): each.expires_at for each in reader.reservations()}
            wanted = {name: each.at + each.command.hold_micros for name, each in self.model.pending.items()}
            assert pending == wanted, f"pending {pending}, expected {wanted}"

    def _compare_periods(self, found: dict[PeriodKey, Period], reader: Reader) -> None:
        keys: dict[Name, list[int]] = {}
        for budget in sorted(reader.budgets(has_retired=True), key=lambda each: each.key):
            keys.setdefault((budget.project, budget.id), []).append(budget.key)
        for rule in self.model.rules:
            key = keys[rule.budget.project, rule.budget.id].pop(0)
            for slot in rule.slots:
                row = found.pop((key, slot.start), None)
                if row is None:
                    is_short = slot.end - slot.start <= 3600 * SECOND
                    is_idle = is_short and not slot.reserved and slot is not rule.slots[-1]
                    assert is_idle, f"{rule} lost {slot}"
                    continue
                assert row[2:] == (slot.end, slot.granted, slot.reserved, slot.settled, slot.overrun), (
                    f"{rule.budget} has {row}, expected {slot}"
                )
                assert min(row[3:]) >= 0, f"a counter is below zero: {row}"
        assert not any(period.reserved or period.settled for period in found.values()), f"unexpected {found}"

    def _calm_down(self) -> None:
        """Without faults, every caller that is left says what it knows, and time passes."""
        self.fault_rate = 0.0
        while self.todo:
            self._submit([self.todo.pop()])
        behind = max(0, self.newest_now - self.clock.wall())
        self.clock.advance((behind + 21 * HOLD) / SECOND)
        self._submit([ConfirmClock("sim")])
        self._submit([Record("p", self._new_id("p"), ("user:nobody",), 0)])
        assert not self.model.pending, f"never expired: {list(self.model.pending)}"
        self._look()
        with self.nodes[0].store.read() as reader:
            assert not any(period.reserved for period in reader.periods()), "something stays reserved"
            self._compare_bill(reader)

    def _compare_bill(self, reader: Reader) -> None:
        """The journal charges at least what the provider billed, and exactly that where it is known."""
        charged: dict[Name, int] = {}
        for entry in reader.entries(EntryFilter(kinds=("settle", "void", "expire", "correct"))):
            assert entry.source is not None, f"{entry.id} does not say where its amount is from"
            assert entry.price_version == "v1", f"{entry.id} does not say by which prices it was charged"
            name = (entry.project, entry.reservation_id or "")
            charged[name] = charged.get(name, 0) + (entry.usd_nanos or 0)
        for name, call in self.calls.items():
            journal = charged.get(name, 0)
            assert not call.is_sent or name in charged, f"{name} was sent and is not in the journal"
            assert journal >= call.bill or call.is_reversed, f"{name} billed {call.bill}, charged {journal}"
            if call.is_known and not call.is_reversed:
                assert journal == call.bill, f"{name} billed {call.bill}, charged {journal}"

    # Making things.

    def _new_id(self, project: str) -> str:
        """The next id of a project; projects use the same ids."""
        self.ids[project] = self.ids.get(project, 0) + 1
        return f"i{self.ids[project]}"

    def _new_node(self) -> InlineLedger:
        if self._folder is None:
            return InlineLedger(Disturbed(self, self._memory))
        self._files.append(SQLiteStore(self._folder / f"{self.seed}.db", clock=self.clock))
        return InlineLedger(Disturbed(self, self._files[-1]))


def _is_repeat(command: Command, call: Call) -> bool:
    return isinstance(command, Reserve) and is_repeat(command, call.reserve)


def simulate(seed: int, steps: int) -> Tally:
    """Run one seed.

    Raises:
        SimulationError: a promise was broken.
    """
    if seed % SQLITE_EVERY:
        world = World(seed)
        world.run(steps)
        return world.tally
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 # a folder of our own in it
    with tempfile.TemporaryDirectory(prefix="outlay-sim-", dir=place) as folder:
        world = World(seed, folder=Path(folder))
        world.run(steps)
        return world.tally


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m outlay.testing.simulator", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args(arguments)
    total = Tally()
    for seed in range(options.first, options.first + options.seeds):
        for what, count in simulate(seed, options.steps).counts.items():
            total.counts[what] = total.counts.get(what, 0) + count
    for what, count in sorted(total.counts.items()):
        print(f"{count:>9}  {what}")
    print(f"{options.seeds} seeds of {options.steps} steps, from {options.first}: every promise held")


if __name__ == "__main__":
    main()
