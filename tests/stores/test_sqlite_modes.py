"""Who may read the files of a database: its owner, whatever the umask; and what is shared stays so."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlay.domain.commands import Record
from outlay.gateway.master_key import keep_master_key
from outlay.ledger.store import EntryFilter
from outlay.stores.sqlite import SQLiteStore
from outlay.testing.clock import FakeClock
from outlay.testing.inline import InlineLedger

FILES = ("a.db", "a.db-wal", "a.db-shm", "a.db.lock")


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o277, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    assert tmp_path.exists()  # made before
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def used(path: Path, id: str = "r1") -> SQLiteStore:
    store = SQLiteStore(path, clock=FakeClock())
    InlineLedger(store).execute(Record("p", id, ("user:ada",), 1))
    return store


def modes(folder: Path) -> dict[str, int]:
    return {each.name: each.stat().st_mode & 0o777 for each in folder.iterdir()}


@pytest.mark.usefixtures("umask")
def test_all_files_are_their_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o755)
    store = used(folder / "a.db")
    with store.read() as reader:
        assert len(list(reader.entries(EntryFilter()))) == 1
        assert modes(folder) == dict.fromkeys(FILES, 0o600)
    store.close()
    used(folder / "a.db", "r2").close()
    assert set(modes(folder).values()) == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o755


@pytest.mark.usefixtures("umask")
def test_so_is_one_that_is_read_before_it_is_written(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "a.db", clock=FakeClock())
    with store.read() as reader:
        assert list(reader.entries(EntryFilter())) == []
    store.close()
    assert set(modes(tmp_path).values()) == {0o600}


@pytest.mark.usefixtures("umask")
def test_a_master_key_that_is_made_is_its_owners_alone(tmp_path: Path) -> None:
    kept = keep_master_key(tmp_path / "a.db")
    assert kept.is_new
    assert keep_master_key(tmp_path / "a.db").secret == kept.secret
    assert modes(tmp_path) == {"a.db.master-key": 0o600}


def test_what_is_shared_with_a_group_stays_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    used(tmp_path / "a.db").close()
    for file in tmp_path.iterdir():
        file.chmod(0o660)
    (tmp_path / "a.db.lock").unlink()
    with caplog.at_level(logging.WARNING, "outlay"):
        store = used(tmp_path / "a.db", "r2")
    assert modes(tmp_path) == dict.fromkeys(FILES, 0o660)
    assert caplog.messages == []
    store.close()


def test_one_that_all_may_read_keeps_its_mode_and_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    used(tmp_path / "a.db").close()
    (tmp_path / "a.db").chmod(0o644)
    with caplog.at_level(logging.WARNING, "outlay"):
        used(tmp_path / "a.db", "r2").close()
    (message,) = caplog.messages
    assert "open to every user" in message
    assert "644" in message
    assert "chmod 600" in message
    assert (tmp_path / "a.db").stat().st_mode & 0o777 == 0o644
