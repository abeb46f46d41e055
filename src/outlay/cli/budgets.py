"""`outlay budget`: limits on any account, set, listed and removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from outlay.cli.amounts import AmountCommand
from outlay.cli.context import (
    DatabaseOption,
    JsonOption,
    open_ledger_of,
    operator,
    project_of,
    read_ledger_of,
)
from outlay.cli.keys import shown_account
from outlay.cli.output import amount_cell, cell, make_table, print_json, print_table, printable
from outlay.errors import InvalidValueError

if TYPE_CHECKING:
    from outlay.domain.budgets import Budget
    from outlay.domain.windows import Window
    from outlay.ledger.store import Reader

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Set, list and remove budgets of any account.\n\nAccounts are the gateway's, unless --project says "
    "otherwise. The gateway need not run; one that does knows at its next request.",
)
ProjectOption = Annotated[
    str | None,
    typer.Option("--project", metavar="P", help="The accounts' project; the gateway's if not given."),
]
_MOST_DIGITS = 40  # far above any limit, and read at once
_OWN_KINDS = frozenset({"key", "team", "member", "user", "customer", "organization"})
"""Accounts whose own fields (`max_budget`, `rpm_limit` …) state budgets too."""


@app.command("set", cls=AmountCommand)
def set_budget(
    context: typer.Context,
    account: Annotated[
        str, typer.Argument(metavar="ACCOUNT", help="Such as user:ada, team:research, key:ALIAS or global.")
    ],
    limit: Annotated[str, typer.Argument(metavar="LIMIT", help="USD, such as 5 or 0.05; else a count.")],
    window: Annotated[
        str,
        typer.Argument(metavar="WINDOW", help="hourly, daily, weekly, monthly …, 36h, 30d, 1mo …, or total."),
    ],
    unit: Annotated[str, typer.Option(metavar="UNIT", help="usd, tokens, requests or concurrency.")] = "usd",
    mode: Annotated[str, typer.Option(metavar="MODE", help="hard, crossing or soft.")] = "hard",
    models: Annotated[
        str | None, typer.Option(metavar="A,B", help="Counts only these models; all if not given.")
    ] = None,
    time_zone: Annotated[
        str, typer.Option(metavar="ZONE", help="Where days, weeks and months begin.")
    ] = "UTC",
    id: Annotated[
        str | None, typer.Option(metavar="ID", help="Its id; else made of account, unit, window and models.")
    ] = None,
    project: ProjectOption = None,
    database: DatabaseOption = None,
) -> None:
    """Set a budget, or change it: an account may have several.

    The same again with another limit or mode changes the one there is; what was spent counts.

    \b
    Examples:
      outlay budget set user:ada 5 daily
      outlay budget set team:research 1000000 1m --unit tokens --models gpt-4o
      outlay budget set global 200 monthly --mode soft --time-zone Europe/Berlin
    """
    from outlay.domain.accounts import check_account_id
    from outlay.domain.budgets import MODES, Budget, check_budget
    from outlay.domain.commands import PutBudget
    from outlay.gateway.config import PROJECT

    if mode not in MODES:
        raise InvalidValueError(f"--mode must be one of {', '.join(MODES)}, not {mode!r}")
    into = _project(context, project)
    names = () if models is None else tuple(dict.fromkeys(name.strip() for name in models.split(",")))
    amount, rule = _limit(limit, unit), _window(window, time_zone)
    is_of_key = into == PROJECT and account.startswith("key:")  # which must be there
    if not is_of_key:  # what is refused makes no database
        stated: dict[str, Any] = {"unit": unit, "limit": amount, "window": rule, "mode": mode}
        check_budget(Budget(into, "id", check_account_id(account, "ACCOUNT"), **stated))
    with open_ledger_of(context, database, is_made=not is_of_key) as ledger:
        with ledger.read() as reader:
            owner = _account(reader, account, into)
            name = id or _id(owner, unit, rule.text, names)
            budget = _budget(reader, into, name, owner, unit, amount, rule, mode, names)
            shown, warnings = _shown_id(reader, budget), _warnings(reader, into, names)
        ledger.execute(PutBudget(budget, operator(), is_anchor_kept=True))
    typer.echo(f"{printable(shown)}: {amount_cell(amount, budget.unit)} {budget.unit}, {rule.text}, {mode}")
    for warning in warnings:
        typer.echo(f"Warning: {printable(warning)}", err=True)


@app.command("list")
def list_budgets(
    context: typer.Context,
    account: Annotated[
        str | None, typer.Option(metavar="ACCOUNT", help="Only those of this account.")
    ] = None,
    project: ProjectOption = None,
    database: DatabaseOption = None,
    is_json: JsonOption = False,
) -> None:
    """List the budgets in force. `outlay balance` shows what is left of them.

    \b
    Examples:
      outlay budget list --account user:ada

    JSON: {"budgets": [{project, account, id, unit, limit, window, time_zone, mode, models}]}.
    """
    into = _project(context, project)
    with read_ledger_of(context, database) as reader:
        owner = None if account is None else _account(reader, account, into)
        found = reader.budgets(into, owner)
        shown = [_shown_id(reader, budget) for budget in found]
    if is_json:
        print_json({"budgets": [_to_json(budget) for budget in found]})
    elif not found:
        typer.echo("There are no budgets here." if account is None else f"{account} has no budgets here.")
    else:
        _print(found, shown)


@app.command("remove")
def remove(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="The id that `outlay budget list` shows.")],
    project: ProjectOption = None,
    database: DatabaseOption = None,
) -> None:
    """Remove a budget: it refuses nothing any more. What was spent stays in the journal.

    \b
    Examples:
      outlay budget remove user:ada/usd-daily
      outlay budget remove key:web/usd-weekly
    """
    from outlay.domain.commands import RemoveBudget

    into = _project(context, project)
    with open_ledger_of(context, database) as ledger:
        with ledger.read() as reader:
            budget = _find(reader, into, id)
        _check_not_of_record(budget, "removed")
        ledger.execute(RemoveBudget(into, budget.id, operator()))
    typer.echo(f"{printable(id)}: removed")


def _project(context: typer.Context, project: str | None) -> str:
    from outlay.domain.accounts import check_name
    from outlay.gateway.config import PROJECT

    given = project_of(context, project)
    return PROJECT if given is None else check_name(given, "--project")


def _account(reader: Reader, given: str, project: str) -> str:
    """The account's id. The gateway's keys go by their hash; aliases and secrets lead to it."""
    from outlay.cli.keys import find_key
    from outlay.domain.accounts import check_account_id
    from outlay.gateway.config import PROJECT

    if project == PROJECT and given.startswith("key:"):
        return find_key(reader, given.removeprefix("key:")).id
    return check_account_id(given, "ACCOUNT")


def _find(reader: Reader, project: str, given: str) -> Budget:
    """The budget of this id. A key in front of it may go by its alias, or by the start of its hash.

    Raises:
        InvalidValueError: there is none.
    """
    budget = reader.budget(project, given)
    slashes = [at for at, each in enumerate(given) if each == "/"] if given.startswith("key:") else []
    for at in slashes:  # an alias may have slashes too
        if budget is not None:
            break
        try:
            owner = _account(reader, given[:at].removesuffix("…"), project)
        except InvalidValueError:
            continue
        budget = reader.budget(project, owner + given[at:])
    if budget is None:
        raise InvalidValueError(
            f"there is no budget {given!r} in project {project}: see `outlay budget list`"
        )
    return budget


def _shown_id(reader: Reader, budget: Budget) -> str:
    """A budget's id; one that is named after a key with the key's alias, as `remove` takes it."""
    shown = shown_account(reader, budget.account, budget.project)
    begins = f"{budget.account}/"
    return f"{shown}/{budget.id.removeprefix(begins)}" if budget.id.startswith(begins) else budget.id


def _id(account: str, unit: str, window: str, models: tuple[str, ...]) -> str:
    return f"{account}/{unit}-{window}" + (f":{','.join(models)}" if models else "")


def _budget(
    reader: Reader,
    project: str,
    id: str,
    account: str,
    unit: str,
    limit: int,
    window: Window,
    mode: str,
    models: tuple[str, ...],
) -> Budget:
    """The budget to put; one that exists keeps what this command does not state."""
    from dataclasses import replace

    from outlay.domain.budgets import Budget, check_budget

    before = reader.budget(project, id)
    if before is not None and before.account != account:
        raise InvalidValueError(f"--id {id!r} is in use by {before.account}: take another")
    fields: dict[str, Any] = {"unit": unit, "limit": limit, "window": window, "mode": mode, "models": models}
    if before is None:
        budget = Budget(project, id, account, **fields)
        if window.kind in ("exact", "calendar"):  # lengths count from now; a total counts all there ever was
            budget = replace(budget, window=replace(window, anchor_at=reader.now()))
    else:
        budget = replace(before, **fields)
    _check_not_of_record(budget, "set")
    return check_budget(budget)


def _warnings(reader: Reader, project: str, models: tuple[str, ...]) -> list[str]:
    """Which models no gateway on this database serves; a library serves whatever it is asked for."""
    from outlay.gateway.config import PROJECT
    from outlay.gateway.stated_budgets import served_models
    from outlay.routing.served import unserved

    served = served_models(reader) if models and project == PROJECT else []
    return unserved(served, models) if served else []


def _check_not_of_record(budget: Budget, done: str) -> None:
    """What an account's own fields state would come back, or leave them telling what is not so."""
    from outlay.gateway.budgeting import is_of_record
    from outlay.gateway.config import PROJECT

    kind = budget.account.partition(":")[0]
    if budget.project == PROJECT and kind in _OWN_KINDS and is_of_record(budget):
        raise InvalidValueError(
            f"{budget.id!r} is kept for a limit that the account's own fields state (max_budget …), and "
            f"cannot be {done} here: change that field, or take another id"
        )


