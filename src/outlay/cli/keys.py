"""`outlay key`: callers' keys, made, looked at, blocked and deleted, whether or not the gateway runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from outlay.cli.context import DatabaseOption, JsonOption, open_ledger_of, operator, read_ledger_of
from outlay.cli.key_views import key_json, print_key, print_keys, short_id, status_of
from outlay.cli.output import print_json
from outlay.errors import InvalidValueError

if TYPE_CHECKING:
    from outlay.domain.accounts import Account
    from outlay.ledger.store import Reader

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Make, list, block and delete the gateway's keys.\n\nThe gateway need not run; one that does knows "
    "at its next request.",
)
KeyArgument = Annotated[
    str,
    typer.Argument(metavar="KEY", help="Its alias, its id (8 characters or more), or the secret itself."),
]
_SHORTEST_ID = 8


@app.command("create")
def create(
    context: typer.Context,
    alias: Annotated[str | None, typer.Option(metavar="NAME", help="A name for people.")] = None,
    user: Annotated[str | None, typer.Option(metavar="ID", help="The user it belongs to.")] = None,
    team: Annotated[str | None, typer.Option(metavar="ID", help="The team it belongs to.")] = None,
    organization: Annotated[str | None, typer.Option(metavar="ID", help="The organization.")] = None,
    models: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these models; all if not given.")
    ] = None,
    max_budget: Annotated[str | None, typer.Option(metavar="USD", help="What it may spend.")] = None,
    budget_duration: Annotated[
        str | None,
        typer.Option(metavar="LENGTH", help="How often that begins anew: 1d, 7d, 1mo, 36h …; never if not."),
    ] = None,
    rpm: Annotated[int | None, typer.Option(metavar="N", help="Requests a minute.")] = None,
    tpm: Annotated[int | None, typer.Option(metavar="N", help="Tokens a minute.")] = None,
    max_parallel: Annotated[int | None, typer.Option(metavar="N", help="Requests at a time.")] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="LENGTH", help="Ends after: 12h, 30d, 1mo …; never if not given.")
    ] = None,
    time_zone: Annotated[
        str, typer.Option(metavar="ZONE", help="Where its days, weeks and months begin.")
    ] = "UTC",
    database: DatabaseOption = None,
    is_json: JsonOption = False,
) -> None:
    """Make a key. Its secret goes to stdout, this once: only its hash is stored.

    \b
    Examples:
      outlay key create --alias web --max-budget 5 --budget-duration 1d
      KEY=$(outlay key create --user ada --models gpt-4o,gpt-4o-mini --expires 30d)

    JSON: as `outlay key info --json`, and "key": the secret.
    """
    from outlay.domain.windows import check_zone
    from outlay.gateway.keys import make_key

    check_zone(time_zone, "--time-zone: the time zone")
    fields = {
        "key_alias": alias,
        "user_id": user,
        "team_id": team,
        "organization_id": organization,
        "models": None if models is None else [name.strip() for name in models.split(",")],
        "max_budget": _usd(max_budget),
        "budget_duration": budget_duration,
        "rpm_limit": rpm,
        "tpm_limit": tpm,
        "max_parallel_requests": max_parallel,
        "duration": _length(expires),
    }
    if budget_duration is not None and max_budget is None:
        raise InvalidValueError("--budget-duration says how often --max-budget begins anew: give both")
    with open_ledger_of(context, database, is_made=True) as ledger:
        made = make_key(ledger, _given(fields), by=operator(), zone=time_zone)
        with ledger.read() as reader:
            shown = key_json(reader, find_key(reader, made.account))
    if is_json:
        print_json({"key": made.secret, **shown})
        return
    typer.echo(made.secret)
    typer.echo(
        f"Keep it: it is not shown again. `outlay key info {short_id(made.account)}` tells of it.", err=True
    )


@app.command("list")
def list_keys(
    context: typer.Context,
    user: Annotated[str | None, typer.Option(metavar="ID", help="Only those of this user.")] = None,
    team: Annotated[str | None, typer.Option(metavar="ID", help="Only those of this team.")] = None,
    database: DatabaseOption = None,
    is_json: JsonOption = False,
) -> None:
    """List the keys that are not deleted; never a secret.

    \b
    Examples:
      outlay key list --team research

    JSON: {"keys": [as `outlay key info --json`]}.
    """
    from outlay.gateway.directory import live
    from outlay.gateway.records import KeyRecord

    with read_ledger_of(context, database) as reader:
        found = [
            key_json(reader, account)
            for account, record in live(reader, "key", KeyRecord)
            if user in (None, record.user_id) and team in (None, record.team_id)
        ]
    if is_json:
        print_json({"keys": found})
    elif not found:
        typer.echo("There are no such keys." if user or team else "There are no keys: `outlay key create`.")
    else:
        print_keys(found)


@app.command("info")
def info(
    context: typer.Context, key: KeyArgument, database: DatabaseOption = None, is_json: JsonOption = False
) -> None:
    """Show a key and what is left of its budgets.

    \b
    Examples:
      outlay key info web --json

    JSON: {"token": its hash, "key_name", "key_alias", "status", "user_id", "team_id", "organization_id",
    "models", "created_at", "expires_at", "budgets": [as `outlay balance --json`]}.
    """
    with read_ledger_of(context, database) as reader:
        shown = key_json(reader, find_key(reader, key))
    if is_json:
        print_json(shown)
    else:
        print_key(shown)


@app.command("block")
def block(context: typer.Context, key: KeyArgument, database: DatabaseOption = None) -> None:
    """Block a key: its next request is refused. `outlay key unblock` undoes it.

    \b
    Examples:
      outlay key block web
    """
    _put_status(context, database, key, is_blocked=True)


@app.command("unblock")
def unblock(context: typer.Context, key: KeyArgument, database: DatabaseOption = None) -> None:
    """Let a blocked key call again.

    \b
    Examples:
      outlay key unblock web
    """
    _put_status(context, database, key, is_blocked=False)


@app.command("delete")
def delete(context: typer.Context, key: KeyArgument, database: DatabaseOption = None) -> None:
    """End a key for good. What it spent stays in the journal.

    \b
    Examples:
      outlay key delete web
    """
    from outlay.gateway.keys import delete_key

    with open_ledger_of(context, database) as ledger:
        with ledger.read() as reader:
            found = find_key(reader, key)
        delete_key(ledger, found.id, by=operator())
    typer.echo(f"{_named(found)}: deleted")


def _put_status(context: typer.Context, database: str | None, key: str, *, is_blocked: bool) -> None:
    from outlay.gateway.keys import update_key

    with open_ledger_of(context, database) as ledger:
        with ledger.read() as reader:
            found = find_key(reader, key)
            before, zone = status_of(found, reader.now()), _zone_of(reader, found.id)
        update_key(ledger, found.id, {"blocked": is_blocked}, by=operator(), zone=zone)
    was = "was already " if (before == "blocked") == is_blocked else ""
    typer.echo(f"{_named(found)}: {was}{'blocked' if is_blocked else 'unblocked'}")


def find_key(reader: Reader, key: str) -> Account:
    """Find a key by its alias, the start of its id, its account, or its secret.

    Raises:
        InvalidValueError: there is none, or several begin so.
    """
    from outlay.gateway.directory import live
    from outlay.gateway.keys import existing_key, key_id, key_of_alias
    from outlay.gateway.records import KeyRecord

    id = key.removeprefix("key:")
    if len(id) >= _SHORTEST_ID and set(id) <= set("0123456789abcdef"):
        found = [each for each, _ in live(reader, "key", KeyRecord) if each.id.startswith(f"key:{id}")]
        if len(found) == 1:
            return found[0]
        if found:
            raise InvalidValueError(f"several keys have an id that begins with {id!r}: give more of it")
    account = key_of_alias(reader, key)
    if account is None and not key.startswith("sk-"):
        raise InvalidValueError(f"there is no key {key!r}: `outlay key list` shows aliases and ids")
    return existing_key(reader, account or key_id(key))


def named_account(reader: Reader, given: str | None, project: str | None) -> str | None:
    """The account that `--account` names; a key by its alias, or by what a table shows of its id, too.

    Raises:
        InvalidValueError: it is no account, there is no such key, or several begin so.
    """
    from outlay.domain.accounts import check_account_id
    from outlay.gateway.config import PROJECT
    from outlay.gateway.keys import is_hash

    kind, _, name = (given or "").partition(":")
    if given is None or kind != "key" or project not in (None, PROJECT) or is_hash(name):
        return None if given is None else check_account_id(given, "--account")
    return find_key(reader, name.removesuffix("…")).id


def shown_account(reader: Reader, account: str, project: str) -> str:
    """The account as a person may name it: of a gateway's key its alias, else the start of its hash."""
    from outlay.gateway.config import PROJECT
    from outlay.gateway.directory import find_record
    from outlay.gateway.keys import is_hash
    from outlay.gateway.records import KeyRecord

    kind, _, name = account.partition(":")
    if kind != "key" or project != PROJECT or not is_hash(name):
        return account
    record = find_record(reader, account, KeyRecord)
    alias = None if record is None else record.key_alias
    return f"key:{alias or name[:12] + '…'}"


def _zone_of(reader: Reader, account: str) -> str:
    """The zone in which the key's days began so far, so that they go on."""
    from outlay.gateway.config import PROJECT

    zones = (budget.window.zone for budget in reader.budgets(PROJECT, account))
    return next((zone for zone in zones if zone != "UTC"), "UTC")


def _named(account: Account) -> str:
    alias = account.detail.get("key_alias")
    return f"key {short_id(account.id)}" + (f" ({alias})" if alias else "")


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _usd(text: str | None) -> float | None:
    from outlay.domain.money import limit_float

    return None if text is None else limit_float(text.strip().removeprefix("$"), "--max-budget")


def _length(text: str | None) -> str | None:
    from outlay.domain.windows import Window

    try:
        is_length = text is None or Window.parse(text).kind in ("exact", "calendar")
    except InvalidValueError:
        is_length = False
    if not is_length:
        raise InvalidValueError(f"--expires must be a length such as 12h, 30d or 1mo, not {text!r}")
    return text
