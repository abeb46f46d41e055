"""How commands show things: tables, JSON, amounts and times."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import typer

from outlay.domain.budgets import Unit
from outlay.ledger.refusals import amount_text

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

NONE = "–"
_SHORT_HASH = 20
_LEAST_WIDTH = 10  # a date, or some of a name
_GAP = 2  # between two columns


def print_json(value: Any) -> None:
    """Print one JSON value."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def make_table(*columns: str, numbers: Sequence[str] = (), whole: Sequence[str] = ()) -> Table:
    """Begin a table: columns in `numbers` to the right; those and those in `whole` are not folded. Nothing is
    cut off.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        justify: Literal["left", "right"] = "right" if column in numbers else "left"
        is_whole = column in whole or column in numbers
        table.add_column(column, justify=justify, overflow="fold", no_wrap=is_whole)
    return table


def print_table(table: Table) -> None:
    """Print a table, as wide as the terminal; where it is too narrow, each row as a block of lines.

    What goes into a pipe or a file is as wide as it needs to be, unless COLUMNS says otherwise.
    """
    from rich.cells import cell_len
    from rich.console import Console

    console = Console(highlight=False, emoji=False)
    widths = [
        max(
            cell_len(line)
            for text in (column.header, *column.cells)
            for line in str(text).splitlines() or [""]
        )
        for column in table.columns
    ]
    if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        console.width = sum(widths) + _GAP * len(widths)
    for column, width in zip(table.columns, widths, strict=True):
        column.min_width = width if column.no_wrap else min(width, _LEAST_WIDTH)
    if sum(column.min_width or 0 for column in table.columns) + _GAP * (len(widths) - 1) <= console.width:
        console.print(table)
        return
    names = [str(column.header) for column in table.columns]
    for number, row in enumerate(zip(*(column.cells for column in table.columns), strict=True)):
        lines = ([""] if number else []) + [f"{name}: {text}" for name, text in zip(names, row, strict=True)]
        typer.echo("\n".join(lines))


def cell(text: object) -> Any:
    """A table's cell that shows a text as it is: brackets are no markup."""
    from rich.text import Text

    return Text(NONE if text is None or text == "" else printable(str(text)))


def account_cell(account: str, others: int = 0) -> Any:
    """A table's cell for an account, and how many others there are; of a key only the start of its hash."""
    kind, _, name = account.partition(":")
    shown = f"key:{name[:12]}…" if kind == "key" and len(name) > _SHORT_HASH else account
    return cell(f"{shown} +{others}" if others > 0 else shown)


def printable(text: str) -> str:
    """A text from the database, with what would steer a terminal shown as an escape."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def amount_cell(amount: int, unit: Unit) -> str:
    """An amount: `$1.5`, or a count."""
    return amount_text(amount, unit) if unit == "usd" else f"{amount:,}"


def time_text(moment: datetime | None) -> str:
    """A time in UTC to the second; a dash for never."""
    return NONE if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def make_progress(what: str) -> Progress | None:
    """A progress bar on stderr, if somebody watches."""
    if not sys.stderr.isatty():
        return None
    from rich.console import Console
    from rich.progress import Progress

    progress = Progress(console=Console(stderr=True), transient=True)
    progress.add_task(what, total=None)
    return progress
