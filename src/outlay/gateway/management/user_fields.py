"""User fields: what the requests of `/user/*` may say."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from outlay.gateway.management.fields import UNSERVED_LIMITS, Fields, LimitFields

UserRole = Literal["proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer"]


class UserFields(LimitFields):
    """What a user may have. Its limits hold for all its keys, but for those of a team."""

    UNSERVED = UNSERVED_LIMITS | {"organizations", "sso_user_id", "password", "tags"}
    user_id: str | None = None
    user_email: str | None = None
    user_alias: str | None = None
    user_role: UserRole | None = None
    models: list[str] | None = None


class NewUser(UserFields):
    """With `auto_create_key` a key is made too; `key_alias` and `duration` are of that key."""

    teams: list[str] = Field(default_factory=list)
    auto_create_key: bool = True
    key_alias: str | None = None
    duration: str | None = None


class UpdateUser(UserFields):
    """Fields that are left out stay, null clears one. Without `user_id`, `user_email` names the user."""


class SeveralUsers(Fields):
    """Users by their ids."""

    user_ids: list[str]
