"""The engine's errors as ours, by name and with a remedy; the engine's own stays as the cause."""

from __future__ import annotations

from typing import Final

import apsw
import msgspec

from outlay.errors import (
    DatabaseCorruptError,
    DatabaseFullError,
    DatabaseLockedError,
    DatabaseReadOnlyError,
    LedgerUnavailableError,
    OutlayError,
)
from outlay.stores.sqlite.rows import DamagedRowError

_UNREADABLE: Final = msgspec.DecodeError | UnicodeDecodeError | DamagedRowError
DAMAGES: Final = (apsw.Error, msgspec.DecodeError, UnicodeDecodeError, DamagedRowError)
"""What reading a file may raise that only the file can be blamed for."""

FAILURES: Final = (*DAMAGES, OSError)


def translate(error: Exception, path: str) -> OutlayError:
    """The error of ours that says what happened to the database at `path`."""
    ours: OutlayError
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        ours = DatabaseLockedError(
            f"{path} is locked by another program for too long: close what holds it, then repeat"
        )
    elif isinstance(error, apsw.FullError) or _is_disk_full(error):
        ours = DatabaseFullError(
            f"the disk of {path} is full: free some space, then repeat; what was acknowledged is safe"
        )
    elif isinstance(error, apsw.ReadOnlyError):
        ours = DatabaseReadOnlyError(f"{path} cannot be written: make the file and its folder writable")
    elif isinstance(error, apsw.NotADBError):
        ours = DatabaseCorruptError(
            f"{path} is no SQLite database, or is encrypted: restore it from a backup, or name another file; "
            "it was not changed"
        )
    elif isinstance(error, apsw.CorruptError | _UNREADABLE):
        ours = DatabaseCorruptError(
            f"{path} is damaged ({error}): restore it from a backup, or name another file; it was not changed"
        )
    else:
        ours = LedgerUnavailableError(
            f"{path} failed: {type(error).__name__}: {error}. A repeat with the same id is safe"
        )
    ours.__cause__ = error
    return ours


def _is_disk_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno == 28
