"""Team fields: what the requests of `/team/*` may say."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from outlay.gateway.management.fields import UNSERVED_LIMITS, Fields, LimitFields, Usd


class Member(Fields):
    """A user of a team, by id or by e-mail address."""

    role: Literal["user", "admin"] = "user"
    user_id: str | None = None
    user_email: str | None = None


class TeamFields(LimitFields):
    """What a team may have. `team_member_budget` is what each member may spend there by default.

    `team_member_budget_duration` is how often that begins anew, and the limit of a member that states none.
    """

    UNSERVED = UNSERVED_LIMITS | {
        *("admins", "members", "team_member_rpm_limit", "team_member_tpm_limit", "team_member_key_duration"),
        *("team_member_permissions", "model_id"),
    }
    models: list[str] | None = None
    tags: list[str] | None = None
    team_alias: str | None = None
    organization_id: str | None = None
    team_member_budget: Usd | None = None
    team_member_budget_duration: str | None = None


class NewTeam(TeamFields):
    """Without `team_id` one is made."""

    team_id: str | None = None
    members_with_roles: list[Member] = Field(default_factory=list)


class UpdateTeam(TeamFields):
    """Fields that are left out stay, null clears one. Members have routes of their own."""

    team_id: str


class OneTeam(Fields):
    """A team by its id."""

    team_id: str


class SeveralTeams(Fields):
    """Teams by their ids."""

    team_ids: list[str]


class MemberLimits(Fields):
    """What a member may spend and use in the team; null is what the team says of its members."""

    UNSERVED = frozenset({"temp_budget_increase", "temp_budget_expiry", "tpd_limit", "budget_id"})
    max_budget_in_team: Usd | None = None
    budget_duration: str | None = None
    allowed_models: list[str] | None = None
    rpm_limit: int | None = None
    tpm_limit: int | None = None


class AddMembers(MemberLimits):
    """One member or several, each with these limits."""

    team_id: str
    member: Member | list[Member]


class UpdateMember(MemberLimits):
    """Fields that are left out stay, null clears one."""

    team_id: str
    user_id: str | None = None
    user_email: str | None = None
    role: Literal["user", "admin"] | None = None


class RemoveMember(Fields):
    """A user of a team, by id or by e-mail address."""

    team_id: str
    user_id: str | None = None
    user_email: str | None = None
