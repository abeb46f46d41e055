"""The command line put together: its commands, its global options, and how errors leave it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from outlay import __version__
from outlay.cli import (
    audit,
    balance,
    budgets,
    check_config,
    clock,
    demo,
    entries,
    keys,
    litellm_import,
    presumed,
    prices,
    serve,
)
from outlay.cli.context import Options, remember
from outlay.errors import InvalidValueError, OutlayError

EXIT_ERROR = 2
_INTERRUPTED = 130

_EXAMPLES = """\b
Examples:
  outlay demo
  outlay serve --config config.yaml
  outlay key create --alias web --max-budget 5 --budget-duration 1d
  outlay budget set user:ada 5 daily
  outlay balance --account user:ada
  outlay entries --since 24h --model gpt-4o --limit 20
  outlay audit --database /var/lib/app/outlay.db
  outlay price claude-sonnet-4-5
  outlay import-litellm user_cost.json --project my-app

The database is outlay.db in the working directory, unless OUTLAY_DATABASE_URL or --database names another.
"""

app = typer.Typer(
    name="outlay",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("serve", short_help="Serve the gateway.")(serve.serve_gateway)
app.command("demo", short_help="Try the gateway: costs nothing.")(demo.run_demo)
app.command("check-config", short_help="Show what a configuration says.")(check_config.check_config)
app.add_typer(keys.app, name="key", short_help="Make, list, block and delete keys.")
app.add_typer(budgets.app, name="budget", short_help="Set, list and remove budgets.")
app.command("balance", short_help="What is spent, held and left.")(balance.show_balances)
app.command("entries", short_help="Show the journal.")(entries.show_entries)
app.command("audit", short_help="Recompute every counter.")(audit.run_audit)
app.command("price", short_help="What a model costs.")(prices.show_price)
app.add_typer(prices.app, name="prices", short_help="Prices against providers' bills.")
app.add_typer(presumed.app, name="presumed", short_help="List and correct presumed charges.")
app.command("import-litellm", short_help="Take over LiteLLM's user_cost.json.")(litellm_import.import_litellm)
app.add_typer(clock.app, name="clock", short_help="Whether the clock is believed.")


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"outlay {__version__}")
        raise typer.Exit


@app.callback(help="Budgets for LLM calls that hold.\n\n" + _EXAMPLES)
def _globals(
    context: typer.Context,
    database: Annotated[
        str | None, typer.Option(metavar="URL", help="The database: a path, or sqlite:///path.")
    ] = None,
    project: Annotated[
        str | None, typer.Option(metavar="P", help="Only this project; all if not given.")
    ] = None,
    version: Annotated[  # noqa: ARG001 # its callback does the work
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
) -> None:
    remember(context, Options(database, project))


def run(arguments: Sequence[str]) -> int:
    """Run one command and give its exit code; an error is one line on stderr."""
    try:
        for argument in arguments:
            _check_text(argument)
        code = app(list(arguments), prog_name="outlay", standalone_mode=False)
        sys.stdout.flush()
    except OutlayError as error:
        return _fail(error.message)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (typer.Abort, EOFError):
        return _fail("stopped")
    except Exception as error:  # the edge of the process: a wrong call is told, all else is a fault
        explain = getattr(error, "format_message", None)
        if explain is None:
            raise
        where = getattr(getattr(error, "ctx", None), "command_path", "outlay")
        return _fail_to_parse(type(error).__name__, explain(), where)
    return code if isinstance(code, int) else 0


def _check_text(argument: str) -> None:
    try:
        argument.encode()
    except UnicodeEncodeError as error:
        raise InvalidValueError(f"{argument!r} is not UTF-8 text") from error


def _fail_to_parse(kind: str, message: str, where: str) -> int:
    if kind == "NoArgsIsHelpError":  # nothing was asked for: the message is the help
        typer.echo(message)
        return EXIT_ERROR
    return _fail(f"{message} (see `{where} --help`)")


def _fail(message: str) -> int:
    typer.echo(f"outlay: {' '.join(message.split())}", err=True)
    return EXIT_ERROR
