"""The memory store keeps the promises of every store."""

import pytest

from outlay.domain.commands import PutBudget
from outlay.domain.entries import Entry
from outlay.domain.outcomes import Posted
from outlay.ledger.store import Changes, EntryFilter, Store
from outlay.stores.memory import MemoryStore
from outlay.testing.clock import FakeClock
from outlay.testing.conformance import StoreConformance
from outlay.testing.conformance.base import a_budget, a_record
from outlay.testing.inline import InlineLedger


class TestMemory(StoreConformance):
    def make_store(self, clock: FakeClock) -> Store:
        return MemoryStore(clock)

    def reopen_store(self, store: Store, clock: FakeClock) -> Store:
        return store  # it cannot outlive the process; what knew of it can be forgotten


class TestMemoryWithAShortJournal:
    def test_only_the_newest_entries_are_kept_whatever_failed_between(self) -> None:
        clock = FakeClock()
        store = MemoryStore(clock, max_entries=3)
        ledger = InlineLedger(store)
        ledger.execute(PutBudget(a_budget(100)))
        for n in range(3):
            ledger.execute(a_record(f"s{n}", 1, completion_key=f"c{n}"))
        with pytest.raises(ZeroDivisionError):
            _fail_while_writing(store)
        assert _ids(store) == ["s0", "s1", "s2"]
        ledger.execute(a_record("s3", 1))
        ledger.batch(a_record("s4", 1), a_record("s5", 1))
        assert _ids(store) == ["s3", "s4", "s5"]
        again = ledger.execute(a_record("s6", 1, completion_key="c0"))  # it is forgotten with its entry
        assert isinstance(again, Posted)
        assert not again.is_replay

    def test_the_counters_keep_what_the_journal_forgot(self) -> None:
        store = MemoryStore(FakeClock(), max_entries=3)
        ledger = InlineLedger(store)
        ledger.execute(PutBudget(a_budget(100)))
        for n in range(50):
            ledger.execute(a_record(f"s{n}", 1))
        with store.read() as reader:
            assert [period.settled for period in reader.periods()] == [50]


def _fail_while_writing(store: MemoryStore) -> None:
    with store.transaction() as tx:
        tx.write(Changes(entries=[_entry(store, "s2")._replace(id="x", completion_key=None)]))
        raise ZeroDivisionError


def _entry(store: MemoryStore, id: str) -> Entry:
    with store.read() as reader:
        entry = reader.entry("p", id)
        assert entry is not None
        return entry


def _ids(store: MemoryStore) -> list[str]:
    with store.read() as reader:
        return [entry.id for entry in reader.entries(EntryFilter())]
