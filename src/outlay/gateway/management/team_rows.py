"""Team rows: teams and memberships as JSON, in LiteLLM's shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from outlay.domain.accounts import Account
from outlay.domain.money import usd_float
from outlay.gateway.directory import existing
from outlay.gateway.management.figures import figures_of, limits_row
from outlay.gateway.members import limits_of, members_of
from outlay.gateway.records import TeamMember, TeamRecord, member_account, record_of
from outlay.ledger.store import Reader

Row = dict[str, Any]


def team_row(reader: Reader, team_id: str) -> Row:
    """One team.

    Raises:
        NoSuchAccountError: there is none.
    """
    account = existing(reader, f"team:{team_id}", "team_id")
    return team_rows(reader, [(account, record_of(account, TeamRecord))])[0]


def team_rows(
    reader: Reader, found: Sequence[tuple[Account, TeamRecord]], *, only: str | None = None
) -> list[Row]:
    """Several teams; with `only` each shows no member but this user."""
    figures = figures_of(reader, found)
    return [
        {
            "team_id": account.id.partition(":")[2],
            "team_alias": team.team_alias,
            "organization_id": team.organization_id,
            **_members(team, only),
            **limits_row(team, figures[account.id], is_blocked=account.status == "blocked"),
            "team_member_budget": team.team_member_budget,
            "team_member_budget_duration": team.team_member_budget_duration,
        }
        for account, team in found
    ]


def membership_rows(reader: Reader, team_id: str, *, only: str | None = None) -> list[Row]:
    """What each member of a team may spend there and did; with `only` no member but this user."""
    team = record_of(existing(reader, f"team:{team_id}", "team_id"), TeamRecord)
    records = {id: each for id, each in members_of(reader, team_id).items() if only in (None, id)}
    accounts = {id: existing(reader, member_account(team_id, id), "user_id") for id in records}
    figures = figures_of(reader, [(accounts[id], record) for id, record in records.items()])
    rows = []
    for id, record in records.items():
        mine = figures[accounts[id].id]
        limits = limits_row(limits_of(record, team), mine, is_blocked=accounts[id].status == "blocked")
        rows.append(
            {
                "user_id": id,
                "team_id": team_id,
                "spend": usd_float(mine.spend),
                "budget_id": None,
                "litellm_budget_table": {
                    name: limits[name]
                    for name in ("max_budget", "budget_duration", "budget_reset_at", "rpm_limit", "tpm_limit")
                },
                "allowed_models": limits["models"],
            }
        )
    return rows


def _members(team: TeamRecord, only: str | None) -> Row:
    shown: list[TeamMember] = [each for each in team.members if only in (None, each.user_id)]
    return {
        "members_with_roles": msgspec.to_builtins(shown),
        "members": [each.user_id for each in shown],
        "admins": [each.user_id for each in shown if each.role == "admin"],
    }
