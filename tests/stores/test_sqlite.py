"""The SQLite store keeps the promises of every store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from outlay.ledger.store import Store
from outlay.stores.sqlite import SQLiteStore
from outlay.testing.clock import FakeClock
from outlay.testing.conformance import StoreConformance


class TestSQLite(StoreConformance):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> Iterator[None]:
        self.path = tmp_path / "ledger.db"
        self.stores: list[SQLiteStore] = []
        yield
        for store in self.stores:
            store.close()

    def make_store(self, clock: FakeClock) -> Store:
        self.stores.append(SQLiteStore(self.path, clock=clock))
        return self.stores[-1]

    def reopen_store(self, store: Store, clock: FakeClock) -> Store:
        return self.make_store(clock)
