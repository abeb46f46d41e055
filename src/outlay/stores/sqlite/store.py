"""The SQLite store: a connection for the writer, some for readers, and a lock file between processes.

Several processes may share one file. A writer takes an advisory lock on `FILE.lock` before it begins: the
kernel wakes waiters in order, where SQLite's own busy loop lets some wait for seconds. A reader needs that
lock only to make or upgrade the schema, and does not wait for it for ever.

`close`, and a fork, wait for who reads and for a transaction, and never for another process: the writer's
connection has a lock, held while it is open to use and not while its user waits for other processes.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final

import apsw

from outlay.errors import DatabaseCorruptError, DatabaseLockedError, OutlayError
from outlay.ledger.clock import Clock, SystemClock
from outlay.ledger.forking import OPENING
from outlay.ledger.writer import before_begin
from outlay.stores.sqlite import opening
from outlay.stores.sqlite.failures import DAMAGES, FAILURES, translate
from outlay.stores.sqlite.reader import SQLiteReader
from outlay.stores.sqlite.readers import Readers
from outlay.stores.sqlite.transaction import Known, SQLiteTransaction

BUSY_SECONDS: Final = 5.0
"""How long to wait for a program that locks the database without the lock file, and to open a file."""

_LOOK_AGAIN_SECONDS: Final = 0.02


class SQLiteStore:
    """A database file. Opened on first use.

    `connect` may be replaced to watch or disturb the engine in tests.
    """

    _lock_file: int | None = None

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
        self._identity: opening.Identity | None = None
        self._writer: apsw.Connection | None = None
        self._writer_lock = threading.Lock()
        self._readers = Readers()
        self._data_version = -1
        self._known = Known()

    @contextmanager
    def transaction(self) -> Iterator[SQLiteTransaction]:
        """Begin; commit durably at a clean exit, else roll back."""
        try:
            lock = self._lock_of_file()
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OutlayError as error:
            raise before_begin(error) from error.__cause__
        except OSError as error:
            raise before_begin(translate(error, str(self.path))) from error
        try:
            with self._writer_lock:
                yield from self._transact()
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)

    def _transact(self) -> Iterator[SQLiteTransaction]:
        try:
            connection = self._open_writer()
        except OutlayError as error:
            raise before_begin(error) from error.__cause__
        except FAILURES as error:
            raise before_begin(translate(error, str(self.path))) from error
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
            if isinstance(error, FAILURES):
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
        with self._readers.lend(self._open_reader) as connection:
            try:
                self._check_identity()
                connection.execute("BEGIN")
                try:
                    yield SQLiteReader(connection, self._clock)
                finally:
                    connection.execute("COMMIT")
            except DAMAGES as error:  # an OSError may be the caller's own
                raise translate(error, str(self.path)) from error

    def close(self) -> None:
        """Close every connection, and forget which file it was."""
        idle = self._readers.stop()
        try:
            with self._writer_lock:
                self._drop(idle)
                self._close_lock_file()
                self._identity = None
        finally:
            self._readers.go_on()

    def pause(self) -> None:
        """Close every connection before a fork, and let nobody in until `resume`."""
        idle = self._readers.stop()
        self._writer_lock.acquire()
        self._drop(idle)

    def resume(self, *, is_child: bool) -> None:
        """Allow use again after a fork. The lock file is the parent's: its thread may wait for the lock."""
        if is_child:
            self._readers, self._writer_lock = Readers(), threading.Lock()
            self._close_lock_file()
        else:
            self._writer_lock.release()
            self._readers.go_on()

    def __del__(self) -> None:
        self._close_lock_file()

    def _drop(self, idle: Sequence[apsw.Connection]) -> None:
        """Close the writer's connection and those of readers; called while nobody uses any."""
        is_replaced = self._is_replaced()
        for connection in (*idle, self._writer):
            if connection is None:
                continue
            if is_replaced:  # the journal beside the file may be another's: leave it
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.close(force=True)
        self._writer = None
        self._data_version = -1

    def _lock_of_file(self) -> int:
        if self._lock_file is None:
            self._check()
            self._lock_file = opening.open_lock(self.path)
        return self._lock_file

    def _close_lock_file(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def _open_writer(self) -> apsw.Connection:
        """The writer's connection; called with the file's lock, so the schema may be made or upgraded."""
        self._check_identity()
        if self._writer is None:
            self._check()
            self._writer = self._open(is_locked=True)
            self._data_version = -1
        return self._writer

    def _open_reader(self) -> apsw.Connection:
        try:
            self._check_identity()
            self._check()
            connection = self._open(is_locked=False)
            connection.execute("PRAGMA query_only = 1").fetchall()
        except FAILURES as error:
            raise translate(error, str(self.path)) from error
        return connection

    def _check(self) -> None:
        opening.check_engine(apsw.sqlite_lib_version())
        opening.check_file(self.path)

    def _is_replaced(self) -> bool:
        return self._identity is not None and opening.identity_of(self.path) != self._identity

    def _check_identity(self) -> None:
        """Refuse to go on when the path names another file than the one this store uses, or none.

        Raises:
            DatabaseCorruptError: what was acknowledged is not there any more.
        """
        if not self._is_replaced():
            return
        raise DatabaseCorruptError(
            f"{self.path} was deleted or replaced while in use: put the file back, or restart the program to "
            "use what is there now"
        )

    def _open(self, *, is_locked: bool) -> apsw.Connection:
        """Open the file; make or upgrade its schema while no other process does the same."""
        if not is_locked and not opening.has_content(self.path):
            with self._locked():
                return self._open(is_locked=True)
        with OPENING:
            opening.make_private(self.path)
            connection = self._connect(str(self.path))
        try:
            connection.set_busy_timeout(int(self._busy_seconds * 1000))
            opening.check_identity(connection, str(self.path))
            if is_locked:
                self._prepare(connection)
            else:
                with nullcontext() if opening.is_current(connection) else self._locked():
                    self._prepare(connection)
            if self._identity is None:
                opening.warn_if_public(self.path)
                self._identity = opening.identity_of(self.path)
        except BaseException:
            connection.close(force=True)
            raise
        return connection

    def _prepare(self, connection: apsw.Connection) -> None:
        opening.prepare(connection, str(self.path), self._busy_seconds)
        opening.migrate(connection)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the file's lock for a reader, who waits `busy_seconds` at most.

        Raises:
            DatabaseLockedError: another process holds it for longer.
        """
        lock = opening.open_lock(self.path)
        deadline = time.monotonic() + self._busy_seconds
        try:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if time.monotonic() >= deadline:
                        raise DatabaseLockedError(
                            f"{self.path}.lock is held by another process for too long: "
                            "let it go on, or end it, then repeat"
                        ) from error
                    time.sleep(_LOOK_AGAIN_SECONDS)
            yield
        finally:
            os.close(lock)
