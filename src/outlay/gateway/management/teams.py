"""The routes of teams: `/team/*`, but for those of members."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from outlay.errors import InvalidValueError
from outlay.gateway.accounts import delete_account, make_account, update_account
from outlay.gateway.budgeting import budgets_of
from outlay.gateway.directory import existing, live, teams_of
from outlay.gateway.keys import delete_key
from outlay.gateway.management.authorise import Caller, TheCatalogue, by, forbidden, owns_key, reads_all
from outlay.gateway.management.catalogue import Catalogue
from outlay.gateway.management.key_rows import key_rows
from outlay.gateway.management.spend_reset import check_new_reset, check_reset, reset_spend, take_reset
from outlay.gateway.management.team_fields import (
    NewTeam,
    OneTeam,
    SeveralTeams,
    UpdateTeam,
)
from outlay.gateway.management.team_members import member_given
from outlay.gateway.management.team_rows import membership_rows, team_row, team_rows
from outlay.gateway.management.warnings import with_warnings
from outlay.gateway.members import (
    add_members,
    check_members,
    end_member,
    limits_of,
    members_of,
    put_member_limits,
)
from outlay.gateway.principal import Principal
from outlay.gateway.records import (
    KeyRecord,
    MemberRecord,
    TeamRecord,
    check_id,
    check_team_id,
    member_account,
    record_of,
    with_fields,
)
from outlay.ledger.ledger import Ledger
from outlay.ledger.store import Reader

Row = dict[str, Any]


def add_team_routes(app: FastAPI) -> None:
    """Declare the routes."""
    app.post("/team/new")(new)
    app.get("/team/info")(info)
    app.post("/team/update")(update)
    app.get("/team/list")(list_teams)
    app.post("/team/delete")(delete)
    app.post("/team/block")(block)
    app.post("/team/unblock")(unblock)


def new(body: NewTeam, caller: Caller, catalogue: TheCatalogue) -> Row:
    """Make a team with its first members."""
    team_id = catalogue.services.new_id() if body.team_id is None else check_team_id(body.team_id)
    fields = body.stated(without=("team_id", "members_with_roles"))
    made_by, zone, is_reset = by(caller), catalogue.zone, take_reset(fields)
    with catalogue.changing() as ledger:
        if is_reset:
            check_new_reset(fields, catalogue, f"team:{team_id}")
        with ledger.read() as reader:
            members = [member_given(reader, each) for each in body.members_with_roles]
        check_members(members)
        _check_member_limits(TeamRecord(), fields, zone)
        make_account(ledger, f"team:{team_id}", TeamRecord(), fields, by=made_by, zone=zone, field="team_id")
        if is_reset:
            reset_spend(catalogue, f"team:{team_id}", by=made_by, is_new=True)
        add_members(ledger, team_id, members, {}, by=made_by, zone=zone)
        row = _row(ledger, team_id)
    return with_warnings(catalogue, row, row)


def info(caller: Caller, catalogue: TheCatalogue, team_id: str | None = None) -> Row:
    """Show a team with its keys and memberships; without `team_id` that of the key that asks.

    Who sees not all sees of the team's keys and members only what is its own.
    """
    team_id = caller.team_id if team_id is None else check_id(team_id, "team_id")
    if team_id is None:
        raise InvalidValueError("team_id is missing: name a team")
    only = None if reads_all(caller) else caller.user_id or ""
    with catalogue.ledger.read() as reader:
        if not reads_all(caller) and team_id not in _own_teams(reader, caller):
            raise forbidden("This key may see no team but its own.", "team_id")
        account = existing(reader, f"team:{team_id}", "team_id")
        keys = [
            (key, record)
            for key, record in live(reader, "key", KeyRecord)
            if record.team_id == team_id and (reads_all(caller) or owns_key(caller, key.id, record))
        ]
        return {
            "team_id": team_id,
            "team_info": team_rows(reader, [(account, record_of(account, TeamRecord))], only=only)[0],
            "keys": key_rows(reader, keys),
            "team_memberships": membership_rows(reader, team_id, only=only),
        }


def update(body: UpdateTeam, caller: Caller, catalogue: TheCatalogue) -> Row:
    """Change some fields of a team. What it spent stays."""
    team_id, zone, changed_by = check_id(body.team_id, "team_id"), catalogue.zone, by(caller)
    fields = body.stated(without=("team_id",))
    is_reset = take_reset(fields)
    with catalogue.changing() as ledger:
        with ledger.read() as reader:
            before = record_of(existing(reader, f"team:{team_id}", "team_id"), TeamRecord)
        _check_member_limits(before, fields, zone)
        if is_reset:
            check_reset(fields, before)
        _, team = update_account(
            ledger, f"team:{team_id}", TeamRecord, fields, by=changed_by, zone=zone, field="team_id"
        )
        if is_reset:
            reset_spend(catalogue, f"team:{team_id}", by=changed_by)
        if {"team_member_budget", "team_member_budget_duration"} & fields.keys():
            put_member_limits(ledger, team_id, team, by=changed_by, zone=zone)
        row = _row(ledger, team_id)
    return with_warnings(catalogue, {"team_id": team_id, "data": row}, row)


def list_teams(
    caller: Caller, catalogue: TheCatalogue, user_id: str | None = None, organization_id: str | None = None
) -> list[Row]:
    """List teams by id, all or those of a user or an organization."""
    only = None if reads_all(caller) else caller.user_id or ""
    with catalogue.ledger.read() as reader:
        own = None if reads_all(caller) else _own_teams(reader, caller)
        found = [
            (account, team)
            for account, team in live(reader, "team", TeamRecord)
            if (own is None or account.id.partition(":")[2] in own)
            and organization_id in (None, team.organization_id)
            and (user_id is None or any(each.user_id == user_id for each in team.members))
        ]
        return team_rows(reader, found, only=only)


def delete(body: SeveralTeams, caller: Caller, catalogue: TheCatalogue) -> Row:
    """End teams with their keys: all of them, or none if one is unknown."""
    with catalogue.changing() as ledger:
        with ledger.read() as reader:
            for team_id in body.team_ids:
                existing(reader, f"team:{check_id(team_id, 'team_ids')}", "team_ids")
        for team_id in dict.fromkeys(body.team_ids):
            _delete(ledger, team_id, by=by(caller))
    return {"deleted_teams": body.team_ids}


def block(body: OneTeam, caller: Caller, catalogue: TheCatalogue) -> Row:
    """Block a team: the next request of each of its keys is refused."""
    return _put_blocked(body.team_id, caller, catalogue, is_blocked=True)


def unblock(body: OneTeam, caller: Caller, catalogue: TheCatalogue) -> Row:
    """Let a blocked team's keys call again."""
    return _put_blocked(body.team_id, caller, catalogue, is_blocked=False)


