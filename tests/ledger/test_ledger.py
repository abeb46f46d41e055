"""The façade and its writer: threads, event loops, impatience, a full queue, and one poisoned command."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from outlay.domain.accounts import Account
from outlay.domain.commands import Amount, PutAccount, PutBudget, Void
from outlay.domain.outcomes import Posted, Refusal, Reserved
from outlay.errors import (
    AccountBlockedError,
    BudgetExceededError,
    CostUnboundedError,
    InvalidAmountError,
    LedgerBusyError,
    LedgerStaleError,
    LedgerUnavailableError,
    PriceUnknownError,
)
from outlay.ledger.audit import audit
from outlay.ledger.ledger import Ledger
from outlay.stores.memory import MemoryStore
from outlay.testing.clock import FakeClock
from outlay.testing.conformance.base import PROJECT, a_budget, a_record, a_reserve, a_settle

DEADLINE_SECONDS = 20.0


class Gate:
    """A store whose transactions begin when the test says so."""

    def __init__(self) -> None:
        self._store = MemoryStore(FakeClock())
        self._is_open = threading.Event()
        self._is_open.set()
        self.arrived = threading.Semaphore(0)
        self.poison: str | None = None
        self.read = self._store.read
        self.close = self._store.close
        self.pause = self._store.pause
        self.resume = self._store.resume

    @contextmanager
    def shut(self) -> Iterator[None]:
        """No transaction begins meanwhile."""
        self._is_open.clear()
        try:
            yield
        finally:
            self._is_open.set()

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        self.arrived.release()
        assert self._is_open.wait(DEADLINE_SECONDS)
        with self._store.transaction() as tx:
            yield tx
            with self._store.read() as reader:
                if self.poison is not None and reader.entry(PROJECT, self.poison) is not None:
                    raise OSError("poisoned")


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def ledger(gate: Gate) -> Iterator[Ledger]:
    ledger = Ledger(gate)
    yield ledger
    ledger.close()
    with ledger.read() as reader:
        assert audit(reader).findings == []


def settled(ledger: Ledger, budget: str = "b") -> tuple[int, int]:
    with ledger.read() as reader:
        found = reader.budget(PROJECT, budget)
        assert found is not None
        period = reader.newest_periods([found.key])[found.key]
        return period.reserved, period.settled


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.001)


@contextmanager
def in_thread(task: Callable[[], object]) -> Iterator[list[object]]:
    """Run something in a thread; its result or error is in the list when the block ends."""
    results: list[object] = []

    def run() -> None:
        try:
            results.append(task())
        except Exception as error:  # noqa: BLE001 # handed to the test
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield results
    thread.join(DEADLINE_SECONDS)
    assert not thread.is_alive()


def held(gate: Gate, ledger: Ledger) -> AbstractContextManager[None]:
    """Keep the writer busy with a first command, so that what follows queues up."""

    @contextmanager
    def hold() -> Iterator[None]:
        with gate.shut():
            ledger.submit(a_record("first", 0, accounts=("user:nobody",)))
            while gate.arrived.acquire(blocking=False):
                pass
            eventually(lambda: not ledger.writer._queue)
            yield

    return hold()


def test_what_queues_up_while_a_commit_is_in_flight_is_one_batch(gate: Gate, ledger: Ledger) -> None:
    ledger.execute(PutBudget(a_budget(1000)))
    with held(gate, ledger):
        for n in range(100):
            ledger.submit(a_record(f"s{n}", 1))
    ledger.close()
    assert settled(ledger) == (0, 100)
    assert list(ledger.writer.batch_sizes) == [1, 1, 100]


def test_a_poisoned_command_fails_alone(gate: Gate, ledger: Ledger) -> None:
    ledger.execute(PutBudget(a_budget(1000)))
    gate.poison = "s3"
    with in_thread(lambda: ledger.execute(a_record("s3", 1))) as results, held(gate, ledger):
        for n in (0, 1, 2, 4):
            ledger.submit(a_record(f"s{n}", 1))
    assert isinstance(results[0], LedgerUnavailableError)
    assert "A repeat with the same id is safe" in str(results[0])
    assert isinstance(results[0].__cause__, OSError)
    ledger.close()
    assert settled(ledger) == (0, 4)
    gate.poison = None
    ledger.execute(a_record("s3", 1))
    assert settled(ledger) == (0, 5)


def test_a_full_queue_says_so_at_once_but_still_takes_what_makes_room(gate: Gate) -> None:
    ledger = Ledger(gate, max_queue=2)
    ledger.execute(PutBudget(a_budget(10)))
    ledger.execute(a_reserve("r1", 5))
    ledger.execute(a_reserve("r2", 5))
    with held(gate, ledger):
        ledger.submit(a_record("s1", 1))
        ledger.submit(a_record("s2", 1))
        with pytest.raises(LedgerBusyError, match="try again shortly"):
            ledger.execute(a_record("s3", 1))
        ledger.submit(a_settle("r1", 5))
        ledger.submit(Void(PROJECT, "r2", "never_sent"))
    ledger.close()
    assert settled(ledger) == (0, 7)


def test_a_wrong_command_is_refused_before_it_is_queued(ledger: Ledger) -> None:
    with pytest.raises(InvalidAmountError):
        ledger.execute(a_record("s1", -1))
    assert not ledger.writer.batch_sizes


def test_a_reserve_that_others_keep_out_waits_for_room(gate: Gate, ledger: Ledger) -> None:
    ledger.execute(PutBudget(a_budget(10, mode="crossing")))
    ledger.execute(a_reserve("r1", 10))
    with in_thread(lambda: ledger.execute(a_reserve("r2", 5), wait_seconds=DEADLINE_SECONDS)) as results:
        eventually(lambda: bool(ledger.writer._parked))
        ledger.execute(a_settle("r1", 9))
    assert isinstance(results[0], Reserved)
    assert settled(ledger) == (5, 9)


def test_a_reserve_waits_no_longer_than_it_was_told(ledger: Ledger) -> None:
    ledger.execute(PutBudget(a_budget(10)))
    ledger.execute(a_reserve("r1", 10))
    outcome = ledger.execute(a_reserve("r2", 5), wait_seconds=0.01)
    assert isinstance(outcome, Refusal)
    assert outcome.can_wait


def test_waiting_reserves_share_what_becomes_free_and_none_goes_over(gate: Gate, ledger: Ledger) -> None:
    ledger.execute(PutBudget(a_budget(10)))
    ledger.execute(a_reserve("r0", 10))
    outcomes: list[object] = []

    def wait(n: int) -> None:
        outcome = ledger.execute(a_reserve(f"r{n}", 5), wait_seconds=DEADLINE_SECONDS)
        outcomes.append(outcome)
        if isinstance(outcome, Reserved):
            ledger.execute(a_settle(f"r{n}", 1))

    threads = [threading.Thread(target=wait, args=(n,)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(ledger.writer._parked) == 8)
    ledger.execute(a_settle("r0", 1))
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    # They settle at 1 each; once 6 are settled, 5 more fit no longer.
    assert [type(outcome) for outcome in outcomes].count(Reserved) == 5
    assert settled(ledger) == (0, 6)


def test_a_caller_that_gives_up_is_told_so_and_nothing_stays_held(gate: Gate) -> None:
    ledger = Ledger(gate, answer_seconds=0.05)
    ledger.execute(PutBudget(a_budget(10)))
    with gate.shut(), pytest.raises(LedgerUnavailableError, match="did not answer"):
        ledger.execute(a_reserve("r1", 5))
    ledger.answer_seconds = DEADLINE_SECONDS
    ledger.execute(a_record("s1", 3))
    eventually(lambda: settled(ledger) == (0, 3))
    ledger.close()


def test_a_caller_that_gives_up_while_it_waits_in_the_queue_holds_nothing(gate: Gate) -> None:
    ledger = Ledger(gate, answer_seconds=0.05)
    ledger.execute(PutBudget(a_budget(10)))
    with held(gate, ledger), pytest.raises(LedgerUnavailableError):
        ledger.execute(a_reserve("r1", 5))
    ledger.answer_seconds = DEADLINE_SECONDS
    assert isinstance(ledger.execute(a_reserve("r2", 10)), Reserved)
    ledger.close()


def test_a_settle_nobody_waits_for_is_done_all_the_same(gate: Gate) -> None:
    ledger = Ledger(gate, answer_seconds=0.05)
    ledger.execute(PutBudget(a_budget(10)))
    ledger.execute(a_reserve("r1", 5))
    with gate.shut(), pytest.raises(LedgerUnavailableError):
        ledger.execute(a_settle("r1", 5))
    ledger.close()
    assert settled(ledger) == (0, 5)


def test_a_sweep_expires_what_is_due() -> None:
    clock = FakeClock()
    ledger = Ledger(MemoryStore(clock))
    ledger.execute(PutBudget(a_budget(10)))
    ledger.execute(a_reserve("r1", 5))
    clock.advance(601)
    ledger.sweep()
    assert settled(ledger) == (0, 5)
    ledger.close()


def test_an_event_loop_is_answered_too(ledger: Ledger) -> None:
    async def spend() -> None:
        await ledger.execute_async(PutBudget(a_budget(100)))
        await asyncio.gather(*(ledger.reserve_async(a_reserve(f"r{n}", 1)) for n in range(50)))
        await asyncio.gather(*(ledger.execute_async(a_settle(f"r{n}", 1)) for n in range(50)))
        with pytest.raises(BudgetExceededError):
            await ledger.reserve_async(a_reserve("more", 51))

    asyncio.run(spend())
    assert settled(ledger) == (0, 50)
    assert max(ledger.writer.batch_sizes) > 1


def test_a_task_that_is_cancelled_holds_nothing(gate: Gate, ledger: Ledger) -> None:
    ledger.execute(PutBudget(a_budget(10)))

    async def give_up() -> None:
        task = asyncio.create_task(ledger.reserve_async(a_reserve("r1", 5)))
        with gate.shut():
            await asyncio.to_thread(gate.arrived.acquire)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    while gate.arrived.acquire(blocking=False):
        pass
    asyncio.run(give_up())
    eventually(lambda: _kinds(ledger) == ["void"])
    assert settled(ledger) == (0, 0)


def test_a_loop_that_is_closed_before_the_answer_holds_nothing(gate: Gate, ledger: Ledger) -> None:
    ledger.execute(PutBudget(a_budget(10)))
    loop = asyncio.new_event_loop()
    with gate.shut():
        task = loop.create_task(ledger.execute_async(a_reserve("r1", 5)))
        while gate.arrived.acquire(blocking=False):
            pass
        loop.run_until_complete(asyncio.sleep(0))
        assert gate.arrived.acquire(timeout=DEADLINE_SECONDS)
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()
    eventually(lambda: _kinds(ledger) == ["void"])
    assert settled(ledger) == (0, 0)


def test_each_refusal_has_an_error_of_its_own(ledger: Ledger) -> None:
    ledger.execute(PutAccount(Account(PROJECT, "user:bob", None, None, "blocked")))
    ledger.execute(PutBudget(a_budget(10)))
    with pytest.raises(BudgetExceededError) as caught:
        ledger.reserve(a_reserve("r1", 11))
    assert (caught.value.budget, caught.value.account, caught.value.unit) == ("b", "user:ann", "usd")
    assert (caught.value.needed, caught.value.can_wait) == (11e-9, False)
    with pytest.raises(AccountBlockedError):
        ledger.reserve(a_reserve("r1", accounts=("user:bob",)))
    with pytest.raises(PriceUnknownError):
        ledger.reserve(a_reserve("r1", amounts={"tokens": Amount(1)}))
    with pytest.raises(CostUnboundedError, match="no n"):
        ledger.reserve(a_reserve("r1", unbounded_reason="no n"))
    with pytest.raises(LedgerStaleError):
        ledger.reserve(a_reserve("r1", accounts=("user:bob",), catalogue_version=0))
    assert ledger.reserve(a_reserve("r1")).reservation_id == "r1"


def test_many_threads_never_go_over_a_limit(ledger: Ledger) -> None:
    ledger.execute(PutBudget(a_budget(100)))
    admitted: list[str] = []

    def spend(worker: int) -> None:
        for n in range(40):
            outcome = ledger.execute(a_reserve(f"r{worker}-{n}", 1))
            if isinstance(outcome, Reserved):
                assert isinstance(ledger.execute(a_settle(f"r{worker}-{n}", 1)), Posted)
                admitted.append(outcome.reservation_id)

    threads = [threading.Thread(target=spend, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    assert len(admitted) == 100
    assert settled(ledger) == (0, 100)


def _kinds(ledger: Ledger) -> list[str]:
    from outlay.ledger.store import EntryFilter

    with ledger.read() as reader:
        return [entry.kind for entry in reader.entries(EntryFilter())]


def test_a_writer_without_work_leaves_no_thread_and_begins_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlay.ledger.writer.IDLE_SECONDS", 0.001)
    for n in range(2):
        ledger.execute(a_record(f"s{n}", 1))
        eventually(lambda: ledger.writer._thread is None)
    assert _kinds(ledger) == ["record", "record"]


def test_what_is_held_can_be_dropped_and_what_is_settled_stays() -> None:
    store = MemoryStore(FakeClock())
    ledger = Ledger(store)
    ledger.execute(PutBudget(a_budget(10)))
    ledger.execute(a_record("s1", 2))
    ledger.execute(a_reserve("r1", 5))
    store.drop_reservations()
    assert settled(ledger) == (0, 2)
    ledger.execute(a_reserve("r2", 8))
    with ledger.read() as reader:
        assert audit(reader).findings == []
