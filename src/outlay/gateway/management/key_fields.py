"""Key fields: what the requests of `/key/*` may say."""

from __future__ import annotations

from typing import Literal

from outlay.gateway.management.fields import UNSERVED_LIMITS, Fields, LimitFields


class KeyFields(LimitFields):
    """What a key may have. `duration` is how long it lives from now: `24h`, `30d`; `-1` or null for ever."""

    UNSERVED = UNSERVED_LIMITS | {
        *("agent_id", "project_id", "end_user_budget_id", "auto_rotate", "rotation_interval"),
    }
    models: list[str] | None = None
    tags: list[str] | None = None
    key_alias: str | None = None
    duration: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    key_type: Literal["default", "llm_api", "management", "read_only"] | None = None
    allowed_routes: list[str] | None = None


class GenerateKey(KeyFields):
    """`key` is a secret of the caller's own: `sk-` and at least 16 characters."""

    key: str | None = None


class UpdateKey(KeyFields):
    """Fields that are left out stay, null clears one. Without `key`, `key_alias` names the key."""

    key: str | None = None


class RegenerateKey(KeyFields):
    """What the key has stays unless a field says otherwise; `new_key` is a secret of the caller's own."""

    UNSERVED = KeyFields.UNSERVED | {"new_master_key", "grace_period"}
    key: str | None = None
    new_key: str | None = None


class OneKey(Fields):
    """A key by its secret or its hash."""

    key: str


class SeveralKeys(Fields):
    """Keys by their secrets or hashes, or by their aliases."""

    keys: list[str] | None = None
    key_aliases: list[str] | None = None
