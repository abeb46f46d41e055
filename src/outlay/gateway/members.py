"""Members: users within a team, and what each may spend there.

A member's own budget is in its record; without one, the team's `team_member_budget` is put on its account. A
budget without a duration begins anew as often as the team's `team_member_budget_duration` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from outlay.errors import InvalidValueError
from outlay.gateway.accounts import delete_account, update_account
from outlay.gateway.budgeting import put_limits
from outlay.gateway.config import PROJECT
from outlay.gateway.directory import NoSuchAccountError, existing, find_account
from outlay.gateway.records import (
    MemberRecord,
    TeamMember,
    TeamRecord,
    check_id,
    gateway_account,
    member_account,
    record_of,
    with_fields,
)
from outlay.ledger.ledger import Ledger
from outlay.ledger.store import Reader

MEMBER_ROLES: Final = ("user", "admin")


def add_members(
    ledger: Ledger,
    team_id: str,
    members: Sequence[TeamMember],
    fields: Mapping[str, Any],
    *,
    by: str,
    zone: str,
) -> TeamRecord:
    """Add users to a team, each with the same limits (`fields` of a `MemberRecord`). Give the team's record.

    Raises:
        NoSuchAccountError: there is no such team.
        InvalidValueError: a field, or one of them is a member already; nobody is added.
    """
    team = team_named(ledger, team_id)
    check_members([*team.members, *members])
    for member in members:
        put_member(ledger, team_id, team, member.user_id, fields, by=by, zone=zone)
    return _put_members(ledger, team_id, [*team.members, *members], by=by, zone=zone)


def update_member(
    ledger: Ledger,
    team_id: str,
    user_id: str,
    fields: Mapping[str, Any],
    *,
    role: str | None,
    by: str,
    zone: str,
) -> TeamRecord:
    """Change a member's role and limits (None clears one). Give the team's record.

    Raises:
        NoSuchAccountError: there is no such team, or the user is no member of it.
        InvalidValueError: a field; nothing is changed.
    """
    team = team_named(ledger, team_id)
    member = member_of(team, user_id)
    put_member(ledger, team_id, team, user_id, fields, by=by, zone=zone)
    if role in (None, member.role):
        return team
    members = [replace(each, role=role) if each is member else each for each in team.members]
    return _put_members(ledger, team_id, members, by=by, zone=zone)


def remove_member(ledger: Ledger, team_id: str, user_id: str, *, by: str, zone: str) -> TeamRecord:
    """Take a user out of a team; the user's keys of the team open nothing from then on.

    Raises:
        NoSuchAccountError: there is no such team, or the user is no member of it.
    """
    team = team_named(ledger, team_id)
    member = member_of(team, user_id)
    end_member(ledger, member_account(team_id, user_id), by=by)
    members = [each for each in team.members if each is not member]
    return _put_members(ledger, team_id, members, by=by, zone=zone)


def team_named(ledger: Ledger, team_id: str) -> TeamRecord:
    """Find a team's record.

    Raises:
        NoSuchAccountError: there is none.
    """
    with ledger.read() as reader:
        return record_of(existing(reader, f"team:{team_id}", "team_id"), TeamRecord)


def check_members(members: Iterable[TeamMember]) -> None:
    """Check that each has an id that can be one, a role, and stands once.

    Raises:
        InvalidValueError: one does not.
    """
    seen: set[str] = set()
    for member in members:
        check_id(member.user_id, "user_id")
        if member.role not in MEMBER_ROLES:
            raise InvalidValueError(f"role must be one of {', '.join(MEMBER_ROLES)}, not {member.role!r}")
        if member.user_id in seen:
            raise InvalidValueError(f"user_id: {member.user_id!r} is a member of the team already")
        seen.add(member.user_id)


def put_member(
    ledger: Ledger,
    team_id: str,
    team: TeamRecord,
    user_id: str,
    fields: Mapping[str, Any],
    *,
    by: str,
    zone: str,
) -> MemberRecord:
    """Make a member's account, or change it, with its own limits or else the team's for members."""
    id = member_account(team_id, user_id)
    with ledger.read() as reader:
        before, at = find_account(reader, id), reader.now()
    record = MemberRecord(created_at=at, created_by=by)
    if before is not None and not before.detail.get("is_deleted"):
        record = record_of(before, MemberRecord)
    record = with_fields(record, {**fields, "updated_at": at, "updated_by": by})
    put_limits(
        ledger,
        gateway_account(id, record, parent=f"team:{team_id}"),
        limits_of(record, team),
        zone=zone,
        by=by,
    )
    return record


def ensure_member(ledger: Ledger, team_id: str, user_id: str, *, by: str, zone: str) -> None:
    """Let a key of a team that names a user count on the user's account there, member or not.

    Raises:
        InvalidValueError: the user was taken out of the team.
    """
    with ledger.read() as reader:
        account = find_account(reader, member_account(team_id, user_id))
        team = record_of(existing(reader, f"team:{team_id}", "team_id"), TeamRecord)
    if account is None:
        put_member(ledger, team_id, team, user_id, {}, by=by, zone=zone)
    elif account.detail.get("is_deleted"):
        raise InvalidValueError(
            f"user_id: {user_id!r} was taken out of the team {team_id!r}: add it with /team/member_add"
        )


def put_member_limits(ledger: Ledger, team_id: str, team: TeamRecord, *, by: str, zone: str) -> None:
    """Put what the team now says of its members on the accounts of those who do not say it all themselves."""
    with ledger.read() as reader:
        members = members_of(reader, team_id)
    for user_id, record in members.items():
        if record.max_budget is None or record.budget_duration is None:
            put_member(ledger, team_id, team, user_id, {}, by=by, zone=zone)


def members_of(reader: Reader, team_id: str) -> dict[str, MemberRecord]:
    """Give the records of all accounts of users within a team, by the user's id."""
    prefix = member_account(team_id, "")
    return {
        account.id.removeprefix(prefix): record_of(account, MemberRecord)
        for account in reader.accounts(PROJECT, "member")
        if account.id.startswith(prefix) and not account.detail.get("is_deleted")
    }


def end_member(ledger: Ledger, account: str, *, by: str) -> None:
    """End the account of a user within a team, if there is one."""
    with ledger.read() as reader:
        found = find_account(reader, account)
    if found is not None and not found.detail.get("is_deleted"):
        delete_account(ledger, account, MemberRecord, by=by, field="user_id")


def limits_of(member: MemberRecord, team: TeamRecord) -> MemberRecord:
    """The record whose limits hold for a member: its own, and what it leaves open from the team."""
    limit = team.team_member_budget if member.max_budget is None else member.max_budget
    if limit is None:
        return member
    duration = member.budget_duration or team.team_member_budget_duration
    return with_fields(member, {"max_budget": limit, "budget_duration": duration})


def member_of(team: TeamRecord, user_id: str) -> TeamMember:
    """Find a member.

    Raises:
        NoSuchAccountError: the user is none.
    """
    for member in team.members:
        if member.user_id == user_id:
            return member
    raise NoSuchAccountError("user_id", f"{user_id!r} is no member of the team")


def _put_members(
    ledger: Ledger, team_id: str, members: Sequence[TeamMember], *, by: str, zone: str
) -> TeamRecord:
    fields = {"members": msgspec.to_builtins(members)}
    _, team = update_account(ledger, f"team:{team_id}", TeamRecord, fields, by=by, zone=zone, field="team_id")
    return team
