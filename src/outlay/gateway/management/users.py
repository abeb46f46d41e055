"""The routes of users: `/user/*`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI

from outlay.domain.accounts import Account
from outlay.errors import InvalidValueError
from outlay.gateway.accounts import delete_account, make_account, update_account
from outlay.gateway.directory import NoSuchAccountError, existing, find_record, live, memberships, teams_of
from outlay.gateway.keys import check_new_key, delete_key
from outlay.gateway.management.authorise import Caller, TheCatalogue, by, forbidden, reads_all
from outlay.gateway.management.by_email import find_email, user_by_email
from outlay.gateway.management.catalogue import Catalogue
from outlay.gateway.management.figures import Figures, figures_of, limits_row
from outlay.gateway.management.key_rows import key_rows
from outlay.gateway.management.keys import made_key
from outlay.gateway.management.paging import PageNumber, PageSize, page_of
from outlay.gateway.management.spend_reset import check_new_reset, check_reset, reset_spend, take_reset
from outlay.gateway.management.team_rows import team_rows
from outlay.gateway.management.user_fields import NewUser, SeveralUsers, UpdateUser, UserRole
from outlay.gateway.management.warnings import with_warnings
from outlay.gateway.members import add_members, remove_member
from outlay.gateway.principal import Principal
from outlay.gateway.records import KeyRecord, TeamMember, TeamRecord, UserRecord, check_id, record_of
from outlay.ledger.ledger import Ledger
from outlay.ledger.store import Reader

Row = dict[str, Any]
_KEY_FIELDS: Final = ("key_alias", "duration")
_NOT_OF_THE_USER: Final = ("user_id", "teams", "auto_create_key", *_KEY_FIELDS)


def add_user_routes(app: FastAPI) -> None:
    """Declare the routes."""
    app.post("/user/new")(new)
    app.get("/user/info")(info)
    app.post("/user/update")(update)
    app.get("/user/list")(list_users)
    app.post("/user/delete")(delete)


def new(body: NewUser, caller: Caller, catalogue: TheCatalogue) -> Row:
    """Make a user, and a key of theirs. Its secret is in `key`, this once."""
    user_id = catalogue.services.new_id() if body.user_id is None else check_id(body.user_id, "user_id")
    fields = body.stated(without=_NOT_OF_THE_USER)
    is_reset = take_reset(fields)
    with catalogue.changing() as ledger:
        if is_reset:
            check_new_reset(fields, catalogue, f"user:{user_id}")
        with ledger.read() as reader:
            _check_new(reader, body, catalogue)
            joined = teams_of(reader, user_id)  # a team may name a user before there is one
        make_account(
            ledger,
            f"user:{user_id}",
            UserRecord(),
            fields,
            by=by(caller),
            zone=catalogue.zone,
            field="user_id",
        )
        if is_reset:
            reset_spend(catalogue, f"user:{user_id}", by=by(caller), is_new=True)
        member = TeamMember(user_id=user_id, user_email=body.user_email)
        for team_id in (each for each in body.teams if each not in joined):
            add_members(ledger, team_id, [member], {}, by=by(caller), zone=catalogue.zone)
        key = _first_key(body, user_id, caller, catalogue) if body.auto_create_key else {"key": None}
        with ledger.read() as reader:
            row = {**key, **user_row(reader, user_id)}
    return with_warnings(catalogue, row, row)


def info(caller: Caller, catalogue: TheCatalogue, user_id: str | None = None) -> Row:
    """Show a user with keys and teams; without `user_id` the one whose key asks."""
    user_id = caller.user_id if user_id is None else check_id(user_id, "user_id")
    if not reads_all(caller) and (user_id is None or user_id != caller.user_id):
        raise forbidden("This key may see no user but its own.", "user_id")
    if user_id is None:
        raise InvalidValueError("user_id is missing: name a user")
    with catalogue.ledger.read() as reader:
        row = user_row(reader, user_id)
        keys = [each for each in live(reader, "key", KeyRecord) if each[1].user_id == user_id]
        teams = [
            (existing(reader, f"team:{id}", "teams"), team) for id, team in teams_of(reader, user_id).items()
        ]
        return {
            "user_id": user_id,
            "user_info": row,
            "keys": key_rows(reader, keys),
            "teams": team_rows(reader, teams, only=None if reads_all(caller) else user_id),
        }


def update(body: UpdateUser, caller: Caller, catalogue: TheCatalogue) -> Row:
    """Change some fields of a user. What they spent stays."""
    fields = body.stated(without=("user_id",))
    is_reset = take_reset(fields)
    with catalogue.changing() as ledger:
        with ledger.read() as reader:
            user_id = (
                user_by_email(reader, fields.pop("user_email", None))
                if body.user_id is None
                else body.user_id
            )
            check_id(user_id, "user_id")
            _check_email(reader, fields.get("user_email"), user_id)
            if is_reset:
                check_reset(fields, record_of(existing(reader, f"user:{user_id}", "user_id"), UserRecord))
        id, zone = f"user:{user_id}", catalogue.zone
        update_account(ledger, id, UserRecord, fields, by=by(caller), zone=zone, field="user_id")
        if is_reset:
            reset_spend(catalogue, id, by=by(caller))
        with ledger.read() as reader:
            row = user_row(reader, user_id)
    return with_warnings(catalogue, {"user_id": user_id, "data": row}, row)


def list_users(
    catalogue: TheCatalogue,
    page: PageNumber = 1,
    page_size: PageSize = 25,
    role: UserRole | None = None,
    user_ids: str | None = None,
    user_email: str | None = None,
) -> Row:
    """List users by id; `user_ids` are ids with commas between, `user_email` a part of the address."""
    ids = None if user_ids is None else {f"user:{each.strip()}" for each in user_ids.split(",")}
    with catalogue.ledger.read() as reader:
        found = [
            (account, user)
            for account, user in live(reader, "user", UserRecord)
            if role in (None, user.user_role)
            and (ids is None or account.id in ids)
            and (user_email is None or user_email.lower() in (user.user_email or "").lower())
        ]
        shown, place = page_of(found, page, page_size)
        rows = _user_rows(reader, shown)
    return {
        "users": rows,
        "total": place.total,
        "page": place.number,
        "page_size": page_size,
        "total_pages": place.pages,
    }


def delete(body: SeveralUsers, caller: Caller, catalogue: TheCatalogue) -> Row:
    """End users with their keys and memberships: all of them, or none if one is unknown."""
    with catalogue.changing() as ledger:
        with ledger.read() as reader:
            for user_id in body.user_ids:
                existing(reader, f"user:{check_id(user_id, 'user_ids')}", "user_ids")
        for user_id in dict.fromkeys(body.user_ids):
            _delete(ledger, user_id, by=by(caller), zone=catalogue.zone)
    return {"deleted_users": body.user_ids}


def user_row(reader: Reader, user_id: str) -> Row:
    """One user as JSON.

    Raises:
        NoSuchAccountError: there is none.
    """
    account = existing(reader, f"user:{user_id}", "user_id")
    return _user_rows(reader, [(account, record_of(account, UserRecord))])[0]


def _user_rows(reader: Reader, found: Sequence[tuple[Account, UserRecord]]) -> list[Row]:
    figures, teams = figures_of(reader, found), memberships(reader)
    return [_row(account, user, figures[account.id], teams) for account, user in found]


def _row(account: Account, user: UserRecord, figures: Figures, teams: Mapping[str, list[str]]) -> Row:
    user_id = account.id.partition(":")[2]
    return {
        "user_id": user_id,
        "user_email": user.user_email,
        "user_alias": user.user_alias,
        "user_role": user.user_role,
        "teams": teams.get(user_id, []),
        **limits_row(user, figures, is_blocked=account.status == "blocked"),
    }


def _check_new(reader: Reader, body: NewUser, catalogue: Catalogue) -> None:
    """What could fail after the user is made must fail before."""
    _check_email(reader, body.user_email, None)
    for team_id in body.teams:
        if find_record(reader, f"team:{check_id(team_id, 'teams')}", TeamRecord) is None:
            raise NoSuchAccountError("teams", f"there is no team {team_id!r}")
    if len(set(body.teams)) < len(body.teams):
        raise InvalidValueError("teams must name each team once")
    for name in _KEY_FIELDS:
        if not body.auto_create_key and getattr(body, name) is not None:
            raise InvalidValueError(f"{name} is that of the key, and auto_create_key is false: leave out one")
    if body.auto_create_key:
        check_new_key(reader, _key_fields(body), zone=catalogue.zone, rules=catalogue.rules)


def _first_key(body: NewUser, user_id: str, caller: Principal, catalogue: Catalogue) -> Row:
    row = made_key(catalogue.ledger, catalogue, caller, {**_key_fields(body), "user_id": user_id})
    return {name: row[name] for name in ("key", "token", "token_id", "key_name", "key_alias", "expires")}


def _key_fields(body: NewUser) -> dict[str, Any]:
    return {name: getattr(body, name) for name in _KEY_FIELDS}


def _check_email(reader: Reader, user_email: str | None, user_id: str | None) -> None:
    if user_email is not None and find_email(reader, user_email) not in (None, user_id):
        raise InvalidValueError(f"user_email {user_email!r} is another user's")


def _delete(ledger: Ledger, user_id: str, *, by: str, zone: str) -> None:
    """The user first: that alone stops all the user's keys."""
    delete_account(ledger, f"user:{user_id}", UserRecord, by=by, field="user_ids")
    with ledger.read() as reader:
        keys = [key.id for key, record in live(reader, "key", KeyRecord) if record.user_id == user_id]
        teams = list(teams_of(reader, user_id))
    for key in keys:
        delete_key(ledger, key, by=by)
    for team_id in teams:
        remove_member(ledger, team_id, user_id, by=by, zone=zone)
