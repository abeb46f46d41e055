"""The SQLite store: one connection for the writer, one for readers, and a lock file between processes.

Several processes may share one file. A writer takes an advisory lock on `FILE.lock` before it begins: the
kernel wakes waiters in order, where SQLite's own busy loop lets some wait for seconds.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw
import msgspec

from outlay.errors import OutlayError
from outlay.ledger.clock import Clock, SystemClock
from outlay.ledger.writer import before_begin
from outlay.stores.sqlite import opening
from outlay.stores.sqlite.failures import translate
from outlay.stores.sqlite.reader import SQLiteReader
from outlay.stores.sqlite.transaction import Known, SQLiteTransaction

BUSY_SECONDS: Final = 5.0
"""How long to wait for a program that locks the database without the lock file."""


class SQLiteStore:
    """A database file. Opened on first use.

    `connect` may be replaced to watch or disturb the engine in tests.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Clock | None = None,
        busy_seconds: float = BUSY_SECONDS,
        connect: opening.Connect = opening.connect,
    ) -> None:
        self.path = Path(path).absolute()
        self._clock = clock or SystemClock()
        self._busy_seconds = busy_seconds
        self._connect = connect
        self._writer: apsw.Connection | None = None
        self._lock_file: int | None = None
        self._reader: apsw.Connection | None = None
        self._reader_lock = threading.Lock()
        self._data_version = -1
        self._known = Known()

    @contextmanager
    def transaction(self) -> Iterator[SQLiteTransaction]:
        """Begin; commit durably at a clean exit, else roll back."""
        try:
            connection = self._open_writer()
            fcntl.flock(self._lock_of_file(), fcntl.LOCK_EX)
        except OutlayError as error:
            raise before_begin(error) from error.__cause__
        except (apsw.Error, OSError) as error:
            raise before_begin(translate(error, str(self.path))) from error
        try:
            yield from self._transact(connection)
        finally:
            if self._lock_file is not None:
                fcntl.flock(self._lock_file, fcntl.LOCK_UN)

    def _transact(self, connection: apsw.Connection) -> Iterator[SQLiteTransaction]:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            self._roll_back(connection)
            raise before_begin(translate(error, str(self.path))) from error
        try:
            data_version = connection.execute("PRAGMA data_version").get
            is_unchanged, self._data_version = data_version == self._data_version, data_version
            if not is_unchanged:
                self._known = Known()
            yield SQLiteTransaction(connection, self._clock, self._known, is_unchanged=is_unchanged)
            connection.execute("COMMIT")
        except BaseException as error:
            self._data_version = -1
            self._roll_back(connection)
            if isinstance(error, apsw.Error | OSError):
                raise translate(error, str(self.path)) from error
            raise

    def _roll_back(self, connection: apsw.Connection) -> None:
        """Undo; a connection that cannot even do that is thrown away, which undoes it too."""
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except apsw.Error:
            self._writer = None
            connection.close(force=True)

    @contextmanager
    def read(self) -> Iterator[SQLiteReader]:
        """A consistent look at what is committed."""
        with self._reader_lock:
            try:
                connection = self._open_reader()
                connection.execute("BEGIN")
                try:
                    yield SQLiteReader(connection, self._clock)
                finally:
                    connection.execute("COMMIT")
            except (apsw.Error, msgspec.DecodeError) as error:
                self._drop_reader()
                raise translate(error, str(self.path)) from error

    def _drop_reader(self) -> None:
        """Throw a connection away that failed, with whatever it had begun."""
        if self._reader is not None:
            self._reader.close(force=True)
            self._reader = None

    def close(self) -> None:
        """Close every connection."""
        with self._reader_lock:
            self._close()

    def pause(self) -> None:
        """Close every connection before a fork, and let no reader in until `resume`."""
        self._reader_lock.acquire()
        self._close()

    def resume(self, *, is_child: bool) -> None:
        """Allow use again after a fork."""
        if is_child:
            self._reader_lock = threading.Lock()
        else:
            self._reader_lock.release()

    def _close(self) -> None:
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close(force=True)
        self._reader = self._writer = None
        self._data_version = -1
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def _lock_of_file(self) -> int:
        if self._lock_file is None:
            self._lock_file = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        return self._lock_file

    def _open_writer(self) -> apsw.Connection:
        if self._writer is None:
            self._check()
            self._writer = self._open()
            self._data_version = -1
        return self._writer

    def _open_reader(self) -> apsw.Connection:
        if self._reader is None:
            self._check()
            self._reader = self._open()
            self._reader.execute("PRAGMA query_only = 1").fetchall()
        return self._reader

    def _check(self) -> None:
        opening.check_engine(apsw.sqlite_lib_version())
        opening.check_file(self.path)

    def _open(self) -> apsw.Connection:
        """Open the file, and make or upgrade its schema, while no other process does the same."""
        lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        connection = None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            connection = self._connect(str(self.path))
            connection.set_busy_timeout(int(self._busy_seconds * 1000))
            opening.check_identity(connection, str(self.path))
            opening.prepare(connection, str(self.path), self._busy_seconds)
            opening.migrate(connection)
        except BaseException:
            if connection is not None:
                connection.close(force=True)
            raise
        finally:
            os.close(lock)
        return connection
