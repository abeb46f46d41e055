"""What a database says, seen from outside of whoever writes it; and scripts run as processes of their own."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from outlay.bootstrap import open_ledger
from outlay.domain.entries import Entry
from outlay.ledger.audit import audit
from outlay.ledger.store import EntryFilter
from outlay.settings import Settings
from outlay.testing.clock import FakeClock

HELLO = [{"role": "user", "content": "Name three rivers in Europe, please."}]
DEADLINE_SECONDS = 20.0


class Journal:
    """A database file: its entries, its counters, its audit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ledger = open_ledger(Settings(path))

    def entries(self, *kinds: str) -> list[Entry]:
        """All entries, or those of some kinds, oldest first."""
        with self._ledger.read() as reader:
            return list(reader.entries(EntryFilter(kinds=kinds)))

    def pending(self) -> int:
        """How many reservations are held."""
        with self._ledger.read() as reader:
            return len(list(reader.reservations()))

    def charged_nanos(self) -> int:
        """What all charges together say was spent."""
        return sum(entry.usd_nanos or 0 for entry in self.entries())

    def check(self) -> None:
        """Fail if the audit finds anything, or if a charge is kept in no counter."""
        with self._ledger.read() as reader:
            report = audit(reader)
            settled = sum(period.settled for period in reader.periods())
        assert report.findings == []
        assert settled == self.charged_nanos()

    def expire(self) -> None:
        """Move on until every reservation has expired: what is held is presumed then."""
        late = open_ledger(Settings(self.path), FakeClock(datetime.now(UTC) + timedelta(hours=3)))
        late.sweep()
        late.close()
        assert self.pending() == 0
        with self._ledger.read() as reader:
            assert sum(period.reserved for period in reader.periods()) == 0

    def wait_for(self, count: int, *kinds: str) -> list[Entry]:
        """Wait until the journal has so many entries of these kinds."""
        eventually(lambda: len(self.entries(*kinds)) >= count)
        return self.entries(*kinds)

    def close(self) -> None:
        """Close the file."""
        self._ledger.close()


def eventually(condition: Callable[[], object]) -> None:
    """Wait for something that can be seen from outside."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.002)


@contextmanager
def script(source: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run Python source as a process of its own, its output piped; killed at the end if it still runs."""
    command = [sys.executable, "-W", "error", "-c", source, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def run_script(source: str, *arguments: str) -> str:
    """Run Python source to its end; it must say nothing on stderr. Gives what it printed."""
    with script(source, *arguments) as process:
        printed, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (0, "")
    return printed


@contextmanager
def plain_server(body: bytes) -> Iterator[str]:
    """A server of one connection that answers 200 with these bytes as JSON, whatever it is asked."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(head.encode() + body)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        thread.join()
        listener.close()
