"""Records: what the gateway knows of keys, users, teams, members and customers, beside their budgets.

Each is an account; its record is the account's `detail`, under LiteLLM's field names:

    key:SHA256        parent team:… if it belongs to a team, else user:… if it belongs to one
    team:ID           parent organization:… if it belongs to one
    member:TEAM/USER  a user within a team, for what they may spend there
    user:ID  customer:ID  organization:ID
"""

from __future__ import annotations

import hashlib
from typing import Any, TypeVar

import msgspec

from outlay.domain.accounts import Account
from outlay.gateway.config import PROJECT

R = TypeVar("R", bound="Record")


class BudgetLimit(msgspec.Struct, kw_only=True, frozen=True):
    """One of several limits: USD over a duration."""

    max_budget: float
    budget_duration: str


class ModelBudget(msgspec.Struct, kw_only=True, frozen=True):
    """A limit of one model: USD over a duration; `models` are further ones that share it."""

    budget_limit: float
    time_period: str | None = None
    models: tuple[str, ...] = ()


class Record(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What every account of the gateway may have. Amounts are USD, rates a minute; times are µs, UTC.

    `models` are the public names it may use; empty means all. `is_deleted` accounts stay for the journal.
    """

    models: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    tags: tuple[str, ...] = ()
    max_budget: float | None = None
    soft_budget: float | None = None
    budget_duration: str | None = None
    budget_mode: str = "hard"
    budget_limits: tuple[BudgetLimit, ...] = ()
    model_max_budget: dict[str, ModelBudget] = {}
    rpm_limit: int | None = None
    tpm_limit: int | None = None
    max_parallel_requests: int | None = None
    model_rpm_limit: dict[str, int] = {}
    model_tpm_limit: dict[str, int] = {}
    created_at: int = 0
    updated_at: int = 0
    created_by: str | None = None
    updated_by: str | None = None
    is_deleted: bool = False

    def detail(self) -> dict[str, Any]:
        """The record as JSON values, for `Account.detail`."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built


class KeyRecord(Record, kw_only=True, frozen=True, omit_defaults=True):
    """A key. `key_name` shows its last four characters; `expires_at` is None for never.

    `role` is what the key may do: `llm_api` calls models, `management` manages, `read_only` reads; `default`
    calls models and reads what is its own. `allowed_routes` narrows it further.
    """

    key_name: str = ""
    key_alias: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    expires_at: int | None = None
    key_type: str = "default"
    allowed_routes: tuple[str, ...] = ()


class UserRecord(Record, kw_only=True, frozen=True, omit_defaults=True):
    """A person. `user_role` is one of LiteLLM's: proxy_admin, internal_user …"""

    user_email: str | None = None
    user_alias: str | None = None
    user_role: str = "internal_user"
    teams: tuple[str, ...] = ()


class TeamMember(msgspec.Struct, kw_only=True, frozen=True):
    """A user of a team and what they are there: `admin` or `user`."""

    user_id: str
    role: str = "user"
    user_email: str | None = None


class TeamRecord(Record, kw_only=True, frozen=True, omit_defaults=True):
    """A team and its members; `team_member_budget` is what each may spend there unless their own says."""

    team_alias: str | None = None
    organization_id: str | None = None
    members: tuple[TeamMember, ...] = ()
    team_member_budget: float | None = None
    team_member_budget_duration: str | None = None


class MemberRecord(Record, kw_only=True, frozen=True, omit_defaults=True):
    """A user within a team."""


class CustomerRecord(Record, kw_only=True, frozen=True, omit_defaults=True):
    """Whom a caller serves: named in the request's `user`."""

    alias: str | None = None
    default_model: str | None = None


def record_of(account: Account, kind: type[R]) -> R:
    """Read an account's detail.

    Raises:
        msgspec.ValidationError: it was not written by this code.
    """
    return msgspec.convert(dict(account.detail), kind)


def key_account(secret: str) -> str:
    """The account of a key, by its secret: only the hash is ever stored."""
    return f"key:{hashlib.sha256(secret.encode()).hexdigest()}"


def gateway_account(
    id: str, record: Record, *, parent: str | None = None, is_blocked: bool = False
) -> Account:
    """An account of the gateway with its record."""
    status = "blocked" if is_blocked or record.is_deleted else "active"
    return Account(PROJECT, id, parent, status=status, detail=record.detail())  # type: ignore[arg-type]
