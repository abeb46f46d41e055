"""One SQLite file and many who want it: processes, ledgers, forks, locks, and a disk that is full."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from outlay.domain.commands import Command, PutBudget
from outlay.domain.outcomes import Refusal, Reserved
from outlay.errors import DatabaseFullError, DatabaseLockedError, OutlayError
from outlay.ledger.audit import audit
from outlay.ledger.ledger import Ledger
from outlay.stores.sqlite import SQLiteStore, opening
from outlay.testing.conformance.base import a_budget, a_record, a_reserve, a_settle
from outlay.testing.inline import InlineLedger

DEADLINE_SECONDS = 60

HOLD_THE_LOCK = """
import sys, apsw
connection = apsw.Connection(sys.argv[1])
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""


@contextmanager
def locked_by_another_process(path: Path) -> Iterator[None]:
    command = [sys.executable, "-c", HOLD_THE_LOCK, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield
        finally:
            process.communicate("done\n", timeout=DEADLINE_SECONDS)


def settled(path: Path) -> int:
    """What is settled on the budget `b`, after an audit, as a store of its own sees it."""
    store = SQLiteStore(path)
    try:
        with store.read() as reader:
            assert audit(reader).findings == []
            budget = reader.budget("p", "b")
            assert budget is not None
            return reader.newest_periods([budget.key])[budget.key].settled
    finally:
        store.close()


def run(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PRELUDE + textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str], say: str = "") -> str:
    output, _ = process.communicate(say, timeout=DEADLINE_SECONDS)
    assert process.returncode == 0
    return output


PRELUDE = """
import os, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads: it is what is tested
from outlay.domain.commands import PutBudget
from outlay.domain.outcomes import Reserved
from outlay.ledger.ledger import Ledger
from outlay.stores.sqlite import SQLiteStore
from outlay.testing.conformance.base import a_budget, a_record, a_reserve, a_settle
path = sys.argv[1]
"""


