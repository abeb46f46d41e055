"""The ledger as its callers have it, in any order Hypothesis can think of, beside a model in dictionaries."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from outlay.domain.accounts import Account
from outlay.domain.commands import (
    Amount,
    Command,
    FreeSlot,
    FreeSlots,
    Grant,
    Increase,
    PutAccount,
    PutBudget,
    RemoveBudget,
    Reset,
    Reverse,
    Void,
)
from outlay.domain.windows import SECOND
from outlay.errors import OutlayError
from outlay.ledger.audit import audit
from outlay.ledger.ledger import Ledger
from outlay.ledger.store import EntryFilter, Store
from outlay.stores.memory import MemoryStore
from outlay.stores.sqlite import SQLiteStore
from outlay.testing.clock import FakeClock
from outlay.testing.conformance.base import PROJECT, a_budget, a_record, a_reserve, a_settle
from outlay.testing.model import Model, digest_of

pytestmark = pytest.mark.once("the ledger's rules, the same on every Python")

AMOUNTS = st.integers(0, 60)
BUDGETS = st.sampled_from(["b", "tokens", "team", "rpm"])
ACCOUNTS = st.sampled_from(["user:ann", "user:bob", "team:red"])
MODELS = st.sampled_from(["gpt", "claude"])
HOLDERS = st.sampled_from(["g1", "g2"])
WINDOWS = st.sampled_from(["total", "1m", "1h", "36h", "daily", "monthly"])


class LedgerMachine(RuleBasedStateMachine):
    """Each rule is one command, given to the ledger and to the model; what they answer must be the same."""

    ids = Bundle("ids")
    commands = Bundle("commands")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.model = Model()
        self.count = 0
        self.journal: list[Any] = []
        self.ledgers: list[Ledger] = []
        self.ledger = self.open()
        for account in ("user:ann", "user:bob"):
            self.do(PutAccount(Account(PROJECT, account, "team:red")))
        self.do(PutBudget(a_budget(100, window="1h")))
        self.do(PutBudget(a_budget(200, id="team", account="team:red", mode="crossing", window="daily")))
        self.do(PutBudget(a_budget(150, "tokens", id="tokens", account="user:bob")))
        self.do(PutBudget(a_budget(4, "requests", id="rpm", window="1m")))
        self.do(PutBudget(a_budget(3, "concurrency", id="slots", account="team:red")))

    def make_store(self) -> Store:
        raise NotImplementedError

    def open(self) -> Ledger:
        self.ledgers.append(Ledger(self.make_store()))
        return self.ledgers[-1]

    def teardown(self) -> None:
        for ledger in self.ledgers:
            ledger.close()

    def do(self, command: Command) -> Command:
        now = max(self.clock.wall(), 0)
        self.model.expire(now)
        expected = self.model.apply(command, now)
        try:
            answer: Any = self.ledger.execute(command)
        except OutlayError as error:
            answer = error
        assert digest_of(answer) == expected, f"{command}: {answer}"
        return command

    def new_id(self) -> str:
        self.count += 1
        return f"i{self.count}"

    @rule(
        target=ids,
        amount=AMOUNTS,
        cap=st.none() | st.integers(1, 50),
        account=ACCOUNTS,
        model=MODELS,
        holder=st.none() | HOLDERS,
    )
    def reserve(self, amount: int, cap: int | None, account: str, model: str, holder: str | None) -> str:
        amounts = {"usd": Amount(amount, 1 if cap else 0), "tokens": Amount(5, 1 if cap else 0)}
        id = self.new_id()
        command = a_reserve(
            id,
            amounts=amounts,
            accounts=(account,),
            model=model,
            wanted_output_tokens=cap,
            least_output_tokens=1,
            holder=holder,
        )
        self.do(command)
        return id

    @rule(holder=HOLDERS)
    def free_slots(self, holder: str) -> None:
        self.do(FreeSlots(PROJECT, holder))

    @rule(target=commands, id=ids)
    def free_slot(self, id: str) -> Command:
        return self.do(FreeSlot(PROJECT, id))

    @rule(models=st.sampled_from([(), ("gpt",)]))
    def change_the_slots(self, models: tuple[str, ...]) -> None:
        self.do(PutBudget(a_budget(3, "concurrency", id="slots", account="team:red", models=models)))

    @rule(target=commands, id=ids, usd=st.none() | AMOUNTS, tokens=AMOUNTS)
    def settle(self, id: str, usd: int | None, tokens: int) -> Command:
        return self.do(a_settle(id, usd, tokens, usage={"output": tokens}))

    @rule(target=commands, id=ids, reason=st.sampled_from(["never_sent", "rejected", "provider_error"]))
    def void(self, id: str, reason: Any) -> Command:
        return self.do(Void(PROJECT, id, reason))

    @rule(target=commands, id=ids, usd=AMOUNTS, tokens=AMOUNTS)
    def increase(self, id: str, usd: int, tokens: int) -> Command:
        return self.do(Increase(PROJECT, self.new_id(), id, {"usd": usd, "tokens": tokens}))

    @rule(
        target=commands, usd=AMOUNTS, account=ACCOUNTS, model=MODELS, key=st.none() | st.sampled_from("xyz")
    )
    def record(self, usd: int, account: str, model: str, key: str | None) -> Command:
        return self.do(a_record(self.new_id(), usd, accounts=(account,), model=model, completion_key=key))

    @rule(command=commands)
    def repeat(self, command: Command) -> None:
        self.do(command)

    @rule(budget=BUDGETS, amount=AMOUNTS)
    def grant(self, budget: str, amount: int) -> None:
        self.do(Grant(PROJECT, self.new_id(), budget, amount, "test"))

    @rule(budget=BUDGETS)
    def reset(self, budget: str) -> None:
        self.do(Reset(PROJECT, self.new_id(), budget, "test"))

    @rule(id=ids)
    def reverse(self, id: str) -> None:
        self.do(Reverse(PROJECT, id, "test"))

    @rule(limit=st.sampled_from([0, 20, 500]))
    def change_the_limit(self, limit: int) -> None:
        window = self.model.in_force[PROJECT, "b"].budget.window.text if self.has_b else "1h"
        self.do(PutBudget(a_budget(limit, window=window)))

    @rule(window=WINDOWS, models=st.sampled_from([(), ("gpt",)]))
    def change_the_rule(self, window: str, models: tuple[str, ...]) -> None:
        self.do(PutBudget(a_budget(100, window=window, models=models)))

    @rule()
    def remove(self) -> None:
        self.do(RemoveBudget(PROJECT, "b", "test"))

    @property
    def has_b(self) -> bool:
        return (PROJECT, "b") in self.model.in_force

    @rule(seconds=st.sampled_from([1, 59, 599, 700, 4000, 90000]))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule()
    def crash(self) -> None:
        self.ledger = self.open()

    @invariant()
    def the_store_says_what_the_model_says(self) -> None:
        with self.ledger.read() as reader:
            report = audit(reader)
            assert report.findings == []
            rows = {
                (period.budget_key, period.starts_at): (period.ends_at, *period[3:])
                for period in reader.periods()
            }
            keys: dict[str, list[int]] = {}
            for budget in sorted(reader.budgets(has_retired=True), key=lambda each: each.key):
                keys.setdefault(budget.id, []).append(budget.key)
            pending = {reservation.id for reservation in reader.reservations()}
            journal = list(reader.entries(EntryFilter()))
        assert pending == {id for _, id in self.model.pending}
        assert journal[: len(self.journal)] == self.journal, "the journal was changed"
        self.journal = journal
        for each in self.model.rules:
            key = keys[each.budget.id].pop(0)
            for slot in each.slots:
                wanted = (slot.end, slot.granted, slot.reserved, slot.settled, slot.overrun)
                is_prunable = slot.end - slot.start <= 3600 * SECOND and not slot.reserved
                if (key, slot.start) in rows or not is_prunable:
                    assert rows[key, slot.start] == wanted, (each.budget, slot)


class MemoryMachine(LedgerMachine):
    def make_store(self) -> Store:
        if not hasattr(self, "store"):
            self.store = MemoryStore(self.clock)
        return self.store


class SQLiteMachine(LedgerMachine):
    def make_store(self) -> Store:
        if not hasattr(self, "folder"):
            self.folder = Path(tempfile.mkdtemp(prefix="outlay-machine-"))
        return SQLiteStore(self.folder / "ledger.db", clock=self.clock)

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)


SETTINGS = settings(
    derandomize=True,
    deadline=None,
    max_examples=120,
    stateful_step_count=50,
    suppress_health_check=[HealthCheck.too_slow],
)

TestOnMemory = MemoryMachine.TestCase
TestOnMemory.settings = SETTINGS
TestOnSQLite = SQLiteMachine.TestCase
TestOnSQLite.settings = settings(SETTINGS, max_examples=50)
