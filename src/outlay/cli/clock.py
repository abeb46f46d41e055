"""`outlay clock`: whether a forward jump of the clock is not believed, and how to confirm it."""

from __future__ import annotations

from datetime import timedelta

import typer

from outlay.cli.context import DatabaseOption, JsonOption, open_ledger_of, operator, read_ledger_of
from outlay.cli.output import print_json, time_text

app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    help="Show whether a forward jump of the clock is not believed; `outlay clock confirm` believes it.",
)


@app.callback()
def show_clock(context: typer.Context, database: DatabaseOption = None, is_json: JsonOption = False) -> None:
    """Show whether a forward jump of the clock is not believed.

    A jump must not open new periods, so windows go on by the machine's running time until the two agree for
    ten minutes, or somebody confirms the clock.

    \b
    Examples:
      outlay clock
      outlay clock confirm

    JSON: {"is_believed", "ledger_at", "clock_at", "lead_seconds", "lag_seconds"}.
    """
    if context.invoked_subcommand is not None:
        return
    from outlay.domain.windows import SECOND, to_datetime
    from outlay.ledger.clock import SystemClock, read_clock

    with read_ledger_of(context, database) as reader:
        now, state = read_clock(SystemClock(), reader.clock_state())
    lag = max(0, now - (state.read_at - state.offset))
    ledger_at, clock_at = to_datetime(now), to_datetime(state.read_at)
    if is_json:
        print_json(
            {
                "is_believed": not state.offset,
                "ledger_at": ledger_at.isoformat(),
                "clock_at": clock_at.isoformat(),
                "lead_seconds": state.offset // SECOND,
                "lag_seconds": lag // SECOND,
            }
        )
    elif state.offset:
        typer.echo(
            f"The clock jumped forward by {timedelta(seconds=state.offset // SECOND)} and is not believed: "
            f"it says {time_text(clock_at)} UTC, the ledger goes on at {time_text(ledger_at)} UTC.\n"
            "If the clock is right: outlay clock confirm"
        )
    elif lag >= SECOND:
        typer.echo(
            f"The ledger's time is {timedelta(seconds=lag // SECOND)} ahead of the clock: the clock says "
            f"{time_text(clock_at)} UTC, the ledger stands at {time_text(ledger_at)} UTC until then.\n"
            "If the clock is wrong: set it. If it is right, windows go on when it has caught up."
        )
    else:
        typer.echo(f"The clock is believed; the ledger's time is {time_text(ledger_at)} UTC.")


@app.command("confirm")
def confirm(context: typer.Context, database: DatabaseOption = None) -> None:
    """Believe the clock as it is now."""
    from outlay.domain.commands import ConfirmClock

    with open_ledger_of(context, database) as ledger:
        ledger.execute(ConfirmClock(operator()))
    typer.echo("The clock is believed.")
