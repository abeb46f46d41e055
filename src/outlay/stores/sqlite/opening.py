"""Opening a database file: what must be true of the file, the engine and the schema before it is used."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Final

import apsw

from outlay.errors import (
    DatabaseCorruptError,
    DatabaseReadOnlyError,
    EngineTooOldError,
    LedgerUnavailableError,
    NetworkFileSystemError,
    SchemaTooNewError,
)
from outlay.stores.sqlite import statements

APPLICATION_ID: Final = 0x4F75746C
"""`Outl`, in the file's header."""

OLDEST_READER: Final = 1
"""The oldest schema version whose code may still use a file that this code wrote.

What version 2 added has defaults, and version 1 names the columns it reads and writes: it goes on to admit
and charge rightly beside this code, and keeps a detail and a holder that it does not know. Only its audit
says that two tables were altered. What version 3 added, a trigger in the file keeps up; version 4 added an
index, and what version 5 added may be null.
"""

FIRST_SAFE_ENGINE: Final = (3, 51, 3)
"""SQLite 3.7.0 to 3.51.2 can lose committed transactions in WAL mode (the WAL-reset defect)."""

_HEADER_BYTES: Final = 100
_ID_AT: Final = 68  # https://www.sqlite.org/fileformat2.html#the_database_header
PRIVATE: Final = 0o600
log = logging.getLogger("outlay")

_SMALLEST_BYTES: Final = 512
"""One page: of a shorter file the engine would make a new database."""
_NETWORK_FILE_SYSTEMS: Final = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "afs", "ncpfs", "9p", "ceph", "glusterfs"),
        *("lustre", "gpfs", "beegfs", "ocfs2", "gfs2", "davfs", "fuse.sshfs", "fuse.glusterfs"),
        *("fuse.ceph", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone", "fuse.davfs"),
    }
)
_MOUNTS: Final = Path("/proc/self/mountinfo")

Connect = Callable[[str], apsw.Connection]
Identity = tuple[int, int]
"""Device and number of a file: what stays when its name does not."""


def connect(path: str) -> apsw.Connection:
    """Open a file with the engine, making it if there is none."""
    return apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)


def make_private(path: Path) -> None:
    """Make an empty file for the database, if there is none, which only its owner may read and write.

    The engine gives the files beside it the same mode. One that exists keeps its own: it may be shared with a
    group. To be called where nobody else opens the file: to close it drops the locks of the whole process.
    """
    try:
        os.close(_make(str(path), PRIVATE))
    except FileExistsError:
        return


def warn_if_public(path: Path) -> None:
    """Tell whoever runs this that every user of the machine may read the database, or write it."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & stat.S_IRWXO:
        log.warning(
            "%s is open to every user of this machine (mode %03o): chmod 600 it, and the files beside it, or "
            "660 to share it with a group",
            path,
            mode,
        )


def open_lock(path: Path) -> int:
    """Open the file whose lock processes share, making it, with the database's mode, if there is none.

    Raises:
        DatabaseReadOnlyError: it cannot be opened.
    """
    name = f"{path}.lock"
    try:
        try:
            return _make(name, stat.S_IMODE(path.stat().st_mode) if path.exists() else PRIVATE)
        except FileExistsError:
            return os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    except (IsADirectoryError, PermissionError) as error:
        raise DatabaseReadOnlyError(
            f"{name} cannot be opened ({error.strerror}): it must be a file that can be written"
        ) from error


def _make(name: str, mode: int) -> int:
    """Make a file that is not there with this mode, whatever the process' umask; give its descriptor."""
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
    os.fchmod(descriptor, mode)
    return descriptor


def identity_of(path: Path) -> Identity | None:
    """Which file the path names now; None for none, or one without content."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found.st_size else None


def has_content(path: Path) -> bool:
    """Whether there is a file, and something in it."""
    return identity_of(path) is not None


def is_of_another_program(path: Path) -> bool:
    """Whether a file is surely not Outlay's, by its header; asked before the file is in use, not while it is.

    With a journal beside it its header may not say what is true yet.
    """
    if not path.is_file() or has_content(Path(f"{path}-wal")):
        return False
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError:
        return False
    return bool(header) and header[_ID_AT : _ID_AT + 4] != APPLICATION_ID.to_bytes(4, "big")


def check_engine(version: str) -> None:
    """Refuse an engine with the WAL-reset defect.

    Raises:
        EngineTooOldError: it is too old.
    """
    if tuple(int(part) for part in version.split(".")[:3]) < FIRST_SAFE_ENGINE:
        needed = ".".join(map(str, FIRST_SAFE_ENGINE))
        raise EngineTooOldError(
            f"the SQLite engine is {version}, which can lose committed writes; {needed} or newer is needed: "
            "upgrade apsw"
        )


def check_file(path: Path, mounts: Path = _MOUNTS) -> None:
    """Look at the file and its folder before the engine does; changes nothing.

    Raises:
        NetworkFileSystemError: locks cannot be trusted there.
        DatabaseReadOnlyError: the folder is not there, or one of the two cannot be written.
        DatabaseCorruptError: the file is not an SQLite database.
    """
    folder = path.parent
    try:
        is_folder = folder.is_dir()
        path.exists()
    except OSError as error:  # such as a name that is too long
        raise DatabaseReadOnlyError(f"{path} cannot be used ({error.strerror}): name another file") from error
    if not is_folder:
        raise DatabaseReadOnlyError(f"the folder {folder} does not exist: make it, or name another database")
    kind = file_system_of(folder, mounts)
    if kind in _NETWORK_FILE_SYSTEMS:
        raise NetworkFileSystemError(
            f"{path} lies on a network file system ({kind}), where locks cannot be trusted: "
            "put it on a local disk of one machine"
        )
    if path.exists():
        if not path.is_file():
            raise DatabaseCorruptError(f"{path} is not a file: name a file for the database")
        check_readable(path)
    for each in (path, folder):
        if each.exists() and not is_writable(each):
            raise DatabaseReadOnlyError(f"{each} is read-only: make it writable, or name another database")
    if not path.exists():
        return
    size = path.stat().st_size
    if 0 < size < _SMALLEST_BYTES:  # its bytes are the engine's to read: a close here would drop its locks
        raise DatabaseCorruptError(
            f"{path} is not an SQLite database: restore it from a backup, or name another file; "
            "it was not changed"
        )
    if not size and has_content(Path(f"{path}-wal")):
        raise DatabaseCorruptError(
            f"{path} was emptied, and {path}-wal beside it was not: restore it from a backup, or move both "
            "away; neither was changed"
        )


def file_system_of(folder: Path, mounts: Path) -> str:
    """The type of the file system that holds a folder, from Linux's table of mounts; empty elsewhere."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    real = os.path.realpath(folder)
    best, kind = "", ""
    for line in lines:
        fields, _, rest = line.partition(" - ")
        point = fields.split(" ")[4].replace("\\040", " ")
        is_above = real == point or real.startswith(point.rstrip("/") + "/")
        if is_above and len(point) >= len(best):
            best, kind = point, rest.split(" ")[0]
    return kind


