"""The index of the journal by the id of the provider's answer."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
from older_schemas import bring_back_to

from outlay.domain.commands import Record
from outlay.ledger.audit import audit
from outlay.ledger.store import EntryFilter, Store
from outlay.stores.memory import MemoryStore
from outlay.stores.sqlite import SQLiteStore, opening, statements
from outlay.stores.sqlite.finding import entry_conditions
from outlay.testing.clock import FakeClock
from outlay.testing.inline import InlineLedger


def record(store: Store, number: int) -> None:
    detail = {"response_id": f"chatcmpl-{number}"} if number % 2 else {}
    command = Record("p", f"r{number}", ("user:ada",), 10, request_id=f"req-{number}", detail=detail)
    InlineLedger(store).execute(command)


def found(store: Store, request_id: str) -> list[str]:
    with store.read() as reader:
        return [entry.id for entry in reader.entries(EntryFilter("p", request_id=request_id))]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_an_entry_is_found_by_either_id(kind: str, tmp_path: Path) -> None:
    clock = FakeClock()
    store: Store = MemoryStore(clock) if kind == "memory" else SQLiteStore(tmp_path / "a.db", clock=clock)
    for number in range(4):
        record(store, number)
    assert found(store, "req-2") == ["r2"]
    assert found(store, "chatcmpl-3") == found(store, "req-3") == ["r3"]
    assert found(store, "chatcmpl-2") == []
    store.close()


def test_a_file_of_the_version_before_is_upgraded_and_its_entries_are_found(tmp_path: Path) -> None:
    before = SQLiteStore(tmp_path / "a.db", clock=FakeClock())
    record(before, 1)
    before.close()
    bring_back_to(3, tmp_path / "a.db")
    after = SQLiteStore(tmp_path / "a.db", clock=FakeClock())
    assert found(after, "chatcmpl-1") == ["r1"]
    with after.read() as reader:
        assert audit(reader).findings == []
    after.close()


def test_the_journal_is_not_read_through() -> None:
    connection = apsw.Connection(":memory:")
    for _, text in opening.migrations():
        connection.execute(text)
    wanted = EntryFilter("p", request_id="chatcmpl-1", any_of=(("key:1", "user:ada"),), kinds=("settle",))
    conditions, bindings = entry_conditions(wanted)
    sql = f"{' AND '.join([statements.FIND_ENTRIES, *conditions])} ORDER BY seq DESC LIMIT 10"
    bindings |= {"after_seq": 0, "before_seq": 2**62}
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", bindings)]
    assert any("USING INDEX entries_response" in step for step in plan)
    assert not [step for step in plan if step.startswith("SCAN entries")]
