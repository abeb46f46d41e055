"""Settings: what the environment says, checked and typed.

OUTLAY_DATABASE_URL   where the data is: a path, `sqlite:///relative.db` or `sqlite:////absolute/path.db`;
                      `outlay.db` in the working directory if it is not set
OUTLAY_PRICES         a JSON file with prices of one's own; none if it is not set
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlay.errors import InvalidValueError

DATABASE_URL: Final = "OUTLAY_DATABASE_URL"
PRICES: Final = "OUTLAY_PRICES"
DEFAULT_DATABASE: Final = "outlay.db"

_SQLITE: Final = "sqlite:///"
_MOST_SHOWN: Final = 80
_REMEDY: Final = "give a path such as outlay.db, sqlite:///relative.db or sqlite:////absolute/path.db"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the data lies, and where prices of one's own do (None: nowhere)."""

    database_path: Path
    price_file: Path | None = None

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] = os.environ, *, database_url: str | None = None
    ) -> Settings:
        """Read the settings. `database_url` goes before the variable; a blank variable is one not set.

        Raises:
            InvalidValueError: a value cannot be used; the message names the variable and the remedy.
        """
        name, url = (
            (DATABASE_URL, environ.get(DATABASE_URL)) if database_url is None else ("database", database_url)
        )
        if database_url is None and not (url or "").strip():
            url = DEFAULT_DATABASE
        return cls(_database_path(url or "", name), _price_file(environ.get(PRICES, "").strip()))


def _database_path(url: str, name: str) -> Path:
    text = url.strip()
    scheme, has_scheme, _ = text.partition("://")
    if scheme.partition("+")[0].lower() in ("postgres", "postgresql") and has_scheme:
        raise InvalidValueError(
            f"{name} names PostgreSQL, but this version keeps its data in SQLite: {_REMEDY}"
        )
    if has_scheme:
        if not text.lower().startswith(_SQLITE) or "?" in text:
            raise InvalidValueError(f"{name} cannot be {_safe(text)!r}: {_REMEDY}")
        text = text[len(_SQLITE) :]
    if not text or text.endswith("/") or text == ":memory:" or "\0" in text:
        raise InvalidValueError(f"{name} does not name a file ({_safe(url)!r}): {_REMEDY}")
    path = _expanded(text, name)
    if path.is_dir():
        raise InvalidValueError(
            f"{name} names the folder {path}: name a file in it, such as {path}/outlay.db"
        )
    return path


def _price_file(text: str) -> Path | None:
    if not text:
        return None
    path = _expanded(text, PRICES)
    if not path.is_file():
        raise InvalidValueError(f"{PRICES} names {path}, which is not a file: write it, or unset {PRICES}")
    return path


def _expanded(text: str, name: str) -> Path:
    try:
        path = Path(text).expanduser()
        path.exists()  # asks the system, which may not take such a name
    except (RuntimeError, OSError, ValueError) as error:
        raise InvalidValueError(
            f"{name} cannot be {text[:_MOST_SHOWN]!r}: {error}: write another path"
        ) from error
    return path


def _safe(url: str) -> str:
    """The URL without a password that it may hold."""
    scheme, has_scheme, rest = url.partition("://")
    return f"{scheme}://…{rest.rpartition('@')[2]}" if has_scheme and "@" in rest else url
