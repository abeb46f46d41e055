"""`outlay presumed`: charges that were presumed because nobody heard how the request ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from outlay.cli.amounts import AmountCommand
from outlay.cli.context import (
    DatabaseOption,
    JsonOption,
    ProjectOption,
    open_ledger_of,
    operator,
    project_of,
    read_ledger_of,
)
from outlay.cli.output import account_cell, cell, make_table, print_json, print_table, printable, time_text
from outlay.errors import AlreadyResolvedError, InvalidValueError, ReservationNotFoundError

if TYPE_CHECKING:
    from outlay.domain.entries import Entry
    from outlay.ledger.ledger import Ledger

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="List presumed charges, and correct or reverse them.\n\nA request whose end nobody heard of is "
    "charged at the whole amount that was held, until its true cost is known.",
)
Id = Annotated[str, typer.Argument(metavar="ID", help="The id that `outlay presumed list` shows.")]


@app.command("list")
def list_presumed(
    context: typer.Context,
    project: ProjectOption = None,
    database: DatabaseOption = None,
    is_json: JsonOption = False,
) -> None:
    """List the presumed charges that are neither corrected nor reversed, the oldest first.

    \b
    Examples:
      outlay presumed list --project my-app

    JSON: {"presumed": [entries, as `outlay entries --json` shows them]}.
    """
    from outlay.ledger.reports import entry_json, presumed

    with read_ledger_of(context, database) as reader:
        found = list(presumed(reader, project_of(context, project)))
    if is_json:
        print_json({"presumed": [entry_json(entry) for entry in found]})
    elif not found:
        typer.echo("There are no presumed charges.")
    else:
        _print(found)


@app.command("settle", cls=AmountCommand)
def settle(
    context: typer.Context,
    entry_id: Id,
    amount: Annotated[
        str, typer.Argument(metavar="AMOUNT", help="What it really cost, in USD; 0 is allowed.")
    ],
    project: ProjectOption = None,
    database: DatabaseOption = None,
) -> None:
    """Correct a presumed charge to what it really cost. Once; the same again changes nothing.

    \b
    Examples:
      outlay presumed settle 0198c2f4-… 0.0042
    """
    from outlay.domain.commands import Settle
    from outlay.domain.money import parse_usd, usd_text

    nanos = parse_usd(amount, "AMOUNT")
    with open_ledger_of(context, database) as ledger:
        entry = _find(ledger, entry_id, project_of(context, project))
        _check_not_reversed(ledger, entry)
        detail = {"by": operator()}
        ledger.execute(
            Settle(entry.project, entry.id, nanos, entry.tokens or 0, source="manual", detail=detail)
        )
    typer.echo(f"{entry.id}: corrected from {_usd(entry)} to ${usd_text(nanos)}")


@app.command("reverse")
def reverse(
    context: typer.Context, entry_id: Id, project: ProjectOption = None, database: DatabaseOption = None
) -> None:
    """Undo a presumed charge, its correction included: nothing was billed.

    \b
    Examples:
      outlay presumed reverse 0198c2f4-…
    """
    from outlay.domain.commands import Reverse
    from outlay.domain.outcomes import Posted

    with open_ledger_of(context, database) as ledger:
        entry = _find(ledger, entry_id, project_of(context, project))
        outcome = ledger.execute(Reverse(entry.project, entry.id, operator(), "presumed"))
    is_repeat = isinstance(outcome, Posted) and outcome.is_replay
    typer.echo(
        f"{entry.id}: {'was reversed before' if is_repeat else 'reversed'}; {_usd(entry)} was presumed"
    )


def _find(ledger: Ledger, entry_id: str, project: str | None) -> Entry:
    from outlay.ledger.store import EntryFilter

    with ledger.read() as reader:
        expired = reader.entries(EntryFilter(project, kinds=("expire",)))
        found = [entry for entry in expired if entry.id == entry_id]
    if not found:
        raise ReservationNotFoundError(
            f"no presumed charge has the id {entry_id!r}: `outlay presumed list` shows those there are"
        )
    if len(found) > 1:
        projects = ", ".join(entry.project for entry in found)
        raise InvalidValueError(f"{entry_id!r} is in several projects ({projects}): name one with --project")
    return found[0]


def _check_not_reversed(ledger: Ledger, entry: Entry) -> None:
    from outlay.domain.entries import reversal_id

    with ledger.read() as reader:
        if reader.entry(entry.project, reversal_id(entry.id)) is not None:
            raise AlreadyResolvedError(f"{entry.id} was reversed before: nothing is left to correct")


def _usd(entry: Entry) -> str:
    from outlay.domain.money import usd_text

    return "an unknown cost" if entry.usd_nanos is None else f"${usd_text(entry.usd_nanos)}"


def _print(found: list[Entry]) -> None:
    from outlay.domain.windows import to_datetime

    has_projects = len({entry.project for entry in found}) > 1
    table = make_table(
        "ID",
        "Account",
        "Model",
        "Presumed",
        "Admitted (UTC)",
        *(["Project"] if has_projects else []),
        numbers=("Presumed",),
        whole=("ID", "Presumed"),
    )
    for entry in found:
        table.add_row(
            printable(entry.id),
            account_cell((entry.accounts or ("",))[0]),
            cell(entry.model),
            _usd(entry),
            time_text(to_datetime(entry.admitted_at)),
            *([cell(entry.project)] if has_projects else []),
        )
    print_table(table)
