"""Key rows: a key as JSON, in LiteLLM's shape. No secret is in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from outlay.domain.accounts import Account
from outlay.gateway.management.figures import Figures, figures_of, limits_row, moment
from outlay.gateway.records import KeyRecord, record_of
from outlay.ledger.store import Reader


def key_row(reader: Reader, account: Account) -> dict[str, Any]:
    """One key."""
    return key_rows(reader, [(account, record_of(account, KeyRecord))])[0]


def key_rows(reader: Reader, found: Sequence[tuple[Account, KeyRecord]]) -> list[dict[str, Any]]:
    """Several keys, with their figures as of now."""
    figures, now = figures_of(reader, found), reader.now()
    return [_row(account, record, figures[account.id], now) for account, record in found]


def _row(account: Account, record: KeyRecord, figures: Figures, now: int) -> dict[str, Any]:
    is_blocked = account.status == "blocked"
    return {
        "token": account.id.partition(":")[2],
        "key_name": record.key_name,
        "key_alias": record.key_alias,
        "user_id": record.user_id,
        "team_id": record.team_id,
        "organization_id": record.organization_id,
        "key_type": record.key_type,
        "allowed_routes": list(record.allowed_routes),
        "expires": None if record.expires_at is None else moment(record.expires_at),
        "status": _status(record, now, is_blocked=is_blocked),
        **limits_row(record, figures, is_blocked=is_blocked),
        "aliases": {},
        "config": {},
        "permissions": {},
        "budget_id": None,
        "litellm_budget_table": None,
    }


def _status(record: KeyRecord, now: int, *, is_blocked: bool) -> str:
    if is_blocked:
        return "revoked"
    return "expired" if record.expires_at is not None and record.expires_at <= now else "active"
