"""Database files as earlier versions left them: what later migrations put in is taken out again."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from outlay.stores.sqlite import opening

_UNDONE: Final = {
    5: "ALTER TABLE entries DROP COLUMN priced_nanos",
    4: "DROP INDEX entries_response",
    3: "DROP TRIGGER entries_note_their_accounts; DROP TABLE account_blocks; DROP INDEX entries_request",
}


def bring_back_to(version: int, path: Path) -> None:
    """Make a file of an earlier schema version of one that nobody has open."""
    connection = opening.connect(str(path))
    for number, statements in _UNDONE.items():
        if number > version:
            connection.execute(statements)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (version,))
    connection.close()
