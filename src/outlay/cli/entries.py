"""`outlay entries`: the journal, the newest entries first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from outlay.cli.context import DatabaseOption, JsonOption, ProjectOption, project_of, read_ledger_of
from outlay.cli.keys import named_account
from outlay.cli.output import account_cell, cell, make_table, print_json, print_table, time_text
from outlay.errors import InvalidValueError

if TYPE_CHECKING:
    from outlay.domain.entries import Entry

_WHEN = "A date or time (UTC unless it says otherwise), or how long ago: 90m, 24h, 7d."


def show_entries(
    context: typer.Context,
    since: Annotated[str | None, typer.Option(metavar="WHEN", help=f"From then on. {_WHEN}")] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="Before then.")] = None,
    account: Annotated[str | None, typer.Option(metavar="ACCOUNT", help="Of this account.")] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Of this model.")] = None,
    tag: Annotated[str | None, typer.Option(metavar="TAG", help="With this tag.")] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="Of this kind, such as settle or expire; may be repeated."),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=10_000, help="At most so many.")] = 50,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on after a page: its next_cursor.")
    ] = None,
    project: ProjectOption = None,
    database: DatabaseOption = None,
    is_json: JsonOption = False,
) -> None:
    """Show the journal, the newest entries first.

    \b
    Examples:
      outlay entries --since 24h --account user:ada
      outlay entries --since 2026-01-01 --until 2026-02-01 --kind expire --json

    JSON: {"entries": [{number, project, id, kind, at, admitted_at, accounts, usd, priced_usd, tokens, usage,
    source, provider, model, price_version, request_id, attempt, tags, reason, detail}], "next_cursor": text
    or null}; priced_usd is our own price, where the provider stated a cost.
    """
    from outlay.ledger.moments import read_moment
    from outlay.ledger.reports import entries, entry_json
    from outlay.ledger.store import EntryFilter

    kinds = _check_kinds(kind or [])
    only = project_of(context, project)
    with read_ledger_of(context, database) as reader:
        now = reader.now()
        wanted = EntryFilter(
            only,
            named_account(reader, account, only),
            model,
            tag,
            kinds,
            since=read_moment(since, "--since", now),
            until=read_moment(until, "--until", now),
        )
        page = entries(reader, wanted, limit=limit, cursor=cursor)
    if is_json:
        print_json({"entries": [entry_json(each) for each in page.entries], "next_cursor": page.next_cursor})
        return
    if not page.entries:
        typer.echo("There are no such entries.")
        return
    _print(page.entries)
    if page.next_cursor is not None:
        typer.echo(f"There are older ones: --cursor {page.next_cursor}", err=True)


def _check_kinds(kinds: list[str]) -> tuple[str, ...]:
    from typing import get_args

    from outlay.domain.entries import EntryKind

    known = get_args(EntryKind)
    for kind in kinds:
        if kind not in known:
            raise InvalidValueError(f"--kind must be one of {', '.join(known)}, not {kind!r}")
    return tuple(kinds)


def _print(found: list[Entry]) -> None:
    from outlay.domain.money import usd_text
    from outlay.domain.windows import to_datetime

    has_projects = len({entry.project for entry in found}) > 1
    has_prices = any(entry.priced_nanos is not None for entry in found)
    names = ["At (UTC)", "Kind", *(["Project"] if has_projects else []), "Account", "Model"]
    amounts = ["USD", *(["Priced"] if has_prices else []), "Tokens"]
    table = make_table(*names, *amounts, "Source", numbers=tuple(amounts))
    for entry in found:
        first, others = (entry.accounts or ("",))[0], len(entry.accounts) - 1
        table.add_row(
            time_text(to_datetime(entry.at)),
            entry.kind,
            *([cell(entry.project)] if has_projects else []),
            account_cell(first, others),
            cell(entry.model),
            cell(None if entry.usd_nanos is None else usd_text(entry.usd_nanos)),
            *(
                [cell(None if entry.priced_nanos is None else usd_text(entry.priced_nanos))]
                if has_prices
                else []
            ),
            cell(entry.tokens),
            cell(entry.reason or entry.source),
        )
    print_table(table)