def _row(ledger: Ledger, team_id: str) -> Row:
    with ledger.read() as reader:
        return team_row(reader, team_id)


def _put_blocked(team_id: str, caller: Principal, catalogue: Catalogue, *, is_blocked: bool) -> Row:
    id, zone = f"team:{check_id(team_id, 'team_id')}", catalogue.zone
    with catalogue.changing() as ledger:
        fields = {"blocked": is_blocked}
        update_account(ledger, id, TeamRecord, fields, by=by(caller), zone=zone, field="team_id")
        return _row(ledger, team_id)


def _own_teams(reader: Reader, caller: Principal) -> set[str]:
    mine = {caller.team_id} if caller.team_id is not None else set[str]()
    return mine | (set() if caller.user_id is None else set(teams_of(reader, caller.user_id)))


def _check_member_limits(team: TeamRecord, fields: dict[str, Any], zone: str) -> None:
    """What the team says of its members must be good, whether it has members yet or not."""
    names = ("team_member_budget", "team_member_budget_duration")
    changed = with_fields(team, {name: fields[name] for name in names if name in fields})
    if changed.team_member_budget is None:  # the duration is that of the members' own limits
        changed = with_fields(changed, {names[0]: 0})
    try:
        budgets_of("member:x", limits_of(MemberRecord(), changed), zone=zone, at=0)
    except InvalidValueError as error:
        message = error.message.replace("max_budget", names[0], 1).replace("budget_duration", names[1], 1)
        raise InvalidValueError(message) from None


def _delete(ledger: Ledger, team_id: str, *, by: str) -> None:
    """The team first: that alone stops all its keys."""
    delete_account(ledger, f"team:{team_id}", TeamRecord, by=by, field="team_ids")
    with ledger.read() as reader:
        keys = [key.id for key, record in live(reader, "key", KeyRecord) if record.team_id == team_id]
        members = list(members_of(reader, team_id))
    for key in keys:
        delete_key(ledger, key, by=by)
    for user_id in members:
        end_member(ledger, member_account(team_id, user_id), by=by)