def prepare(connection: apsw.Connection, path: str, busy_seconds: float) -> None:
    """Set what durability needs, and read it back.

    Raises:
        LedgerUnavailableError: the engine does not do as it is told.
    """
    connection.set_busy_timeout(int(busy_seconds * 1000))
    settings = {"journal_mode": "wal", "synchronous": 2, "fullfsync": 1, "foreign_keys": 1}
    for name, wanted in settings.items():
        connection.execute(f"PRAGMA {name} = {wanted}").fetchall()
        got = connection.execute(f"PRAGMA {name}").get
        if got != wanted:
            raise LedgerUnavailableError(
                f"{path}: SQLite answers {name} = {got}, not {wanted}: use a local disk"
            )
    connection.execute("PRAGMA cache_size = -16000").fetchall()


def check_identity(connection: apsw.Connection, path: str) -> None:
    """Refuse a database of another program, or of a newer Outlay.

    Raises:
        DatabaseCorruptError: it is not Outlay's.
        SchemaTooNewError: this code is older than the oldest that may read it.
    """
    application = connection.execute("PRAGMA application_id").get
    has_tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    if application != APPLICATION_ID and (application or has_tables):
        raise DatabaseCorruptError(f"{path} is the database of another program: name another file")
    if not has_tables:
        return
    oldest = connection.execute("SELECT value FROM meta WHERE key = 'oldest_reader'").get
    if oldest is None:
        raise DatabaseCorruptError(
            f"{path} is damaged (it does not say who may read it): restore it from a backup, or name "
            "another file; it was not changed"
        )
    if oldest > newest_migration():
        raise SchemaTooNewError(
            f"{path} was written by a newer Outlay (its schema needs at least version {oldest}, this is "
            f"{newest_migration()}): upgrade outlay"
        )


def is_current(connection: apsw.Connection) -> bool:
    """Whether the schema is that of this code, or newer."""
    return int(connection.execute("PRAGMA user_version").get) >= newest_migration()


def migrate(connection: apsw.Connection) -> None:
    """Bring the schema up to date, in one transaction; called with the file's lock held."""
    version = connection.execute("PRAGMA user_version").get
    pending = [(number, text) for number, text in migrations() if number > version]
    if not pending:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number, text in pending:
            connection.execute(text)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for key, value in (("schema_version", newest_migration()), ("oldest_reader", OLDEST_READER)):
            connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def migrations() -> list[tuple[int, str]]:
    """The numbered migrations, in order: `0001_name.sql` …"""
    folder = resources.files("outlay.stores.sqlite") / "migrations"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda f: f.name)
    return [(int(file.name.partition("_")[0]), file.read_text(encoding="utf-8")) for file in files]


@lru_cache(maxsize=1)
def pristine_schema() -> dict[str, str]:
    """The statement of each table, index and trigger by name, as the migrations make them."""
    connection = apsw.Connection(":memory:")
    try:
        for _, text in migrations():
            connection.execute(text)
        return dict(connection.execute(statements.SCHEMA))
    finally:
        connection.close()


def newest_migration() -> int:
    """The schema version of this code."""
    return migrations()[-1][0]


def check_readable(path: Path) -> None:
    """Check that a file may be read.

    Raises:
        DatabaseReadOnlyError: it may not, not even read.
    """
    bits = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH
    if not path.stat().st_mode & bits or not os.access(path, os.R_OK):
        raise DatabaseReadOnlyError(
            f"{path} cannot be read, for its permissions do not allow it: change them (chmod), or run as its "
            "owner"
        )


def is_writable(path: Path) -> bool:
    """Also for root, whom the system lets write what is marked read-only."""
    return bool(path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)) and os.access(
        path, os.W_OK
    )