def test_a_lock_of_another_program_is_an_error_by_name_and_passes(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    store = SQLiteStore(path, busy_seconds=0.05)
    ledger = InlineLedger(store)
    ledger.execute(PutBudget(a_budget(100)))
    before = path.read_bytes()
    with locked_by_another_process(path):
        for n in range(2):
            with pytest.raises(DatabaseLockedError, match="close what holds it"):
                ledger.execute(a_record(f"s{n}", 1))
        with store.read() as reader:  # readers do not mind
            assert reader.budget("p", "b") is not None
    assert path.read_bytes() == before
    ledger.execute(a_record("s0", 1))
    store.close()
    assert settled(path) == 1


def test_a_database_can_be_opened_for_reading_while_another_program_writes(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    first = SQLiteStore(path)
    InlineLedger(first).execute(a_record("s1", 1))
    with locked_by_another_process(path):
        second = SQLiteStore(path, busy_seconds=0.05)
        with second.read() as reader:
            assert reader.entry("p", "s1") is not None
        second.close()
    first.close()


class Disk:
    """A disk that can be made full."""

    def __init__(self) -> None:
        self.connections: list[apsw.Connection] = []

    def connect(self, path: str) -> apsw.Connection:
        self.connections.append(opening.connect(path))
        return self.connections[-1]

    def fill(self, *, spare_pages: int) -> None:
        writer = self.connections[0]
        pages = writer.execute("PRAGMA page_count").get
        writer.execute(f"PRAGMA max_page_count = {pages + spare_pages}").fetchall()

    def empty(self) -> None:
        self.connections[0].execute("PRAGMA max_page_count = 1000000").fetchall()


def test_a_full_disk_is_an_error_by_name_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    path, disk = tmp_path / "ledger.db", Disk()
    store = SQLiteStore(path, connect=disk.connect)
    ledger = InlineLedger(store)
    ledger.execute(PutBudget(a_budget(10**6)))
    disk.fill(spare_pages=3)
    acknowledged, failed = [], []
    for n in range(60):
        command = a_record(f"s{n}", 1, detail={"text": "x" * 1000})
        try:
            ledger.execute(command)
            acknowledged.append(command)
        except DatabaseFullError as error:
            assert "free some space" in error.message  # noqa: PT017 # some succeed
            failed.append(command)
    assert acknowledged
    assert failed
    assert settled(path) == len(acknowledged)
    disk.empty()
    for command in failed:
        ledger.execute(command)
    store.close()
    assert settled(path) == 60


def test_a_command_too_big_for_a_full_disk_fails_alone(tmp_path: Path) -> None:
    path, disk = tmp_path / "ledger.db", Disk()
    store = SQLiteStore(path, connect=disk.connect)
    ledger = InlineLedger(store)
    ledger.execute(PutBudget(a_budget(10**6)))
    disk.fill(spare_pages=8)
    huge = a_record("huge", 1, detail={"text": "x" * 200_000})
    answers = ledger.batch(a_record("s1", 1), huge, a_record("s2", 1))
    assert [isinstance(answer, DatabaseFullError) for answer in answers] == [False, True, False]
    store.close()
    assert settled(path) == 2


def test_two_ledgers_in_one_process_share_one_limit(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledgers = [InlineLedger(SQLiteStore(path)) for _ in range(2)]
    ledgers[0].execute(PutBudget(a_budget(10)))
    admitted = 0
    for n in range(20):
        answer = ledgers[n % 2].execute(a_reserve(f"r{n}", 1))
        admitted += isinstance(answer, Reserved)
        assert isinstance(answer, Reserved | Refusal)
    assert admitted == 10
    for n in range(10):
        ledgers[(n + 1) % 2].execute(a_settle(f"r{n}", 1))  # the other one
    ledgers[1].execute(PutBudget(a_budget(11)))
    assert isinstance(ledgers[0].execute(a_reserve("more", 1)), Reserved)
    for ledger in ledgers:
        ledger.store.close()
    assert settled(path) == 10


def test_two_ledgers_with_threads_share_one_limit(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledgers = [Ledger(SQLiteStore(path)) for _ in range(2)]
    ledgers[0].execute(PutBudget(a_budget(50)))
    admitted: list[str] = []

    def spend(worker: int) -> None:
        for n in range(20):
            outcome = ledgers[worker % 2].execute(a_reserve(f"r{worker}-{n}", 1))
            if isinstance(outcome, Reserved):
                ledgers[worker % 2].execute(a_settle(f"r{worker}-{n}", 1))
                admitted.append(outcome.reservation_id)

    threads = [threading.Thread(target=spend, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    for ledger in ledgers:
        ledger.close()
    assert len(admitted) == 50
    assert settled(path) == 50


def test_several_processes_share_one_limit(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    script = """
    ledger = Ledger(SQLiteStore(path))
    ledger.execute(PutBudget(a_budget(60)))
    sys.stdin.readline()
    admitted = 0
    for n in range(40):
        id = f"{sys.argv[2]}-{n}"
        if isinstance(ledger.execute(a_reserve(id, 1)), Reserved):
            ledger.execute(a_settle(id, 1))
            admitted += 1
    print(admitted)
    """
    processes = [run(script, path, n) for n in range(3)]
    admitted = [int(finish(process, "go\n")) for process in processes]
    assert sum(admitted) == 60
    assert settled(path) == 60


def test_several_processes_may_make_the_database_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    script = """
    ledger = Ledger(SQLiteStore(path))
    sys.stdin.readline()
    ledger.execute(PutBudget(a_budget(60)))
    ledger.execute(a_record(sys.argv[2], 1))
    """
    processes = [run(script, path, n) for n in range(3)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        finish(process)
    assert settled(path) == 3


def test_a_process_that_is_killed_loses_nothing_it_was_told(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    script = """
    ledger = Ledger(SQLiteStore(path))
    ledger.execute(PutBudget(a_budget(10**6)))
    n = 0
    while True:
        ledger.execute(a_record(f"s{n}", 1))
        n += 1
        print(n, flush=True)
    """
    with run(script, path) as process:
        assert process.stdout is not None
        heard = [process.stdout.readline() for _ in range(50)]
        process.kill()
        heard += process.stdout.readlines()
    told = int([line for line in heard if line.endswith("\n")][-1])
    assert settled(path) in (told, told + 1)


FORKS = """
ledger = Ledger(SQLiteStore(path))
ledger.execute(PutBudget(a_budget(10**6)))
ledger.execute(a_record("parent", 1))
with ledger.read() as reader:
    list(reader.periods())
threads = int(sys.argv[2])

def spend(worker):
    for n in range(60):
        ledger.execute(a_record(f"t{worker}-{n}", 1))

workers = [threading.Thread(target=spend, args=(n,)) for n in range(threads)]
for worker in workers:
    worker.start()
children = []
for child in range(4):
    pid = os.fork()
    if pid == 0:
        try:
            for n in range(10):
                ledger.execute(a_record(f"c{child}-{n}", 1))
            with ledger.read() as reader:
                assert reader.entry("p", f"c{child}-9") is not None
            ledger.close()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    children.append(pid)
    ledger.execute(a_record(f"between {child}", 1))
for worker in workers:
    worker.join()
assert all(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0 for pid in children)
ledger.execute(a_record("end", 1))
"""


@pytest.mark.parametrize("threads", [0, 3])
def test_parent_and_children_of_a_fork_are_all_counted(tmp_path: Path, threads: int) -> None:
    path = tmp_path / "ledger.db"
    finish(run(FORKS, path, threads))
    assert settled(path) == 1 + 4 * 10 + 4 + threads * 60 + 1


def test_two_threads_may_fork_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    script = """
    ledger = Ledger(SQLiteStore(path))
    ledger.execute(PutBudget(a_budget(10**6)))
    codes = []

    def fork(worker):
        for n in range(5):
            pid = os.fork()
            if pid == 0:
                try:
                    ledger.execute(a_record(f"{worker}-{n}", 1))
                finally:
                    os._exit(0)
            codes.append(os.waitpid(pid, 0)[1])
            ledger.execute(a_record(f"parent-{worker}-{n}", 1))

    threads = [threading.Thread(target=fork, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0] * 15
    """
    finish(run(script, path))
    assert settled(path) == 30


def test_what_is_queued_at_exit_is_written(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    script = """
    ledger = Ledger(SQLiteStore(path))
    ledger.execute(PutBudget(a_budget(10**6)))
    for n in range(500):
        ledger.submit(a_record(f"s{n}", 1))
    """
    finish(run(script, path))
    assert settled(path) == 500


def test_a_ledger_can_be_closed_and_used_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger(SQLiteStore(path))
    commands: list[Command] = [PutBudget(a_budget(100)), a_record("s1", 1), a_record("s2", 1)]
    for command in commands:
        ledger.execute(command)
        ledger.close()
    with ledger.read() as reader:
        assert reader.entry("p", "s2") is not None
    ledger.close()
    assert settled(path) == 2


def test_many_threads_may_close_a_ledger_that_others_use(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger(SQLiteStore(path))
    ledger.execute(PutBudget(a_budget(10**6)))
    errors: list[Exception] = []

    def work(worker: int) -> None:
        try:
            for n in range(100):
                ledger.execute(a_record(f"{worker}-{n}", 1))
                ledger.close()
                with ledger.read() as reader:
                    assert reader.entry("p", f"{worker}-{n}") is not None
        except Exception as error:  # noqa: BLE001 # handed to the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    assert errors == []
    assert not any(thread.is_alive() for thread in threads)
    ledger.close()
    assert settled(path) == 400


@contextmanager
def file_locked(path: Path) -> Iterator[None]:
    """The lock file in the hands of somebody who does not go on, as a stopped process does not."""
    lock = opening.open_lock(path)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(lock)


def test_a_first_read_does_not_wait_for_a_stopped_process_that_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    InlineLedger(SQLiteStore(path)).execute(a_record("s1", 1))
    store = SQLiteStore(path, busy_seconds=0.05)
    with file_locked(path), store.read() as reader:
        assert reader.entry("p", "s1") is not None
    store.close()


def test_a_database_that_cannot_be_made_because_of_a_lock_is_an_error_by_name(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "ledger.db", busy_seconds=0.05)
    with (
        file_locked(store.path),
        pytest.raises(DatabaseLockedError, match="let it go on, or end it"),
        store.read(),
    ):
        pass
    with store.read() as reader:
        assert reader.budgets() == []
    store.close()


def test_a_fork_does_not_wait_for_a_writer_that_waits_for_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    script = """
    import fcntl
    ledger = Ledger(SQLiteStore(path), answer_seconds=0.2)
    ledger.execute(PutBudget(a_budget(10**6)))
    lock = os.open(path + ".lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    ledger.submit(a_record("waits", 1))
    while ledger.writer._queue:
        pass
    writer = ledger.writer._thread
    pid = os.fork()
    if pid == 0:
        os.close(lock)
        with ledger.read() as reader:
            assert reader.entry("p", "waits") is None
        print("read", flush=True)
        ledger.submit(a_record("child", 1))
        ledger.answer_seconds = 30.0
        ledger.close()
        os._exit(0)
    assert ledger.writer._thread is writer and writer.is_alive()
    sys.stdin.readline()
    os.close(lock)
    assert os.waitpid(pid, 0)[1] == 0
    ledger.answer_seconds = 30.0
    ledger.execute(a_record("parent", 1))
    assert sum(each.name == "outlay-ledger" for each in threading.enumerate()) == 1
    """
    with run(script, path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "read\n"
        finish(process, "go on\n")
    assert settled(path) == 3


def test_a_child_is_never_forked_from_within_the_opening_of_another_threads_file(tmp_path: Path) -> None:
    script = """
    opens = threading.Event()
    ends = threading.Event()

    def opening():
        n = 0
        while not ends.is_set():
            ledger = Ledger(SQLiteStore(f"{path}-{n}"))
            with ledger.read():
                opens.set()
            ledger.close()
            n += 1

    thread = threading.Thread(target=opening)
    thread.start()
    opens.wait()
    for child in range(20):
        pid = os.fork()
        if pid == 0:
            with SQLiteStore(f"{path}-c{child}").read() as reader:
                os._exit(len(reader.budgets()))
        assert os.waitpid(pid, 0)[1] == 0
    ends.set()
    thread.join()
    """
    finish(run(script, tmp_path / "ledger.db"))


def test_errors_are_each_callers_own(tmp_path: Path) -> None:
    ledger = InlineLedger(SQLiteStore(tmp_path / "nowhere" / "ledger.db"))
    first, second = ledger.batch(a_record("s1", 1), a_record("s2", 1))
    assert isinstance(first, OutlayError)
    assert isinstance(second, OutlayError)
    assert first is not second
    assert first.__cause__ is not None


def test_a_long_report_holds_up_neither_a_reader_nor_a_commit(tmp_path: Path) -> None:
    ledger = Ledger(SQLiteStore(tmp_path / "outlay.db"))
    ledger.execute(PutBudget(a_budget(100)))
    is_read = threading.Event()

    def read() -> None:
        with ledger.read() as reader:
            is_read.set()
            assert reader.budgets()

    with ledger.read() as report:
        before = report.catalogue_version()
        other = threading.Thread(target=read)
        other.start()
        assert is_read.wait(10)
        other.join()
        ledger.execute(PutBudget(a_budget(200)))
        assert report.catalogue_version() == before
    ledger.close()
