"""`outlay import-litellm`: take over the budgets and costs that LiteLLM's BudgetManager kept in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from outlay.cli.context import DatabaseOption, JsonOption, ProjectOption, open_ledger_of, project_of
from outlay.cli.output import print_json, printable
from outlay.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outlay.domain.commands import Command
    from outlay.ledger.ledger import Ledger
    from outlay.ledger.litellm_file import ImportPlan

_AT_ONCE = 1000
_MOST_NAMES = 10


def import_litellm(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="LiteLLM's user_cost.json.")],
    project: ProjectOption = None,
    database: DatabaseOption = None,
    is_json: JsonOption = False,
) -> None:
    """Import LiteLLM's user_cost.json into a project: its users' budgets, and what they spent, by model.

    A file with any fault imports nothing. A second import of the same file changes nothing. A budget that
    is there already is kept as it is. Costs of a period that is over are not carried into the running one.

    \b
    Examples:
      outlay import-litellm user_cost.json --project my-app

    JSON: {"project", "made": [users], "kept": [users], "ended": [users], "recorded_usd"}.
    """
    import asyncio

    from outlay.ledger.litellm_file import plan_import, read_users

    into = project_of(context, project)
    if into is None:
        raise InvalidValueError("import-litellm needs --project: the name that BudgetManager was given")
    users = read_users(_read(path))
    with open_ledger_of(context, database, is_made=True) as ledger:
        with ledger.read() as reader:
            plan = plan_import(reader, into, users)
        asyncio.run(_execute(ledger, plan.commands))
    if is_json:
        print_json(_to_json(plan, into))
    else:
        _print(plan, into)


async def _execute(ledger: Ledger, commands: Sequence[Command]) -> None:
    """Many at once share a commit; they are carried out in order."""
    import asyncio

    for start in range(0, len(commands), _AT_ONCE):
        await asyncio.gather(*(ledger.execute_async(each) for each in commands[start : start + _AT_ONCE]))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidValueError(f"{path} cannot be read: {error.strerror}") from error


def _to_json(plan: ImportPlan, project: str) -> dict[str, object]:
    from outlay.domain.money import usd_text

    recorded = usd_text(plan.recorded_nanos)
    return {
        "project": project,
        "made": plan.made,
        "kept": plan.kept,
        "ended": plan.ended,
        "recorded_usd": recorded,
    }


def _print(plan: ImportPlan, project: str) -> None:
    from outlay.domain.money import usd_text

    if not plan.commands:
        typer.echo(f"Nothing to import: project {project} has all of it already.")
    else:
        typer.echo(
            f"Imported into project {project}: {len(plan.made):,} budgets made, "
            f"${usd_text(plan.recorded_nanos)} recorded."
        )
    if plan.kept:
        typer.echo(f"Budgets that were there already and are kept: {_names(plan.kept)}")
    if plan.ended:
        typer.echo(f"Costs of a period that is over, not carried into the running one: {_names(plan.ended)}")


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    return printable(", ".join(names[:_MOST_NAMES])) + more
