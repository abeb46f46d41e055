"""Read-only databases: a file or folder that cannot be written is read from a copy.

SQLite keeps its journal and an index of it beside the file, and makes the index where there is none: in a
folder that it cannot write it cannot read the file, or reads past a journal that it cannot use. A copy can be
read as any database, its journal and an older schema included, and the original stays as it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw

from outlay.errors import DatabaseReadOnlyError, OutlayError
from outlay.stores.sqlite.opening import check_readable, has_content, is_writable

_BUSY_MILLISECONDS = 5_000


@contextmanager
def readable(path: Path) -> Iterator[Path]:
    """Where the database at `path` can be read: there, or in a copy that goes at the end.

    Raises:
        DatabaseReadOnlyError: it cannot even be read.
    """
    path = path.absolute()
    if not path.is_file() or (is_writable(path) and is_writable(path.parent)):
        yield path
        return
    check_readable(path)
    with TemporaryDirectory(prefix="outlay-read-") as folder:
        copy = Path(folder) / path.name
        _copy(path, copy)
        try:
            yield copy
        except OutlayError as error:  # it is about the file that the caller knows
            error.message = error.message.replace(str(copy), str(path))
            raise


def _copy(path: Path, copy: Path) -> None:
    """Copy what is committed: by the engine if a program uses the file, else with the journal beside it."""
    if Path(f"{path}-shm").exists() and _back_up(path, copy):
        return
    try:
        for end in ("", "-wal"):
            source = Path(f"{path}{end}")
            if has_content(source):
                check_readable(source)
                shutil.copyfile(source, f"{copy}{end}")
    except OSError as error:
        raise DatabaseReadOnlyError(
            f"{path} is read-only, and cannot be copied to be read ({error.strerror}): make it writable, or "
            "copy it yourself"
        ) from error


def _back_up(path: Path, copy: Path) -> bool:
    """Whether the engine could; it cannot use an index that is left over and must be made anew."""
    target = apsw.Connection(str(copy))
    try:
        source = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            source.set_busy_timeout(_BUSY_MILLISECONDS)
            with target.backup("main", source, "main") as backup:
                backup.step(-1)
        finally:
            source.close(force=True)
    except apsw.Error:
        return False
    finally:
        target.close(force=True)
    return True
