"""`outlay balance`: what is spent, held and left of each budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from outlay.cli.context import DatabaseOption, JsonOption, ProjectOption, project_of, read_ledger_of
from outlay.cli.keys import named_account, shown_account
from outlay.cli.output import amount_cell, cell, make_table, print_json, print_table, time_text

if TYPE_CHECKING:
    from outlay.ledger.reports import Balance


def show_balances(
    context: typer.Context,
    account: Annotated[
        str | None, typer.Option(metavar="ACCOUNT", help="Only this account, such as user:ada.")
    ] = None,
    project: ProjectOption = None,
    database: DatabaseOption = None,
    is_json: JsonOption = False,
) -> None:
    """Show what is spent, held and left of each budget now.

    \b
    Examples:
      outlay balance
      outlay balance --account user:ada --json

    JSON: {"balances": [{project, account, budget, unit, mode, window, limit, granted, settled, reserved,
    available, overrun, starts_at, resets_at}]}.
    """
    from outlay.ledger.reports import balances

    only = project_of(context, project)
    with read_ledger_of(context, database) as reader:
        found = balances(reader, only, named_account(reader, account, only))
        shown = [shown_account(reader, each.account, each.project) for each in found]
    if is_json:
        print_json({"balances": [balance.to_json() for balance in found]})
    elif not found:
        typer.echo("There are no budgets here." if account is None else f"{account} has no budgets here.")
    else:
        _print(found, shown)


def _print(found: list[Balance], shown: list[str]) -> None:
    has_projects = len({balance.project for balance in found}) > 1
    has_overrun = any(balance.overrun for balance in found)
    numbers = ["Limit", "Settled", "Reserved", "Available", *(["Overrun"] if has_overrun else [])]
    names = [*(["Project"] if has_projects else []), "Account", "Budget"]
    table = make_table(*names, *numbers, "Resets (UTC)", numbers=numbers, whole=numbers)
    for balance, account in zip(found, shown, strict=True):
        limit = amount_cell(balance.limit, balance.unit)
        granted = f" +{amount_cell(balance.granted, balance.unit)}" if balance.granted else ""
        table.add_row(
            *([cell(balance.project)] if has_projects else []),
            cell(account),
            cell(f"{_short_id(balance)} {balance.window} {balance.mode}"),
            limit + granted,
            amount_cell(balance.settled, balance.unit),
            amount_cell(balance.reserved, balance.unit),
            amount_cell(balance.available, balance.unit),
            *([amount_cell(balance.overrun, balance.unit)] if has_overrun else []),
            time_text(balance.resets_at),
        )
    print_table(table)


def _short_id(balance: Balance) -> str:
    """The budget's id without the account's in front."""
    return balance.budget_id.removeprefix(f"{balance.account}/")
