"""The memory store keeps the promises of every store."""

from outlay.ledger.store import Store
from outlay.stores.memory import MemoryStore
from outlay.testing.clock import FakeClock
from outlay.testing.conformance import StoreConformance


class TestMemory(StoreConformance):
    def make_store(self, clock: FakeClock) -> Store:
        return MemoryStore(clock)

    def reopen_store(self, store: Store, clock: FakeClock) -> Store:
        return store  # it cannot outlive the process; what knew of it can be forgotten