def _limit(text: str, unit: str) -> int:
    from outlay.domain.budgets import UNITS, check_amount
    from outlay.domain.money import parse_limit

    if unit not in UNITS:
        raise InvalidValueError(f"--unit must be one of {', '.join(UNITS)}, not {unit!r}")
    if unit == "usd":
        return parse_limit(text.strip().removeprefix("$"), "LIMIT")
    if not (text.isascii() and text.isdigit()):
        raise InvalidValueError(f"LIMIT must be a whole number of {unit}, not {text!r}")
    return check_amount(int(text[:_MOST_DIGITS]), "LIMIT")


def _window(text: str, zone: str) -> Window:
    from outlay.domain.windows import Window, check_zone

    check_zone(zone, "--time-zone: the time zone")
    return Window.parse("1h" if text == "hourly" else text, zone=zone, field="WINDOW")


def _to_json(budget: Budget) -> dict[str, Any]:
    from outlay.ledger.reports import amount_value

    return {
        "project": budget.project,
        "account": budget.account,
        "id": budget.id,
        "unit": budget.unit,
        "limit": amount_value(budget.limit, budget.unit),
        "window": budget.window.text,
        "time_zone": budget.window.zone,
        "mode": budget.mode,
        "models": list(budget.models),
    }


def _print(found: list[Budget], shown: list[str]) -> None:
    table = make_table(
        "Id", "Limit", "Unit", "Window", "Mode", "Models", numbers=("Limit",), whole=("Limit",)
    )
    for budget, id in zip(found, shown, strict=True):
        zone = "" if budget.window.zone == "UTC" else f" {budget.window.zone}"
        table.add_row(
            cell(id),
            amount_cell(budget.limit, budget.unit),
            budget.unit,
            cell(budget.window.text + zone),
            budget.mode,
            cell(", ".join(budget.models) or "all"),
        )
    print_table(table)
