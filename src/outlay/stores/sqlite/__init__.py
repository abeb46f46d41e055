"""SQLite: the embedded default, through apsw. Several processes may share one file."""

from outlay.stores.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
