"""What every command shares: the options that may stand before or after its name, and the ledger."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from outlay.errors import InvalidValueError
from outlay.settings import Settings

if TYPE_CHECKING:
    from outlay.ledger.ledger import Ledger
    from outlay.ledger.store import Reader

DatabaseOption = Annotated[
    str | None, typer.Option("--database", metavar="URL", help="The database: a path, or sqlite:///path.")
]
ProjectOption = Annotated[
    str | None, typer.Option("--project", metavar="P", help="Only this project; all if not given.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON; money as decimal strings of USD.")]


@dataclass(frozen=True, slots=True)
class Options:
    """The options that may stand before a command's name."""

    database: str | None = None
    project: str | None = None


def remember(context: typer.Context, options: Options) -> None:
    """Keep what stood before the command's name; what stands after it goes first."""
    context.obj = options


def project_of(context: typer.Context, project: str | None) -> str | None:
    """The project that was asked for; None for all."""
    return project if project is not None else _options(context).project


def database_of(context: typer.Context, database: str | None) -> str | None:
    """The database that was asked for; None if none was."""
    return database if database is not None else _options(context).database


def settings_of(context: typer.Context, database: str | None) -> Settings:
    """The settings, with the database that was asked for."""
    try:
        return Settings.from_environment(database_url=database_of(context, database))
    except OSError as error:  # such as a name that is too long
        raise InvalidValueError(f"the database cannot be used ({error.strerror}): name another") from error


@contextmanager
def open_ledger_of(
    context: typer.Context, database: str | None, *, is_made: bool = False
) -> Iterator[Ledger]:
    """Open the ledger that was asked for; one that does not exist is made only with `is_made`.

    Raises:
        InvalidValueError: there is no such database.
    """
    settings = settings_of(context, database)
    if not is_made:
        _check_exists(settings.database_path)
    with _opened(settings) as ledger:
        yield ledger


@contextmanager
def open_ledger_to_read(context: typer.Context, database: str | None) -> Iterator[Ledger]:
    """Open the ledger that was asked for, and only to read it: one that cannot be written will do.

    Raises:
        InvalidValueError: there is no such database.
    """
    from outlay.stores.sqlite.read_only import readable

    settings = settings_of(context, database)
    _check_exists(settings.database_path)
    with readable(settings.database_path) as path, _opened(replace(settings, database_path=path)) as ledger:
        yield ledger


@contextmanager
def read_ledger_of(context: typer.Context, database: str | None) -> Iterator[Reader]:
    """Look into the database that was asked for."""
    with open_ledger_to_read(context, database) as ledger, ledger.read() as reader:
        yield reader


@contextmanager
def _opened(settings: Settings) -> Iterator[Ledger]:
    from outlay.bootstrap import open_ledger

    ledger = open_ledger(settings)
    try:
        yield ledger
    finally:
        ledger.close()


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise InvalidValueError(
            f"there is no database at {path}: name one with --database or OUTLAY_DATABASE_URL"
        )


def operator() -> str:
    """Who runs this command, for the journal."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user may have no name
        return "cli"


def _options(context: typer.Context) -> Options:
    return context.obj if isinstance(context.obj, Options) else Options()
