"""The routes of a team's members: `/team/member_*`."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from outlay.gateway.management.authorise import Caller, TheCatalogue, by
from outlay.gateway.management.by_email import user_by_email
from outlay.gateway.management.team_fields import AddMembers, Member, MemberLimits, RemoveMember, UpdateMember
from outlay.gateway.management.team_rows import membership_rows, team_row
from outlay.gateway.members import add_members, remove_member, update_member
from outlay.gateway.records import TeamMember, check_id
from outlay.ledger.store import Reader

Row = dict[str, Any]


def add_member_routes(app: FastAPI) -> None:
    """Declare the routes."""
    app.post("/team/member_add")(member_add)
    app.post("/team/member_update")(member_update)
    app.post("/team/member_delete")(member_delete)


def member_add(body: AddMembers, caller: Caller, catalogue: TheCatalogue) -> Row:
    """Add users to a team, all of them or none."""
    given = body.member if isinstance(body.member, list) else [body.member]
    with catalogue.changing() as ledger:
        with ledger.read() as reader:
            members = [member_given(reader, each) for each in given]
        add_members(ledger, body.team_id, members, _member_fields(body), by=by(caller), zone=catalogue.zone)
        added = {each.user_id for each in members}
        with ledger.read() as reader:
            memberships = membership_rows(reader, body.team_id)
            return {
                **team_row(reader, body.team_id),
                "updated_users": [
                    {"user_id": each.user_id, "user_email": each.user_email} for each in members
                ],
                "updated_team_memberships": [each for each in memberships if each["user_id"] in added],
            }


def member_update(body: UpdateMember, caller: Caller, catalogue: TheCatalogue) -> Row:
    """Change what a member is in the team, or may spend there."""
    fields = _member_fields(body)
    with catalogue.changing() as ledger:
        with ledger.read() as reader:
            user_id = _user_id(reader, body)
        update_member(
            ledger, body.team_id, user_id, fields, role=body.role, by=by(caller), zone=catalogue.zone
        )
        with ledger.read() as reader:
            (membership,) = membership_rows(reader, body.team_id, only=user_id)
            member = next(
                each
                for each in team_row(reader, body.team_id)["members_with_roles"]
                if each["user_id"] == user_id
            )
    limits = membership["litellm_budget_table"]
    return {
        **member,
        "team_id": body.team_id,
        "max_budget_in_team": limits["max_budget"],
        **{name: limits[name] for name in ("budget_duration", "rpm_limit", "tpm_limit")},
        "allowed_models": membership["allowed_models"],
    }


def member_delete(body: RemoveMember, caller: Caller, catalogue: TheCatalogue) -> Row:
    """Take a user out of a team: the user's keys of the team open nothing from then on."""
    with catalogue.changing() as ledger:
        with ledger.read() as reader:
            user_id = _user_id(reader, body)
        remove_member(ledger, body.team_id, user_id, by=by(caller), zone=catalogue.zone)
        with ledger.read() as reader:
            return team_row(reader, body.team_id)


def _member_fields(body: MemberLimits) -> Row:
    """The fields of a member's record."""
    names = {"max_budget_in_team": "max_budget", "allowed_models": "models"}
    stated = body.stated(
        without={"team_id", "member", "user_id", "user_email", "role"} & set(type(body).model_fields)
    )
    return {names.get(name, name): value for name, value in stated.items()}


def member_given(reader: Reader, given: Member) -> TeamMember:
    """The member that a request names."""
    return TeamMember(user_id=_user_id(reader, given), role=given.role, user_email=given.user_email)


def _user_id(reader: Reader, given: Member | UpdateMember | RemoveMember) -> str:
    if given.user_id is not None:
        return check_id(given.user_id, "user_id")
    return user_by_email(reader, given.user_email)
