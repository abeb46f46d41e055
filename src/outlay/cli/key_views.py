"""Key views: what is shown of a key, as JSON, as a page and in a table. Never its secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from outlay.cli.output import NONE, cell, make_table, print_table, printable

if TYPE_CHECKING:
    from outlay.domain.accounts import Account
    from outlay.ledger.store import Reader

_SHOWN_OF_ID = 12
_OWNERS = (("team", "team_id"), ("user", "user_id"), ("organization", "organization_id"))


def short_id(account: str) -> str:
    """The start of a key's id, enough to name it by."""
    return account.removeprefix("key:")[:_SHOWN_OF_ID]


def status_of(account: Account, at: int) -> str:
    """`active`, `blocked` or `expired` at a moment (µs)."""
    from outlay.gateway.records import KeyRecord, record_of

    if account.status == "blocked":
        return "blocked"
    expires_at = record_of(account, KeyRecord).expires_at
    return "active" if expires_at is None or at < expires_at else "expired"


def key_json(reader: Reader, account: Account) -> dict[str, Any]:
    """A key as JSON values, with the balances of its own budgets; USD as decimal strings."""
    from outlay.domain.windows import to_datetime
    from outlay.gateway.config import PROJECT
    from outlay.gateway.records import KeyRecord, record_of
    from outlay.ledger.reports import balances

    record = record_of(account, KeyRecord)
    expires_at = record.expires_at
    return {
        "token": account.id.removeprefix("key:"),
        "key_name": record.key_name,
        "key_alias": record.key_alias,
        "status": status_of(account, reader.now()),
        "user_id": record.user_id,
        "team_id": record.team_id,
        "organization_id": record.organization_id,
        "models": list(record.models),
        "created_at": to_datetime(record.created_at).isoformat(),
        "expires_at": None if expires_at is None else to_datetime(expires_at).isoformat(),
        "budgets": [balance.to_json() for balance in balances(reader, PROJECT, account.id)],
    }


def print_keys(found: list[dict[str, Any]]) -> None:
    """A line for each key."""
    table = make_table("Id", "Alias", "Key", "Belongs to", "Status", "Expires (UTC)", whole=("Id", "Key"))
    for key in found:
        table.add_row(
            short_id(key["token"]),
            cell(key["key_alias"]),
            cell(key["key_name"]),
            cell(_owners(key)),
            key["status"],
            _time(key["expires_at"]),
        )
    print_table(table)


def print_key(key: dict[str, Any]) -> None:
    """A key's page: its facts, and a line for each of its budgets."""
    facts = {
        "Id": key["token"],
        "Alias": key["key_alias"],
        "Key": key["key_name"],
        "Status": key["status"],
        "Belongs to": _owners(key),
        "Models": ", ".join(key["models"]) or "all",
        "Made (UTC)": _time(key["created_at"]),
        "Expires (UTC)": _time(key["expires_at"]),
    }
    for name, value in facts.items():
        typer.echo(f"{name + ':':15}{printable(value) if value else NONE}")
    for budget in key["budgets"]:
        sign = "$" if budget["unit"] == "usd" else ""
        name = budget["budget"].removeprefix(f"{budget['account']}/")
        left = f"{sign}{budget['available']} left of {sign}{budget['limit']}"
        typer.echo(
            f"{'Budget:':15}{printable(name)}, {budget['mode']}, {budget['window']}: {left}; "
            f"resets {_time(budget['resets_at'])}"
        )


def _owners(key: dict[str, Any]) -> str:
    return ", ".join(f"{kind}:{key[field]}" for kind, field in _OWNERS if key[field])


def _time(text: str | None) -> str:
    return NONE if text is None else text[:19].replace("T", " ")
