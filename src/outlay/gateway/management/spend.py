"""Spend: the journal and the balances over HTTP. Each caller sees what is its own; the project is fixed."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from fastapi import FastAPI, Query
from starlette.responses import Response

from outlay.domain.accounts import check_account_id, check_name
from outlay.domain.entries import SOURCES, EntryKind
from outlay.errors import InvalidValueError
from outlay.gateway.config import PROJECT
from outlay.gateway.directory import key_named
from outlay.gateway.keys import key_id
from outlay.gateway.management.authorise import Caller, TheCatalogue
from outlay.gateway.management.journal import entry_rows, read_rows
from outlay.gateway.management.spend_logs import KINDS, day_rows, log_rows
from outlay.gateway.management.visibility import (
    Group,
    accounts_of_user,
    accounts_with_balances,
    filter_for,
)
from outlay.ledger.moments import read_date, read_moment
from outlay.ledger.reports import MAX_PAGE, balances_of
from outlay.ledger.store import Reader

CURSOR_HEADER: Final = "x-outlay-next-cursor"

Text = Annotated[str | None, Query(max_length=1_000)]
Size = Annotated[int, Query(ge=1, le=MAX_PAGE)]


def add_spend_routes(app: FastAPI) -> None:
    """Declare the routes."""
    app.get("/spend/logs", tags=["spend"])(spend_logs)
    app.get("/v1/entries", tags=["spend"])(list_entries)
    app.get("/v1/balances", tags=["spend"])(list_balances)


def spend_logs(
    caller: Caller,
    catalogue: TheCatalogue,
    api_key: Text = None,
    user_id: Text = None,
    request_id: Text = None,
    start_date: Text = None,
    end_date: Text = None,
    summarize: bool = True,
    page_size: Size = MAX_PAGE,
    cursor: Text = None,
) -> Response:
    """Show the attempts of requests in LiteLLM's shape, the newest first.

    With both dates, and unless `summarize=false`, their sums by day. The cursor of the next page is in the
    header `x-outlay-next-cursor`.
    """
    since, until = read_date(start_date, "start_date"), read_date(end_date, "end_date", is_end=True)
    is_summed = summarize and since is not None and until is not None
    with catalogue.ledger.read() as reader:
        groups = _groups(reader, key=("api_key", api_key), user=("user_id", user_id))
        wanted = filter_for(
            reader,
            caller,
            groups,
            kinds=() if is_summed else KINDS,
            since=since,
            until=until,
            request_id=request_id,
        )
    if is_summed:
        return _answer(day_rows(catalogue.ledger, wanted))
    rows, following = read_rows(catalogue.ledger, wanted, log_rows, limit=page_size, cursor=cursor)
    return _answer(rows, {} if following is None else {CURSOR_HEADER: following})


def list_entries(
    caller: Caller,
    catalogue: TheCatalogue,
    account: Text = None,
    key: Text = None,
    user: Text = None,
    team: Text = None,
    organization: Text = None,
    customer: Text = None,
    tag: Text = None,
    model: Text = None,
    kind: Text = None,
    source: Text = None,
    request_id: Text = None,
    since: Text = None,
    until: Text = None,
    order: Literal["newest", "oldest"] = "newest",
    limit: Size = 100,
    cursor: Text = None,
) -> Response:
    """Show the entries of the journal that match every parameter given; money as exact decimal strings.

    `kind` may name several with commas between them. `since` and `until` are dates, times, or lengths of
    time before now.
    """
    kinds, sources = _one_of(kind, "kind", get_args(EntryKind)), _one_of(source, "source", SOURCES)
    if len(sources) > 1:
        raise InvalidValueError(f"source must be one of {', '.join(SOURCES)}, not {len(sources)} of them")
    with catalogue.ledger.read() as reader:
        now = reader.now()
        groups = _groups(reader, key=("key", key), user=("user", user))
        groups += [] if account is None else [(check_account_id(account),)]
        for name, value in (("team", team), ("organization", organization), ("customer", customer)):
            groups += [] if value is None else [(f"{name}:{check_name(value, name)}",)]
        # Every tag of the gateway is an account too, and those have an index.
        groups += [] if tag is None else [(f"tag:{check_name(tag, 'tag')}",)]
        wanted = filter_for(
            reader,
            caller,
            groups,
            model=model,
            kinds=kinds,
            source=sources[0] if sources else None,
            since=read_moment(since, "since", now),
            until=read_moment(until, "until", now),
            request_id=request_id,
        )
    rows, following = read_rows(
        catalogue.ledger, wanted, entry_rows, limit=limit, cursor=cursor, is_newest_first=order == "newest"
    )
    return _answer({"entries": rows, "next_cursor": following})


def list_balances(
    caller: Caller,
    catalogue: TheCatalogue,
    account: Text = None,
    limit: Size = 1_000,
    cursor: Text = None,
) -> Response:
    """Show the running period of every budget in force, or of one account's, by account and id."""
    wanted = None if account is None else check_account_id(account)
    with catalogue.ledger.read() as reader:
        accounts = accounts_with_balances(reader, caller)
        if wanted is not None:
            accounts = (wanted,) if accounts is None or wanted in accounts else ()
        after = _after(reader, cursor, accounts)
        if accounts is None:
            found = reader.budgets_after(PROJECT, *after, limit + 1)
        else:
            budgets = [budget for each in accounts for budget in reader.budgets(PROJECT, each)]
            found = [each for each in budgets if (each.account, each.id) > after][: limit + 1]
        page = found[:limit]
        shown = [balance.to_json() for balance in balances_of(reader, page)]
    return _answer({"balances": shown, "next_cursor": page[-1].id if len(found) > limit else None})


def _groups(reader: Reader, *, key: tuple[str, str | None], user: tuple[str, str | None]) -> list[Group]:
    """The accounts of a key and of a user; each parameter with its name."""
    groups: list[Group] = []
    if key[1] is not None:
        id = key_id(check_name(key[1], key[0]))
        found = key_named(reader, id)
        groups.append((id if found is None else found.id,))
    if user[1] is not None:
        groups.append(accounts_of_user(reader, check_name(user[1], user[0])))
    return groups


def _after(reader: Reader, cursor: str | None, accounts: Group | None) -> tuple[str, str]:
    """The account and id of the budget at which the page before ended: one that the caller may see."""
    if cursor is None:
        return ("", "")
    budget = reader.budget(PROJECT, cursor)
    if budget is None or (accounts is not None and budget.account not in accounts):
        raise InvalidValueError("cursor must be the next_cursor of a page, whose budget exists: begin again")
    return (budget.account, budget.id)


def _one_of(text: str | None, field: str, known: tuple[str, ...]) -> tuple[str, ...]:
    names = () if text is None else tuple(text.split(","))
    for name in names:
        if name not in known:
            raise InvalidValueError(f"{field} must be one of {', '.join(known)}, not {name[:100]!r}")
    return names


def _answer(document: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(document), media_type="application/json", headers=headers)
